//! What templates take from Python: the methods of strings, lists and dicts, the operator `%` of strings, the texts of floats.

use minijinja::formatting::{FormatStyle, format};
use minijinja::value::{Kwargs, Rest, Tuple, Value, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State};
use minijinja_contrib::pycompat;

/// Widest field of a text that is formatted or justified, in characters.
const MAX_WIDTH: usize = 10_000;

/// The error of an operation that a template may not do.
pub(super) fn refuse(problem: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, problem.into())
}

/// A float as Python's `repr` writes it: the shortest digits, with an exponent below 1e-4 and from 1e16 on.
pub(super) fn float(x: f64) -> String {
    let size = x.abs();
    if x.is_nan() {
        "nan".to_string()
    } else if size.is_finite() && size != 0.0 && !(1e-4..1e16).contains(&size) {
        let text = format!("{x:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
        format!("{digits}e{sign}{exponent:0>2}")
    } else if size.is_finite() && x.fract() == 0.0 {
        format!("{x:.1}")
    } else {
        x.to_string()
    }
}

/// `left % right`: the remainder of numbers; with a text on the left what Python's printf-style formatting makes.
pub(super) fn remainder(state: &mut State, left: Value, right: Value) -> Result<Value, Error> {
    let Some(text) = left.as_str() else {
        return python_remainder(&left, &right);
    };
    check_widths(text)?;
    let by_name = text.replace("%%", "").contains("%(");
    let values: Vec<Value> = match right.downcast_object_ref::<Tuple>() {
        Some(tuple) => tuple.iter().cloned().collect(),
        None if by_name && right.kind() == ValueKind::Map => {
            let mut pairs = vec![];
            for key in right.try_iter()? {
                pairs.push((key.to_string(), right.get_item(&key)?));
            }
            vec![Value::from(Kwargs::from_iter(pairs))]
        }
        None => vec![right.clone()],
    };
    let n_fields = text.replace("%%", "").matches('%').count();
    if !by_name && right.kind() != ValueKind::Map && n_fields < values.len() {
        return Err(refuse("not all arguments converted during string formatting"));
    }
    state.apply_filter("format", &[&[left.clone()][..], &values].concat())
}

/// The remainder has the sign of the divisor, as in Python.
fn python_remainder(left: &Value, right: &Value) -> Result<Value, Error> {
    let impossible =
        || refuse(format!("tried to use % operator on unsupported types {} and {}", left.kind(), right.kind()));
    if let (Ok(a), Ok(b)) = (i128::try_from(left.clone()), i128::try_from(right.clone()))
        && [left, right].into_iter().all(|v| v.is_integer() || v.kind() == ValueKind::Bool)
    {
        let remainder = a.checked_rem(b).ok_or_else(|| refuse("division by zero"))?;
        let same_sign = remainder == 0 || (remainder < 0) == (b < 0);
        return Ok(Value::from(if same_sign { remainder } else { remainder + b }));
    }
    if left.is_undefined() || right.is_undefined() || left.is_none() || right.is_none() {
        return Err(impossible());
    }
    match (f64::try_from(left.clone()), f64::try_from(right.clone())) {
        (Ok(_), Ok(0.0)) => Err(refuse("division by zero")),
        (Ok(a), Ok(b)) => {
            let remainder = a % b;
            Ok(Value::from(if remainder != 0.0 && (remainder < 0.0) != (b < 0.0) { remainder + b } else { remainder }))
        }
        _ => Err(impossible()),
    }
}

/// Refuses formats with widths above [`MAX_WIDTH`], or with widths that are not in the text itself.
fn check_widths(text: &str) -> Result<(), Error> {
    let too_wide = text
        .split(|c: char| !c.is_ascii_digit())
        .any(|n| n.len() > 5 || n.parse::<usize>().is_ok_and(|n| n > MAX_WIDTH));
    let specs = text.contains(['%', ':']);
    if specs && too_wide {
        return Err(refuse(format!("a format with a number above {MAX_WIDTH}")));
    }
    Ok(())
}

/// The methods of Python's strings, lists and dicts.
pub(super) fn method(state: &mut State, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    if let Some(text) = value.as_str()
        && let Some(result) = string_method(state, value, text, name, args)?
    {
        return Ok(result);
    }
    match (value.kind(), name) {
        (ValueKind::Seq, "index") => {
            let (what,): (&Value,) = from_args(args)?;
            let at = value.try_iter()?.position(|item| item == *what);
            at.map(Value::from).ok_or_else(|| refuse("index: the list does not have the value"))
        }
        (ValueKind::Seq | ValueKind::Map, "copy") => {
            let () = from_args(args)?;
            Ok(value.clone())
        }
        _ => pycompat::unknown_method_callback(state, value, name, args),
    }
}

/// A method of strings; None if it is one of those that minijinja-contrib has as Python does.
fn string_method(
    state: &mut State,
    value: &Value,
    text: &str,
    name: &str,
    args: &[Value],
) -> Result<Option<Value>, Error> {
    let len = |v: &Value| v.as_str().map_or(32, str::len);
    let result = match name {
        "split" | "rsplit" => {
            let (places, names): (Rest<Value>, Kwargs) = from_args(args)?;
            let sep: Option<Value> = names.get::<Option<Value>>("sep")?.or_else(|| places.first().cloned());
            let max: Option<Value> = names.get::<Option<Value>>("maxsplit")?.or_else(|| places.get(1).cloned());
            names.assert_all_used()?;
            let max = max.map(i64::try_from).transpose()?.and_then(|n| usize::try_from(n).ok());
            let sep = match &sep {
                Some(sep) if !sep.is_none() => {
                    Some(sep.as_str().ok_or_else(|| refuse("split: the separator is no text"))?)
                }
                _ => None,
            };
            Value::from(split(text, sep, max.unwrap_or(usize::MAX), name == "rsplit")?)
        }
        "partition" | "rpartition" => {
            let (sep,): (&str,) = from_args(args)?;
            if sep.is_empty() {
                return Err(refuse("partition: the separator is empty"));
            }
            let (parts, last) =
                if name == "partition" { (text.split_once(sep), false) } else { (text.rsplit_once(sep), true) };
            let (head, sep, tail) = match (parts, last) {
                (Some((head, tail)), _) => (head, sep, tail),
                (None, false) => (text, "", ""),
                (None, true) => ("", "", text),
            };
            Value::from(Tuple::from([head, sep, tail].map(Value::from)))
        }
        "removeprefix" | "removesuffix" => {
            let (part,): (&str,) = from_args(args)?;
            let rest = if name == "removeprefix" { text.strip_prefix(part) } else { text.strip_suffix(part) };
            Value::from(rest.unwrap_or(text))
        }
        "find" | "rfind" | "index" | "rindex" => {
            let (part, start, end): (&str, Option<i64>, Option<i64>) = from_args(args)?;
            let found = window(text, start, end).and_then(|(before, window)| {
                let at = if name.starts_with('r') { window.rfind(part) } else { window.find(part) };
                at.map(|at| before + window[..at].chars().count())
            });
            match found {
                Some(at) => Value::from(at),
                None if name.ends_with("find") => Value::from(-1),
                None => return Err(refuse(format!("{name}: substring not found"))),
            }
        }
        "count" => {
            let (part, start, end): (&str, Option<i64>, Option<i64>) = from_args(args)?;
            Value::from(window(text, start, end).map_or(0, |(_, window)| window.matches(part).count()))
        }
        "startswith" | "endswith" if args.len() > 1 => {
            let (part, start, end): (Value, Option<i64>, Option<i64>) = from_args(args)?;
            match window(text, start, end) {
                Some((_, window)) => return method(state, &Value::from(window), name, &[part]).map(Some),
                None => Value::from(false),
            }
        }
        "zfill" | "center" | "ljust" | "rjust" => {
            let (width, fill): (i64, Option<&str>) = from_args(args)?;
            let fill = fill.unwrap_or(if name == "zfill" { "0" } else { " " });
            let fill = fill.chars().next().filter(|_| fill.chars().count() == 1);
            let fill = fill.ok_or_else(|| refuse(format!("{name}: the fill character must be one character")))?;
            Value::from(justify(text, name, width, fill)?)
        }
        "expandtabs" => {
            let (places, names): (Rest<Value>, Kwargs) = from_args(args)?;
            let size: Option<Value> = names.get::<Option<Value>>("tabsize")?.or_else(|| places.first().cloned());
            let size = size.map(i64::try_from).transpose()?.unwrap_or(8).max(0) as usize;
            check_width("expandtabs", size)?;
            state.consume_fuel(text.matches('\t').count().saturating_mul(size) as u64 / 64)?;
            Value::from(expand_tabs(text, size))
        }
        "swapcase" => {
            let () = from_args(args)?;
            let swap = |c: char| -> String {
                if c.is_uppercase() { c.to_lowercase().collect() } else { c.to_uppercase().collect() }
            };
            Value::from(text.chars().map(swap).collect::<String>())
        }
        "casefold" => {
            let () = from_args(args)?;
            Value::from(text.replace(['ß', 'ẞ'], "ss").to_lowercase())
        }
        "title" => {
            let () = from_args(args)?;
            Value::from(title(text))
        }
        "istitle" => {
            let () = from_args(args)?;
            Value::from(title(text) == text && text.chars().any(char::is_alphabetic))
        }
        "isidentifier" => {
            let () = from_args(args)?;
            let inside = text.chars().all(|c| c == '_' || c.is_alphanumeric());
            Value::from(inside && text.chars().next().is_some_and(|c| !c.is_numeric()))
        }
        "isdecimal" | "isdigit" => {
            let () = from_args(args)?;
            let digit = |c: char| c.is_ascii_digit() || (c.is_numeric() && name == "isdigit" && is_superscript(c));
            Value::from(!text.is_empty() && text.chars().all(digit))
        }
        "isprintable" => {
            let () = from_args(args)?;
            Value::from(text.chars().all(|c| c == ' ' || !(c.is_control() || c.is_whitespace())))
        }
        "isspace" => {
            let () = from_args(args)?;
            Value::from(!text.is_empty() && text.chars().all(is_space))
        }
        "strip" | "lstrip" | "rstrip" => {
            let (chars,): (Option<&str>,) = from_args(args)?;
            let stripped = |c: char| chars.map_or_else(|| is_space(c), |chars| chars.contains(c));
            Value::from(match name {
                "strip" => text.trim_matches(stripped),
                "lstrip" => text.trim_start_matches(stripped),
                _ => text.trim_end_matches(stripped),
            })
        }
        "splitlines" => {
            let (places, names): (Rest<Value>, Kwargs) = from_args(args)?;
            let keep: Option<Value> = names.get::<Option<Value>>("keepends")?.or_else(|| places.first().cloned());
            Value::from(lines(text, keep.is_some_and(|keep| keep.is_true())))
        }
        "join" => {
            let (list,): (&Value,) = from_args(args)?;
            let n_items = list.len().unwrap_or(0);
            state.consume_fuel(n_items.saturating_mul(text.len().max(32)) as u64 / 64)?;
            if !list.try_iter()?.all(|item| item.as_str().is_some()) {
                return Err(refuse("join: the list has items that are no texts"));
            }
            return state.apply_filter("join", &[list.clone(), value.clone()]).map(Some);
        }
        "replace" => {
            if let [from, to, ..] = args {
                let matches = from.as_str().map_or(0, |from| text.matches(from).count());
                state.consume_fuel(matches.saturating_mul(len(to)) as u64 / 64)?;
            }
            return Ok(None);
        }
        "format" => {
            check_widths(text)?;
            let n_fields = text.matches('{').count();
            let nested = text.split('{').any(|field| field.contains(':')) && text.contains("{}}");
            if nested && text.contains(":{") {
                return Err(refuse("str.format with a field inside of a field is not supported"));
            }
            let widest = if text.contains(':') { MAX_WIDTH.min(widest(text)) } else { 0 };
            let each = args.iter().map(len).sum::<usize>().saturating_add(widest);
            state.consume_fuel(n_fields.saturating_mul(each) as u64 / 64)?;
            Value::from(format(FormatStyle::StrFormat, text, args)?)
        }
        _ => return Ok(None),
    };
    Ok(Some(result))
}

/// The largest number in a format.
fn widest(text: &str) -> usize {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).max().unwrap_or(0)
}

