//! Arguments that several subcommands share.

use super::advice;
use super::device_name::device;
use super::model_path::model_file;
use super::numbers::whole_in;
use super::output::{bytes_bar, count, notice};
use super::overrides::{OverrideArgs, notice_unread};
use super::threads;
use super::trial;
use anyhow::{Context, Result};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use pronk::backend::{BackendOptions, DeviceChoice};

use pronk::generate::{LoadEvent, LoadOptions, Loaded, load_model};
use pronk::gguf::Gguf;
use pronk::model::{Model, PlanOptions, check_tensors};
use pronk::plan::KvType;
use std::path::PathBuf;

/// The model file.
#[derive(Args)]
pub struct FileArgs {
    /// GGUF file
    #[arg(short, long, value_name = "FILE", value_parser = model_file())]
    pub model: PathBuf,
    #[command(flatten)]
    overrides: OverrideArgs,
}

impl FileArgs {
    /// Opens the file, with the overrides of the command line in place.
    pub fn gguf(&self) -> Result<Gguf> {
        Ok(self.overrides.open(&self.model)?)
    }

    /// Opens the file and reads its model.
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

/// The device, and how a model is loaded onto it.
#[derive(Args)]
pub struct DeviceArgs {
    /// Device to run on: auto (the first GPU that can run the model, else the CPU) or an id from `pronk devices`, such
    /// as cuda:1; with +ref, the reference runs what the device lacks
    #[arg(long, default_value = "auto", value_parser = device)]
    device: DeviceChoice,
    /// Context length; 0: the model's own, or the largest that fits [default: 0 for run and chat, else what is needed]
    #[arg(short = 'c', long, value_name = "TOKENS", value_parser = whole_in::<u32>(0..=u32::MAX.into()))]
    ctx_size: Option<u32>,
    /// Number format of the KV cache
    #[arg(long, alias = "kv-type", value_name = "TYPE", default_value = "f16", value_parser = kv_type())]
    kv: KvType,
    /// Number of CPU threads; 0 or -1: one per core [default: one per core]
    #[arg(short, long, value_name = "N", value_parser = whole_in::<i16>(-1..=MAX_THREADS))]
    threads: Option<i16>,
    /// On the CPU, read weights where they are in the file instead of a copy in a faster layout: slower, without the memory
    #[arg(long)]
    no_repack: bool,
    /// On the CPU, round activations to 16 bits instead of 8: slower, and closer to f32
    #[arg(long)]
    precise: bool,
    /// Check every tensor for NaN and infinity before the start
    #[arg(long)]
    check_tensors: bool,
    /// Print no timings and no notices, except that the context is full
    #[arg(short, long)]
    pub quiet: bool,
}

/// The limit of `-t`: more threads than any machine has cores.
const MAX_THREADS: i128 = 1024;
/// Threads per core above which `-t` gets a notice: more is probably a typing error.
const USEFUL_THREADS: usize = 4;

fn kv_type() -> impl TypedValueParser<Value = KvType> {
    let of_name = |name: String| KvType::ALL.into_iter().find(|ty| ty.name() == name);
    PossibleValuesParser::new(KvType::ALL.map(KvType::name)).map(move |name| of_name(name).expect("a possible value"))
}

impl DeviceArgs {
    /// The options of the load. `n_ctx` is the context where -c is not given; None: the model's own.
    pub fn options(&self, n_ctx: Option<u32>) -> LoadOptions {
        let n_ctx = match self.ctx_size {
            None => n_ctx,
            Some(0) => None,
            given => given,
        };
        let backend = BackendOptions { repack: !self.no_repack, precise: self.precise };
        LoadOptions { device: self.device, n_ctx, kv: self.kv, backend, ..LoadOptions::default() }
    }

    /// Loads a model, with a progress bar on a terminal, and prints the notices. Call it after everything else that
    /// reads the file's metadata: it reports the overrides that nothing has read.
    pub fn load(&self, model: Model, options: &LoadOptions) -> Result<Loaded> {
        if let (false, Some(gguf)) = (self.quiet, model.gguf()) {
            notice_unread(gguf);
        }
        if let Some(n) = self.threads.filter(|n| *n > 0) {
            let n = n.unsigned_abs();
            let cores = threads::cores();
            if !self.quiet && usize::from(n) > USEFUL_THREADS * cores {
                notice(format!(
                    "-t {n}: this machine has {}; more threads than cores are slower",
                    count(cores, "core")
                ));
            }
            threads::start(n).with_context(|| format!("-t {n}"))?;
        }
        if let (true, Some(gguf)) = (self.check_tensors, model.gguf()) {
            // Refuses tensors that do not belong to the model before their values are read.
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
            loaded.notices.iter().map(advice::of_notice).for_each(notice);
            trial::notices(&loaded.session.device(), &loaded.session.replaced());
        }
        Ok(loaded)
    }
}
