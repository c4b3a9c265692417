//! Options of generating text.

use super::SamplerOptions;

/// Options of generating text.
#[derive(Clone, PartialEq, Debug)]
pub struct GenerateOptions {
    /// How tokens are chosen.
    pub sampler: SamplerOptions,
    /// Maximum number of tokens to generate.
    pub max_tokens: usize,
    /// Whether tokens that end the text are never chosen.
    pub ignore_ends: bool,
    /// Whether the text has the control tokens that are generated. The token that ends it is left out in any case.
    pub special: bool,
    /// The text ends before the first of these strings.
    pub stops: Vec<String>,
    /// What to do when the context is full.
    pub context_end: ContextEnd,
    /// Whether each [`Piece`](super::Piece) has its token's log-probability. If so, all logits are copied from the
    /// device at each step.
    pub log_probs: bool,
}

impl Default for GenerateOptions {
    /// Generates until the model ends the text or the context is full.
    fn default() -> GenerateOptions {
        GenerateOptions {
            sampler: SamplerOptions::default(),
            max_tokens: usize::MAX,
            ignore_ends: false,
            special: false,
            stops: vec![],
            context_end: ContextEnd::Stop,
            log_probs: false,
        }
    }
}

/// What happens where the context is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ContextEnd {
    /// End the text.
    Stop,
    /// Drop the older half of the tokens after the first `keep`, and feed the newer half again. A chat forgets its
    /// oldest turns to make room for a message.
    Shift {
        /// Number of prompt tokens to keep, besides the beginning-of-text token; `usize::MAX`: all.
        keep: usize,
    },
}
