//! Generates the continuation of a text.

use super::score::log_sum_exp;
use super::{ContextEnd, End, Error, GenerateEvent, GenerateOptions, LanguageModel, Outputs, Piece, Sampler, Stats};
use crate::text::{self, Detokenizer, Message, StopMatcher};
use std::ops::Range;
use std::time::Instant;

/// The continuation of a text, as an iterator over its pieces. [`LanguageModel::generate`] creates it.
///
/// Nothing is computed before the first call of `next`. After an error the iterator returns None. The generated tokens
/// stay in the KV cache, even if the generator is dropped before its end: a next text with the same beginning reuses
/// them.
pub struct Generator<'m> {
    model: &'m mut LanguageModel,
    options: GenerateOptions,
    sampler: Sampler,
    characters: Detokenizer,
    stops: StopMatcher,
    /// Whether a space that the text begins with is SentencePiece's, and left out.
    skips_space: bool,
    /// Bytes of text that the tokens so far make, those of a stop string included.
    n_bytes: usize,
    /// The control tokens so far, and where each is in the text: an empty place where it is not printed.
    controls: Vec<(Range<usize>, u32)>,
    /// Tokens of the prompt that are not in the KV cache; empty after they are fed.
    prompt: Vec<u32>,
    /// Number of first tokens that a shift of the context keeps.
    keep: usize,
    /// The token that is chosen, but not fed yet.
    next: u32,
    log_prob: Option<f32>,
    logits: Vec<f32>,
    stats: Stats,
    end: Option<End>,
    state: State,
    on_event: Box<dyn FnMut(GenerateEvent) + 'm>,
    is_cancelled: Box<dyn Fn() -> bool + 'm>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The prompt is not fed yet.
    New,
    /// `next` is chosen, but not shown yet.
    Chosen,
    /// `next` is shown, but not fed yet.
    Shown,
    /// `end` is known; some text may still be held back.
    Ended,
    Done,
}

