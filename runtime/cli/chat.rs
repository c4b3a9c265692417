use super::args::{ModelArgs, tokenizer};
use super::interrupt::Interrupted;
use super::output::{count, notice, stdout};
use super::reply::{ContextArgs, ContextEnd, End, Replier, TooLong};
use super::sampling::SamplingArgs;
use super::text::TextArgs;
use anyhow::{Context, Result, bail};
use pronk::text::{ChatTemplate, EncodeOptions, Message, Vocab};
use rustyline::config::Behavior;
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Config, Editor};
use std::io::{self, BufRead, IsTerminal};
use std::path::PathBuf;
use std::time::Instant;

/// Talk with a model: one reply to -p or -f, else line by line until the end of input
///
/// A line /clear forgets the conversation, a line /exit ends it.
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
    #[command(flatten)]
    context: ContextArgs,
}

pub fn run(args: &Args) -> Result<()> {
    let begin = Instant::now();
    let text = args.text.prompt()?;
    let (gguf, model) = args.model.file.model()?;
    let in_file = || args.model.file.model.display().to_string();
    let template = ChatTemplate::from_vocab(&Vocab::from_gguf(&gguf)?).with_context(in_file)?;
    let tokenizer = tokenizer(&gguf, &model)?;
    let loaded = args.model.on.load(model, &args.model.on.options(None))?;
    let mut chat = Chat {
        replier: Replier::new(loaded.session, tokenizer, &args.sampling, args.context, args.model.on.quiet),
        template,
        system: args.system.as_ref().map(|text| Message::new("system", text)),
        turns: vec![],
        path: args.model.file.model.clone(),
        quiet: args.model.on.quiet,
        shifts: args.context.context_end == ContextEnd::Shift,
    };
    if !chat.quiet {
        notice(chat.replier.summary(begin.elapsed(), ""));
    }
    match text {
        Some(text) => {
            let end = chat.turn(&text)?;
            if end == End::ContextFull {
                notice(chat.replier.full());
            }
            end.interrupted()
        }
        None if io::stdin().is_terminal() => chat.on_terminal(),
        None => chat.on_pipe(),
    }
}

/// What a line of input was.
enum Line {
    Command,
    Exit,
    /// A message, and why the reply to it ended.
    Message(End),
    /// A message for which there was no room.
    Unanswered,
}

struct Chat {
    replier: Replier,
    template: ChatTemplate,
    system: Option<Message>,
    /// The conversation so far: messages of the user and the assistant in turn.
    turns: Vec<Message>,
    path: PathBuf,
    quiet: bool,
    /// The oldest messages make room for new ones.
    shifts: bool,
}

impl Chat {
    /// One message and its reply. If there is an error, the message is as if it had not been said.
    fn turn(&mut self, text: &str) -> Result<End> {
        let before = self.turns.clone();
        self.turns.push(Message::new("user", text));
        let reply = self.reply();
        if reply.is_err() {
            self.turns = before; // those that a shift forgot as well
        }
        reply
    }

    /// The whole conversation is rendered and encoded again, since only the template knows where a turn ends; what the KV
    /// cache holds of it is not computed again.
    fn reply(&mut self) -> Result<End> {
        let mut prompt = self.prompt()?;
        let n_ctx = self.replier.n_ctx() as usize;
        if self.shifts && prompt.len() > n_ctx {
            // Half of the context: so that the next message does not shift again.
            let before = self.turns.len();
            while self.turns.len() > 2 && prompt.len() > n_ctx / 2 {
                self.turns.drain(..2);
                prompt = self.prompt()?;
            }
            if !self.quiet && self.turns.len() < before {
                let gone = count(before - self.turns.len(), "oldest message");
                notice(format!("the context is full: {gone} forgotten"));
            }
        }
        let reply = self.replier.reply(&prompt, &mut stdout())?;
        if !self.quiet {
            notice(&reply);
        }
        self.turns.push(Message::new("assistant", reply.text));
        Ok(reply.end)
    }

    /// The whole conversation, as the model reads it.
    fn prompt(&self) -> Result<Vec<u32>> {
        let in_file = || self.path.display().to_string();
        let messages: Vec<Message> = self.system.iter().chain(&self.turns).cloned().collect();
        let text = self.template.render(&messages, true, &serde_json::Map::new()).with_context(in_file)?;
        let options = EncodeOptions { add_bos: false, parse_special: true };
        self.replier.tokenizer().encode(&text, options).with_context(in_file)
    }

    /// A line of a conversation of many. That the context is full does not end it.
    fn line(&mut self, line: &str) -> Result<Line> {
        match line.trim() {
            "" => return Ok(Line::Command),
            "/exit" => return Ok(Line::Exit),
            "/clear" => {
                self.turns.clear();
                self.replier.clear();
                return Ok(Line::Command);
            }
            _ => {}
        }
        let line = match self.turn(line) {
            // A first message has no conversation to blame.
            Err(e) if e.is::<TooLong>() && !self.turns.is_empty() => Line::Unanswered,
            end => Line::Message(end?),
        };
        if matches!(line, Line::Unanswered | Line::Message(End::ContextFull)) {
            let n_ctx = self.replier.n_ctx();
            notice(format!("the conversation is full ({n_ctx} tokens): /clear begins a new one, -c gives more room"));
        }
        Ok(line)
    }

    /// Reads lines from a terminal, with editing and history. Ctrl-D ends it, so does Ctrl-C outside of a reply.
    fn on_terminal(&mut self) -> Result<()> {
        // The terminal itself shows the prompt: stdout is for replies.
        let config = Config::builder().behavior(Behavior::PreferTerm).auto_add_history(true).build();
        let history = MemHistory::with_config(&config);
        let mut editor = Editor::<(), MemHistory>::with_history(config, history)?;
        if !self.quiet {
            notice("/clear forgets the conversation, /exit or Ctrl-D ends it");
        }
        loop {
            match editor.readline("> ") {
                Ok(line) => match self.line(&line) {
                    Ok(Line::Exit) => return Ok(()),
                    Ok(Line::Message(End::Interrupted)) => notice(Interrupted),
                    Ok(_) => {}
                    // Nobody would read what follows.
                    Err(e) if super::is_closed_pipe(&e) => return Err(e),
                    // What goes wrong in a turn does not end the conversation: the next message may fit.
                    Err(e) => notice(format!("{e:#}")),
                },
                Err(ReadlineError::Eof | ReadlineError::Interrupted) => return Ok(()),
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// One message per line. Errors: there was no room for a reply to one of them; the others have theirs.
    fn on_pipe(&mut self) -> Result<()> {
        let mut unanswered = 0;
        for line in io::stdin().lock().lines() {
            match self.line(&line.context("stdin: cannot read")?)? {
                Line::Exit => break,
                Line::Command => {}
                Line::Message(end) => end.interrupted()?,
                Line::Unanswered => unanswered += 1,
            }
        }
        if unanswered > 0 {
            bail!("{} without a reply: the conversation was full", count(unanswered, "message"));
        }
        Ok(())
    }
}
