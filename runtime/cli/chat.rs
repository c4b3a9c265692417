//! `pronk chat`: a conversation on a terminal, on a pipe, or of a single message.

mod command;
mod editor;
mod lines;
mod saved;

use super::advice;
use super::args::ModelArgs;
use super::chat_template;
use super::interrupt::{self, Interrupted, Work};
use super::output::{count, notice};
use super::reply::{self, Collected, ContextArgs, Progress};
use super::sampling::{SamplingArgs, seed};
use super::text::TextArgs;
use super::wrap;
use anyhow::{Context, Error, Result, bail};
use clap::error::ErrorKind;
use command::{Command, Input};
use editor::Lines;
use lines::Joined;
use pronk::generate::{self, Chat, End, LanguageModel, tokenizer};
use pronk::gguf::excerpt;
use pronk::text::Vocab;
use std::io::{self, BufRead, IsTerminal, Write};
use std::time::Instant;

/// Chat with a model: one reply to -p or -f, else a reply to each line of stdin
///
/// A text that is piped in beside -p is put after it. The line /help lists the commands of a conversation; messages may have several
/// lines, after a \ at the end of a line or between two """.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    text: TextArgs,
    /// System message [default: that of the chat template]
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    system: Option<String>,
    #[command(flatten)]
    template: chat_template::ChatTemplateArgs,
    /// Parse control tokens such as <|eot_id|> in messages, and print those of the replies
    #[arg(long)]
    special: bool,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    context: ContextArgs,
    /// Print each reply as a JSON object: text, tokens, reason of the end, timings
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let begin = Instant::now();
    let text = args.text.prompt_and_stdin(args.model.on.quiet)?;
    if args.json && text.is_none() && io::stdin().is_terminal() {
        super::usage::error("chat", ErrorKind::MissingRequiredArgument, "--json needs a message: -p, -f, or stdin");
    }
    let options = args.sampling.options(args.context.context_end(), &args.text, args.special)?;
    let (gguf, model) = args.model.file.model()?;
    let in_file = || args.model.file.model.display().to_string();
    let vocab = Vocab::from_gguf(&gguf)?;
    let template = match args.template.source()? {
        Some(given) => given.template(&vocab)?,
        None => chat_template::of_file(&vocab).with_context(in_file)?,
    };
    let tokenizer = tokenizer(&gguf, &model)?;
    let loaded = args.model.on.load(model, &args.model.on.options(None))?;
    let mut model = LanguageModel::new(loaded, tokenizer);
    let mut chat = Chat::new(&mut model, template);
    chat.set_system(args.system.as_deref());
    chat.options = options;
    chat.parse_special = args.special;
    let mut talk = Talk { chat, quiet: args.model.on.quiet, json: args.json };
    if !talk.quiet {
        notice(reply::summary(talk.chat.model(), begin.elapsed(), "", seed(&talk.chat.options.sampler)));
    }
    match text {
        Some(text) => {
            let end = talk.turn(&text)?;
            if end == End::ContextFull {
                notice(args.context.full(talk.chat.model()));
            }
            reply::interrupted(end)
        }
        None if io::stdin().is_terminal() => talk.on_terminal(),
        None => talk.on_pipe(),
    }
}

/// The outcome of an input.
enum Outcome {
    /// No message: a command, or nothing.
    Done,
    Exit,
    /// A message that got a reply, and why the reply ended.
    Replied(End),
    /// A message that did not fit into the context.
    Unanswered,
}

struct Talk<'m> {
    chat: Chat<'m>,
    quiet: bool,
    json: bool,
}

