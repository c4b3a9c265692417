//! Replies: a prompt goes in, text comes out as it is made.

use super::args::SamplingArgs;
use super::interrupt::{self, Work};
use super::output::notice;
use anyhow::{Result, bail};
use pronk::generate::{Outputs, Sampler, Session};
use pronk::text::{Detokenizer, StopMatcher, Tokenizer};
use std::fmt;
use std::io::Write;
use std::time::{Duration, Instant};

/// Why a reply ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The model said so, or a stop string came, or the most tokens were made.
    Done,
    ContextFull,
    Interrupted,
}

/// What a reply was, and what it took.
pub struct Reply {
    pub text: String,
    /// Tokens of the prompt that the KV cache held already.
    cached: usize,
    /// Tokens of the prompt that were fed.
    fed: usize,
    /// From the first token fed to the first choice.
    prompt_time: Duration,
    generated: usize,
    /// Tokens that were fed back for the next choice.
    steps: usize,
    decode_time: Duration,
}

/// `prompt 24 tokens (37 cached) in 0.41 s, 58.5 tok/s; reply 12 tokens, 27.3 tok/s`.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let rate = |n: usize, time: Duration| n as f64 / time.as_secs_f64();
        let (seconds, rate_in) = (self.prompt_time.as_secs_f64(), rate(self.fed, self.prompt_time));
        write!(f, "prompt {} tokens", self.fed)?;
        if self.cached > 0 {
            write!(f, " ({} cached)", self.cached)?;
        }
        write!(f, " in {seconds:.2} s, {rate_in:.1} tok/s; reply {} tokens", self.generated)?;
        match self.steps {
            0 => Ok(()),
            steps => write!(f, ", {:.1} tok/s", rate(steps, self.decode_time)),
        }
    }
}

/// A session with all that makes text of it. It remembers what the KV cache holds.
pub struct Replier {
    session: Session,
    tokenizer: Tokenizer,
    sampler: Sampler,
    seed: u64,
    /// The most tokens of a reply.
    most: usize,
    ignore_ends: bool,
    stops: Vec<String>,
    held: Vec<u32>,
    logits: Vec<f32>,
}

impl Replier {
    pub fn new(session: Session, tokenizer: Tokenizer, args: &SamplingArgs) -> Replier {
        let options = args.options();
        Replier {
            session,
            tokenizer,
            seed: options.seed,
            sampler: Sampler::new(options),
            most: usize::try_from(args.n_predict).unwrap_or(usize::MAX),
            ignore_ends: args.ignore_eos,
            stops: args.stop.clone(),
            held: vec![],
            logits: vec![],
        }
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    pub fn device(&self) -> String {
        self.session.device()
    }

    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Continues `prompt`, all tokens of the text so far, and writes the text to `out` piece by piece. Only the tokens that
    /// the KV cache does not hold are fed. Ctrl-C ends the reply.
    ///
    /// Errors: no prompt; one that does not fit into the context; `out`'s and the device's.
    pub fn reply(&mut self, prompt: &[u32], out: &mut impl Write) -> Result<Reply> {
        let _work = Work::begin()?;
        let slots = self.session.plan().kv.slots as usize;
        if prompt.is_empty() {
            bail!("the prompt has no tokens");
        }
        if prompt.len() > slots {
            bail!("the prompt has {} tokens, the context holds {slots} (-c)", prompt.len());
        }
        // The last token is fed in any case: the first choice needs its logits.
        let reusable = self.held.iter().zip(&prompt[..prompt.len() - 1]).take_while(|(a, b)| a == b).count();
        self.session.truncate(reusable as u32);
        self.held.truncate(reusable);
        let mut reply = Reply {
            text: String::new(),
            cached: reusable,
            fed: 0,
            prompt_time: Duration::ZERO,
            generated: 0,
            steps: 0,
            decode_time: Duration::ZERO,
        };
        let end = self.generate(&prompt[reusable..], &mut reply, out)?;
        if !(reply.text.is_empty() || reply.text.ends_with('\n')) {
            writeln!(out)?;
        }
        out.flush()?;
        match end {
            End::Done => {}
            End::ContextFull => notice(format!("the context is full: {slots} tokens (-c)")),
            End::Interrupted => notice("interrupted"),
        }
        Ok(reply)
    }

    fn generate(&mut self, tokens: &[u32], reply: &mut Reply, out: &mut impl Write) -> Result<End> {
        let mut characters = Detokenizer::new();
        let mut stops = StopMatcher::new(self.stops.clone())?;
        let begin = Instant::now();
        self.session.feed(tokens, Outputs::Last, |done, _| {
            reply.fed = done;
            !interrupt::asked()
        })?;
        self.held.extend_from_slice(&tokens[..reply.fed]);
        if reply.fed < tokens.len() {
            reply.prompt_time = begin.elapsed();
            return Ok(End::Interrupted);
        }
        tokens.iter().for_each(|token| self.sampler.accept(*token));
        let mut next = self.choose()?;
        reply.prompt_time = begin.elapsed();

        let begin = Instant::now();
        let end = loop {
            if reply.generated == self.most || (self.tokenizer.is_end(next) && !self.ignore_ends) {
                break End::Done;
            }
            reply.generated += 1;
            let text = stops.push(&characters.push(self.tokenizer.token_bytes(next, false)));
            write_piece(&text, reply, out)?;
            if stops.stopped().is_some() || reply.generated == self.most {
                break End::Done;
            }
            if interrupt::asked() {
                break End::Interrupted;
            }
            if self.session.room() == 0 {
                break End::ContextFull;
            }
            self.session.decode(next)?;
            self.held.push(next);
            self.sampler.accept(next);
            next = self.choose()?;
            reply.steps += 1;
        };
        reply.decode_time = begin.elapsed();
        let rest = stops.push(&characters.finish()) + &stops.finish();
        write_piece(&rest, reply, out)?;
        Ok(end)
    }

    /// The next token. Where the largest logit decides, the device finds it and no logits travel.
    fn choose(&mut self) -> Result<u32> {
        if self.sampler.is_argmax() && !self.ignore_ends {
            return Ok(self.session.argmax()?);
        }
        self.session.logits(&mut self.logits)?;
        if self.ignore_ends {
            self.tokenizer.ends().iter().for_each(|end| self.logits[*end as usize] = f32::NEG_INFINITY);
        }
        Ok(self.sampler.sample(&mut self.logits))
    }
}

fn write_piece(text: &str, reply: &mut Reply, out: &mut impl Write) -> Result<()> {
    reply.text.push_str(text);
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}
