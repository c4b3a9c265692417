//! Arguments that several subcommands share.

use super::output::notice;
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use pronk::backend::DeviceChoice;
use pronk::generate::{LoadOptions, Loaded, SamplerOptions, load_model};
use pronk::gguf::Gguf;
use pronk::model::Model;
use pronk::plan::KvType;
use pronk::quant;
use pronk::text::Tokenizer;
use rayon::prelude::*;
use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

/// The model file.
#[derive(Args)]
pub struct FileArgs {
    /// GGUF file
    #[arg(short, long, value_name = "FILE")]
    pub model: PathBuf,
}

impl FileArgs {
    pub fn gguf(&self) -> Result<Gguf> {
        Ok(Gguf::open(&self.model)?)
    }

    /// The file, and the model in it.
    pub fn model(&self) -> Result<(Gguf, Model)> {
        let gguf = self.gguf()?;
        let model = Model::new(gguf.clone())?;
        Ok((gguf, model))
    }
}

/// The model file and what it runs on.
#[derive(Args)]
pub struct ModelArgs {
    #[command(flatten)]
    pub file: FileArgs,
    /// auto (the first GPU, else the CPU), or what `pronk devices` lists: cpu, cuda, cuda:1, wgpu, sim, ...
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Context; without it the model's own, lowered to what fits in memory
    #[arg(short = 'c', long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
    ctx_size: Option<u32>,
    /// Number format of the KV cache
    #[arg(long, alias = "kv-type", value_name = "TYPE", default_value = "f16")]
    kv: Kv,
    /// CPU threads; without it one per core
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MAX_THREADS))]
    threads: Option<u16>,
    /// Look for NaN and infinity in every tensor first
    #[arg(long)]
    check_tensors: bool,
    /// Print neither notices nor timings
    #[arg(short, long)]
    pub quiet: bool,
}

/// More threads than any machine has cores.
const MAX_THREADS: i64 = 1024;

#[derive(Clone, Copy, ValueEnum)]
enum Kv {
    F16,
    F32,
}

impl ModelArgs {
    /// How the command line wants the model loaded.
    pub fn options(&self) -> LoadOptions {
        let kv = match self.kv {
            Kv::F16 => KvType::F16,
            Kv::F32 => KvType::F32,
        };
        LoadOptions { device: self.device, n_ctx: self.ctx_size, kv, ..LoadOptions::default() }
    }

    /// Loads a model, with a progress bar on a terminal, and prints what the user should know.
    pub fn load(&self, model: Model, options: &LoadOptions) -> Result<Loaded> {
        if let Some(threads) = self.threads {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.into());
            pool.build_global().with_context(|| format!("-t {threads}"))?;
        }
        if self.check_tensors {
            check_tensors(&self.file.gguf()?)?;
        }
        let bar = ProgressBar::new(0);
        bar.set_style(ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {eta} left")?);
        let loaded = load_model(model, options, &mut |done, total| {
            bar.set_length(total);
            bar.set_position(done);
        });
        bar.finish_and_clear();
        let loaded = loaded?;
        if !self.quiet {
            loaded.notices.iter().for_each(notice);
        }
        Ok(loaded)
    }
}

/// The tokenizer of a model's file. Errors: its vocabulary is not as long as the embedding.
pub fn tokenizer(gguf: &Gguf, model: &Model) -> Result<Tokenizer> {
    let tokenizer = Tokenizer::from_gguf(gguf)?;
    let rows = model.config.n_vocab as usize;
    if tokenizer.n_vocab() != rows {
        let what = format!("{} tokens, but token_embd.weight has {rows} rows", tokenizer.n_vocab());
        return Err(gguf.key_error("tokenizer.ggml.tokens", what).into());
    }
    Ok(tokenizer)
}

/// Refuses a file with a value that is not finite, naming the tensor and where in it. Types that nothing can decode are left
/// out: the device refuses them.
fn check_tensors(gguf: &Gguf) -> Result<()> {
    gguf.tensors().par_iter().try_for_each(|tensor| {
        let Some(format) = quant::format(tensor.ty) else {
            return Ok(());
        };
        let row = tensor.shape[0] as usize; // whole blocks, checked when the file was parsed
        let row_bytes = row / tensor.ty.block_size() as usize * tensor.ty.block_bytes() as usize;
        let mut values = vec![0.0; row];
        for (i, blocks) in tensor.data.chunks_exact(row_bytes).enumerate() {
            (format.decode)(blocks, &mut values);
            if let Some((j, v)) = values.iter().enumerate().find(|(_, v)| !v.is_finite()) {
                return Err(
                    gguf.tensor_error(&tensor.name, format!("row {i}, column {j}: {v}, expected a finite number"))
                );
            }
        }
        Ok(())
    })?;
    Ok(())
}

