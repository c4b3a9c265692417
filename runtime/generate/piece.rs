use std::time::Duration;

/// A piece of a generated text.
#[derive(Clone, PartialEq, Debug)]
pub struct Piece {
    /// The text that is complete now. Empty where a token ends inside of a character, or where a stop string may begin.
    pub text: String,
    /// The token that was generated. None for text that was held back to the end.
    pub token: Option<u32>,
    /// The token's log-probability (natural) under the softmax of the model's logits, before penalties and temperature; only
    /// if [`GenerateOptions::log_probs`](super::GenerateOptions::log_probs) asks for it.
    pub log_prob: Option<f32>,
}

/// Why a text ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The model chose a token that ends the text.
    EndToken,
    /// A stop string came.
    StopString,
    /// The text has [`max_tokens`](super::GenerateOptions::max_tokens).
    Limit,
    /// The context is full, and nothing may be dropped.
    ContextFull,
    /// The caller stopped it.
    Cancelled,
}

/// What a text took so far. Times leave out what the caller does between two pieces.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Stats {
    /// Tokens of the prompt that the KV cache held already.
    pub cached: usize,
    /// Tokens of the prompt that were fed.
    pub fed: usize,
    /// From the first token fed to the first choice.
    pub prompt_time: Duration,
    /// Tokens that were generated.
    pub generated: usize,
    /// Tokens that were fed back for the next choice.
    pub steps: usize,
    /// How often the context was full and went on without its older half.
    pub shifts: usize,
    /// From the first choice on.
    pub decode_time: Duration,
}

/// What happens between two pieces of a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GenerateEvent {
    /// Tokens of the prompt are being fed: told before the first step and after each.
    Prompt {
        /// Tokens that are done, those that the KV cache held left out.
        done: usize,
        /// Tokens to feed.
        total: usize,
    },
    /// The context is full and shifts: told before the newer half is fed again.
    Shift {
        /// The first tokens, which stay.
        kept: usize,
        /// Tokens after them that are dropped.
        dropped: usize,
        /// Tokens after those, which are fed again.
        again: usize,
    },
}
