//! Pieces of a generated text, its end and its statistics.

use std::time::Duration;

/// A piece of a generated text.
#[derive(Clone, PartialEq, Debug)]
pub struct Piece {
    /// The text that is complete. Empty if the token ends inside a character, or if a stop string may begin in it.
    pub text: String,
    /// The generated token. None for text that was held back until the end.
    pub token: Option<u32>,
    /// The natural logarithm of the token's probability under the softmax of the model's logits, before penalties and
    /// temperature. None unless [`GenerateOptions::log_probs`](super::GenerateOptions::log_probs) is set.
    pub log_prob: Option<f32>,
}

/// Why a text ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The model chose a token that ends the text.
    EndToken,
    /// A stop string was generated.
    StopString,
    /// The text reached [`max_tokens`](super::GenerateOptions::max_tokens).
    Limit,
    /// The context is full, and no tokens may be dropped.
    ContextFull,
    /// The caller cancelled the text.
    Cancelled,
}

/// Counts and times of a text so far. Times exclude those of the caller between two pieces.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Stats {
    /// Tokens of the prompt that were in the KV cache.
    pub cached: usize,
    /// Tokens of the prompt that were fed.
    pub fed: usize,
    /// Time from the first token fed to the first choice.
    pub prompt_time: Duration,
    /// Tokens that were generated.
    pub generated: usize,
    /// Generated tokens that were fed for the next choice.
    pub steps: usize,
    /// Number of shifts of the context.
    pub shifts: usize,
    /// Time since the first choice.
    pub decode_time: Duration,
}

/// An event between two pieces of a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GenerateEvent {
    /// Progress through the prompt. Sent before the first step and after each step.
    Prompt {
        /// Tokens that are fed, without those that were in the KV cache.
        done: usize,
        /// Tokens to feed.
        total: usize,
    },
    /// The context is full and shifts. Sent before the newer half is fed again.
    Shift {
        /// Number of first tokens, which are kept.
        kept: usize,
        /// Number of tokens after them, which are dropped.
        dropped: usize,
        /// Number of tokens after those, which are fed again.
        again: usize,
    },
}
