//! Text on a terminal whose lines break between words.

use super::terminal::shown;
use console::Term;
use std::io::{self, IsTerminal, Write};
use unicode_width::UnicodeWidthChar;

/// Stdout. If it is a terminal, lines that are longer than it is wide break between words.
pub fn stdout() -> Box<dyn Write> {
    let out = super::output::stdout();
    match io::stdout().is_terminal() {
        true => Box::new(Wrapped {
            out,
            columns: || {
                Term::stdout().size_checked().map(|(_, columns)| usize::from(columns)).filter(|columns| *columns > 0)
            },
            wrap: Wrap::default(),
        }),
        false => Box::new(out),
    }
}

/// Writes text to `out`, whose width `columns` tells each time: a window may change.
struct Wrapped<W, F> {
    out: W,
    columns: F,
    wrap: Wrap,
}

/// Each piece of text is written in one call. What `out` shows for control characters has its own width, so it is put in first.
impl<W: Write, F: Fn() -> Option<usize>> Write for Wrapped<W, F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        let columns = (self.columns)().unwrap_or(usize::MAX);
        self.out.write_all(self.wrap.push(&shown(text), columns).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Breaks lines between words. The last word is held back until it has ended. Lines between two lines that begin with three
/// backquotes are code, and stay as they are.
#[derive(Default)]
struct Wrap {
    /// Columns of the present line that are written.
    column: usize,
    /// Spaces after them, which a break drops.
    spaces: String,
    /// The word after those, and its columns.
    word: String,
    word_columns: usize,
    /// Whether the word continues what is written: its beginning fills a line.
    continues: bool,
    /// The beginning of the present line, as far as it tells whether code begins or ends.
    start: String,
    in_code: bool,
}

const FENCE: &str = "```";
/// Columns to which a tab goes on.
const TAB: usize = 8;

impl Wrap {
    /// Takes text, and returns what can be written of all text so far. A newline ends the last word.
    fn push(&mut self, text: &str, columns: usize) -> String {
        let mut out = String::new();
        for c in text.chars() {
            if self.start.len() < FENCE.len() && (!self.start.is_empty() || c != ' ') {
                self.start.push(c);
            }
            match c {
                '\n' => {
                    self.end_word(columns, &mut out);
                    self.continues = false;
                    out.push_str(&std::mem::take(&mut self.spaces));
                    out.push(c);
                    self.column = 0;
                    self.in_code ^= self.start == FENCE;
                    self.start.clear();
                }
                ' ' | '\t' => {
                    self.end_word(columns, &mut out);
                    self.continues = false;
                    self.spaces.push(c);
                }
                _ => {
                    let width = c.width().unwrap_or(0);
                    // Scripts without spaces may break at each of their characters.
                    if width > 1 || self.in_code || self.start == FENCE {
                        self.end_word(columns, &mut out);
                    }
                    self.word.push(c);
                    self.word_columns += width;
                    let fills = self.word_columns >= columns;
                    if width > 1 || self.in_code || self.start == FENCE || fills {
                        self.end_word(columns, &mut out);
                        self.continues = fills;
                    }
                }
            }
        }
        out
    }

    /// Writes the word, in the next line if it does not fit into this one.
    fn end_word(&mut self, columns: usize, out: &mut String) {
        if self.word.is_empty() {
            return;
        }
        let indent: usize = self.spaces.chars().fold(self.column, |column, c| match c {
            '\t' => (column / TAB + 1) * TAB,
            _ => column + 1,
        });
        let is_whole = self.in_code || self.start == FENCE || self.continues;
        if self.column > 0 && indent + self.word_columns > columns && !is_whole {
            out.push('\n');
            self.spaces.clear();
            self.column = 0;
        } else {
            out.push_str(&std::mem::take(&mut self.spaces));
            self.column = indent;
        }
        out.push_str(&std::mem::take(&mut self.word));
        self.column += std::mem::take(&mut self.word_columns);
        if self.column > columns {
            self.column %= columns; // the terminal has broken it
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text as it is written, given in pieces of `size` characters and with a newline at the end.
    fn wrapped(text: &str, columns: usize, size: usize) -> String {
        let mut wrap = Wrap::default();
        let characters: Vec<char> = text.chars().collect();
        let pieces = characters.chunks(size).map(|piece| wrap.push(&piece.iter().collect::<String>(), columns));
        let mut out: String = pieces.collect();
        out += &wrap.push("\n", columns);
        out.pop();
        out
    }

    #[test]
    fn lines_break_between_words() {
        for (text, columns, want) in [
            ("one two three", 80, "one two three"),
            ("one two three", 8, "one two\nthree"),
            ("one two three", 7, "one two\nthree"),
            ("one  two", 4, "one\ntwo"),
            ("  one two", 6, "  one\ntwo"),
            ("one\ntwo three", 6, "one\ntwo\nthree"),
            ("abcdefghij kl", 4, "abcdefghij\nkl"),
            ("a \n b", 9, "a \n b"),
            ("日本語の文", 6, "日本語\nの文"),
            ("cafe\u{301} au lait", 7, "cafe\u{301} au\nlait"),
            ("```\nlet a = 1; let b = 2;\n```\none two", 5, "```\nlet a = 1; let b = 2;\n```\none\ntwo"),
            ("```rust and more", 5, "```rust and more"),
            ("", 4, ""),
        ] {
            for size in [1, 2, 100] {
                assert_eq!(wrapped(text, columns, size), want, "{text:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn only_the_last_word_is_held_back() {
        let mut wrap = Wrap::default();
        assert_eq!(wrap.push("Hello the wor", 80), "Hello the");
        assert_eq!(wrap.push("ld", 80), "");
        assert_eq!(wrap.push("!\n", 80), " world!\n");
    }
}
