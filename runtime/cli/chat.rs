//! `pronk chat`: a conversation on a terminal, on a pipe, or of a single message.

use super::advice;
use super::args::ModelArgs;
use super::chat_template;
use super::interrupt::{self, Interrupted, Work};
use super::output::{count, notice, stdout};
use super::reply::{self, ContextArgs, Progress};
use super::sampling::{SamplingArgs, seed};
use super::text::TextArgs;
use anyhow::{Context, Error, Result, bail};
use pronk::generate::{self, Chat, End, LanguageModel, tokenizer};
use pronk::text::Vocab;
use rustyline::config::Behavior;
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Config, Editor};
use std::io::{self, BufRead, IsTerminal};
use std::time::Instant;

/// Chat with a model: one reply to -p or -f, else a reply to each line of stdin
///
/// The line /clear forgets the conversation, the line /exit ends it.
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
}

pub fn run(args: &Args) -> Result<()> {
    let begin = Instant::now();
    let text = args.text.prompt()?;
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
    let mut talk = Talk { chat, quiet: args.model.on.quiet };
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

/// The outcome of a line of input.
enum Line {
    Command,
    Exit,
    /// A message that got a reply, and why the reply ended.
    Message(End),
    /// A message that did not fit into the context.
    Unanswered,
}

struct Talk<'m> {
    chat: Chat<'m>,
    quiet: bool,
}

impl Talk<'_> {
    /// Sends a message and writes the reply. After an error the conversation does not have the message.
    fn turn(&mut self, text: &str) -> Result<End> {
        let _work = Work::begin();
        let mut progress = Progress::new(self.chat.model(), self.quiet)?;
        let turn = self.chat.say(text)?;
        if turn.n_forgotten() > 0 && !self.quiet {
            let gone = count(turn.n_forgotten(), "oldest message");
            notice(format!("the context is full: {gone} forgotten"));
        }
        let mut turn = turn.on_event(|event| progress.show(event)).cancel_when(interrupt::asked);
        reply::write(&mut turn, &mut stdout())?;
        let end = turn.end().expect("it was written to its end");
        if !self.quiet {
            notice(reply::timings(turn.stats(), end));
        }
        Ok(end)
    }

    /// Handles a line of a conversation, which goes on if the context is full.
    fn line(&mut self, line: &str) -> Result<Line> {
        match line.trim() {
            "" => return Ok(Line::Command),
            "/exit" => return Ok(Line::Exit),
            "/clear" => {
                self.chat.clear();
                return Ok(Line::Command);
            }
            _ => {}
        }
        let line = match self.turn(line) {
            // If the first message is too long, /clear does not help: that is an error.
            Err(e) if is_too_long(&e) && !self.chat.turns().is_empty() => Line::Unanswered,
            end => Line::Message(end?),
        };
        if matches!(line, Line::Unanswered | Line::Message(End::ContextFull)) {
            let n_ctx = self.chat.model().n_ctx();
            notice(format!("the conversation is full ({n_ctx} tokens): /clear begins a new one, -c gives more room"));
        }
        Ok(line)
    }

    /// Reads lines from a terminal, with editing and history, until Ctrl-D, or Ctrl-C outside of a reply.
    fn on_terminal(&mut self) -> Result<()> {
        // The prompt goes to the terminal itself: stdout is for replies.
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
                    Ok(Line::Message(End::Cancelled)) => notice(Interrupted),
                    Ok(_) => {}
                    // Nothing reads stdout any more.
                    Err(e) if super::is_closed_pipe(&e) => return Err(e),
                    // Other errors do not end the conversation: the next message may fit.
                    Err(e) => notice(advice::line(&e)),
                },
                Err(ReadlineError::Eof | ReadlineError::Interrupted) => return Ok(()),
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Answers each line of a pipe. Errors: some messages did not fit; the others have their replies.
    fn on_pipe(&mut self) -> Result<()> {
        let mut unanswered = 0;
        for line in io::stdin().lock().lines() {
            match self.line(&line.context("stdin: cannot read")?)? {
                Line::Exit => break,
                Line::Command => {}
                Line::Message(end) => reply::interrupted(end)?,
                Line::Unanswered => unanswered += 1,
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
