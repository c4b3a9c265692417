//! The filter `tojson` of Hugging Face transformers: Python's `json.dumps`, without the escapes of HTML that Jinja's own filter adds.

use std::fmt::Write;

use minijinja::value::{Kwargs, Rest, Value, ValueKind};
use minijinja::{Error, State};

use super::python::{float, refuse};
use crate::text::prompt::MARKS;

/// Longest `indent`, in characters.
const MAX_INDENT: usize = 16;

/// How it is written: the arguments of `json.dumps`.
struct Style {
    ensure_ascii: bool,
    /// What a level is indented by; None: all on one line.
    indent: Option<String>,
    between_items: String,
    after_key: String,
    sort_keys: bool,
}

impl Style {
    /// From the arguments of the filter: `ensure_ascii`, `indent`, `separators`, `sort_keys`, by place or by name.
    fn new(places: &[Value], names: &Kwargs) -> Result<Style, Error> {
        let argument = |at: usize, name: &str| -> Result<Option<Value>, Error> {
            let named: Option<Value> = names.get(name)?;
            Ok(named.or_else(|| places.get(at).cloned()).filter(|value| !value.is_none()))
        };
        let truth = |value: Option<Value>| value.is_some_and(|value| value.is_true());
        let ensure_ascii = truth(argument(0, "ensure_ascii")?);
        let indent = argument(1, "indent")?.map(indent).transpose()?;
        let (between_items, after_key) = match argument(2, "separators")? {
            None => (if indent.is_some() { "," } else { ", " }.to_string(), ": ".to_string()),
            Some(pair) => {
                let texts: Vec<Value> = pair.try_iter()?.collect();
                match texts.iter().map(Value::as_str).collect::<Vec<_>>()[..] {
                    [Some(items), Some(key)] if items.len().max(key.len()) <= MAX_INDENT => (items.into(), key.into()),
                    _ => {
                        return Err(refuse(format!(
                            "tojson: separators: expected two texts of at most {MAX_INDENT} bytes"
                        )));
                    }
                }
            }
        };
        let sort_keys = truth(argument(3, "sort_keys")?);
        if places.len() > 4 {
            return Err(refuse("tojson: more than 4 arguments"));
        }
        names.assert_all_used()?;
        Ok(Style { ensure_ascii, indent, between_items, after_key, sort_keys })
    }
}

/// A number of spaces, or the text itself.
fn indent(value: Value) -> Result<String, Error> {
    match (value.as_str(), i64::try_from(value.clone())) {
        (Some(text), _) if text.len() <= MAX_INDENT => Ok(text.to_string()),
        (Some(text), _) => Err(refuse(format!("tojson: indent of {} bytes, at most {MAX_INDENT}", text.len()))),
        (None, Ok(n)) if n <= MAX_INDENT as i64 => Ok(" ".repeat(n.max(0) as usize)),
        (None, Ok(n)) => Err(refuse(format!("tojson: indent {n}, at most {MAX_INDENT}"))),
        (None, Err(e)) => Err(e),
    }
}

/// The filter. `max_bytes`: longest result.
pub(super) fn tojson(
    state: &State,
    max_bytes: usize,
    value: &Value,
    places: &[Value],
    names: &Kwargs,
) -> Result<Value, Error> {
    let mut writer = Writer { out: String::new(), max_bytes, style: Style::new(places, names)? };
    writer.value(value, 0)?;
    state.consume_fuel(writer.out.len() as u64 / 8)?; // each byte is worth some of those that an operator copies
    Ok(Value::from_safe_string(writer.out))
}

/// [`tojson`] as the engine calls it.
pub(super) fn filter(
    max_bytes: usize,
) -> impl Fn(&mut State, &Value, Rest<Value>, Kwargs) -> Result<Value, Error> + Send + Sync + 'static {
    move |state, value, places, names| tojson(state, max_bytes, value, &places, &names)
}

struct Writer {
    out: String,
    max_bytes: usize,
    style: Style,
}

impl Writer {
    fn value(&mut self, value: &Value, level: usize) -> Result<(), Error> {
        if self.out.len() > self.max_bytes {
            return Err(refuse(format!("tojson: more than {} bytes", self.max_bytes)));
        }
        match value.kind() {
            ValueKind::String => self.text(value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => {
                let items = value.try_iter()?;
                self.items('[', ']', level, items, |writer, item| writer.value(&item, level + 1))?;
            }
            ValueKind::Map => {
                let mut pairs: Vec<(String, Value)> = vec![];
                for key in value.try_iter()? {
                    let of_key = value.get_item(&key)?;
                    pairs.push((Writer::key(&key)?, of_key));
                }
                if self.style.sort_keys {
                    pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
                }
                self.items('{', '}', level, pairs, |writer, (key, value)| {
                    writer.text(&key);
                    let after_key = std::mem::take(&mut writer.style.after_key);
                    writer.out.push_str(&after_key);
                    writer.style.after_key = after_key;
                    writer.value(&value, level + 1)
                })?;
            }
            _ => self.out += &Writer::scalar(value)?,
        }
        Ok(())
    }

    fn items<T>(
        &mut self,
        open: char,
        close: char,
        level: usize,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Writer, T) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.out.push(open);
        let mut any = false;
        for item in items {
            if any {
                let Writer { out, style, .. } = self;
                out.push_str(&style.between_items);
            }
            any = true;
            self.new_line(level + 1)?;
            write(self, item)?;
        }
        if any {
            self.new_line(level)?;
        }
        self.out.push(close);
        Ok(())
    }

    fn new_line(&mut self, level: usize) -> Result<(), Error> {
        let Some(indent) = &self.style.indent else { return Ok(()) };
        if self.out.len() + level * indent.len() > self.max_bytes {
            return Err(refuse(format!("tojson: more than {} bytes", self.max_bytes)));
        }
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n(indent.as_str(), level));
        Ok(())
    }

    /// A key, which JSON has as a text.
    fn key(key: &Value) -> Result<String, Error> {
        match key.as_str() {
            Some(text) => Ok(text.to_string()),
            None => Writer::scalar(key).map_err(|_| refuse("tojson: keys must be str, int, float, bool or None")),
        }
    }

    fn scalar(value: &Value) -> Result<String, Error> {
        match value.kind() {
            ValueKind::None => Ok("null".to_string()),
            ValueKind::Bool => Ok(value.is_true().to_string()),
            ValueKind::Number if value.is_integer() => Ok(value.to_string()),
            ValueKind::Number => Ok(match float(f64::try_from(value.clone())?) {
                text if text == "nan" => "NaN".to_string(),
                text if text.ends_with("inf") => text.replace("inf", "Infinity"),
                text => text,
            }),
            kind => Err(refuse(format!("tojson: a value that is {kind} has no JSON"))),
        }
    }

    fn text(&mut self, text: &str) {
        let out = &mut self.out;
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\x08' => out.push_str("\\b"),
                '\x0c' => out.push_str("\\f"),
                c if c < ' ' || (self.style.ensure_ascii && c > '~' && !MARKS.contains(&c)) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        let _ = write!(out, "\\u{unit:04x}"); // a String takes every text
                    }
                }
                c => out.push(c),
            }
        }
        out.push('"');
    }
}
