//! Text from a model: loading, generating, chatting, scoring.
//!
//! [`LanguageModel`] is a model with its tokenizer. It creates a [`Generator`], which continues a text piece by piece;
//! a [`Chat`], which keeps a conversation; and a [`score::Perplexity`]. Below it, [`Session`] feeds tokens through a
//! plan on a backend; it has no text, only tokens.

mod chat;
mod error;
mod generator;
mod language_model;
mod load_error;
mod load_event;
mod loader;
mod options;
mod pace;
mod piece;
mod sampler;
pub mod score;
mod session;

pub use chat::{Chat, Turn};
pub use error::Error;
pub use generator::Generator;
pub use language_model::{LanguageModel, bos, tokenizer};
pub use load_error::{DoesNotFit, Lack, LoadError};
pub use load_event::{LoadEvent, LoadNotice};
pub use loader::{LoadOptions, Loaded, load, load_model, load_model_on};
pub use options::{ContextEnd, GenerateOptions};
pub use piece::{End, GenerateEvent, Piece, Stats};
pub use sampler::{NotFinite, Sampler, SamplerOptions, check_logits};
pub use session::{Outputs, Session};

/// `1 token`, `2 tokens`.
fn n_tokens(n: usize) -> String {
    format!("{n} token{}", if n == 1 { "" } else { "s" })
}