fn check_width(what: &str, width: usize) -> Result<(), Error> {
    if width > MAX_WIDTH { Err(refuse(format!("{what}: width {width}, at most {MAX_WIDTH}"))) } else { Ok(()) }
}

/// What Python's `str.isspace` takes for white space.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

fn is_superscript(c: char) -> bool {
    matches!(c, '²' | '³' | '¹' | '\u{2070}'..='\u{2089}')
}

/// The pieces between separators, or between runs of white space; at most `max` cuts, from the right if `from_right`.
fn split(text: &str, sep: Option<&str>, max: usize, from_right: bool) -> Result<Vec<Value>, Error> {
    let mut pieces = vec![];
    let cuts = max.saturating_add(1);
    match (sep, from_right) {
        (Some(""), _) => return Err(refuse("split: the separator is empty")),
        (Some(sep), false) => pieces.extend(text.splitn(cuts, sep)),
        (Some(sep), true) => pieces.extend(text.rsplitn(cuts, sep)),
        (None, false) => {
            let mut rest = text.trim_start_matches(is_space);
            while pieces.len() < max
                && let Some(at) = rest.find(is_space)
            {
                pieces.push(&rest[..at]);
                rest = rest[at..].trim_start_matches(is_space);
            }
            pieces.extend(Some(rest).filter(|rest| !rest.is_empty()));
        }
        (None, true) => {
            let mut rest = text.trim_end_matches(is_space);
            while pieces.len() < max
                && let Some((at, c)) = rest.char_indices().rfind(|(_, c)| is_space(*c))
            {
                pieces.push(&rest[at + c.len_utf8()..]);
                rest = rest[..at].trim_end_matches(is_space);
            }
            pieces.extend(Some(rest).filter(|rest| !rest.is_empty()));
        }
    }
    if from_right {
        pieces.reverse();
    }
    Ok(pieces.into_iter().map(Value::from).collect())
}

