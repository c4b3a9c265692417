//! `pronk run`: continues a text.

use super::args::ModelArgs;
use super::interrupt::{self, Work};
use super::output::notice;
use super::reply::{self, Collected, ContextArgs, Progress};
use super::sampling::{SamplingArgs, seed};
use super::text::{self, TextArgs};
use super::wrap;
use anyhow::{Context, Result};
use clap::error::ErrorKind;
use pronk::generate::{End, LanguageModel, tokenizer};
use pronk::text::EncodeOptions;
use std::io::{self, IsTerminal};
use std::time::Instant;

/// Continue a text, given by -p, by -f or on stdin
///
/// A text that is piped in beside -p is put after it.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    text: TextArgs,
    /// Parse control tokens such as <|eot_id|> in the text, and print those of the reply
    #[arg(long)]
    special: bool,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    context: ContextArgs,
    /// Print the reply as a JSON object: text, tokens, reason of the end, timings
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let begin = Instant::now();
    let prompt = match args.text.prompt_and_stdin(args.model.on.quiet)? {
        Some(prompt) => prompt,
        None if io::stdin().is_terminal() => {
            let what = "one of --prompt and --file is required where stdin is a terminal";
            super::usage::error("run", ErrorKind::MissingRequiredArgument, what)
        }
        None => text::without_last_newline(text::stdin()?),
    };
    let (gguf, model) = args.model.file.model()?;
    let tokenizer = tokenizer(&gguf, &model)?;
    let options = EncodeOptions { add_bos: tokenizer.add_bos(), parse_special: args.special };
    let prompt = tokenizer.encode(&prompt, options).with_context(|| args.model.file.model.display().to_string())?;
    if !args.model.on.quiet {
        text::notice_two_bos(&prompt, &tokenizer);
    }
    let loaded = args.model.on.load(model, &args.model.on.options(None))?;
    let mut model = LanguageModel::new(loaded, tokenizer);
    let load_time = begin.elapsed();

    let _work = Work::begin();
    let options = args.sampling.options(args.context.context_end(), &args.text, args.special)?;
    let seed = seed(&options.sampler);
    let mut progress = Progress::new(&model, args.model.on.quiet)?;
    let reply = model.generate_tokens(&prompt, options)?;
    let mut reply = reply.on_event(|event| progress.show(event)).cancel_when(interrupt::asked);
    let collected = match args.json {
        true => Some(Collected::of(&mut reply)?),
        false => {
            reply::write(&mut reply, &mut wrap::stdout())?;
            None
        }
    };
    let (end, stats) = (reply.end().expect("it was read to its end"), reply.stats().clone());
    drop(reply);
    if let Some(collected) = collected {
        collected.print(end, &stats, seed)?;
        return reply::interrupted(end);
    }
    if end == End::ContextFull {
        notice(args.context.full(&model));
    }
    if !args.model.on.quiet {
        let timings = format!("; {}", reply::timings(&stats, end));
        notice(reply::summary(&model, load_time, &timings, seed));
    }
    reply::interrupted(end)
}
