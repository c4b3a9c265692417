//! Messages of several lines: a line that ends with a backslash goes on in the next one, and so does all that stands between two
//! `"""`.

const QUOTES: &str = "\"\"\"";

/// Whether a text begins with `"""` that no second one ends yet.
pub fn is_open(text: &str) -> bool {
    text.trim_start().starts_with(QUOTES) && text.matches(QUOTES).count() == 1
}

/// The text between `"""` at its beginning and at its end; any other text as it is. One newline after the first and one before the
/// last do not belong to it.
pub fn without_quotes(text: &str) -> &str {
    let inner = text.trim().strip_prefix(QUOTES).and_then(|rest| rest.strip_suffix(QUOTES));
    match inner.filter(|inner| !inner.contains(QUOTES)) {
        Some(inner) => {
            let inner = inner.strip_prefix('\n').unwrap_or(inner);
            inner.strip_suffix('\n').unwrap_or(inner)
        }
        None => text,
    }
}

/// Joins the lines of a pipe to messages.
pub struct Joined<I>(pub I);

impl<E, I: Iterator<Item = Result<String, E>>> Iterator for Joined<I> {
    type Item = Result<String, E>;

    fn next(&mut self) -> Option<Result<String, E>> {
        let mut text = match self.0.next()? {
            Ok(line) => line,
            Err(e) => return Some(Err(e)),
        };
        loop {
            if !is_open(&text) {
                if !text.ends_with('\\') {
                    break;
                }
                text.pop();
            }
            match self.0.next() {
                Some(Ok(line)) => text = format!("{text}\n{line}"),
                Some(Err(e)) => return Some(Err(e)),
                None => break,
            }
        }
        Some(Ok(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_where_they_go_on() {
        let joined = |text: &str| {
            let lines = text.lines().map(|line| Ok::<_, ()>(line.to_string()));
            Joined(lines).map(Result::unwrap).collect::<Vec<_>>()
        };
        assert_eq!(joined("a\nb"), ["a", "b"]);
        assert_eq!(joined("a\\\nb\\\nc\nd"), ["a\nb\nc", "d"]);
        assert_eq!(joined("\"\"\"a\nb\\\n\nc\"\"\"\nd"), ["\"\"\"a\nb\\\n\nc\"\"\"", "d"]);
        assert_eq!(joined("a\\"), ["a"], "the end of the input ends a message");
        assert_eq!(joined("\"\"\"a\nb"), ["\"\"\"a\nb"]);
        assert_eq!(joined("say \"\"\"\nb"), ["say \"\"\"", "b"], "quotes within a line are text");
    }

    #[test]
    fn quotes_around_a_message_are_left_out() {
        for (text, want) in [
            ("\"\"\"\na\nb\n\"\"\"", "a\nb"),
            ("\"\"\"a\n\nb\"\"\"", "a\n\nb"),
            ("a \"\"\"b\"\"\"", "a \"\"\"b\"\"\""),
            ("\"\"\"a\"\"\" and \"\"\"b\"\"\"", "\"\"\"a\"\"\" and \"\"\"b\"\"\""),
            ("\"\"\"", "\"\"\""),
            ("plain", "plain"),
        ] {
            assert_eq!(without_quotes(text), want);
        }
    }
}
