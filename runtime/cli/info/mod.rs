//! `pronk info`: what is in a model file.

mod report;

use super::args::FileArgs;
use super::output::{count, plain_table, print, stdout};
use super::overrides::notice_unread;
use anyhow::Result;
use pronk::backend::gib;
use pronk::gguf::{Gguf, Value, excerpt};
use pronk::plan::KvType;
use pronk::text::Vocab;
use report::{ModelReport, Report};
use std::io::Write;

/// Show the contents of a model file, the devices that can run it, and the memory that it needs
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    file: FileArgs,
    /// List the tensors as well
    #[arg(long)]
    tensors: bool,
    /// Print only the value of this key, in full, with one array element per line
    #[arg(long, value_name = "NAME", conflicts_with = "tensors")]
    key: Option<String>,
    /// Print everything as JSON, with sizes in bytes; long arrays are cut after 16 elements
    #[arg(long, conflicts_with_all = ["tensors", "key"])]
    json: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let gguf = args.file.gguf()?;
    if let Some(key) = &args.key {
        whole_value(gguf.get(key).ok_or_else(|| gguf.key_error(key, "is missing"))?)?;
        notice_unread(&gguf);
        return Ok(());
    }
    let report = Report::of(&gguf)?;
    if gguf.unread().next().is_some() {
        let _ = Vocab::from_gguf(&gguf); // marks the keys of the tokenizer and the chat template as read
        notice_unread(&gguf);
    }
    let mut out = stdout();
    if args.json {
        return Ok(writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?);
    }
    let (n_keys, n_tensors, n_files) = (report.metadata.len(), report.tensors.len(), report.files.len());
    let parts = if n_files > 1 { format!(", in {n_files} parts") } else { String::new() };
    writeln!(out, "{}: GGUF version {}, alignment {}{parts}", gguf.name(), report.version, report.alignment)?;
    writeln!(out, "{n_keys} keys, {n_tensors} tensors, {} elements, {}", report.n_elements, gib(report.bytes))?;
    writeln!(out, "\nMODEL")?;
    report.cannot_be_run.iter().try_for_each(|why| writeln!(out, "cannot be run: {why}"))?;
    report.model.iter().try_for_each(model)?;
    writeln!(out, "\nMETADATA")?;
    metadata(&gguf)?;
    writeln!(out, "\nTENSOR TYPES")?;
    let mut table = plain_table(&["type", "tensors", "size"]);
    for row in &report.types {
        table.add_row([row.ty.to_string(), row.n_tensors.to_string(), gib(row.bytes)]);
    }
    print(&table)?;
    if args.tensors {
        writeln!(out, "\nTENSORS")?;
        tensors(&report)?;
    }
    Ok(())
}

/// Prints a value in full: text as it is, an array with one element per line. Text in an array is quoted as in JSON,
/// since it may have newlines.
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

/// Prints the model's hyperparameters, the devices that can run it, and the memory that it needs.
fn model(m: &ModelReport) -> Result<()> {
    let mut out = stdout();
    let layers = count(m.n_layers as usize, "layer");
    let (name, arch) = (excerpt(&m.name), m.architecture);
    writeln!(out, "{name}: {layers}, width {} (feed-forward {}), architecture {arch}", m.n_embd, m.n_ff)?;
    writeln!(out, "{} query heads and {} KV heads of {} elements", m.n_heads, m.n_kv_heads, m.head_dim)?;
    writeln!(out, "{} tokens in the vocabulary, {} in the context", m.n_vocab, m.n_ctx)?;
    if let Some(window) = m.window {
        writeln!(out, "each token attends to the last {window} tokens, itself included")?;
    }
    if let Some(factor) = m.rope_factor {
        writeln!(out, "RoPE scaled by {factor} ({})", if m.yarn { "YaRN" } else { "linear" })?;
    }
    let able = if m.runs_on.is_empty() { "no device here".to_string() } else { m.runs_on.join(", ") };
    writeln!(out, "runs on: {able}")?;
    m.refusals.iter().try_for_each(|e| writeln!(out, "refused by {e}"))?;
    writeln!(out, "\nMEMORY (totals are with an f16 KV cache)")?;
    if let Some(memory) = m.memory.first().filter(|_| !m.runs_on.is_empty()) {
        writeln!(out, "weights: {}", memory.weights_on(&m.runs_on))?;
    }
    let kv = KvType::ALL.iter().map(|ty| format!("KV cache {}", ty.name()));
    let header = ["context", "weights", "RoPE table"].map(String::from).into_iter().chain(kv);
    let header = header.chain(["buffers".to_string()]).chain(m.runs_on.iter().map(|id| format!("total on {id}")));
    let mut table = plain_table(&header.collect::<Vec<_>>().iter().map(String::as_str).collect::<Vec<_>>());
    for row in &m.memory {
        table.add_row(row.row(&m.runs_on));
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

fn tensors(report: &Report) -> Result<()> {
    let mut table = plain_table(&["tensor", "type", "shape", "bytes", "at byte", ""]);
    for t in &report.tensors {
        let shape: Vec<String> = t.shape.iter().map(u64::to_string).collect();
        let (bytes, offset) = (t.bytes.to_string(), t.offset.to_string());
        let part = if report.files.len() > 1 { format!("part {}", t.part + 1) } else { String::new() };
        table.add_row([excerpt(&t.name), t.ty.to_string(), shape.join(" x "), bytes, offset, part]);
    }
    Ok(print(&table)?)
}
