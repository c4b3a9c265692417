//! Text to tokens and back: the vocabulary of a GGUF file, its tokenizer, its chat template, and streams of generated
//! text.

mod bpe;
mod ends;
pub mod guard;
mod jinja;
mod message;
mod named_template;
mod pretokenizer;
mod prompt;
mod stop;
mod synth;
mod template;
mod tokenizer;
mod utf8;
mod vocab;

pub use message::Message;
pub use named_template::NamedTemplate;
pub use prompt::Prompt;
pub use stop::StopMatcher;
pub use template::ChatTemplate;
pub use tokenizer::{EncodeOptions, Tokenizer};
pub use utf8::Detokenizer;
pub use vocab::{TokenType, Vocab, VocabNotice};

use crate::gguf::{self, Gguf};

/// An error of a vocabulary, a text or a chat template. Its message is one line; [`Error::in_file`] adds the name of
/// the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A wrong metadata key of the vocabulary.
    #[error("key {key}: {problem}")]
    Key {
        /// The name of the key.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A text that the tokenizer cannot encode.
    #[error("cannot tokenize: {0}")]
    Encode(String),
    /// A chat template that does not parse or does not render.
    #[error("chat template: {0}")]
    Template(String),
    /// An empty stop string, which would stop every text at once.
    #[error("stop string {0} is empty")]
    EmptyStop(usize),
}

impl Error {
    /// The same error with the file's name in front.
    pub fn in_file(self, gguf: &Gguf) -> gguf::Error {
        match self {
            Error::Key { key, problem } => gguf.key_error(key, problem),
            other => gguf.error(other),
        }
    }

    fn key(key: &'static str, problem: impl Into<String>) -> Error {
        let problem = problem.into();
        Error::Key { key, problem }
    }
}

/// Text from a file for a message of one line: quoted, escaped, cut after 40 characters.
fn quoted(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}
