//! The verdict of Llama Guard 2 on a message.

use super::log_sum_exp;
use crate::generate::{Error, LanguageModel, Outputs, check_logits, n_tokens};
use crate::gguf::excerpt;
use crate::plan::argmax;
use crate::text::guard::{Verdict, prompt, unsafe_token};
use crate::text::{EncodeOptions, Error as TextError, Tokenizer};
use thiserror::Error as ThisError;

/// Maximum number of tokens of an answer: `unsafe`, and all codes with commas between them.
const MOST_TOKENS: usize = 64;

/// The prompt of Llama Guard 2 for one conversation.
pub struct GuardPrompt {
    tokens: Vec<u32>,
    /// The first token of the answer `unsafe`.
    mark: u32,
}

/// The judgement of Llama Guard 2.
#[derive(Clone, PartialEq, Debug)]
pub struct Judgement {
    /// Whether the message is safe, and the categories of unsafe content.
    pub verdict: Verdict,
    /// The probability that the answer begins with `unsafe`.
    pub unsafe_score: f64,
}

/// An error of asking for a judgement.
#[derive(Debug, ThisError)]
pub enum GuardError {
    /// The model cannot generate text.
    #[error(transparent)]
    Generate(#[from] Error),
    /// The prompt and an answer do not fit into the context.
    #[error("the prompt has {n_tokens} tokens, the context holds {n_ctx}, the answer included")]
    TooLong {
        /// Tokens of the prompt.
        n_tokens: usize,
        /// Tokens that the context holds.
        n_ctx: usize,
    },
    /// The context was full before the answer ended.
    #[error("the answer was cut after {}", n_tokens(*.0))]
    Cut(usize),
    /// The answer is longer than any valid answer.
    #[error("the answer has no end after {}: is it Llama Guard 2?", n_tokens(*.0))]
    NoEnd(usize),
    /// The answer is neither safe nor unsafe.
    #[error("answers \"{0}\", expected safe or unsafe: is it Llama Guard 2?")]
    Answer(String),
    /// The caller cancelled the answer.
    #[error("cancelled")]
    Cancelled,
}

impl GuardPrompt {
    /// The prompt that asks whether the last of `turns` is safe. The user speaks first, then both in turn.
    ///
    /// Errors: the text cannot be encoded; both answers begin with the same token.
    pub fn new(tokenizer: &Tokenizer, turns: &[String]) -> Result<GuardPrompt, TextError> {
        let mark = unsafe_token(tokenizer)?;
        // Control tokens in messages are plain text.
        let options = EncodeOptions { add_bos: tokenizer.bos().is_some(), parse_special: false };
        Ok(GuardPrompt { tokens: tokenizer.encode(&prompt(turns), options)?, mark })
    }

    /// Number of tokens of the prompt.
    pub fn n_tokens(&self) -> usize {
        self.tokens.len()
    }

    /// The context that the prompt and the answer need, in tokens.
    pub fn n_ctx(&self) -> usize {
        self.tokens.len() + MOST_TOKENS
    }

    /// Asks the model, and empties its KV cache. If `is_cancelled` returns true, the answer is cancelled.
    pub fn ask(&self, model: &mut LanguageModel, is_cancelled: impl Fn() -> bool) -> Result<Judgement, GuardError> {
        model.clear();
        let (n_tokens, n_ctx) = (self.tokens.len(), model.n_ctx() as usize);
        if n_tokens >= n_ctx {
            return Err(GuardError::TooLong { n_tokens, n_ctx });
        }
        let mut fed = 0;
        model.session.feed(&self.tokens, Outputs::Last, |n, _| {
            fed = n;
            !is_cancelled()
        })?;
        if fed < n_tokens {
            return Err(GuardError::Cancelled);
        }
        let (answer, unsafe_score) = self.answer(model, is_cancelled)?;
        let verdict = Verdict::read(&answer).ok_or_else(|| GuardError::Answer(excerpt(answer.trim())))?;
        Ok(Judgement { verdict, unsafe_score })
    }

    /// The likeliest answer, and the probability that its first word is `unsafe`.
    fn answer(&self, model: &mut LanguageModel, is_cancelled: impl Fn() -> bool) -> Result<(String, f64), GuardError> {
        let (mut bytes, mut logits, mut score) = (vec![], vec![], None);
        let mut n = 0;
        loop {
            model.session.logits(&mut logits)?;
            check_logits(&logits).map_err(|e| model.session.not_finite(e))?;
            let next = argmax(&logits) as u32;
            let piece = model.tokenizer().token_bytes(next, false);
            // White space may come before the first word.
            let is_end = model.tokenizer().is_end(next);
            if is_end || !piece.iter().all(u8::is_ascii_whitespace) {
                let score = *score.get_or_insert_with(|| probability(&logits, self.mark));
                if is_end {
                    return Ok((String::from_utf8_lossy(&bytes).into_owned(), score));
                }
            }
            if n == MOST_TOKENS {
                return Err(GuardError::NoEnd(n));
            }
            if model.session.room() == 0 {
                return Err(GuardError::Cut(n));
            }
            bytes.extend_from_slice(piece);
            let mut cancelled = false;
            model.session.feed(&[next], Outputs::Last, |_, _| {
                cancelled = is_cancelled();
                !cancelled
            })?;
            if cancelled {
                return Err(GuardError::Cancelled);
            }
            n += 1;
        }
    }
}

fn probability(logits: &[f32], token: u32) -> f64 {
    (logits[token as usize] as f64 - log_sum_exp(logits)).exp()
}
