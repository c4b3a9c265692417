//! Chat templates: the Jinja source in a GGUF file turns a conversation into the text that the model was trained on.
//!
//! A template comes with the model file, so it is not trusted. It has no access to anything outside, and each rendering
//! has limits of work, depth, output and time. One thing has no limit: between two checks of the engine, a hostile
//! template can turn a long list into text and fill memory until the time is up. Only files from trusted sources avoid
//! this.

use std::io::{self, Write};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value};
use minijinja::{Environment, ErrorKind, State, context};
use minijinja_contrib::pycompat;
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

use super::{Error, Vocab, namespaces, vocab};

/// Limit of a rendering's work without the conversation's share, in minijinja's units: an instruction, or 64 bytes of
/// new text. Llama 3.1's template takes some hundreds for a short conversation.
const FUEL: u64 = 100_000;
/// Further units of work per message, and bytes of the conversation per further unit: messages and text pass through a
/// few filters.
const FUEL_PER_MESSAGE: u64 = 500;
const BYTES_PER_FUEL: u64 = 8;
/// Limit of the output in bytes, besides four times the conversation.
const MAX_OUTPUT: usize = 1 << 20;
/// Limit of the depth of calls, loops and blocks.
const MAX_DEPTH: usize = 100;
/// Limit of the time of a rendering. Usually it takes less than a millisecond.
const MAX_TIME: Duration = Duration::from_secs(5);
/// Limit of the source in bytes. That of Llama 3.1 has 4.5 KiB.
const MAX_SOURCE: usize = 64 << 10;
/// Stack of the engine in bytes. The engine parses and frees expressions recursively: the worst source of 64 KiB takes
/// 34 MiB. The work limit allows lists nested about 10000 deep.
const STACK: usize = 256 << 20;
/// Limit of the `indent` of tojson, in spaces.
const MAX_INDENT: usize = 16;

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// The text of the message.
    pub content: String,
}

impl Message {
    /// Creates a message.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Message {
        Message { role: role.into(), content: content.into() }
    }
}

/// A parsed chat template. It behaves as in Hugging Face transformers: trimmed blocks, Python's string methods,
/// `tojson`, `raise_exception` and `strftime_now`.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    engine: Arc<Environment<'static>>,
    bos: String,
    eos: String,
}

impl ChatTemplate {
    /// The template of a vocabulary. Errors: it is missing or does not parse.
    pub fn from_vocab(vocab: &Vocab) -> Result<ChatTemplate, Error> {
        let missing = || Error::key(vocab::CHAT_TEMPLATE, "is missing, the file does not say how to chat");
        let source = vocab.chat_template.as_deref().ok_or_else(missing)?;
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
        let engine = within_limits(move || ChatTemplate::parse(source))?;
        Ok(ChatTemplate { engine: Arc::new(engine), bos: bos.to_string(), eos: eos.to_string() })
    }

    fn parse(source: String) -> Result<Environment<'static>, Error> {
        let mut engine = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        engine.set_syntax(syntax.map_err(|e| one_line(&e))?);
        engine.set_debug(false);
        engine.set_recursion_limit(MAX_DEPTH);
        engine.set_unknown_method_callback(python_method);
        engine.add_filter("tojson", tojson);
        engine.add_function("raise_exception", raise_exception);
        engine.add_function("strftime_now", strftime_now);
        engine.add_template_owned("chat", source).map_err(|e| one_line(&e))?;
        namespaces::check(&engine, "chat")?;
        Ok(engine)
    }

    /// The text of a conversation, to be encoded with `parse_special` and without another beginning-of-text token.
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
        let fuel = FUEL + FUEL_PER_MESSAGE * messages.len() as u64 + bytes as u64 / BYTES_PER_FUEL;
        let variables = context! {
            messages => Value::from(Serde(messages)),
            add_generation_prompt,
            bos_token => &self.bos,
            eos_token => &self.eos,
            ..Value::from(Serde(extra))
        };
        let mut engine = Environment::clone(&self.engine);
        engine.set_fuel(Some(fuel));
        let limit = MAX_OUTPUT.saturating_add(bytes.saturating_mul(4));
        let run = move || -> Result<String, Error> {
            let mut out = Bounded::new(limit);
            let template = engine.get_template("chat").map_err(|e| one_line(&e))?;
            let rendered = template.render_captured_to(variables, &mut out).map(drop);
            match (out.full, rendered) {
                (true, _) => Err(Error::Template(format!("makes more than {limit} bytes of text"))),
                (false, Err(e)) => Err(one_line(&e)),
                (false, Ok(())) => String::from_utf8(out.bytes).map_err(|e| Error::Template(e.to_string())),
            }
        };
        within_limits(run)
    }
}

