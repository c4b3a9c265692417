//! The line editor of a conversation on a terminal.

use super::super::output::notice;
use super::lines;
use anyhow::Result;
use rustyline::completion::Completer;
use rustyline::config::Behavior;
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{
    Cmd, ConditionalEventHandler, Config, Editor, Event, EventContext, EventHandler, Helper, KeyCode, KeyEvent,
    Modifiers, Movement, RepeatCount,
};
use std::borrow::Cow;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Messages that the history keeps.
const HISTORY: usize = 1000;

/// Edits messages. Those of earlier conversations are in its history.
pub struct Lines {
    editor: Editor<Style, FileHistory>,
    /// The file of the history; None where there is none, or it could not be written.
    history: Option<PathBuf>,
    quiet: bool,
    /// The texts of the present message at which [`Enter`] began a new line.
    ended: Arc<Mutex<Vec<String>>>,
    /// Whether the last key was Ctrl-C at an empty prompt.
    interrupted: bool,
}

impl Lines {
    pub fn new(quiet: bool) -> Result<Lines> {
        // The prompt goes to the terminal itself: stdout is for replies.
        let config =
            Config::builder().behavior(Behavior::PreferTerm).auto_add_history(true).max_history_size(HISTORY)?;
        let config = config.build();
        let history = FileHistory::with_config(&config);
        let mut editor = Editor::<Style, FileHistory>::with_history(config, history)?;
        let has_colors = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        editor.set_helper(Some(Style { has_colors }));
        let ended = Arc::new(Mutex::new(vec![]));
        let conditional = |handler| EventHandler::Conditional(handler);
        for enter in [KeyEvent(KeyCode::Enter, Modifiers::NONE), KeyEvent::ctrl('J')] {
            editor.bind_sequence(enter, conditional(Box::new(Enter(ended.clone()))));
        }
        for enter in [KeyEvent(KeyCode::Enter, Modifiers::ALT), KeyEvent::alt('\r'), KeyEvent::alt('\n')] {
            editor.bind_sequence(enter, EventHandler::Simple(Cmd::Newline));
        }
        editor.bind_sequence(KeyEvent::ctrl('C'), conditional(Box::new(Interrupt)));
        editor
            .bind_sequence(KeyEvent(KeyCode::Tab, Modifiers::NONE), EventHandler::Simple(Cmd::Insert(1, "\t".into())));
        let mut lines = Lines { editor, history: history_file(), ended, quiet, interrupted: false };
        if let Some(path) = lines.history.clone().filter(|path| path.exists()) {
            let loaded = lines.editor.load_history(&path);
            loaded.unwrap_or_else(|e| lines.without_history(&path, "cannot be read", &e));
        }
        Ok(lines)
    }

    /// The next message; None after Ctrl-D, and after two times Ctrl-C at an empty prompt.
    pub fn next(&mut self) -> Result<Option<String>> {
        loop {
            let line = self.editor.readline("> ");
            let ended = std::mem::take(&mut *self.ended.lock().expect("no panic while it is held"));
            match line {
                Ok(line) => {
                    self.interrupted = false;
                    self.keep();
                    return Ok(Some(without_backslashes(line, &ended)));
                }
                Err(ReadlineError::Eof) => return Ok(None),
                Err(ReadlineError::Interrupted) if self.interrupted => return Ok(None),
                Err(ReadlineError::Interrupted) => {
                    self.interrupted = true;
                    notice("Ctrl-C once more, Ctrl-D or /exit ends the conversation");
                }
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Appends the last message to the file of the history.
    fn keep(&mut self) {
        let Some(path) = self.history.clone() else { return };
        let folder = path.parent().map_or(Ok(()), fs::create_dir_all).map_err(ReadlineError::Io);
        let kept = folder.and_then(|()| self.editor.append_history(&path));
        kept.unwrap_or_else(|e| self.without_history(&path, "cannot be written", &e));
    }

    /// Says once what is wrong, and goes on without the file.
    fn without_history(&mut self, path: &Path, what: &str, e: &ReadlineError) {
        self.history = None;
        if !self.quiet {
            notice(format!("{}: {what}, the history of messages is not kept: {e}", path.display()));
        }
    }
}

/// Where the system keeps what programs remember for a user.
fn history_file() -> Option<PathBuf> {
    let folder = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = folder("XDG_STATE_HOME").or_else(|| match cfg!(windows) {
        true => folder("LOCALAPPDATA"),
        false => folder("HOME").map(|home| home.join(".local/state")),
    });
    Some(state?.join("pronk/chat_history"))
}

/// What the user types, in green.
struct Style {
    has_colors: bool,
}

impl Highlighter for Style {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        match self.has_colors {
            true => Cow::Owned(format!("\x1b[32m{line}\x1b[0m")),
            false => Cow::Borrowed(line),
        }
    }

    fn highlight_char(&self, _: &str, _: usize, _: CmdKind) -> bool {
        self.has_colors
    }
}

/// Where the terminal has no editing, lines are joined here.
impl Validator for Style {
    fn validate(&self, context: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        Ok(if lines::is_open(context.input()) { ValidationResult::Incomplete } else { ValidationResult::Valid(None) })
    }
}

impl Completer for Style {
    type Candidate = String;
}

impl Hinter for Style {
    type Hint = String;
}

impl Helper for Style {}

/// Enter: after a backslash at the end of the text, a new line. It keeps each text that ended so, for [`without_backslashes`].
struct Enter(Arc<Mutex<Vec<String>>>);

impl ConditionalEventHandler for Enter {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext) -> Option<Cmd> {
        let line = context.line();
        let goes_on = context.pos() == line.len() && line.ends_with('\\') && !lines::is_open(line);
        goes_on.then(|| {
            self.0.lock().expect("no panic while it is held").push(line.to_string());
            Cmd::Newline
        })
    }
}

/// The message without the backslashes after which Enter began a new line. Those of a pasted text stay.
fn without_backslashes(mut text: String, ended: &[String]) -> String {
    for start in ended.iter().rev() {
        if text.strip_prefix(start.as_str()).is_some_and(|rest| rest.starts_with('\n')) {
            text.remove(start.len() - 1);
        }
    }
    text
}

/// Ctrl-C: a text that is not sent yet is dropped. At an empty prompt it has its usual meaning.
struct Interrupt;

impl ConditionalEventHandler for Interrupt {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext) -> Option<Cmd> {
        (!context.line().is_empty()).then_some(Cmd::Kill(Movement::WholeBuffer))
    }
}
