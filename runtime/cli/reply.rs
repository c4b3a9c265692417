//! Replies: a prompt goes in, text comes out as it is made.

use super::interrupt::{self, Interrupted, Work};
use super::output::{count, notice, tokens_bar};
use super::sampling::SamplingArgs;
use anyhow::{Result, bail};
use indicatif::ProgressBar;
use pronk::generate::{Outputs, Sampler, Session, check_logits};
use pronk::text::{Detokenizer, StopMatcher, Tokenizer};
use std::fmt;
use std::io::Write;
use std::time::{Duration, Instant};
use thiserror::Error;

/// What happens where the context is full.
#[derive(clap::Args, Clone, Copy)]
pub struct ContextArgs {
    /// At the end of the context: stop the reply, or shift: drop the older half of what is not kept and read the rest again
    #[arg(long, value_name = "WHAT", default_value = "stop")]
    pub context_end: ContextEnd,
    /// Tokens of the prompt that shifting keeps, besides a beginning-of-text token; -1: all
    #[arg(long, value_name = "N", default_value = "0", allow_negative_numbers = true,
          value_parser = clap::value_parser!(i64).range(-1..))]
    keep: i64,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ContextEnd {
    Stop,
    Shift,
}

/// Why a reply ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The model said so.
    Model,
    /// A stop string came.
    Stop,
    /// It has as many tokens as it may have.
    Limit,
    ContextFull,
    Interrupted,
}

impl End {
    /// An error if Ctrl-C ended the reply: it ends the program too.
    pub fn interrupted(self) -> Result<()> {
        if self == End::Interrupted { Err(Interrupted.into()) } else { Ok(()) }
    }
}

/// What a reply was, and what it took.
pub struct Reply {
    pub text: String,
    pub end: End,
    /// Tokens of the prompt that the KV cache held already.
    cached: usize,
    /// Tokens of the prompt that were fed.
    fed: usize,
    /// From the first token fed to the first choice.
    prompt_time: Duration,
    generated: usize,
    /// Tokens that were fed back for the next choice.
    steps: usize,
    /// How often the context was full and went on without its older half.
    shifts: usize,
    decode_time: Duration,
}

/// `prompt 24 tokens (37 cached) in 0.41 s, 58.5 tok/s; reply 12 tokens (limit -n), 27.3 tok/s`.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let rate = |n: usize, time: Duration| n as f64 / time.as_secs_f64();
        let (seconds, rate_in) = (self.prompt_time.as_secs_f64(), rate(self.fed, self.prompt_time));
        write!(f, "prompt {}", count(self.fed, "token"))?;
        if self.cached > 0 {
            write!(f, " ({} cached)", self.cached)?;
        }
        write!(f, " in {seconds:.2} s, {rate_in:.1} tok/s; reply {}", count(self.generated, "token"))?;
        if self.end == End::Limit {
            write!(f, " (limit -n)")?;
        }
        if self.shifts > 0 {
            write!(f, ", {} of the context", count(self.shifts, "shift"))?;
        }
        match self.steps {
            0 => Ok(()),
            steps => write!(f, ", {:.1} tok/s", rate(steps, self.decode_time)),
        }
    }
}

/// The prompt does not fit into the context.
#[derive(Debug, Error)]
#[error("the prompt has {n_tokens} tokens, the context holds {n_ctx} (-c)")]
pub struct TooLong {
    n_tokens: usize,
    n_ctx: usize,
}

/// A session with all that makes text of it. It remembers what the KV cache holds.
pub struct Replier {
    session: Session,
    tokenizer: Tokenizer,
    sampler: Sampler,
    /// None where no choice is left to chance.
    seed: Option<u64>,
    /// The most tokens of a reply.
    most: usize,
    ignore_ends: bool,
    stops: Vec<String>,
    held: Vec<u32>,
    logits: Vec<f32>,
    context: ContextArgs,
    quiet: bool,
}

impl Replier {
    /// `quiet`: without notices.
    pub fn new(
        session: Session,
        tokenizer: Tokenizer,
        args: &SamplingArgs,
        context: ContextArgs,
        quiet: bool,
    ) -> Replier {
        let options = args.options();
        Replier {
            session,
            tokenizer,
            seed: (options.temperature > 0.0).then_some(options.seed),
            sampler: Sampler::new(options),
            most: usize::try_from(args.n_predict).unwrap_or(usize::MAX),
            ignore_ends: args.ignore_eos,
            stops: args.stop.clone(),
            held: vec![],
            logits: vec![],
            context,
            quiet,
        }
    }

    /// `cpu: load 0.12 s; seed 7`, with what else there is to say after the load.
    pub fn summary(&self, load_time: Duration, rest: &str) -> String {
        let seed = self.seed.map_or(String::new(), |seed| format!("; seed {seed}"));
        format!("{}: load {:.2} s{rest}{seed}", self.session.device(), load_time.as_secs_f64())
    }

    /// Tokens that the context holds.
    pub fn n_ctx(&self) -> u32 {
        self.session.plan().kv.slots
    }

    /// What to say where the context is full and a reply ends for it.
    pub fn full(&self) -> String {
        let why = match self.context.context_end {
            ContextEnd::Stop => "--context-end shift goes on",
            ContextEnd::Shift => "too few to drop any",
        };
        format!("the context is full: {} tokens (-c); {why}", self.n_ctx())
    }

