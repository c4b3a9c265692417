use super::args::ModelArgs;
use super::interrupt::{self, Work};
use super::output::WholeFile;
use anyhow::{Context, Result, bail};
use npyz::WriterBuilder;
use pronk::generate::{LoadOptions, Outputs};
use std::path::PathBuf;

/// Write the logits after each of some tokens to a NumPy file: float32 (tokens, vocabulary)
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Token ids, separated by commas
    #[arg(long, value_name = "IDS", value_delimiter = ',', required = true)]
    tokens: Vec<u32>,
    /// The .npy file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Rows of logits of one step: with Llama 3's vocabulary 64 take 31 MiB.
pub const ROWS_PER_STEP: u32 = 64;

pub fn run(args: &Args) -> Result<()> {
    let mut out = WholeFile::create(&args.out)?;
    let (_, model) = args.model.file.model()?;
    let (n_tokens, n_vocab) = (args.tokens.len(), model.config.n_vocab);
    if let Some(token) = args.tokens.iter().find(|token| **token >= n_vocab) {
        bail!("--tokens: {token}, expected ids below {n_vocab}, the length of the vocabulary");
    }
    let options = args.model.on.options();
    let n_ctx = options.n_ctx.unwrap_or(u32::try_from(n_tokens)?);
    if n_tokens > n_ctx as usize {
        bail!("--tokens: {n_tokens} tokens, the context holds {n_ctx} (-c)");
    }
    let options = LoadOptions { n_ctx: Some(n_ctx), max_outputs: ROWS_PER_STEP, ..options };
    let mut session = args.model.on.load(model, &options)?.session;

    let _work = Work::begin()?; // an interrupted run removes what it has written
    let failed = || format!("{}: cannot write", args.out.display());
    let shape = [n_tokens as u64, n_vocab as u64];
    let npy = npyz::WriteOptions::<f32>::new().default_dtype().shape(&shape).writer(out.writer()).begin_nd();
    let mut npy = npy.with_context(failed)?;
    let mut written = Ok(());
    let mut done = 0;
    session.feed(&args.tokens, Outputs::All, |tokens, rows| {
        done = tokens;
        written = rows.iter().try_for_each(|logit| npy.push(logit));
        written.is_ok() && !interrupt::asked()
    })?;
    written.with_context(failed)?;
    if done < n_tokens {
        bail!("interrupted");
    }
    npy.finish().with_context(failed)?;
    out.commit()
}
