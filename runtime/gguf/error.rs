//! The error type of GGUF files.

use std::fmt::Display;

/// An error of a GGUF file. Its message is one line that starts with the path and names the key or tensor.
///
/// Other modules create errors of the same form with [`Gguf::error`](super::Gguf::error),
/// [`Gguf::key_error`](super::Gguf::key_error) and [`Gguf::tensor_error`](super::Gguf::tensor_error).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An error of the whole file: it cannot be read, its header is wrong, or it ends too early.
    #[error("{file}: {problem}")]
    File {
        /// The file.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// An error of a metadata key.
    #[error("{file}: key {key}: {problem}")]
    Key {
        /// The file.
        file: String,
        /// Its name.
        key: String,
        /// What is wrong.
        problem: String,
    },
    /// An error of a tensor.
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

/// The subject of an [`Error`], without the name of the file.
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

/// Maximum number of characters of a key, tensor name or string value in a message.
const SHOWN_CHARS: usize = 80;

/// A name or text from a file for a line of output: its first 80 characters, with control characters escaped.
pub fn excerpt(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => escape_controls(&text[..end]) + "...",
        None => escape_controls(text),
    }
}

/// Escapes control characters, line separators included: `\n`, `\u{1b}`.
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