/// The part of a text between two indices of characters, as Python's slices count, and how many characters are before it.
/// None if it begins beyond the end.
fn window(text: &str, start: Option<i64>, end: Option<i64>) -> Option<(usize, &str)> {
    if start.is_none() && end.is_none() {
        return Some((0, text));
    }
    let n = text.chars().count() as i64;
    let place = |at: i64| if at < 0 { (at + n).max(0) } else { at };
    let (start, end) = (place(start.unwrap_or(0)), place(end.unwrap_or(n)).min(n));
    let byte = |at: i64| text.char_indices().nth(at as usize).map_or(text.len(), |(byte, _)| byte);
    (start <= end).then(|| (start as usize, &text[byte(start)..byte(end)]))
}

/// `zfill`, `center`, `ljust`, `rjust`.
fn justify(text: &str, name: &str, width: i64, fill: char) -> Result<String, Error> {
    let width = width.max(0) as usize;
    check_width(name, width)?;
    let room = width.saturating_sub(text.chars().count());
    let left = match name {
        "ljust" => 0,
        "center" => room / 2 + (room & width & 1), // as CPython rounds it
        _ => room,
    };
    let fills = |n: usize| fill.to_string().repeat(n);
    let sign = text.len() - text.trim_start_matches(['+', '-']).len();
    let sign = if name == "zfill" { sign.min(1) } else { 0 };
    Ok(format!("{}{}{}{}", &text[..sign], fills(left), &text[sign..], fills(room - left)))
}

