//! The perplexity of a text.

use super::{Mean, log_sum_exp};
use crate::generate::{Error, NotFinite, Outputs, Session};
use rayon::prelude::*;

/// A text to score.
#[derive(Clone, PartialEq, Debug)]
pub struct Text {
    /// The length of the vocabulary.
    pub n_vocab: u32,
    /// The beginning-of-text token if the model expects one. Each window starts with it.
    pub bos: Option<u32>,
    /// The text, without beginning-of-text tokens.
    pub tokens: Vec<u32>,
}

impl Text {
    /// Number of tokens, with one beginning-of-text token.
    pub fn n_tokens(&self) -> usize {
        self.bos.iter().len() + self.tokens.len()
    }
}

/// The predictions of one step.
pub struct Predictions<'a> {
    /// Logits: (next.len(), n_vocab).
    pub logits: &'a [f32],
    /// For each row, the next token of the text.
    pub next: &'a [u32],
    /// Number of tokens that the step has read: at the end of a window one more than it predicts.
    pub n_read: usize,
}

/// The perplexity of a text, window by window: `exp(-mean log p(token | tokens of the window before it))`.
///
/// The text is cut into windows as long as the context, the beginning-of-text token included. All tokens of a window
/// but the first are scored.
pub struct Perplexity<'s> {
    session: &'s mut Session,
    text: Text,
    /// Position in the text: the number of tokens whose windows are scored.
    done: usize,
    /// Negative log-likelihood of the scored tokens, in nats.
    nll: Mean,
}

impl<'s> Perplexity<'s> {
    /// Begins to score a text. Empties the KV cache of the session.
    ///
    /// Errors: the text or the context has fewer than two tokens.
    pub fn new(session: &'s mut Session, text: Text) -> Result<Perplexity<'s>, Error> {
        let window = session.plan().kv.slots as usize;
        if text.n_tokens() < 2 {
            return Err(Error::NothingToScore { tokens: text.tokens.len() });
        }
        if window < 2 {
            return Err(Error::WindowTooShort { window });
        }
        Ok(Perplexity { session, text, done: 0, nll: Mean::default() })
    }

    /// The text.
    pub fn text(&self) -> &Text {
        &self.text
    }

    /// Tokens per window: the context length.
    pub fn window(&self) -> usize {
        self.session.plan().kv.slots as usize
    }

    /// Tokens of the text per window.
    fn stride(&self) -> usize {
        self.window() - self.text.bos.iter().len()
    }

    /// Number of windows of the text.
    pub fn n_windows(&self) -> usize {
        self.text.tokens.len().div_ceil(self.stride())
    }

    /// Number of tokens that the model reads, the beginning-of-text tokens of the windows included.
    pub fn n_reads(&self) -> usize {
        self.text.tokens.len() + self.n_windows() * self.text.bos.iter().len()
    }

    /// Scores the next window; None after the last. `on_part` gets the predictions of each step, between the parts of a step none (see
    /// [`Session::feed`]), and stops the window by returning false.
    ///
    /// Errors: the device failed; a likelihood is not finite.
    pub fn next_window(&mut self, mut on_part: impl FnMut(&Predictions) -> bool) -> Option<Result<(), Error>> {
        if self.done == self.text.tokens.len() {
            return None;
        }
        let end = self.text.tokens.len().min(self.done + self.stride());
        let tokens: Vec<u32> = self.text.bos.iter().chain(&self.text.tokens[self.done..end]).copied().collect();
        self.done = end;
        Some(self.score(&tokens, &mut on_part))
    }

    fn score(&mut self, tokens: &[u32], on_part: &mut dyn FnMut(&Predictions) -> bool) -> Result<(), Error> {
        let n_vocab = self.session.n_vocab() as usize;
        let (mut read, nll) = (0, &mut self.nll);
        self.session.truncate(0);
        self.session.feed(tokens, Outputs::All, |done, logits| {
            // The logits of the last token predict a token outside the window.
            let next = &tokens[read + 1..tokens.len().min(done + 1)];
            let logits = &logits[..next.len() * n_vocab];
            let rows = logits.par_chunks_exact(n_vocab).zip(next);
            let row_nll: Vec<f64> = rows.map(|(row, token)| log_sum_exp(row) - row[*token as usize] as f64).collect();
            row_nll.into_iter().for_each(|v| nll.add(v));
            let n_read = done - read;
            read = done;
            on_part(&Predictions { logits, next, n_read })
        })?;
        if self.nll.n() > 0 && !self.nll.estimate().value.is_finite() {
            return Err(self.session.not_finite(NotFinite));
        }
        Ok(())
    }

    /// Mean negative log-likelihood of the tokens scored so far, in nats. Its [`Mean::exp`] is the perplexity.
    pub fn nll(&self) -> &Mean {
        &self.nll
    }
}
