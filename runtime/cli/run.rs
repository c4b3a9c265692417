use super::args::{ModelArgs, tokenizer};
use super::output::{notice, stdout};
use super::reply::{ContextArgs, End, Replier};
use super::sampling::SamplingArgs;
use super::text::{self, TextArgs};
use anyhow::{Context, Result};
use clap::error::ErrorKind;
use pronk::text::EncodeOptions;
use std::io::{self, IsTerminal};
use std::time::Instant;

/// Continue a text: that of -p or -f, else stdin's
#[derive(clap::Args)]
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
    #[command(flatten)]
    context: ContextArgs,
}

pub fn run(args: &Args) -> Result<()> {
    let begin = Instant::now();
    let prompt = match args.text.prompt()? {
        Some(prompt) => prompt,
        None if io::stdin().is_terminal() => {
            let what = "one of --prompt and --file is required where stdin is a terminal";
            super::usage_error("run", ErrorKind::MissingRequiredArgument, what)
        }
        None => text::without_last_newline(text::stdin()?),
    };
    let (gguf, model) = args.model.file.model()?;
    let tokenizer = tokenizer(&gguf, &model)?;
    let options = EncodeOptions { add_bos: tokenizer.add_bos(), parse_special: args.special };
    let prompt = tokenizer.encode(&prompt, options).with_context(|| args.model.file.model.display().to_string())?;
    let loaded = args.model.on.load(model, &args.model.on.options(None))?;
    let mut replier = Replier::new(loaded.session, tokenizer, &args.sampling, args.context, args.model.on.quiet);
    let load_time = begin.elapsed();
    let reply = replier.reply(&prompt, &mut stdout())?;
    if reply.end == End::ContextFull {
        notice(replier.full());
    }
    if !args.model.on.quiet {
        notice(replier.summary(load_time, &format!("; {reply}")));
    }
    reply.end.interrupted()
}
