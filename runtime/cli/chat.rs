use super::args::{ModelArgs, SamplingArgs, TextArgs, tokenizer};
use super::output::notice;
use super::reply::Replier;
use anyhow::{Context, Result};
use pronk::text::{ChatTemplate, EncodeOptions, Message, Vocab};
use rustyline::config::Behavior;
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Config, Editor};
use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;
use std::time::Instant;

/// Talk with a model: one reply to -p or -f, else line by line until the end of input
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    text: TextArgs,
    /// What the model is told before the conversation; without it what its template says
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    system: Option<String>,
    #[command(flatten)]
    sampling: SamplingArgs,
}

pub fn run(args: &Args) -> Result<()> {
    let begin = Instant::now();
    let text = args.text.prompt()?;
    let (gguf, model) = args.model.file.model()?;
    let in_file = || args.model.file.model.display().to_string();
    let template = ChatTemplate::from_vocab(&Vocab::from_gguf(&gguf)?).with_context(in_file)?;
    let tokenizer = tokenizer(&gguf, &model)?;
    let loaded = args.model.on.load(model, &args.model.on.options())?;
    let mut chat = Chat {
        replier: Replier::new(loaded.session, tokenizer, &args.sampling),
        template,
        messages: args.system.iter().map(|text| Message::new("system", text)).collect(),
        path: args.model.file.model.clone(),
        quiet: args.model.on.quiet,
    };
    if !chat.quiet {
        let load_time = begin.elapsed().as_secs_f64();
        notice(format!("{}: load {load_time:.2} s; seed {}", chat.replier.device(), chat.replier.seed()));
    }
    match text {
        Some(text) => chat.turn(&text),
        None if io::stdin().is_terminal() => chat.on_terminal(),
        None => chat.on_pipe(),
    }
}

struct Chat {
    replier: Replier,
    template: ChatTemplate,
    /// The conversation so far.
    messages: Vec<Message>,
    path: PathBuf,
    quiet: bool,
}

impl Chat {
    /// One message and its reply. If there is an error, the message is as if it had not been said.
    fn turn(&mut self, text: &str) -> Result<()> {
        self.messages.push(Message::new("user", text));
        let reply = self.reply();
        if reply.is_err() {
            self.messages.pop();
        }
        reply
    }

    /// The whole conversation is rendered and encoded again, since only the template knows where a turn ends; what the KV
    /// cache holds of it is not computed again.
    fn reply(&mut self) -> Result<()> {
        let in_file = || self.path.display().to_string();
        let text = self.template.render(&self.messages, true, &serde_json::Map::new()).with_context(in_file)?;
        let options = EncodeOptions { add_bos: false, parse_special: true };
        let prompt = self.replier.tokenizer().encode(&text, options).with_context(in_file)?;
        let reply = self.replier.reply(&prompt, &mut io::stdout().lock())?;
        if !self.quiet {
            notice(&reply);
        }
        self.messages.push(Message::new("assistant", reply.text));
        Ok(())
    }

    /// Reads lines from a terminal, with editing and history. Ctrl-D ends it, so does Ctrl-C outside of a reply.
    fn on_terminal(&mut self) -> Result<()> {
        // The terminal itself shows the prompt: stdout is for replies.
        let config = Config::builder().behavior(Behavior::PreferTerm).auto_add_history(true).build();
        let history = MemHistory::with_config(&config);
        let mut editor = Editor::<(), MemHistory>::with_history(config, history)?;
        loop {
            match editor.readline("> ") {
                Ok(line) if line.trim().is_empty() => {}
                // What goes wrong in a turn does not end the conversation: the next message may fit.
                Ok(line) => self.turn(&line).or_else(recoverable)?,
                Err(ReadlineError::Eof | ReadlineError::Interrupted) => return Ok(()),
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// One message per line.
    fn on_pipe(&mut self) -> Result<()> {
        for line in io::stdin().lock().lines() {
            let line = line.context("stdin")?;
            if !line.trim().is_empty() {
                self.turn(&line)?;
            }
        }
        Ok(())
    }
}

/// Prints an error and goes on, unless nobody would read what follows.
fn recoverable(e: anyhow::Error) -> Result<()> {
    if super::is_closed_pipe(&e) {
        return Err(e);
    }
    notice(format!("{e:#}"));
    Ok(())
}
