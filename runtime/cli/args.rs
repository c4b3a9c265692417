//! Arguments that several subcommands share.

use super::output::{bytes_bar, count, notice};
use super::overrides::{OverrideArgs, notice_unread};
use anyhow::{Context, Result};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use pronk::backend::DeviceChoice;

use pronk::generate::{LoadEvent, LoadOptions, Loaded, load_model};
use pronk::gguf::Gguf;
use pronk::model::{Model, PlanOptions, check_tensors};
use pronk::plan::KvType;
use std::path::PathBuf;
use std::thread;

/// The model file.
#[derive(Args)]
pub struct FileArgs {
    /// GGUF file
    #[arg(short, long, value_name = "FILE")]
    pub model: PathBuf,
    #[command(flatten)]
    overrides: OverrideArgs,
}

impl FileArgs {
    /// The file, with the values that the command line gives in place of its own.
    pub fn gguf(&self) -> Result<Gguf> {
        Ok(self.overrides.open(&self.model)?)
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
    #[command(flatten)]
    pub on: DeviceArgs,
}

/// What a model runs on.
#[derive(Args)]
pub struct DeviceArgs {
    /// auto (the first GPU that can run the model, else the CPU), or what `pronk devices` lists: cpu, cuda, cuda:1, wgpu, sim, ...
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Context; 0: the model's own, lowered to what fits in memory (so do run and chat without it)
    #[arg(short = 'c', long, value_name = "TOKENS")]
    ctx_size: Option<u32>,
    /// Number format of the KV cache
    #[arg(long, alias = "kv-type", value_name = "TYPE", default_value = "f16", value_parser = kv_type())]
    kv: KvType,
    /// CPU threads; without it one per core
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MAX_THREADS))]
    threads: Option<u16>,
    /// Look for NaN and infinity in every tensor first
    #[arg(long)]
    check_tensors: bool,
    /// Print no timings, and no notices but what a reply was cut for
    #[arg(short, long)]
    pub quiet: bool,
}

/// More threads than any machine has cores.
const MAX_THREADS: i64 = 1024;
/// Threads per core beyond which a slip of the fingers is likely.
const USEFUL_THREADS: usize = 4;

fn kv_type() -> impl TypedValueParser<Value = KvType> {
    let of_name = |name: String| KvType::ALL.into_iter().find(|ty| ty.name() == name);
    PossibleValuesParser::new(KvType::ALL.map(KvType::name)).map(move |name| of_name(name).expect("a possible value"))
}

impl DeviceArgs {
    /// How the command line wants the model loaded. `n_ctx` is the context without -c; none is the model's own.
    pub fn options(&self, n_ctx: Option<u32>) -> LoadOptions {
        let n_ctx = match self.ctx_size {
            None => n_ctx,
            Some(0) => None,
            given => given,
        };
        LoadOptions { device: self.device, n_ctx, kv: self.kv, ..LoadOptions::default() }
    }

    /// Loads a model, with a progress bar on a terminal, and prints what the user should know. Whatever else the command reads of
    /// the file's metadata, it has read.
    pub fn load(&self, model: Model, options: &LoadOptions) -> Result<Loaded> {
        if let (false, Some(gguf)) = (self.quiet, model.gguf()) {
            notice_unread(gguf);
        }
        if let Some(threads) = self.threads {
            let cores = thread::available_parallelism().map_or(1, usize::from);
            if !self.quiet && usize::from(threads) > USEFUL_THREADS * cores {
                notice(format!(
                    "-t {threads}: there are only {}, more threads slow each other down",
                    count(cores, "core")
                ));
            }
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.into());
            pool.build_global().with_context(|| format!("-t {threads}"))?;
        }
        if let (true, Some(gguf)) = (self.check_tensors, model.gguf()) {
            // Refuses tensors that are not the model's, of whatever size.
            model.plan(&PlanOptions { n_ctx: 1, max_tokens: 1, max_outputs: 1, kv: options.kv })?;
            check_tensors(gguf)?;
        }
        let bar = bytes_bar(0)?;
        let loaded = load_model(model, options, &mut |event| match event {
            LoadEvent::Weights { done, total } => {
                bar.set_length(total);
                bar.set_position(done);
            }
            LoadEvent::LargeContext { .. } if self.quiet => {}
            LoadEvent::LargeContext { .. } => bar.suspend(|| notice(&event)),
        });
        bar.finish_and_clear();
        let loaded = loaded?;
        if !self.quiet {
            loaded.notices.iter().for_each(notice);
        }
        Ok(loaded)
    }
}