    /// Forgets all text.
    pub fn clear(&mut self) {
        self.held.clear();
        self.sampler.clear();
    }

    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Continues `prompt`, all tokens of the text so far, and writes the text to `out` piece by piece. Only the tokens that
    /// the KV cache does not hold are fed. Ctrl-C ends the reply.
    ///
    /// Errors: no prompt; one that does not fit into the context; logits that are not finite; `out`'s and the device's.
    pub fn reply(&mut self, prompt: &[u32], out: &mut impl Write) -> Result<Reply> {
        let _work = Work::begin()?;
        let (n_tokens, n_ctx) = (prompt.len(), self.n_ctx() as usize);
        if prompt.is_empty() {
            bail!("the prompt has no tokens");
        }
        if n_tokens > n_ctx {
            return Err(TooLong { n_tokens, n_ctx }.into());
        }
        // The last token is fed in any case: the first choice needs its logits.
        let reusable = self.held.iter().zip(&prompt[..prompt.len() - 1]).take_while(|(a, b)| a == b).count();
        self.session.truncate(reusable as u32);
        self.held.truncate(reusable);
        let mut reply = Reply {
            text: String::new(),
            end: End::Model,
            cached: reusable,
            fed: 0,
            prompt_time: Duration::ZERO,
            generated: 0,
            steps: 0,
            shifts: 0,
            decode_time: Duration::ZERO,
        };
        let begins = prompt.first().copied() == self.tokenizer.bos();
        let keep = usize::try_from(self.context.keep).map_or(n_tokens, |keep| keep + begins as usize);
        reply.end = self.generate(&prompt[reusable..], keep.min(n_tokens), &mut reply, out)?;
        if !(reply.text.is_empty() || reply.text.ends_with('\n')) {
            writeln!(out)?;
        }
        out.flush()?;
        Ok(reply)
    }

    /// Makes room where the context is full, if the command line says so: whether there is room now, or the work was stopped.
    fn make_room(&mut self, keep: usize, reply: &mut Reply) -> Result<bool> {
        if self.session.room() > 0 {
            return Ok(true);
        }
        let rest = self.held.len() - keep;
        if self.context.context_end == ContextEnd::Stop || rest < 2 {
            return Ok(false);
        }
        // Said once: it would stand in the middle of the text each time.
        if !self.quiet && reply.shifts == 0 {
            let (dropped, again) = (count(rest / 2, "token"), rest - rest / 2);
            notice(format!(
                "the context is full: {dropped} dropped after the first {keep}, the last {again} read again"
            ));
        }
        reply.shifts += 1;
        self.session.shift(&mut self.held, keep, |_, _| !interrupt::asked())?;
        Ok(true)
    }

    /// Feeds the rest of the prompt, then chooses tokens. `keep`: how many of the first tokens stay where the context shifts.
    fn generate(&mut self, tokens: &[u32], keep: usize, reply: &mut Reply, out: &mut impl Write) -> Result<End> {
        let mut characters = Detokenizer::new();
        let mut stops = StopMatcher::new(self.stops.clone())?;
        let begin = Instant::now();
        let one_step = tokens.len() <= self.session.plan().max_tokens as usize;
        let bar = if self.quiet || one_step { ProgressBar::hidden() } else { tokens_bar(tokens.len())? };
        self.session.feed(tokens, Outputs::Last, |done, _| {
            reply.fed = done;
            bar.set_position(done as u64);
            !interrupt::asked()
        })?;
        bar.finish_and_clear();
        self.held.extend_from_slice(&tokens[..reply.fed]);
        if reply.fed < tokens.len() {
            reply.prompt_time = begin.elapsed();
            return Ok(End::Interrupted);
        }
        tokens.iter().for_each(|token| self.sampler.accept(*token));
        // The device's choice says nothing about the logits: those of the prompt are looked at once.
        self.session.logits(&mut self.logits)?;
        check_logits(&self.logits)?;
        let mut next = self.choose()?;
        reply.prompt_time = begin.elapsed();

        let begin = Instant::now();
        let end = loop {
            if reply.generated == self.most {
                break End::Limit;
            }
            if reply.generated > 0 {
                if !self.make_room(keep, reply)? {
                    break End::ContextFull;
                }
                if interrupt::asked() {
                    break End::Interrupted;
                }
                self.session.decode(next)?;
                self.held.push(next);
                self.sampler.accept(next);
                next = self.choose()?;
                reply.steps += 1;
            }
            if self.tokenizer.is_end(next) && !self.ignore_ends {
                break End::Model;
            }
            reply.generated += 1;
            let text = stops.push(&characters.push(self.tokenizer.token_bytes(next, false)));
            write_piece(&text, reply, out)?;
            if stops.stopped().is_some() {
                break End::Stop;
            }
            if interrupt::asked() {
                break End::Interrupted;
            }
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
        Ok(self.sampler.sample(&mut self.logits)?)
    }
}

fn write_piece(text: &str, reply: &mut Reply, out: &mut impl Write) -> Result<()> {
    reply.text.push_str(text);
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}
