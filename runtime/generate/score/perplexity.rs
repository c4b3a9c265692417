use super::{Mean, log_sum_exp};
use crate::generate::{Error, NotFinite, Outputs, Session};
use rayon::prelude::*;

/// A text that models can be compared by.
#[derive(Clone, PartialEq, Debug)]
pub struct Text {
    /// The length of the vocabulary.
    pub n_vocab: u32,
    /// The beginning-of-text token, where the model expects one: each window starts with it.
    pub bos: Option<u32>,
    /// The text, without beginning-of-text tokens.
    pub tokens: Vec<u32>,
}

impl Text {
    /// Tokens with one beginning-of-text token.
    pub fn n_tokens(&self) -> usize {
        self.bos.iter().len() + self.tokens.len()
    }
}

/// What one step of the model predicts.
pub struct Predictions<'a> {
    /// Logits: (next.len(), n_vocab).
    pub logits: &'a [f32],
    /// The token that follows in the text, for each row.
    pub next: &'a [u32],
    /// Tokens that the step has read: one more than it predicts at the end of a window.
    pub n_read: usize,
}

/// The perplexity of a text, window by window: `exp(-mean log p(token | tokens of the window before it))`.
///
/// The text is cut into windows as long as the context, a beginning-of-text token included. All tokens of a window but its first
/// are scored.
pub struct Perplexity<'s> {
    session: &'s mut Session,
    text: Text,
    /// Tokens of the text that are scored.
    done: usize,
    /// Negative log-likelihood of the scored tokens, in nats.
    nll: Mean,
}

impl<'s> Perplexity<'s> {
    /// Begins to score a text. What the session's KV cache holds is dropped.
    ///
    /// Errors: fewer than two tokens; a context of fewer than two.
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

    /// Tokens of a window: the context.
    pub fn window(&self) -> usize {
        self.session.plan().kv.slots as usize
    }

    /// Tokens of the text in a window.
    fn stride(&self) -> usize {
        self.window() - self.text.bos.iter().len()
    }

    /// How many windows the text has.
    pub fn n_windows(&self) -> usize {
        self.text.tokens.len().div_ceil(self.stride())
    }

    /// Tokens that the model reads, the windows' beginning-of-text tokens included.
    pub fn n_reads(&self) -> usize {
        self.text.tokens.len() + self.n_windows() * self.text.bos.iter().len()
    }

    /// Scores the next window; None after the last. `on_step` gets each step's predictions; it may stop the window by returning
    /// false.
    ///
    /// Errors: the device's; a likelihood that is not finite.
    pub fn next_window(&mut self, mut on_step: impl FnMut(&Predictions) -> bool) -> Option<Result<(), Error>> {
        if self.done == self.text.tokens.len() {
            return None;
        }
        let end = self.text.tokens.len().min(self.done + self.stride());
        let tokens: Vec<u32> = self.text.bos.iter().chain(&self.text.tokens[self.done..end]).copied().collect();
        self.done = end;
        Some(self.score(&tokens, &mut on_step))
    }

    fn score(&mut self, tokens: &[u32], on_step: &mut dyn FnMut(&Predictions) -> bool) -> Result<(), Error> {
        let n_vocab = self.session.n_vocab() as usize;
        let (mut read, nll) = (0, &mut self.nll);
        self.session.truncate(0);
        self.session.feed(tokens, Outputs::All, |done, logits| {
            // The last token's logits predict what is not in the window.
            let next = &tokens[read + 1..tokens.len().min(done + 1)];
            let logits = &logits[..next.len() * n_vocab];
            let rows = logits.par_chunks_exact(n_vocab).zip(next);
            let row_nll: Vec<f64> = rows.map(|(row, token)| log_sum_exp(row) - row[*token as usize] as f64).collect();
            row_nll.into_iter().for_each(|v| nll.add(v));
            let n_read = done - read;
            read = done;
            on_step(&Predictions { logits, next, n_read })
        })?;
        if self.nll.n() > 0 && !self.nll.estimate().value.is_finite() {
            return Err(NotFinite.into());
        }
        Ok(())
    }

    /// Negative log-likelihood of the tokens that are scored so far, in nats. [`Mean::exp`] of it is the perplexity.
    pub fn nll(&self) -> &Mean {
        &self.nll
    }
}
