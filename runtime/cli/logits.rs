//! `pronk logits`: logits as a NumPy array.

use super::advice;
use super::args::ModelArgs;
use super::interrupt::{self, Interrupted, Work};
use super::output::{WholeFile, count, notice, tokens_bar};
use super::text::{TextArgs, notice_two_bos};
use anyhow::{Context, Result, bail};
use clap::ArgGroup;
use npyz::WriterBuilder;
use pronk::generate::{LoadOptions, Outputs, tokenizer};
use pronk::text::EncodeOptions;
use std::path::{Path, PathBuf};

/// Write the logits after each token of a text to a NumPy file, float32 (tokens, vocabulary)
#[derive(clap::Args)]
#[command(group = ArgGroup::new("input").required(true).args(["tokens", "prompt", "file"]))]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Token ids instead of a text, separated by commas or white space
    #[arg(long, value_name = "IDS", allow_hyphen_values = true, value_parser = ids)]
    tokens: Option<Ids>,
    #[command(flatten)]
    text: TextArgs,
    /// Parse control tokens such as <|eot_id|> in the text
    #[arg(long)]
    special: bool,
    /// Only the logits after the last token: (1, vocabulary)
    #[arg(long)]
    last: bool,
    /// .npy file to write
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

/// Rows of logits per step. With Llama 3's vocabulary they take 31 MiB.
pub const ROWS_PER_STEP: u32 = 64;

pub fn run(args: &Args) -> Result<()> {
    let (gguf, model) = args.model.file.model()?;
    // An output that cannot be written is an error before the work.
    WholeFile::create(&args.out)?.refuse_inputs(gguf.files().iter().map(Path::new).chain(args.text.path()))?;
    let n_vocab = model.config.n_vocab;
    let tokens = match (&args.tokens, args.text.prompt()?) {
        (Some(Ids(tokens)), _) => tokens.clone(),
        (None, text) => {
            let tokenizer = tokenizer(&gguf, &model)?;
            let options = EncodeOptions { add_bos: tokenizer.add_bos(), parse_special: args.special };
            let tokens = tokenizer.encode(&text.unwrap_or_default(), options);
            let tokens = tokens.with_context(|| args.model.file.model.display().to_string())?;
            if !args.model.on.quiet {
                notice_two_bos(&tokens, &tokenizer);
            }
            tokens
        }
    };
    let n_tokens = tokens.len();
    if n_tokens == 0 {
        bail!("the text has no tokens");
    }
    if let Some(token) = tokens.iter().find(|token| **token >= n_vocab) {
        bail!("--tokens: {token}, expected ids below {n_vocab}, the length of the vocabulary");
    }
    let options = args.model.on.options(Some(u32::try_from(n_tokens)?));
    let n_ctx = options.n_ctx.unwrap_or(model.config.n_ctx_train);
    if n_tokens > n_ctx as usize {
        bail!("{n_tokens} tokens, the context holds {n_ctx} (-c)");
    }
    let (outputs, n_rows) = if args.last { (Outputs::Last, 1) } else { (Outputs::All, n_tokens) };
    let options = LoadOptions { max_outputs: ROWS_PER_STEP.min(n_rows as u32), ..options };
    let mut session = args.model.on.load(model, &options)?.session;

    let _work = Work::begin(); // an interrupted run removes its unfinished file
    let mut out = WholeFile::create(&args.out)?;
    let shape = [n_rows as u64, n_vocab as u64];
    let npy = npyz::WriteOptions::<f32>::new().default_dtype().shape(&shape).writer(&mut out).begin_nd();
    let mut npy = npy?;
    let mut not_finite = 0;
    let mut write = |rows: &[f32]| {
        not_finite += rows.iter().filter(|logit| !logit.is_finite()).count();
        rows.iter().try_for_each(|logit| npy.push(logit))
    };
    let (mut done, mut written) = (0, Ok(()));
    let bar = tokens_bar(n_tokens)?;
    session.feed(&tokens, outputs, |fed, rows| {
        done = fed;
        bar.set_position(fed as u64);
        written = write(rows);
        written.is_ok() && !interrupt::asked()
    })?;
    bar.finish_and_clear();
    written?;
    if done < n_tokens {
        return Err(Interrupted.into());
    }
    if args.last {
        let mut row = vec![];
        session.logits(&mut row)?;
        write(&row)?;
    }
    npy.finish()?;
    out.commit()?;
    if not_finite > 0 {
        let (name, advice) = (args.model.file.model.display(), advice::not_finite(session.plan().kv.ty));
        notice(format!("{name}: {} not finite {advice}", count(not_finite, "logit")));
    }
    if !args.model.on.quiet {
        notice(format!("wrote {}: float32 ({n_rows}, {n_vocab})", args.out.display()));
    }
    Ok(())
}
