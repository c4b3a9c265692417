//! Functions, filters and tests of Jinja2 that the engine lacks or has otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use minijinja::value::{Object, Rest, Value, ValueKind, from_args};
use minijinja::{Environment, Error, ErrorKind, State};

use super::json;
use super::python::{self, refuse};

/// Adds them. `max_bytes`: longest result of `tojson`.
pub(super) fn add(engine: &mut Environment, max_bytes: usize) {
    engine.set_unknown_method_callback(python::method);
    engine.add_filter("tojson", json::filter(max_bytes));
    engine.add_filter("int", int);
    engine.add_filter("float", float);
    engine.add_filter("center", |state: &mut State, text: Value, width: Option<i64>| {
        python::method(state, &Value::from(text.to_string()), "center", &[Value::from(width.unwrap_or(80))])
    });
    engine.add_filter("wordcount", |text: &str| {
        text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty()).count()
    });
    for name in ["zip", "chain", "lines", "bool"] {
        engine.remove_filter(name); // Jinja2 has none of them, and they make large values of small ones
    }
    engine.add_test("iterable", |value: &Value| !value.is_none() && value.try_iter().is_ok());
    engine.add_test("sequence", |value: &Value| {
        value.is_undefined() || matches!(value.kind(), ValueKind::Seq | ValueKind::String | ValueKind::Map)
    });
    engine.add_test("callable", |value: &Value| value.kind() == ValueKind::Plain);
    engine.add_function("raise_exception", raise_exception);
    engine.add_function("strftime_now", strftime_now);
    engine.add_function("joiner", |separator: Option<String>| {
        let separator = Value::from(separator.unwrap_or_else(|| ", ".to_string()));
        Value::from_object(Joiner { separator, used: AtomicBool::new(false) })
    });
    engine.add_function("cycler", |items: Rest<Value>| {
        if items.is_empty() {
            return Err(refuse("cycler: at least one item has to be provided"));
        }
        Ok(Value::from_object(Cycler { items: items.to_vec(), at: AtomicUsize::new(0) }))
    });
    engine.remove_global("debug");
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(refuse(message))
}

/// The local date and time in the format of strftime(3).
fn strftime_now(format: &str) -> Result<String, Error> {
    let now = jiff::Zoned::now();
    jiff::fmt::strtime::format(format, &now).map_err(|e| refuse(format!("strftime_now: {e}")))
}

/// Jinja2's filter `int`: what is no number becomes the default.
fn int(value: &Value, default: Option<Value>, options: minijinja::value::Kwargs) -> Result<Value, Error> {
    let default = options.get::<Option<Value>>("default")?.or(default).unwrap_or_else(|| Value::from(0));
    let base: Option<u32> = options.get("base")?;
    options.assert_all_used()?;
    let base = base.filter(|base| (2..=36).contains(base)).unwrap_or(10);
    let float = |x: f64| if x.is_finite() && x.abs() < 1e38 { Value::from(x as i128) } else { default.clone() };
    Ok(match value.as_str() {
        Some(text) => {
            let text = text.trim().replace('_', "").to_lowercase();
            let prefix = match base {
                16 => "0x",
                8 => "0o",
                2 => "0b",
                _ => "",
            };
            let digits = text.strip_prefix(prefix).unwrap_or(&text);
            match (i128::from_str_radix(digits, base), text.parse::<f64>()) {
                (Ok(n), _) => Value::from(n),
                (Err(_), Ok(x)) => float(x),
                _ => default,
            }
        }
        None if value.is_integer() => value.clone(),
        None => match (value.kind(), f64::try_from(value.clone())) {
            (ValueKind::Bool, _) => Value::from(i64::from(value.is_true())),
            (ValueKind::Number, Ok(x)) => float(x),
            _ => default,
        },
    })
}

/// Jinja2's filter `float`.
fn float(value: &Value, default: Option<Value>) -> Value {
    let number = match value.as_str() {
        Some(text) => text.trim().parse().ok(),
        None if value.kind() == ValueKind::Bool => Some(f64::from(u8::from(value.is_true()))),
        None if value.kind() == ValueKind::Number => f64::try_from(value.clone()).ok(),
        None => None,
    };
    number.map(Value::from).or(default).unwrap_or_else(|| Value::from(0.0))
}

/// Nothing when it is called first, then the separator.
#[derive(Debug)]
struct Joiner {
    separator: Value,
    used: AtomicBool,
}

impl Object for Joiner {
    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        let () = from_args(args)?;
        Ok(if self.used.swap(true, Ordering::Relaxed) { self.separator.clone() } else { Value::from("") })
    }
}

/// Its items in turn.
#[derive(Debug)]
struct Cycler {
    items: Vec<Value>,
    at: AtomicUsize,
}

impl Object for Cycler {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        (key.as_str() == Some("current")).then(|| self.items[self.at.load(Ordering::Relaxed)].clone())
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, name: &str, args: &[Value]) -> Result<Value, Error> {
        let () = from_args(args)?;
        match name {
            "next" => {
                let at = self.at.load(Ordering::Relaxed);
                self.at.store((at + 1) % self.items.len(), Ordering::Relaxed);
                Ok(self.items[at].clone())
            }
            "reset" => {
                self.at.store(0, Ordering::Relaxed);
                Ok(Value::from(()))
            }
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    }
}
