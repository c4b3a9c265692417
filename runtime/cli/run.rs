use super::args::{ModelArgs, SamplingArgs, TextArgs, tokenizer};
use super::output::notice;
use super::reply::Replier;
use anyhow::{Context, Result};
use pronk::text::EncodeOptions;
use std::io;
use std::time::Instant;

/// Continue a text
#[derive(clap::Args)]
#[command(mut_group("TextArgs", |group| group.required(true)))]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    text: TextArgs,
    /// Recognize control tokens such as <|eot_id|> in the text
    #[arg(long)]
    special: bool,
    #[command(flatten)]
    sampling: SamplingArgs,
}

pub fn run(args: &Args) -> Result<()> {
    let begin = Instant::now();
    let prompt = args.text.prompt()?.unwrap_or_default();
    let (gguf, model) = args.model.file.model()?;
    let tokenizer = tokenizer(&gguf, &model)?;
    let options = EncodeOptions { add_bos: tokenizer.add_bos(), parse_special: args.special };
    let prompt = tokenizer.encode(&prompt, options).with_context(|| args.model.file.model.display().to_string())?;
    let loaded = args.model.on.load(model, &args.model.on.options())?;
    let mut replier = Replier::new(loaded.session, tokenizer, &args.sampling);
    let load_time = begin.elapsed().as_secs_f64();
    let reply = replier.reply(&prompt, &mut io::stdout().lock())?;
    if !args.model.on.quiet {
        notice(format!("{}: load {load_time:.2} s; {reply}; seed {}", replier.device(), replier.seed()));
    }
    Ok(())
}