/// Runs the engine on its own thread, which sets its stack and time limit. A run that exceeds the time is abandoned.
fn within_limits<T: Send + 'static>(run: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    let (send, receive) = mpsc::sync_channel(1);
    let job = move || drop(send.send(run())); // the receiver is gone if it took too long
    let spawned = thread::Builder::new().name("chat template".to_string()).stack_size(STACK).spawn(job);
    let thread = spawned.map_err(|e| Error::Template(format!("cannot start a thread: {e}")))?;
    match receive.recv_timeout(MAX_TIME) {
        Err(mpsc::RecvTimeoutError::Timeout) => {
            Err(Error::Template(format!("takes more than {} s", MAX_TIME.as_secs())))
        }
        done => {
            let _ = thread.join(); // it has ended, or has panicked
            done.unwrap_or_else(|_| Err(Error::Template("the template engine panicked".to_string())))
        }
    }
}

/// The error and its place, on one line of limited length.
fn one_line(error: &minijinja::Error) -> Error {
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

fn invalid(problem: impl Into<String>) -> minijinja::Error {
    minijinja::Error::new(ErrorKind::InvalidOperation, problem.into())
}

/// The methods of Python's strings, lists and dicts. Those that can make long text from short text are charged first.
fn python_method(state: &mut State, value: &Value, name: &str, args: &[Value]) -> Result<Value, minijinja::Error> {
    if let Some(text) = value.as_str() {
        let len = |v: &Value| v.as_str().map_or(32, str::len);
        let made = match (name, args) {
            ("join", [list]) => return state.apply_filter("join", &[list.clone(), value.clone()]),
            ("replace", [from, to, ..]) => {
                let matches = from.as_str().map_or(0, |from| text.matches(from).count());
                matches.saturating_mul(len(to))
            }
            ("format", _) if text.contains(':') => {
                return Err(invalid("str.format with a format specification is not supported"));
            }
            ("format", _) => text.matches('{').count().saturating_mul(args.iter().map(len).sum()),
            _ => 0,
        };
        state.consume_fuel(made as u64 / 64)?;
    }
    pycompat::unknown_method_callback(state, value, name, args)
}

fn raise_exception(message: String) -> Result<Value, minijinja::Error> {
    Err(invalid(message))
}

/// The local date and time in the format of strftime(3).
fn strftime_now(format: &str) -> Result<String, minijinja::Error> {
    let now = jiff::Zoned::now();
    jiff::fmt::strtime::format(format, &now).map_err(|e| invalid(format!("strftime_now: {e}")))
}

/// JSON as Python's `json.dumps(value, ensure_ascii=False, indent=indent)` writes it.
fn tojson(value: Value, options: Kwargs) -> Result<Value, minijinja::Error> {
    let indent: Option<usize> = options.get("indent")?;
    let ensure_ascii: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    if ensure_ascii == Some(true) {
        return Err(invalid("tojson: ensure_ascii=True is not supported"));
    }
    let mut out = Bounded::new(MAX_OUTPUT);
    let written = match indent {
        None => value.serialize(&mut Serializer::with_formatter(&mut out, OneLine)),
        Some(n) if n <= MAX_INDENT => {
            let spaces = " ".repeat(n);
            let pretty = PrettyFormatter::with_indent(spaces.as_bytes());
            value.serialize(&mut Serializer::with_formatter(&mut out, pretty))
        }
        Some(n) => return Err(invalid(format!("tojson: indent {n}, at most {MAX_INDENT}"))),
    };
    written.map_err(|e| invalid(format!("tojson: {e}")))?;
    String::from_utf8(out.bytes).map(Value::from_safe_string).map_err(|e| invalid(format!("tojson: {e}")))
}

/// Python's separators: `{"a": 1, "b": [1, 2]}`.
struct OneLine;

impl Formatter for OneLine {
    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        out.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        out.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }
}

/// Bytes up to a limit.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
    /// Whether more was written than the limit allows.
    full: bool,
}

impl Bounded {
    fn new(limit: usize) -> Bounded {
        Bounded { bytes: Vec::new(), limit, full: false }
    }
}

impl Write for Bounded {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if data.len() > self.limit - self.bytes.len() {
            self.full = true;
            return Err(io::Error::other(format!("more than {} bytes", self.limit)));
        }
        self.bytes.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
