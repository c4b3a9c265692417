use super::args::ModelArgs;
use super::interrupt::{self, Interrupted, Work};
use super::output::{WholeFile, count, notice};
use anyhow::{Context, Result, bail};
use npyz::WriterBuilder;
use pronk::generate::{LoadOptions, Outputs};
use std::path::PathBuf;

/// Write the logits after each of some tokens to a NumPy file: float32 (tokens, vocabulary)
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Token ids, separated by commas or white space
    #[arg(long, value_name = "IDS", allow_hyphen_values = true, value_parser = ids)]
    tokens: Ids,
    /// The .npy file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Clone)]
struct Ids(Vec<u32>);

fn ids(text: &str) -> Result<Ids, String> {
    let words = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
    match words.map(str::parse).collect::<Result<Vec<u32>, _>>() {
        Ok(ids) if !ids.is_empty() => Ok(Ids(ids)),
        _ => Err("expected token ids such as 1,2,3".to_string()),
    }
}

/// Rows of logits of one step: with Llama 3's vocabulary 64 take 31 MiB.
pub const ROWS_PER_STEP: u32 = 64;

pub fn run(args: &Args) -> Result<()> {
    drop(WholeFile::create(&args.out)?); // finds out before the work whether it can be written
    let (_, model) = args.model.file.model()?;
    let Ids(tokens) = &args.tokens;
    let (n_tokens, n_vocab) = (tokens.len(), model.config.n_vocab);
    if let Some(token) = tokens.iter().find(|token| **token >= n_vocab) {
        bail!("--tokens: {token}, expected ids below {n_vocab}, the length of the vocabulary");
    }
    let options = args.model.on.options(Some(u32::try_from(n_tokens)?));
    let n_ctx = options.n_ctx.unwrap_or(model.config.n_ctx_train);
    if n_tokens > n_ctx as usize {
        bail!("--tokens: {n_tokens} tokens, the context holds {n_ctx} (-c)");
    }
    let options = LoadOptions { max_outputs: ROWS_PER_STEP, ..options };
    let mut session = args.model.on.load(model, &options)?.session;

    let _work = Work::begin()?; // an interrupted run removes what it has written
    let mut out = WholeFile::create(&args.out)?;
    let failed = || format!("{}: cannot write", args.out.display());
    let shape = [n_tokens as u64, n_vocab as u64];
    let npy = npyz::WriteOptions::<f32>::new().default_dtype().shape(&shape).writer(out.writer()).begin_nd();
    let mut npy = npy.with_context(failed)?;
    let mut written = Ok(());
    let (mut done, mut not_finite) = (0, 0);
    session.feed(tokens, Outputs::All, |fed, rows| {
        done = fed;
        not_finite += rows.iter().filter(|logit| !logit.is_finite()).count();
        written = rows.iter().try_for_each(|logit| npy.push(logit));
        written.is_ok() && !interrupt::asked()
    })?;
    written.with_context(failed)?;
    if done < n_tokens {
        return Err(Interrupted.into());
    }
    npy.finish().with_context(failed)?;
    out.commit()?;
    if not_finite > 0 {
        notice(format!("{} not finite (--check-tensors looks for the cause)", count(not_finite, "logit")));
    }
    if !args.model.on.quiet {
        notice(format!("wrote {}: float32 ({n_tokens}, {n_vocab})", args.out.display()));
    }
    Ok(())
}
