use super::{LoadError, NotFinite, n_tokens};
use crate::{backend, gguf, text};
use thiserror::Error as ThisError;

/// Why a model does not generate. One line each.
#[derive(Debug, ThisError)]
pub enum Error {
    /// The model cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The device fails, or a step is outside its plan's limits.
    #[error(transparent)]
    Backend(#[from] backend::Error),
    /// The text cannot be encoded, or the file's chat template is missing or refuses the conversation.
    #[error("{name}: {error}")]
    Text {
        /// The model's file.
        name: String,
        /// What is wrong.
        error: text::Error,
    },
    /// A stop string that would stop everything.
    #[error("stop string {0} is empty")]
    EmptyStop(usize),
    /// There is nothing to continue.
    #[error("the prompt has no tokens")]
    EmptyPrompt,
    /// The prompt does not fit into the context.
    #[error("the prompt has {n_tokens} tokens, the context holds {n_ctx}")]
    TooLong {
        /// Tokens of the prompt.
        n_tokens: usize,
        /// Tokens that the context holds.
        n_ctx: usize,
    },
    /// More tokens than the context holds.
    #[error("{n_tokens} tokens, the context holds {n_ctx}")]
    ContextFull {
        /// Tokens of all.
        n_tokens: usize,
        /// Tokens that the context holds.
        n_ctx: usize,
    },
    /// The model's file is not what it was when it was opened, and weights are read from it.
    #[error(transparent)]
    Changed(gguf::Error),
    /// The text has no token that another one could predict.
    #[error("the text has {}, nothing to predict", n_tokens(*.tokens))]
    NothingToScore {
        /// Tokens of the text.
        tokens: usize,
    },
    /// Windows of a single token: nothing in them is predicted.
    #[error("windows of {window}: expected at least 2")]
    WindowTooShort {
        /// Tokens of a window.
        window: usize,
    },
    /// The model computes nonsense.
    #[error(transparent)]
    NotFinite(#[from] NotFinite),
}