fn expand_tabs(text: &str, size: usize) -> String {
    let (mut out, mut column) = (String::new(), 0);
    for c in text.chars() {
        match c {
            '\t' if size == 0 => {}
            '\t' => {
                let n = size - column % size;
                out.extend(std::iter::repeat_n(' ', n));
                column += n;
            }
            c => {
                out.push(c);
                column = if matches!(c, '\n' | '\r') { 0 } else { column + 1 };
            }
        }
    }
    out
}

/// `str.title`: a letter after one that is none is a capital, all others are small.
fn title(text: &str) -> String {
    let (mut out, mut inside) = (String::new(), false);
    for c in text.chars() {
        if inside {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
        inside = c.is_alphabetic();
    }
    out
}

/// The lines of a text, as `str.splitlines` ends them.
fn lines(text: &str, keep_ends: bool) -> Vec<Value> {
    let is_end =
        |c: char| matches!(c, '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let (mut lines, mut rest) = (vec![], text);
    while let Some(at) = rest.find(is_end) {
        let end = if rest[at..].starts_with("\r\n") { 2 } else { rest[at..].chars().next().map_or(0, char::len_utf8) };
        lines.push(Value::from(&rest[..if keep_ends { at + end } else { at }]));
        rest = &rest[at + end..];
    }
    lines.extend(Some(rest).filter(|rest| !rest.is_empty()).map(Value::from));
    lines
}
