//! Errors of generating text.

use super::{LoadError, NotFinite, n_tokens};
use crate::plan::KvType;
use crate::{backend, gguf, text};
use thiserror::Error as ThisError;

/// An error of generating text. Its message is one line.
#[derive(Debug, ThisError)]
pub enum Error {
    /// The model cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The device failed, or a step exceeded the limits of its plan.
    #[error(transparent)]
    Backend(#[from] backend::Error),
    /// The text cannot be encoded, or the chat template is missing or refuses the conversation.
    #[error("{name}: {error}")]
    Text {
        /// The model's file.
        name: String,
        /// What is wrong.
        error: text::Error,
    },
    /// An empty stop string, which would stop every text at once.
    #[error("stop string {0} is empty")]
    EmptyStop(usize),
    /// The prompt is empty.
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
    /// The text does not fit into the context.
    #[error("{n_tokens} tokens, the context holds {n_ctx}")]
    ContextFull {
        /// Tokens of the text.
        n_tokens: usize,
        /// Tokens that the context holds.
        n_ctx: usize,
    },
    /// The model file has changed since it was opened, and weights are read from it.
    #[error(transparent)]
    Changed(gguf::Error),
    /// The text has fewer than two tokens, so that none is predicted.
    #[error("the text has {}, nothing to predict", n_tokens(*.tokens))]
    NothingToScore {
        /// Tokens of the text.
        tokens: usize,
    },
    /// The windows have one token, so that none is predicted.
    #[error("windows of {window}: expected at least 2")]
    WindowTooShort {
        /// Tokens per window.
        window: usize,
    },
    /// The logits are NaN or infinite.
    #[error("{name}: {error}")]
    NotFinite {
        /// The model's file.
        name: String,
        /// The number format of the KV cache: keys and values may be too large for it.
        kv: KvType,
        /// What is wrong.
        error: NotFinite,
    },
}