/// A text, given as it is or in a file.
#[derive(Args)]
#[group(multiple = false)]
pub struct TextArgs {
    /// Text
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Option<String>,
    /// File that holds the text, in UTF-8
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl TextArgs {
    /// The text, the file's to the last byte.
    pub fn text(&self) -> Result<Option<String>> {
        let Some(path) = &self.file else {
            return Ok(self.prompt.clone());
        };
        let bytes = fs::read(path).with_context(|| format!("{}: cannot read", path.display()))?;
        let text = String::from_utf8(bytes).with_context(|| format!("{}: is not UTF-8 text", path.display()))?;
        Ok(Some(text))
    }

    /// The text; the newline that ends a file is not part of it (llama.cpp's rule).
    pub fn prompt(&self) -> Result<Option<String>> {
        let mut text = self.text()?;
        if let Some(text) = text.as_mut().filter(|text| self.file.is_some() && text.ends_with('\n')) {
            text.pop();
        }
        Ok(text)
    }
}

/// How tokens are chosen and when the text ends.
#[derive(Args)]
pub struct SamplingArgs {
    /// Most tokens of a reply; -1: until the model ends it
    #[arg(short, long, value_name = "N", default_value = "-1", allow_negative_numbers = true,
          value_parser = clap::value_parser!(i64).range(-1..))]
    pub n_predict: i64,
    /// Temperature; 0 takes the likeliest token
    #[arg(long, value_name = "T", default_value = "0.8", allow_negative_numbers = true, value_parser = at_least_zero)]
    temp: f32,
    /// Choose among the K likeliest tokens; 0: all
    #[arg(long, value_name = "K", default_value = "40")]
    top_k: usize,
    /// Choose among the likeliest tokens that reach this probability together; 1: all
    #[arg(long, value_name = "P", default_value = "0.95", allow_negative_numbers = true, value_parser = probability)]
    top_p: f32,
    /// Choose among tokens at least this probable, as a share of the likeliest's probability; 0: all
    #[arg(long, value_name = "P", default_value = "0.05", allow_negative_numbers = true, value_parser = probability)]
    min_p: f32,
    /// Divides the logits of recent tokens; 1: no penalty
    #[arg(long, value_name = "F", default_value = "1", allow_negative_numbers = true, value_parser = positive)]
    repeat_penalty: f32,
    /// Recent tokens that the penalties look at; 0: none, -1: all
    #[arg(long, value_name = "N", default_value = "64", allow_negative_numbers = true,
          value_parser = clap::value_parser!(i64).range(-1..))]
    repeat_last_n: i64,
    /// Subtracted from the logits of recent tokens
    #[arg(long, value_name = "F", default_value = "0", allow_negative_numbers = true, value_parser = finite)]
    presence_penalty: f32,
    /// Subtracted from the logits of recent tokens, once per occurrence
    #[arg(long, value_name = "F", default_value = "0", allow_negative_numbers = true, value_parser = finite)]
    frequency_penalty: f32,
    /// Makes the choices repeatable; without it a random one is taken and printed
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Never choose a token that ends the text
    #[arg(long)]
    pub ignore_eos: bool,
    /// End the text where this appears, and leave it out; may be given several times
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub stop: Vec<String>,
}

impl SamplingArgs {
    /// The sampler's options. A missing seed is drawn here.
    pub fn options(&self) -> SamplerOptions {
        SamplerOptions {
            temperature: self.temp,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repeat_penalty: self.repeat_penalty,
            repeat_last_n: usize::try_from(self.repeat_last_n).unwrap_or(usize::MAX),
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            seed: self.seed.unwrap_or_else(rand::random),
        }
    }
}

fn number(text: &str, expected: &str, accepts: impl Fn(f32) -> bool) -> Result<f32, String> {
    match f32::from_str(text) {
        Ok(v) if v.is_finite() && accepts(v) => Ok(v),
        _ => Err(format!("expected {expected}")),
    }
}

fn finite(text: &str) -> Result<f32, String> {
    number(text, "a finite number", |_| true)
}

fn at_least_zero(text: &str) -> Result<f32, String> {
    number(text, "a finite number, at least 0", |v| v >= 0.0)
}

fn positive(text: &str) -> Result<f32, String> {
    number(text, "a finite number above 0", |v| v > 0.0)
}

fn probability(text: &str) -> Result<f32, String> {
    number(text, "a number from 0 to 1", |v| (0.0..=1.0).contains(&v))
}
