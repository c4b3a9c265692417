use super::SamplerOptions;

/// How a text is continued.
#[derive(Clone, PartialEq, Debug)]
pub struct GenerateOptions {
    /// How tokens are chosen.
    pub sampler: SamplerOptions,
    /// The most tokens to generate.
    pub max_tokens: usize,
    /// Never choose a token that ends the text.
    pub ignore_ends: bool,
    /// The text ends where one of these appears, which is left out.
    pub stops: Vec<String>,
    /// What happens where the context is full.
    pub context_end: ContextEnd,
    /// Whether each [`Piece`](super::Piece) has its token's log-probability: all logits come from the device at each step.
    pub log_probs: bool,
}

impl Default for GenerateOptions {
    /// Until the model ends the text or the context is full.
    fn default() -> GenerateOptions {
        GenerateOptions {
            sampler: SamplerOptions::default(),
            max_tokens: usize::MAX,
            ignore_ends: false,
            stops: vec![],
            context_end: ContextEnd::Stop,
            log_probs: false,
        }
    }
}

/// What happens where the context is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ContextEnd {
    /// The text ends.
    Stop,
    /// The older half of the tokens after the first ones is dropped, and the newer half is fed again. A chat forgets its oldest
    /// turns to make room for a message.
    Shift {
        /// Tokens of the prompt that stay, besides a beginning-of-text token; `usize::MAX`: all.
        keep: usize,
    },
}