impl<'m> Generator<'m> {
    /// Continues `prompt`, which has all tokens of the text so far. Only those that are not in the KV cache are fed.
    ///
    /// Errors: the prompt is empty or does not fit into the context; a stop string is empty.
    pub(super) fn new(
        model: &'m mut LanguageModel,
        prompt: &[u32],
        options: GenerateOptions,
    ) -> Result<Generator<'m>, Error> {
        let stops = StopMatcher::new(options.stops.iter().cloned()).map_err(|e| match e {
            text::Error::EmptyStop(i) => Error::EmptyStop(i),
            error => model.text_error(error),
        })?;
        let (n_tokens, n_ctx) = (prompt.len(), model.n_ctx() as usize);
        if n_tokens == 0 {
            return Err(Error::EmptyPrompt);
        }
        if n_tokens > n_ctx {
            return Err(Error::TooLong { n_tokens, n_ctx });
        }
        // The last token is always fed: the first choice needs its logits.
        let cached = model.reuse(&prompt[..n_tokens - 1]);
        let begins = prompt.first().copied() == model.tokenizer().bos();
        let keep = match options.context_end {
            ContextEnd::Stop => n_tokens,
            ContextEnd::Shift { keep } => keep.saturating_add(begins.into()).min(n_tokens),
        };
        let mut sampler = Sampler::new(options.sampler.clone());
        prompt.iter().for_each(|token| sampler.accept(*token));
        Ok(Generator {
            model,
            options,
            sampler,
            characters: Detokenizer::new(),
            stops,
            skips_space: false,
            n_bytes: 0,
            controls: vec![],
            prompt: prompt[cached..].to_vec(),
            keep,
            next: 0,
            log_prob: None,
            logits: vec![],
            stats: Stats { cached, ..Stats::default() },
            end: None,
            state: State::New,
            on_event: Box::new(|_| {}),
            is_cancelled: Box::new(|| false),
        })
    }

    /// Leaves out the space that SentencePiece puts before a text: a reply is a text of its own, not the rest of one.
    pub(super) fn without_first_space(mut self) -> Generator<'m> {
        self.skips_space = self.model.tokenizer.has_space_prefix();
        self
    }

    /// A reply of this text, which is that of all pieces, as a message of the conversation: with its control tokens, and without the
    /// spaces that SentencePiece puts after them.
    pub(super) fn message(&self, text: &str) -> Message {
        let tokenizer = &self.model.tokenizer;
        let mut message = Message::new("assistant", "");
        let (mut done, mut is_first) = (0, true);
        let mut push = |message: &mut Message, part: &str| {
            let is_spaced = !part.is_empty() && !std::mem::take(&mut is_first) && tokenizer.has_space_prefix();
            message.content += part.strip_prefix(' ').filter(|_| is_spaced).unwrap_or(part);
        };
        // A stop string may have cut some off.
        for (place, id) in self.controls.iter().filter(|(place, _)| place.end <= text.len()) {
            push(&mut message, &text[done..place.start]);
            message.push_control(&String::from_utf8_lossy(tokenizer.token_bytes(*id, true)));
            done = place.end;
        }
        push(&mut message, &text[done..]);
        message
    }

    /// Calls `on_event` for each event between two pieces.
    pub fn on_event(mut self, on_event: impl FnMut(GenerateEvent) + 'm) -> Generator<'m> {
        self.on_event = Box::new(on_event);
        self
    }

    /// Calls `is_cancelled` before each token, and between the parts of longer work: see [`Session::feed`](super::Session::feed). If it
    /// returns true, the text ends with [`End::Cancelled`].
    pub fn cancel_when(mut self, is_cancelled: impl Fn() -> bool + 'm) -> Generator<'m> {
        self.is_cancelled = Box::new(is_cancelled);
        self
    }

    /// Why the text ended; None before the end, and after an error.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// Counts and times of the text so far.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The next piece; None after the last.
    fn advance(&mut self) -> Result<Option<Piece>, Error> {
        if self.state == State::New {
            let begin = Instant::now();
            let fed = self.feed_prompt();
            self.stats.prompt_time = begin.elapsed();
            fed?;
        }
        let begin = Instant::now();
        let piece = self.next_piece();
        self.stats.decode_time += begin.elapsed();
        piece
    }

    fn feed_prompt(&mut self) -> Result<(), Error> {
        let tokens = std::mem::take(&mut self.prompt);
        let (total, mut fed) = (tokens.len(), 0);
        (self.on_event)(GenerateEvent::Prompt { done: 0, total });
        self.model.session.feed(&tokens, Outputs::Last, |done, _| {
            if done > fed {
                fed = done;
                (self.on_event)(GenerateEvent::Prompt { done, total });
            }
            !(self.is_cancelled)()
        })?;
        self.stats.fed = fed;
        self.model.held.extend_from_slice(&tokens[..fed]);
        if fed < total {
            self.finish(End::Cancelled);
            return Ok(());
        }
        self.choose()?;
        self.state = State::Chosen;
        Ok(())
    }

    /// Feeds the chosen token, chooses the next one, and shows it.
    fn next_piece(&mut self) -> Result<Option<Piece>, Error> {
        let at_limit = self.stats.generated == self.options.max_tokens;
        match self.state {
            State::Shown if (self.is_cancelled)() => self.finish(End::Cancelled),
            State::Chosen | State::Shown if at_limit => self.finish(End::Limit),
            State::Shown => self.step()?,
            _ => {}
        }
        if self.state == State::Chosen && self.model.tokenizer.is_end(self.next) && !self.options.ignore_ends {
            self.finish(End::EndToken);
        }
        match self.state {
            State::Chosen => Ok(Some(self.show())),
            State::Ended => {
                self.state = State::Done;
                let text = self.stops.push(&self.characters.finish()) + &self.stops.finish();
                Ok((!text.is_empty()).then_some(Piece { text, token: None, log_prob: None }))
            }
            _ => Ok(None),
        }
    }

    fn finish(&mut self, end: End) {
        self.end = Some(end);
        self.state = State::Ended;
    }

    /// The text of the chosen token.
    fn show(&mut self) -> Piece {
        self.stats.generated += 1;
        self.state = State::Shown;
        let tokenizer = &self.model.tokenizer;
        let is_control = tokenizer.is_control(self.next);
        let mut bytes = tokenizer.token_bytes(self.next, self.options.special);
        if !is_control && !bytes.is_empty() && std::mem::take(&mut self.skips_space) {
            bytes = bytes.strip_prefix(b" ").unwrap_or(bytes);
        }
        let text = self.characters.push(bytes);
        self.n_bytes += text.len();
        if is_control {
            let shown = str::from_utf8(bytes).ok().filter(|token| text.ends_with(token));
            let start = self.n_bytes - shown.map_or(0, str::len);
            self.controls.push((start..self.n_bytes, self.next));
        }
        let text = self.stops.push(&text);
        if self.stops.stopped().is_some() {
            self.finish(End::StopString);
        }
        Piece { text, token: Some(self.next), log_prob: self.log_prob }
    }

    /// Feeds the chosen token and chooses the next one, or ends the text.
    fn step(&mut self) -> Result<(), Error> {
        if !self.make_room()? {
            self.finish(End::ContextFull);
            return Ok(());
        }
        // After a shift, feeding the kept tokens again may take long.
        if (self.is_cancelled)() {
            self.finish(End::Cancelled);
            return Ok(());
        }
        let fed = self.next;
        let runs_ahead = self.device_chooses() && self.model.session.runs_ahead();
        if runs_ahead {
            let more = self.options.max_tokens - self.stats.generated - 1;
            self.next = self.model.session.decode_greedy(fed, more)?;
        } else {
            self.model.session.feed(&[fed], Outputs::Last, |_, _| !(self.is_cancelled)())?;
            if self.model.session.n_past() as usize == self.model.held.len() {
                self.finish(End::Cancelled); // within the step
                return Ok(());
            }
        }
        self.model.held.push(fed);
        self.sampler.accept(fed);
        if !runs_ahead {
            self.choose()?;
        }
        self.stats.steps += 1;
        self.state = State::Chosen;
        Ok(())
    }

    /// Shifts the context if it is full and may shift. Returns whether there is room, or the work was cancelled.
    fn make_room(&mut self) -> Result<bool, Error> {
        if self.model.session.room() > 0 {
            return Ok(true);
        }
        let rest = self.model.held.len() - self.keep;
        if self.options.context_end == ContextEnd::Stop || rest < 2 {
            return Ok(false);
        }
        let (dropped, again) = (rest / 2, rest - rest / 2);
        (self.on_event)(GenerateEvent::Shift { kept: self.keep, dropped, again });
        self.stats.shifts += 1;
        self.model.session.shift(&mut self.model.held, self.keep, |_, _| !(self.is_cancelled)())?;
        Ok(true)
    }

    /// Whether the next token is the one with the largest logit, so that the device finds it and no logits are copied.
    fn device_chooses(&self) -> bool {
        self.sampler.is_argmax() && !self.options.ignore_ends && !self.options.log_probs
    }

    /// Chooses the next token.
    fn choose(&mut self) -> Result<(), Error> {
        if self.device_chooses() {
            self.next = self.model.session.argmax()?;
            return Ok(());
        }
        let ends = self.model.tokenizer.ends().iter().filter(|_| self.options.ignore_ends);
        let left_out: Vec<u32> = ends.copied().collect();
        let n_best = self.sampler.n_best(&left_out).filter(|_| !self.options.log_probs);
        if let Some(n) = n_best
            && let Some(best) = self.model.session.best(n)?
        {
            self.next = self.sampler.sample_best(best, &left_out);
            return Ok(());
        }
        self.model.session.logits(&mut self.logits)?;
        let before = if self.options.log_probs { self.logits.clone() } else { vec![] };
        left_out.iter().for_each(|end| self.logits[*end as usize] = f32::NEG_INFINITY);
        let next = self.sampler.sample(&mut self.logits);
        self.next = next.map_err(|e| self.model.session.not_finite(e))?;
        let log_prob = |logit: &f32| (f64::from(*logit) - log_sum_exp(&before)) as f32;
        self.log_prob = before.get(self.next as usize).map(log_prob);
        Ok(())
    }
}

impl Iterator for Generator<'_> {
    type Item = Result<Piece, Error>;

    fn next(&mut self) -> Option<Result<Piece, Error>> {
        if self.state == State::Done {
            return None;
        }
        let piece = self.advance();
        if piece.is_err() {
            (self.state, self.end) = (State::Done, None);
        }
        piece.transpose()
    }
}

impl std::iter::FusedIterator for Generator<'_> {}
