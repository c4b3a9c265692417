use super::args::FileArgs;
use super::output::{plain_table, print};
use anyhow::Result;
use pronk::backend::gib;
use pronk::generate::LoadOptions;
use pronk::gguf::{GgmlType, Gguf};
use pronk::model::{Model, PlanOptions};
use pronk::plan::{KvType, Plan};
use std::collections::BTreeMap;
use std::io::{self, Write};

/// Show what a file holds, and the memory that its model takes
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    file: FileArgs,
}

/// Contexts whose memory is shown, besides the model's own.
const CONTEXTS: [u32; 5] = [2048, 8192, 32768, 131_072, 524_288];

pub fn run(args: &Args) -> Result<()> {
    let gguf = args.file.gguf()?;
    let mut out = io::stdout();
    let bytes: u64 = gguf.tensors().iter().map(|t| t.data.len() as u64).sum();
    let elements: u64 = gguf.tensors().iter().map(|t| t.n_elements()).sum();
    let (n_keys, n_tensors) = (gguf.metadata().len(), gguf.tensors().len());
    writeln!(out, "{}: GGUF version {}, alignment {}", gguf.name(), gguf.version(), gguf.alignment())?;
    writeln!(out, "{n_keys} keys, {n_tensors} tensors, {elements} elements, {}", gib(bytes))?;
    writeln!(out, "\nMEMORY")?;
    memory(gguf.clone(), &mut out)?;
    writeln!(out, "\nMETADATA")?;
    metadata(&gguf)?;
    writeln!(out, "\nTENSOR TYPES")?;
    types(&gguf)?;
    writeln!(out, "\nTENSORS")?;
    tensors(&gguf)
}

/// What the model needs at several contexts, on a device that keeps all of it; or why it cannot be run.
fn memory(gguf: Gguf, out: &mut impl Write) -> Result<()> {
    let usual = LoadOptions::default();
    let plan = |model: &Model, n_ctx: u32, kv: KvType| -> Result<Plan> {
        let max_tokens = usual.chunk.min(n_ctx);
        let max_outputs = usual.max_outputs.min(max_tokens);
        Ok(model.plan(&PlanOptions { n_ctx, max_tokens, max_outputs, kv })?)
    };
    let checked = Model::new(gguf).map_err(anyhow::Error::from).and_then(|model| {
        plan(&model, 1, KvType::F16)?; // checks the tensors
        Ok(model)
    });
    let model = match checked {
        Ok(model) => model,
        Err(e) => return Ok(writeln!(out, "cannot be run: {e:#}")?),
    };
    let trained = model.config.n_ctx_train;
    let mut table = plain_table(&["context", "weights", "KV cache f16", "KV cache f32", "buffers", "total with f16"]);
    for n_ctx in CONTEXTS.into_iter().filter(|n| *n < trained).chain([trained]) {
        let f16 = plan(&model, n_ctx, KvType::F16)?;
        let f32 = plan(&model, n_ctx, KvType::F32)?;
        let (weights, kv, buffers) = (f16.weight_bytes(), f16.kv.bytes(), f16.buf_bytes());
        let sizes = [weights, kv, f32.kv.bytes(), buffers, weights + kv + buffers].map(gib);
        table.add_row([n_ctx.to_string()].into_iter().chain(sizes));
    }
    Ok(print(&table)?)
}

fn metadata(gguf: &Gguf) -> Result<()> {
    let mut table = plain_table(&["key", "type", "value"]);
    for (key, value) in gguf.metadata() {
        table.add_row([key.to_string(), value.ty().to_string(), value.to_string()]);
    }
    Ok(print(&table)?)
}

fn types(gguf: &Gguf) -> Result<()> {
    let mut types: BTreeMap<GgmlType, (u64, u64)> = BTreeMap::new();
    for tensor in gguf.tensors() {
        let (n, bytes) = types.entry(tensor.ty).or_default();
        (*n, *bytes) = (*n + 1, *bytes + tensor.data.len() as u64);
    }
    let mut table = plain_table(&["type", "tensors", "size"]);
    for (ty, (n, bytes)) in types {
        table.add_row([ty.name().to_string(), n.to_string(), gib(bytes)]);
    }
    Ok(print(&table)?)
}

fn tensors(gguf: &Gguf) -> Result<()> {
    let mut table = plain_table(&["tensor", "type", "shape", "bytes", "at byte"]);
    for t in gguf.tensors() {
        let shape: Vec<String> = t.shape.iter().map(u64::to_string).collect();
        let (bytes, offset) = (t.data.len().to_string(), t.offset.to_string());
        table.add_row([t.name.clone(), t.ty.name().to_string(), shape.join(" x "), bytes, offset]);
    }
    Ok(print(&table)?)
}
