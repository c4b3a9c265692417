//! Streams a reply: text to stdout, progress and timings to stderr.

use super::interrupt::Interrupted;
use super::numbers::whole_from;
use super::output::{count, notice, stdout, tokens_bar};
use anyhow::Result;
use indicatif::ProgressBar;
use pronk::generate::{ContextEnd, End, Error, GenerateEvent, LanguageModel, Piece, Stats};
use serde::Serialize;
use std::io::Write;
use std::time::Duration;

/// What to do when the context is full.
#[derive(clap::Args, Clone, Copy)]
pub struct ContextArgs {
    /// When the context is full, stop the reply, or shift: drop the older half of the tokens after --keep
    #[arg(long, value_name = "WHAT", default_value = "stop")]
    context_end: AtEnd,
    /// Number of prompt tokens that a shift keeps, besides the beginning-of-text token; -1: all
    #[arg(long, value_name = "N", default_value = "0", value_parser = whole_from::<i64>(-1))]
    keep: i64,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum AtEnd {
    Stop,
    Shift,
}

impl ContextArgs {
    pub fn context_end(&self) -> ContextEnd {
        match self.context_end {
            AtEnd::Stop => ContextEnd::Stop,
            AtEnd::Shift => ContextEnd::Shift { keep: usize::try_from(self.keep).unwrap_or(usize::MAX) },
        }
    }

    /// The notice for a reply that ended because the context is full.
    pub fn full(&self, model: &LanguageModel) -> String {
        let why = match self.context_end {
            AtEnd::Stop => "--context-end shift drops the older half",
            AtEnd::Shift => "too few to drop any",
        };
        format!("the context is full: {} tokens (-c); {why}", model.n_ctx())
    }
}

/// An error if Ctrl-C ended the reply, so that it ends the program too.
pub fn interrupted(end: End) -> Result<()> {
    if end == End::Cancelled { Err(Interrupted.into()) } else { Ok(()) }
}

/// `cpu: load 0.12 s; seed 7`. `rest` comes after the load time. `seed`: None where the choices are not random.
pub fn summary(model: &LanguageModel, load_time: Duration, rest: &str, seed: Option<u64>) -> String {
    let seed = seed.map_or(String::new(), |seed| format!("; seed {seed}"));
    format!("{}: load {:.2} s{rest}{seed}", model.device(), load_time.as_secs_f64())
}

/// `prompt 24 tokens (37 cached) in 0.41 s, 58.5 tok/s; reply 12 tokens (limit -n), 27.3 tok/s`.
pub fn timings(stats: &Stats, end: End) -> String {
    let rate = |n: usize, time: Duration| n as f64 / time.as_secs_f64();
    let mut text = format!("prompt {}", count(stats.fed, "token"));
    if stats.cached > 0 {
        text += &format!(" ({} cached)", stats.cached);
    }
    let (seconds, rate_in) = (stats.prompt_time.as_secs_f64(), rate(stats.fed, stats.prompt_time));
    text += &format!(" in {seconds:.2} s, {rate_in:.1} tok/s; reply {}", count(stats.generated, "token"));
    if end == End::Limit {
        text += " (limit -n)";
    }
    if stats.shifts > 0 {
        text += &format!(", {} of the context", count(stats.shifts, "shift"));
    }
    if stats.steps > 0 {
        text += &format!(", {:.1} tok/s", rate(stats.steps, stats.decode_time));
    }
    text
}

/// Writes each piece of a reply to `out` as it comes, and a newline at the end.
pub fn write(pieces: impl Iterator<Item = Result<Piece, Error>>, out: &mut impl Write) -> Result<()> {
    let (mut last, mut failed) = (None, None);
    for piece in pieces {
        let text = match piece {
            Ok(piece) => piece.text,
            Err(e) => {
                failed = Some(e); // the text so far gets its newline first
                break;
            }
        };
        out.write_all(text.as_bytes())?;
        out.flush()?;
        last = text.chars().last().or(last);
    }
    if last.is_some_and(|last| last != '\n') {
        writeln!(out)?;
    }
    out.flush()?;
    failed.map_or(Ok(()), |e| Err(e.into()))
}

/// A whole reply, to be printed as JSON.
#[derive(Default)]
pub struct Collected {
    text: String,
    tokens: Vec<u32>,
}

/// A reply as JSON.
#[derive(Serialize)]
struct Report<'a> {
    text: &'a str,
    /// Ids of the generated tokens.
    tokens: &'a [u32],
    /// Why it ended: `end`, `stop`, `limit`, `context` or `interrupted`.
    reason: &'static str,
    /// None where the choices are not random.
    seed: Option<u64>,
    timings: Timings,
}

#[derive(Serialize)]
struct Timings {
    /// Tokens of the prompt that were computed, and those that the KV cache had.
    prompt_tokens: usize,
    cached_tokens: usize,
    prompt_seconds: f64,
    reply_tokens: usize,
    reply_seconds: f64,
    /// Shifts of the context.
    shifts: usize,
}

impl Collected {
    /// Reads a reply to its end.
    pub fn of(pieces: impl Iterator<Item = Result<Piece, Error>>) -> Result<Collected> {
        let mut collected = Collected::default();
        for piece in pieces {
            let piece = piece?;
            collected.text += &piece.text;
            collected.tokens.extend(piece.token);
        }
        Ok(collected)
    }

    /// Writes one line to stdout.
    pub fn print(&self, end: End, stats: &Stats, seed: Option<u64>) -> Result<()> {
        let report = Report {
            text: &self.text,
            tokens: &self.tokens,
            reason: match end {
                End::EndToken => "end",
                End::StopString => "stop",
                End::Limit => "limit",
                End::ContextFull => "context",
                End::Cancelled => "interrupted",
            },
            seed,
            timings: Timings {
                prompt_tokens: stats.fed,
                cached_tokens: stats.cached,
                prompt_seconds: stats.prompt_time.as_secs_f64(),
                reply_tokens: stats.generated,
                reply_seconds: stats.decode_time.as_secs_f64(),
                shifts: stats.shifts,
            },
        };
        let mut out = stdout();
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
        Ok(out.flush()?)
    }
}

/// Shows the progress through the prompt, and the first shift of the context.
pub struct Progress {
    bar: ProgressBar,
    quiet: bool,
    /// Tokens of the largest prompt that is read in one step, and so needs no bar.
    one_step: usize,
    has_shifted: bool,
}

impl Progress {
    pub fn new(model: &LanguageModel, quiet: bool) -> Result<Progress> {
        let bar = tokens_bar(0)?;
        let one_step = model.session().plan().max_tokens as usize;
        Ok(Progress { bar, quiet, one_step, has_shifted: false })
    }

    pub fn show(&mut self, event: GenerateEvent) {
        match event {
            _ if self.quiet => {}
            GenerateEvent::Prompt { total, .. } if total <= self.one_step => {}
            GenerateEvent::Prompt { done, total } if done == total => self.bar.finish_and_clear(),
            GenerateEvent::Prompt { done, total } => {
                self.bar.set_length(total as u64);
                self.bar.set_position(done as u64);
            }
            // Printed once: each notice interrupts the text of the reply.
            GenerateEvent::Shift { .. } if self.has_shifted => {}
            GenerateEvent::Shift { kept, dropped, again } => {
                self.has_shifted = true;
                let dropped = count(dropped, "token");
                notice(format!(
                    "the context is full: {dropped} dropped after the first {kept}, the last {again} read again"
                ));
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
