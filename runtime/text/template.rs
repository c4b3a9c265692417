//! Chat templates: the Jinja source in a GGUF file turns a conversation into the text that the model was trained on.
//!
//! A template comes with the model file, so it is not trusted. It has no access to anything outside, and each rendering
//! has limits of work, depth, output and time. One thing has no limit: between two checks of the engine, a hostile
//! template can turn a long list into text and fill memory until the time is up. Only files from trusted sources avoid
//! this.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use minijinja::value::{Serde, Value};
use minijinja::{ErrorKind, context};

use super::jinja::{self, LATE, Limits, TOO_LONG};
use super::{Error, Message, Vocab, vocab};

/// Limit of a rendering's work without the conversation's share, in minijinja's units: an instruction, or 64 bytes of
/// new text. Llama 3.1's template takes some hundreds for a short conversation.
const FUEL: u64 = 100_000;
/// Further work per message, and per byte of the conversation: a template may look at each character in a loop.
const FUEL_PER_MESSAGE: u64 = 500;
const FUEL_PER_BYTE: u64 = 32;
/// Longest output, in bytes, or eight times the conversation if that is more: what macros and `set` blocks write counts as well.
const MAX_OUTPUT: usize = 1 << 20;
/// Most parts of a variable's value, besides one for each byte of the conversation: its characters may be a list.
const MAX_PARTS: usize = 1 << 18;
/// Longest rendering. The usual one takes less than a millisecond.
const MAX_TIME: Duration = Duration::from_secs(5);
/// Limit of the source in bytes. That of Llama 3.1 has 4.5 KiB.
const MAX_SOURCE: usize = 64 << 10;
/// Stack of the engine, in bytes. It parses and frees expressions recursively: 64 KiB of the worst take 34 MiB. Values of variables
/// are nested at most 100000 deep.
const STACK: usize = 256 << 20;

/// A chat template that parses. It behaves as in Hugging Face transformers: trimmed blocks, `break` and `continue`,
/// `{% generation %}`, Python's string methods and `%`, `tojson`, `raise_exception` and `strftime_now`. `{% block %}` is its content.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    /// In the dialect of [`jinja`].
    source: Arc<str>,
    bos: String,
    eos: String,
}

impl ChatTemplate {
    /// The template of a vocabulary. Errors: it is missing or does not parse.
    pub fn from_vocab(vocab: &Vocab) -> Result<ChatTemplate, Error> {
        let missing = || Error::key(vocab::CHAT_TEMPLATE, "is missing, the file does not say how to chat");
        ChatTemplate::for_vocab(vocab.chat_template.as_deref().ok_or_else(missing)?, vocab)
    }

    /// Parses a template for a vocabulary whose own is missing, or is not wanted: one of [`NamedTemplate`](super::NamedTemplate), or
    /// any other source.
    ///
    /// Errors: those of [`ChatTemplate::new`].
    pub fn for_vocab(source: &str, vocab: &Vocab) -> Result<ChatTemplate, Error> {
        let text = |id: Option<u32>| id.and_then(|id| vocab.tokens.get(id as usize)).map_or("", |text| text);
        ChatTemplate::new(source, text(vocab.bos), text(vocab.eos))
    }

    /// Parses a template. `bos` and `eos` are the texts of the tokens that it calls `bos_token` and `eos_token`.
    ///
    /// Errors: wrong syntax; the source has more than 64 KiB or takes more than 5 s to parse; a namespace is used for
    /// more than its attributes.
    pub fn new(source: &str, bos: &str, eos: &str) -> Result<ChatTemplate, Error> {
        if source.len() > MAX_SOURCE {
            return Err(Error::Template(format!("{} bytes, at most {MAX_SOURCE}", source.len())));
        }
        let source = source.to_string();
        let source = within_limits(move || {
            let source = jinja::dialect(&source).map_err(|e| one_line(&e))?;
            jinja::check(&source)?;
            Ok(source)
        })?;
        Ok(ChatTemplate { source: source.into(), bos: bos.to_string(), eos: eos.to_string() })
    }

    /// The template in the dialect of [`jinja`].
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// The text of a conversation. For a model it is made by [`ChatTemplate::prompt`], which knows what in it are control tokens.
    ///
    /// `add_generation_prompt`: whether to end with the beginning of the assistant's turn. `extra`: further variables,
    /// such as `date_string`.
    ///
    /// Errors: the template refuses the conversation, fails, or exceeds a limit.
    pub fn render(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
        extra: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<String, Error> {
        let sizes = messages.iter().map(|m| m.role.len() + m.content.len());
        let bytes = sizes.sum::<usize>() + serde_json::to_string(extra).map_or(0, |json| json.len());
        let fuel = FUEL + FUEL_PER_MESSAGE * messages.len() as u64 + FUEL_PER_BYTE * bytes as u64;
        let mut extra = extra.clone();
        for name in ["tools", "documents"] {
            extra.entry(name).or_insert(serde_json::Value::Null); // transformers passes None
        }
        let variables = context! {
            messages => Value::from(Serde(messages)),
            add_generation_prompt,
            bos_token => &self.bos,
            eos_token => &self.eos,
            ..Value::from(Serde(&extra))
        };
        let source = Arc::clone(&self.source);
        let limits = Limits {
            fuel,
            output: MAX_OUTPUT.max(bytes.saturating_mul(8)),
            parts: MAX_PARTS.saturating_add(bytes),
            deadline: Instant::now() + MAX_TIME,
        };
        within_limits(move || jinja::render(&source, variables, limits).map_err(|e| one_line(&e)))
    }
}

/// Runs the engine on a thread of its own, for its stack and its time limit. A run that exceeds the time is left behind; it sees the
/// deadline itself when it next stores or writes a value, and ends.
fn within_limits<T: Send + 'static>(run: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    let (send, receive) = mpsc::sync_channel(1);
    let job = move || drop(send.send(run())); // the receiver is gone if it took too long
    let spawned = thread::Builder::new().name("chat template".to_string()).stack_size(STACK).spawn(job);
    let thread = spawned.map_err(|e| Error::Template(format!("cannot start a thread: {e}")))?;
    match receive.recv_timeout(MAX_TIME) {
        Err(mpsc::RecvTimeoutError::Timeout) => Err(late()),
        done => {
            let _ = thread.join(); // it has ended, or has panicked
            done.unwrap_or_else(|_| Err(Error::Template("the template engine panicked".to_string())))
        }
    }
}

/// What went wrong and where, on one line of limited length.
pub(super) fn one_line(error: &minijinja::Error) -> Error {
    match error.detail() {
        Some(LATE) => return late(),
        Some(detail) if detail.starts_with(TOO_LONG) => return Error::Template(detail.to_string()),
        _ => {}
    }
    let problem = match error.kind() {
        ErrorKind::OutOfFuel => "does more work than a conversation needs".to_string(),
        kind => error.detail().map_or_else(|| kind.to_string(), |detail| format!("{kind}: {detail}")),
    };
    let line = error.line().map_or(String::new(), |line| format!("line {line}: "));
    let escape = |c: char| {
        if c.is_control() { c.escape_default().collect() } else { String::from(c) }
    };
    let problem: String = problem.chars().take(300).map(escape).collect();
    Error::Template(line + &problem)
}

fn late() -> Error {
    Error::Template(format!("takes more than {} s", MAX_TIME.as_secs()))
}
