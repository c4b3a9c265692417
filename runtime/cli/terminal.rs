//! What a terminal is shown of a text that comes from a model or a file.
//!
//! A terminal obeys some characters: with escape sequences a text could set its title, write over lines, fill the clipboard or type for
//! the user, and with bidirectional overrides show another text than it has. Elsewhere texts pass as they are.

use std::borrow::Cow;
use std::fmt::Write;

/// A text in which a terminal finds nothing to obey: such a character is written as `<U+001B>`, a carriage return is left out.
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\r' => {}
            c if is_obeyed(c) => write!(out, "<U+{:04X}>", u32::from(c)).expect("a String takes every text"),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Control characters (C0 but newline and tab, DEL, C1), which begin all escape sequences; line and paragraph separators; and what
/// embeds, overrides or isolates a direction of writing (Unicode's UAX 9, and the deprecated format characters).
fn is_obeyed(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\u{2028}' | '\u{2029}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{206F}' | '\u{FFF9}'..='\u{FFFB}' => true,
        c => c.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_to_obey() {
        let table = [
            ("\x1b]0;title\x07", "<U+001B>]0;title<U+0007>"),
            ("\x1b[31m\x1bP+q\x1b\\", "<U+001B>[31m<U+001B>P+q<U+001B>\\"),
            ("\u{9b}31m\u{9d}52;c;\u{9c}\u{90}\u{85}", "<U+009B>31m<U+009D>52;c;<U+009C><U+0090><U+0085>"),
            ("a\x08b\x7fc\x0bd\x0ce\0", "a<U+0008>b<U+007F>c<U+000B>d<U+000C>e<U+0000>"),
            ("over\rwritten\r\n", "overwritten\n"),
            ("\u{202e}txt\u{202c} \u{2066}a\u{2069}\u{206e}", "<U+202E>txt<U+202C> <U+2066>a<U+2069><U+206E>"),
            ("a\u{2028}b\u{2029}", "a<U+2028>b<U+2029>"),
        ];
        for (text, want) in table {
            assert_eq!(shown(text), want);
        }
        for text in ["a\tb\nc", "é 你好 👩‍🚀 שלום\u{200f} مرحبا\u{200e}", "<U+001B>", ""] {
            assert_eq!(shown(text), text);
        }
    }
}