impl Talk<'_> {
    /// Sends a message and writes the reply. After an error the conversation does not have the message.
    fn turn(&mut self, text: &str) -> Result<End> {
        let _work = Work::begin();
        let seed = self.chat.seed();
        let mut progress = Progress::new(self.chat.model(), self.quiet)?;
        let turn = self.chat.say(text)?;
        if turn.n_forgotten() > 0 && !self.quiet {
            let gone = count(turn.n_forgotten(), "oldest message");
            notice(format!("the context is full: {gone} forgotten"));
        }
        let mut turn = turn.on_event(|event| progress.show(event)).cancel_when(interrupt::asked);
        if self.json {
            let reply = Collected::of(&mut turn)?;
            let end = turn.end().expect("it was read to its end");
            reply.print(end, turn.stats(), seed)?;
            return Ok(end);
        }
        reply::write(&mut turn, &mut wrap::stdout())?;
        let end = turn.end().expect("it was written to its end");
        if !self.quiet {
            notice(reply::timings(turn.stats(), end));
        }
        Ok(end)
    }

    /// Handles an input of a conversation, which goes on if the context is full.
    fn input(&mut self, text: &str) -> Result<Outcome> {
        match Input::of(text) {
            Input::Nothing => Ok(Outcome::Done),
            Input::Message(text) => self.message(&text),
            Input::Wrong(what) => {
                notice(what);
                Ok(Outcome::Done)
            }
            Input::Command(Command::Exit) => Ok(Outcome::Exit),
            Input::Command(Command::Regenerate) => self.regenerate(),
            Input::Command(command) => {
                self.command(command)?;
                Ok(Outcome::Done)
            }
        }
    }

    fn message(&mut self, text: &str) -> Result<Outcome> {
        let outcome = match self.turn(text) {
            // If the first message is too long, /clear does not help: that is an error.
            Err(e) if is_too_long(&e) && !self.chat.turns().is_empty() => Outcome::Unanswered,
            end => Outcome::Replied(end?),
        };
        if matches!(outcome, Outcome::Unanswered | Outcome::Replied(End::ContextFull)) {
            let n_ctx = self.chat.model().n_ctx();
            notice(format!("the conversation is full ({n_ctx} tokens): /clear begins a new one, -c gives more room"));
        }
        Ok(outcome)
    }

    /// Replies again to the last message. If that fails, the earlier reply stays.
    fn regenerate(&mut self) -> Result<Outcome> {
        let before = self.chat.turns().to_vec();
        let Some(text) = self.chat.undo() else {
            notice("there is no message yet");
            return Ok(Outcome::Done);
        };
        let outcome = self.message(&text);
        if !matches!(outcome, Ok(Outcome::Replied(_))) {
            self.chat.resume(before);
        }
        outcome
    }

    /// Runs a command that needs no reply.
    fn command(&mut self, command: Command) -> Result<()> {
        match command {
            Command::Help => write!(io::stderr(), "{}", command::help()).unwrap_or_default(),
            Command::Clear => self.chat.clear(),
            Command::Undo => match self.chat.undo() {
                Some(text) => self.say(format!("forgotten: {}, and the reply", excerpt(&text))),
                None => notice("there is no message yet"),
            },
            Command::System(Some(text)) => self.chat.set_system(Some(&text)),
            Command::System(None) => match self.chat.system() {
                Some(text) => notice(format!("system message: {text}")),
                None => notice("no system message is set: the chat template may have its own"),
            },
            Command::Save(path) => {
                saved::save(&path, &self.chat.model().model().config, self.chat.system(), self.chat.turns())?;
                self.say(format!("wrote {}: {}", path.display(), count(self.chat.turns().len(), "message")));
            }
            Command::Load(path) => {
                let (system, turns) = saved::load(&path, &self.chat.model().model().config)?;
                let n = turns.len();
                self.chat.set_system(system.as_deref());
                self.chat.resume(turns);
                self.say(format!("{}: {}; the next reply reads them", path.display(), count(n, "message")));
            }
            Command::Exit | Command::Regenerate => unreachable!("the caller has handled them"),
        }
        Ok(())
    }

    fn say(&self, what: String) {
        if !self.quiet {
            notice(what);
        }
    }

    /// Reads messages from a terminal until Ctrl-D, or two times Ctrl-C at an empty prompt.
    fn on_terminal(&mut self) -> Result<()> {
        let mut lines = Lines::new(self.quiet)?;
        self.say("/help lists the commands, /exit or Ctrl-D ends the conversation".to_string());
        while let Some(text) = lines.next()? {
            match self.input(&text) {
                Ok(Outcome::Exit) => return Ok(()),
                Ok(Outcome::Replied(End::Cancelled)) => notice(Interrupted),
                Ok(_) => {}
                // Nothing reads stdout any more.
                Err(e) if super::is_closed_pipe(&e) => return Err(e),
                // Other errors do not end the conversation: the next message may fit.
                Err(e) => notice(advice::line(&e)),
            }
        }
        Ok(())
    }

    /// Answers each line of a pipe. Errors: some messages did not fit; the others have their replies.
    fn on_pipe(&mut self) -> Result<()> {
        let mut unanswered = 0;
        for text in Joined(io::stdin().lock().lines()) {
            match self.input(&text.context("stdin: cannot read")?)? {
                Outcome::Exit => break,
                Outcome::Done => {}
                Outcome::Replied(end) => reply::interrupted(end)?,
                Outcome::Unanswered => unanswered += 1,
            }
        }
        if unanswered > 0 {
            bail!("{} without a reply: the conversation was full", count(unanswered, "message"));
        }
        Ok(())
    }
}

fn is_too_long(e: &Error) -> bool {
    matches!(e.downcast_ref(), Some(generate::Error::TooLong { .. }))
}
