//! Escapes in texts on the command line, as llama.cpp reads them.

use anyhow::{Result, anyhow};

/// A text with `\n`, `\r`, `\t`, `\'`, `\"`, `\\` and `\xHH` read as what they stand for. Any other backslash stays, and so does what
/// follows it.
///
/// Errors: the bytes that `\xHH` makes are not UTF-8.
pub fn unescaped(text: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let (byte, n) = match after {
            [b'n', ..] => (b'\n', 2),
            [b'r', ..] => (b'\r', 2),
            [b't', ..] => (b'\t', 2),
            [c @ (b'\'' | b'"' | b'\\'), ..] => (*c, 2),
            [b'x', high, low, ..] => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => (16 * high + low, 4),
                _ => (b'\\', 1),
            },
            _ => (b'\\', 1),
        };
        let (byte, n) = if *first == b'\\' { (byte, n) } else { (*first, 1) };
        bytes.push(byte);
        rest = &rest[n..];
    }
    let not_utf8 = |_| anyhow!("\\x makes bytes that are not UTF-8 (--no-escape keeps the text as it is)");
    String::from_utf8(bytes).map_err(not_utf8)
}

fn digit(c: u8) -> Option<u8> {
    (c as char).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts, and what `string_process_escapes` of llama.cpp makes of them.
    #[test]
    fn escapes_are_those_of_llama_cpp() {
        let table = [
            (r"a\nb", "a\nb"),
            (r"\r\t\'\", "\r\t'\\"),
            (r#"\"\\n"#, "\"\\n"),
            (r"\\\n", "\\\n"),
            (r"\x41\x4a\x4A\x0", "AJJ\\x0"),
            (r"\x4", "\\x4"),
            (r"\xg1\x1g", "\\xg1\\x1g"),
            (r"\xc3\xa9", "é"),
            (r"\e\0\u00e9\é", "\\e\\0\\u00e9\\é"),
            (r"\", "\\"),
            (r"\x", "\\x"),
            (r"\x0a", "\n"),
            ("", ""),
        ];
        for (text, want) in table {
            assert_eq!(unescaped(text).unwrap_or_else(|e| panic!("{text}: {e}")), want, "{text}");
        }
        assert!(unescaped(r"\xff").is_err());
    }
}
