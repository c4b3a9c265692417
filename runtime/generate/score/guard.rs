use super::log_sum_exp;
use crate::generate::{Error, LanguageModel, Outputs, check_logits, n_tokens};
use crate::gguf::excerpt;
use crate::plan::argmax;
use crate::text::guard::{Verdict, prompt, unsafe_token};
use crate::text::{EncodeOptions, Error as TextError, Tokenizer};
use thiserror::Error as ThisError;

/// Most tokens of an answer: `unsafe`, and all codes with commas in between.
const MOST_TOKENS: usize = 64;

/// The question that Llama Guard 2 answers, for one conversation.
pub struct GuardPrompt {
    tokens: Vec<u32>,
    /// The token that the answer `unsafe` begins with.
    mark: u32,
}

/// An answer of Llama Guard 2.
#[derive(Clone, PartialEq, Debug)]
pub struct Judgement {
    /// Whether the message is safe, and as what it is not.
    pub verdict: Verdict,
    /// The probability that the answer begins with `unsafe`.
    pub unsafe_score: f64,
}

/// Why there is no judgement.
#[derive(Debug, ThisError)]
pub enum GuardError {
    /// The model does not generate.
    #[error(transparent)]
    Generate(#[from] Error),
    /// The context has no room for an answer.
    #[error("the prompt has {n_tokens} tokens, the context holds {n_ctx} with the answer")]
    TooLong {
        /// Tokens of the prompt.
        n_tokens: usize,
        /// Tokens that the context holds.
        n_ctx: usize,
    },
    /// The context is full before the answer ends: half an answer is no verdict.
    #[error("the answer was cut after {}", n_tokens(*.0))]
    Cut(usize),
    /// The answer goes on after all that it could say.
    #[error("the answer has no end after {}: is it Llama Guard 2?", n_tokens(*.0))]
    NoEnd(usize),
    /// The answer says neither.
    #[error("answers \"{0}\", expected safe or unsafe: is it Llama Guard 2?")]
    Answer(String),
    /// The caller stopped it.
    #[error("cancelled")]
    Cancelled,
}

impl GuardPrompt {
    /// The question whether the last of `turns` is safe; the user speaks first, then both in turn.
    ///
    /// Errors: a text that cannot be encoded; a vocabulary in which both answers begin the same.
    pub fn new(tokenizer: &Tokenizer, turns: &[String]) -> Result<GuardPrompt, TextError> {
        let mark = unsafe_token(tokenizer)?;
        // Nothing that was said is a control token.
        let options = EncodeOptions { add_bos: tokenizer.bos().is_some(), parse_special: false };
        Ok(GuardPrompt { tokens: tokenizer.encode(&prompt(turns), options)?, mark })
    }

    /// Tokens of the question.
    pub fn n_tokens(&self) -> usize {
        self.tokens.len()
    }

    /// The context that the question and its answer need, in tokens.
    pub fn n_ctx(&self) -> usize {
        self.tokens.len() + MOST_TOKENS
    }

    /// Asks the model, which forgets all other text. True from `is_cancelled` stops it.
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
            check_logits(&logits).map_err(Error::from)?;
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
            if is_cancelled() {
                return Err(GuardError::Cancelled);
            }
            if n == MOST_TOKENS {
                return Err(GuardError::NoEnd(n));
            }
            if model.session.room() == 0 {
                return Err(GuardError::Cut(n));
            }
            bytes.extend_from_slice(piece);
            model.session.decode(next)?;
            n += 1;
        }
    }
}

fn probability(logits: &[f32], token: u32) -> f64 {
    (logits[token as usize] as f64 - log_sum_exp(logits)).exp()
}
