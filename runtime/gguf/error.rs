//! One error type for everything that can be wrong with a GGUF file.

use std::fmt::Display;

/// What is wrong with a GGUF file, on one line that starts with the file's path and names the key or tensor.
///
/// Other modules make errors of the same look with [`Gguf::error`](super::Gguf::error),
/// [`Gguf::key_error`](super::Gguf::key_error) and [`Gguf::tensor_error`](super::Gguf::tensor_error).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The file as a whole: it cannot be read, its header is wrong, it ends too early.
    #[error("{file}: {problem}")]
    File {
        /// The file.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// One metadata key.
    #[error("{file}: key {key}: {problem}")]
    Key {
        /// The file.
        file: String,
        /// Its name.
        key: String,
        /// What is wrong.
        problem: String,
    },
    /// One tensor.
    #[error("{file}: tensor {tensor}: {problem}")]
    Tensor {
        /// The file.
        file: String,
        /// Its name.
        tensor: String,
        /// What is wrong.
        problem: String,
    },
}

/// What an [`Error`] is about, before the file's name is put in front of it.
pub(super) enum Subject<'a> {
    File,
    Key(&'a str),
    Tensor(&'a str),
}

impl Subject<'_> {
    pub(super) fn error(&self, file: &str, problem: impl Display) -> Error {
        let (file, problem) = (escape_controls(file), escape_controls(&problem.to_string()));
        match self {
            Subject::File => Error::File { file, problem },
            Subject::Key(key) => Error::Key { file, key: excerpt(key), problem },
            Subject::Tensor(tensor) => Error::Tensor { file, tensor: excerpt(tensor), problem },
        }
    }
}

/// Longest key, tensor name or string value that a message repeats in full, in characters.
const SHOWN_CHARS: usize = 80;

/// A name or text from a file, fit for one line of output: its first 80 characters, control characters escaped.
pub fn excerpt(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => escape_controls(&text[..end]) + "...",
        None => escape_controls(text),
    }
}

/// Replaces control characters, line separators included, by their escapes: `\n`, `\u{1b}`.
fn escape_controls(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}
