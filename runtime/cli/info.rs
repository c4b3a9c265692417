use super::args::FileArgs;
use super::output::{count, plain_table, print, stdout};
use anyhow::Result;
use pronk::backend::{self, DeviceChoice, gib};
use pronk::generate::LoadOptions;
use pronk::gguf::{GgmlType, Gguf, Value, excerpt};
use pronk::model::{Model, PlanOptions};
use pronk::plan::{KvType, Op, Plan};
use std::collections::BTreeMap;
use std::io::Write;

/// Show what a file holds, what can run its model, and the memory that it takes
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    file: FileArgs,
    /// List the tensors too
    #[arg(long)]
    tensors: bool,
    /// Only the value of this key, in full; an array's elements one a line
    #[arg(long, value_name = "NAME", conflicts_with = "tensors")]
    key: Option<String>,
}

/// Contexts whose memory is shown, besides the model's own.
const CONTEXTS: [u32; 5] = [2048, 8192, 32768, 131_072, 524_288];

pub fn run(args: &Args) -> Result<()> {
    let gguf = args.file.gguf()?;
    if let Some(key) = &args.key {
        return whole_value(gguf.get(key).ok_or_else(|| gguf.key_error(key, "is missing"))?);
    }
    let mut out = stdout();
    let bytes: u64 = gguf.tensors().iter().map(|t| t.data.len() as u64).sum();
    let elements: u64 = gguf.tensors().iter().map(|t| t.n_elements()).sum();
    let (n_keys, n_tensors) = (gguf.metadata().len(), gguf.tensors().len());
    let parts = if gguf.files().len() > 1 { format!(", in {} parts", gguf.files().len()) } else { String::new() };
    writeln!(out, "{}: GGUF version {}, alignment {}{parts}", gguf.name(), gguf.version(), gguf.alignment())?;
    writeln!(out, "{n_keys} keys, {n_tensors} tensors, {elements} elements, {}", gib(bytes))?;
    model(gguf.clone())?;
    writeln!(out, "\nMETADATA")?;
    metadata(&gguf)?;
    writeln!(out, "\nTENSOR TYPES")?;
    types(&gguf)?;
    if args.tensors {
        writeln!(out, "\nTENSORS")?;
        tensors(&gguf)?;
    }
    Ok(())
}

/// A text as it is, a number in digits, an array's elements one a line (texts in JSON's quotes, since they may hold newlines).
fn whole_value(value: &Value) -> Result<()> {
    let mut out = stdout();
    match value {
        Value::String(text) => writeln!(out, "{}", String::from_utf8_lossy(text))?,
        Value::Array(array) => {
            for element in array.iter() {
                match element {
                    Value::String(text) => {
                        writeln!(out, "{}", serde_json::to_string(&String::from_utf8_lossy(&text))?)?;
                    }
                    other => writeln!(out, "{other}")?,
                }
            }
        }
        other => writeln!(out, "{other}")?,
    }
    Ok(())
}

fn plan(model: &Model, n_ctx: u32, kv: KvType) -> Result<Plan> {
    let usual = LoadOptions::default();
    let max_tokens = usual.chunk.min(n_ctx);
    let max_outputs = usual.max_outputs.min(max_tokens);
    Ok(model.plan(&PlanOptions { n_ctx, max_tokens, max_outputs, kv })?)
}

/// The model's numbers, what can run it and what it needs; or why it cannot be run.
fn model(gguf: Gguf) -> Result<()> {
    let mut out = stdout();
    writeln!(out, "\nMODEL")?;
    let checked = Model::new(gguf).map_err(anyhow::Error::from).and_then(|model| {
        let smallest = plan(&model, 1, KvType::F16)?; // checks the tensors
        Ok((model, smallest))
    });
    let (model, smallest) = match checked {
        Ok(checked) => checked,
        Err(e) => return Ok(writeln!(out, "cannot be run: {e:#}")?),
    };
    let c = &model.config;
    let layers = count(c.n_layers as usize, "layer");
    writeln!(out, "{}: {layers}, width {} (feed-forward {})", excerpt(&c.name), c.n_embd, c.n_ff)?;
    writeln!(out, "{} query heads and {} KV heads of {} elements", c.n_heads, c.n_kv_heads, c.head_dim)?;
    writeln!(out, "{} tokens in the vocabulary, {} in the context", c.n_vocab, c.n_ctx_train)?;
    if let Some(window) = c.window {
        writeln!(out, "each token attends to the last {window}, itself included")?;
    }
    if c.rope_scaling.factor != 1.0 {
        let how = if c.rope_scaling.yarn.is_some() { "YaRN" } else { "linear" };
        writeln!(out, "RoPE scaled by {} ({how})", c.rope_scaling.factor)?;
    }
    devices(&smallest)?;
    writeln!(out, "\nMEMORY")?;
    memory(&model)
}

/// Which of the available devices can run a plan, and what the others say.
fn devices(plan: &Plan) -> Result<()> {
    let (mut able, mut refusals) = (vec![], vec![]);
    for id in backend::available().into_iter().map(|device| device.id) {
        let asked = backend::open(id.parse::<DeviceChoice>()?);
        match asked.and_then(|device| backend::check_supported(&*device, plan)) {
            Ok(()) => able.push(id),
            Err(e) => refusals.push(e),
        }
    }
    let able = if able.is_empty() { "no device here".to_string() } else { able.join(", ") };
    let mut out = stdout();
    writeln!(out, "runs on: {able}")?;
    refusals.iter().try_for_each(|e| writeln!(out, "refused by {e}"))?;
    Ok(())
}

/// What the model needs at several contexts, on a device that keeps all of it.
fn memory(model: &Model) -> Result<()> {
    let trained = model.config.n_ctx_train;
    let header = ["context", "weights", "RoPE table", "KV cache f16", "KV cache f32", "buffers", "total with f16"];
    let mut table = plain_table(&header);
    for n_ctx in CONTEXTS.into_iter().filter(|n| *n < trained).chain([trained]) {
        let f16 = plan(model, n_ctx, KvType::F16)?;
        let f32 = plan(model, n_ctx, KvType::F32)?;
        let rope = f16.decode.iter().find_map(|op| match op {
            Op::Rope(op) => Some(f16[op.table].bytes()),
            _ => None,
        });
        let (all, rope, kv, buffers) = (f16.weight_bytes(), rope.unwrap_or(0), f16.kv.bytes(), f16.buf_bytes());
        let sizes =
            [all - rope, rope, kv, f32.kv.bytes(), buffers, all.saturating_add(kv).saturating_add(buffers)].map(gib);
        table.add_row([n_ctx.to_string()].into_iter().chain(sizes));
    }
    Ok(print(&table)?)
}

fn metadata(gguf: &Gguf) -> Result<()> {
    let mut table = plain_table(&["key", "type", "value"]);
    for (key, value) in gguf.metadata() {
        table.add_row([excerpt(key), value.ty().to_string(), value.to_string()]);
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
    let mut table = plain_table(&["tensor", "type", "shape", "bytes", "at byte", ""]);
    for t in gguf.tensors() {
        let shape: Vec<String> = t.shape.iter().map(u64::to_string).collect();
        let (bytes, offset) = (t.data.len().to_string(), t.offset.to_string());
        let part = if gguf.files().len() > 1 { format!("part {}", t.part + 1) } else { String::new() };
        table.add_row([excerpt(&t.name), t.ty.name().to_string(), shape.join(" x "), bytes, offset, part]);
    }
    Ok(print(&table)?)
}
