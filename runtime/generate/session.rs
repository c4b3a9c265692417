//! Feeds tokens through a plan, and counts those in the KV cache.

use super::pace::Pace;
use super::{Error, NotFinite};
use crate::backend::{Backend, Replaced};
use crate::gguf::Watch;
use crate::plan::{Buf, NEXT_TOKEN, NOT_FINITE, Op, Plan, Step, StepSize};

/// The rows of logits that [`Session::feed`] computes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outputs {
    /// The row of the last token.
    Last,
    /// The rows of all tokens.
    All,
}

/// One sequence on one backend. It feeds tokens through the plan, and counts the tokens in the KV cache.
pub struct Session {
    /// The model's name in errors.
    name: String,
    backend: Box<dyn Backend>,
    plan: Plan,
    /// The files from which the backend reads weights at every step.
    watch: Watch,
    logits_buf: Buf,
    next_buf: Buf,
    n_past: u32,
    /// The last token that [`Session::decode_greedy`] fed.
    last: u32,
    ahead: Ahead,
    /// Row of the logits buffer that belongs to the last token fed.
    last_row: u32,
    n_vocab: u32,
    /// How steps are divided.
    pace: Pace,
}

/// Steps of [`Session::decode_greedy`] that were begun before the token was known that they feed.
#[derive(Default)]
struct Ahead {
    /// Number of steps whose choice has not been taken. They do not count in `n_past`.
    steps: usize,
    /// The choice that was taken last: the token that the oldest of them feeds.
    choice: Option<u32>,
}

impl Session {
    /// `backend` has loaded `plan`, the plan of a language model that errors call `name`. A step fails if `watch` finds a change of a file;
    /// `watch` is empty if the backend has its own copy of the weights.
    ///
    /// # Panics
    /// If the plan has no logits.
    pub fn new(name: String, backend: Box<dyn Backend>, plan: Plan, watch: Watch) -> Session {
        let head = plan.head.expect("a language model's plan has logits");
        let (logits_buf, next_buf) = (head.logits, head.next);
        let n_vocab = plan[logits_buf].cols;
        let pace = Pace::new(&plan);
        Session {
            name,
            backend,
            plan,
            watch,
            logits_buf,
            next_buf,
            n_past: 0,
            last: 0,
            ahead: Ahead::default(),
            last_row: 0,
            n_vocab,
            pace,
        }
    }

    /// The device: `cpu`, `cuda:0`, ...
    pub fn device(&self) -> String {
        self.backend.name()
    }

    /// [`Backend::replaced`].
    pub fn replaced(&self) -> Vec<Replaced> {
        self.backend.replaced()
    }

    /// The plan that the backend executes.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Number of tokens in the KV cache.
    pub fn n_past(&self) -> u32 {
        self.n_past
    }

    /// Number of tokens that still fit.
    pub fn room(&self) -> u32 {
        self.plan.kv.slots - self.n_past
    }

    /// The length of the vocabulary.
    pub fn n_vocab(&self) -> u32 {
        self.n_vocab
    }

    /// Forgets all tokens after the first `n`.
    pub fn truncate(&mut self, n: u32) {
        self.n_past = self.n_past.min(n);
        self.ahead.choice = None;
    }

    /// Appends `tokens` to the sequence, in steps as large as the plan and the speed of the device allow. `on_part` is called after each
    /// step, and within a step as often as its operations allow: about every 30 ms. It gets the number of tokens whose steps have ended
    /// and, at the end of a step, if `outputs` is [`Outputs::All`], the step's logits, one row of `n_vocab` per token (else an empty
    /// slice). It stops the work by returning false; the tokens of an unfinished step do not count.
    ///
    /// Errors: the tokens do not fit; a token is outside the vocabulary; the device failed; the model file has changed.
    pub fn feed(
        &mut self,
        tokens: &[u32],
        outputs: Outputs,
        mut on_part: impl FnMut(usize, &[f32]) -> bool,
    ) -> Result<(), Error> {
        if tokens.len() > self.room() as usize {
            let n_tokens = self.n_past as usize + tokens.len();
            return Err(Error::ContextFull { n_tokens, n_ctx: self.plan.kv.slots as usize });
        }
        self.drop_ahead()?;
        self.pace.idle();
        let most = match outputs {
            Outputs::Last => self.plan.max_tokens,
            Outputs::All => self.plan.max_tokens.min(self.plan.max_outputs),
        };
        let mut done = 0;
        let mut logits = vec![];
        for mut chunk in tokens.chunks(most as usize) {
            while !chunk.is_empty() {
                let (part, rest) = chunk.split_at(self.fits(chunk, outputs));
                (chunk, done) = (rest, done + part.len());
                let n = part.len() as u32;
                let rows: Vec<u32> = match outputs {
                    Outputs::Last if done < tokens.len() => vec![],
                    Outputs::Last => vec![n - 1],
                    Outputs::All => (0..n).collect(),
                };
                self.watch.check().map_err(Error::Changed)?;
                let step = Step::sequence(part, self.n_past, &rows).within(self.plan.window.unwrap_or(u32::MAX));
                if !self.run(step, || on_part(done - part.len(), &[]))? {
                    return Ok(());
                }
                self.n_past += n;
                self.last_row = (rows.len() as u32).saturating_sub(1);
                if outputs == Outputs::All {
                    logits.resize(rows.len() * self.n_vocab as usize, 0.0);
                    self.backend.read(self.logits_buf, &mut logits)?;
                }
                if !on_part(done, &logits) {
                    return Ok(());
                }
                if outputs == Outputs::All {
                    self.pace.idle(); // the caller's time is not the device's
                }
            }
        }
        Ok(())
    }

    /// The size of a step that feeds `n_tokens` next.
    fn size(&self, n_tokens: u32, n_outputs: u32) -> StepSize {
        let kv_len = self.n_past as u64 + n_tokens as u64;
        StepSize { n_tokens: n_tokens.into(), n_outputs: n_outputs.into(), kv_len }
    }

    /// Number of the first tokens of `chunk` that the next step feeds.
    fn fits(&self, chunk: &[u32], outputs: Outputs) -> usize {
        let n = chunk.len() as u32;
        let n_outputs = if outputs == Outputs::All { n } else { 1 };
        self.pace.tokens(self.size(n, n_outputs)) as usize
    }

    /// Runs a step, and calls `goes_on` between its parts. Returns whether it ran to its end: `goes_on` stops it by returning false.
    fn run(&mut self, mut step: Step, mut goes_on: impl FnMut() -> bool) -> Result<bool, Error> {
        let size = self.size(step.n_tokens(), step.n_outputs);
        let n_ops = self.plan.ops(step.phase()).len();
        let mut done = 0;
        while done < n_ops {
            let part = self.pace.part(done, size);
            done = part.end;
            step.ops = (part.len() < n_ops).then(|| part.clone());
            self.backend.run(&step)?;
            // A store of keys and values alone is waited for together with what follows.
            let result = self.plan.ops(step.phase())[part.clone()].iter().rev().flat_map(Op::writes).next();
            if self.pace.is_due(part, size)
                && let Some(result) = result
            {
                self.backend.read(result, &mut [0.0])?; // waits for it
                self.pace.ended();
                if done < n_ops && !goes_on() {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Makes room in a full context: drops the older half of the tokens after the first `keep`, and feeds the newer
    /// half again, which gives it the positions and keys that it has without the dropped tokens. `held` has the tokens
    /// in the KV cache, and is kept in step with it, also if `on_part` (see [`Session::feed`]) stops the work. Returns
    /// the number of tokens dropped; 0 if there are none to drop.
    pub fn shift(
        &mut self,
        held: &mut Vec<u32>,
        keep: usize,
        on_part: impl FnMut(usize, &[f32]) -> bool,
    ) -> Result<usize, Error> {
        let keep = keep.min(held.len());
        let dropped = (held.len() - keep) / 2;
        if dropped > 0 {
            held.drain(keep..keep + dropped);
            self.truncate(keep as u32);
            let fed = self.feed(&held[keep..], Outputs::Last, on_part);
            held.truncate(self.n_past as usize);
            fed?;
        }
        Ok(dropped)
    }

    /// Appends one token.
    pub fn decode(&mut self, token: u32) -> Result<(), Error> {
        self.feed(&[token], Outputs::Last, |_, _| true)
    }

    /// Appends `token`, and returns the most likely token after it. On a device whose steps run while the host goes on, at most
    /// `more` further steps, each fed what the device chose, begin before the choice is known: a next call with the choice that
    /// this one returned finds its step under way.
    ///
    /// Errors: those of [`Session::feed`] and [`Session::argmax`].
    pub fn decode_greedy(&mut self, token: u32, more: usize) -> Result<u32, Error> {
        if !self.runs_ahead() {
            self.decode(token)?;
            return self.argmax();
        }
        if self.ahead.choice != Some(token) {
            self.drop_ahead()?;
        }
        if self.room() == 0 {
            let n_ctx = self.plan.kv.slots as usize;
            return Err(Error::ContextFull { n_tokens: n_ctx + 1, n_ctx });
        }
        let wanted = more.saturating_add(1).min(self.most_ahead()).min(self.room() as usize);
        if self.ahead.steps == 0 {
            self.begin_greedy(token)?;
        }
        while self.ahead.steps < wanted {
            self.begin_greedy(NEXT_TOKEN)?;
        }
        let mut choice = [0.0];
        self.take(&mut choice)?;
        self.n_past += 1;
        self.last = token;
        let chosen = self.chosen(choice[0])?;
        self.ahead.choice = Some(chosen);
        Ok(chosen)
    }

    /// Whether steps of [`Session::decode_greedy`] run while the host goes on.
    pub fn runs_ahead(&mut self) -> bool {
        self.most_ahead() > 0
    }

    /// Number of steps that may be under way.
    fn most_ahead(&mut self) -> usize {
        self.backend.readback().map_or(0, |readback| readback.most())
    }

    /// Begins a step of one token behind those that are under way.
    fn begin_greedy(&mut self, token: u32) -> Result<(), Error> {
        self.watch.check().map_err(Error::Changed)?;
        let step = Step::sequence(&[token], self.n_past + self.ahead.steps as u32, &[0]);
        self.backend.run(&step.within(self.plan.window.unwrap_or(u32::MAX)))?;
        if let Some(readback) = self.backend.readback() {
            readback.read_later(self.next_buf, 1)?;
        }
        self.last_row = 0;
        self.ahead.steps += 1;
        Ok(())
    }

    /// Waits for the oldest step that was begun ahead.
    fn take(&mut self, choice: &mut [f32]) -> Result<(), Error> {
        self.ahead.steps -= 1;
        match self.backend.readback() {
            Some(readback) => Ok(readback.take(choice)?),
            None => Ok(()),
        }
    }

    /// Waits for the steps that were begun ahead, and forgets them. Their keys and values lie behind those of the tokens that count.
    fn drop_ahead(&mut self) -> Result<(), Error> {
        self.ahead.choice = None;
        while self.ahead.steps > 0 {
            self.take(&mut [0.0])?;
        }
        Ok(())
    }

    /// Makes the last token's step the latest, if others were begun behind it and the token was not forgotten since.
    fn settle(&mut self) -> Result<(), Error> {
        if self.ahead.steps == 0 {
            return Ok(());
        }
        let is_last = self.ahead.choice.is_some();
        self.drop_ahead()?;
        if is_last {
            self.n_past -= 1;
            self.decode(self.last)?;
        }
        Ok(())
    }

    /// The error of logits of this model.
    pub(super) fn not_finite(&self, error: NotFinite) -> Error {
        Error::NotFinite { name: self.name.clone(), kv: self.plan.kv.ty, error }
    }

    /// The logits after the last token fed: (n_vocab).
    pub fn logits(&mut self, logits: &mut Vec<f32>) -> Result<(), Error> {
        self.settle()?;
        let n = self.n_vocab as usize;
        let mut rows = vec![0.0; (self.last_row as usize + 1) * n];
        self.backend.read(self.logits_buf, &mut rows)?;
        logits.clear();
        logits.extend_from_slice(&rows[self.last_row as usize * n..]);
        Ok(())
    }

    /// The `k` most likely tokens after the last one fed and their logits, the likeliest first and the lower id first among equals;
    /// None if the device does not select them, [`Session::logits`] gives all.
    ///
    /// Errors: a logit of any token is not finite; the device's.
    pub fn best(&mut self, k: usize) -> Result<Option<Vec<(u32, f32)>>, Error> {
        self.settle()?;
        if self.last_row != 0 {
            return Ok(None);
        }
        let begun = match self.backend.readback() {
            Some(readback) => readback.read_later(self.next_buf, 1),
            None => return Ok(None),
        };
        begun?;
        let best = self.backend.best(self.logits_buf, k);
        let mut choice = [0.0];
        if let Some(readback) = self.backend.readback() {
            readback.take(&mut choice)?;
        }
        let best = best?;
        self.chosen(choice[0])?;
        Ok(best)
    }

    /// The most likely token after the last one fed, as the device chose it.
    ///
    /// Errors: the logits are not finite; the device's.
    pub fn argmax(&mut self) -> Result<u32, Error> {
        self.settle()?;
        let mut ids = vec![0.0; self.last_row as usize + 1];
        self.backend.read(self.next_buf, &mut ids)?;
        self.chosen(ids[self.last_row as usize])
    }

    /// The token that the device's argmax chose.
    fn chosen(&self, id: f32) -> Result<u32, Error> {
        match id as u32 {
            NOT_FINITE => Err(self.not_finite(NotFinite)),
            token => Ok(token),
        }
    }
}
