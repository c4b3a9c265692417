use super::args::{ModelArgs, tokenizer};
use super::logits::ROWS_PER_STEP;
use super::output::{count, notice, stdout};
use super::text::TextArgs;
use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use pronk::generate::{LoadOptions, NotFinite, Outputs};
use pronk::text::EncodeOptions;
use rayon::prelude::*;
use std::io::Write;
use std::time::Instant;

/// Measure how well a model predicts a text
///
/// The text is cut into windows of 512 tokens (-c changes it). Every token of a window but the first is scored, where llama.cpp
/// scores the second half only; where the model expects a beginning-of-text token, each window starts with one.
#[derive(clap::Args)]
#[command(mut_group("TextArgs", |group| group.required(true)))]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    text: TextArgs,
}

/// Tokens of a window, as in llama.cpp.
const WINDOW: u32 = 512;

pub fn run(args: &Args) -> Result<()> {
    let text = args.text.prompt()?.unwrap_or_default();
    let (gguf, model) = args.model.file.model()?;
    let tokenizer = tokenizer(&gguf, &model)?;
    let tokens = tokenizer.encode(&text, EncodeOptions::default());
    let tokens = tokens.with_context(|| args.model.file.model.display().to_string())?;
    let bos: Vec<u32> = tokenizer.bos().filter(|_| tokenizer.add_bos()).into_iter().collect();
    let n_all = bos.len() + tokens.len();
    if n_all < 2 {
        bail!("the text has {}, nothing to predict", count(tokens.len(), "token"));
    }
    let window = u32::try_from(n_all).unwrap_or(WINDOW).min(WINDOW).min(model.config.n_ctx_train);
    let options = LoadOptions { max_outputs: ROWS_PER_STEP, ..args.model.on.options(Some(window)) };
    let mut session = args.model.on.load(model, &options)?.session;
    let window = session.plan().kv.slots as usize;
    if window < 2 {
        bail!("-c {window}: expected at least 2");
    }
    let windows = tokens.chunks(window - bos.len());
    if !args.model.on.quiet {
        let (n, size) = (count(windows.len(), "window"), count(window.min(n_all), "token"));
        notice(format!(
            "perplexity: {n} of {size}, every token but the first scored (llama.cpp scores the second half)"
        ));
    }

    let begin = Instant::now();
    let n_vocab = session.n_vocab() as usize;
    let mut total = Scores::default();
    let mut out = stdout();
    let bar = ProgressBar::new((tokens.len() + windows.len() * bos.len()) as u64);
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos} of {len} tokens, {eta} left; PPL {msg}")?);
    let mut estimates = String::new();
    for (i, text) in windows.enumerate() {
        let tokens = [&bos, text].concat();
        session.truncate(0);
        let mut scored = 0;
        session.feed(&tokens, Outputs::All, |done, logits| {
            // The last token's logits predict what is not in the window.
            let next = &tokens[scored + 1..tokens.len().min(done + 1)];
            total.add(logits, next, n_vocab);
            bar.inc((done - scored) as u64);
            scored = done;
            true
        })?;
        if total.n > 0.0 {
            if !total.sum.is_finite() {
                bar.finish_and_clear();
                return Err(NotFinite.into());
            }
            bar.set_message(format!("{:.4}", total.perplexity()));
            estimates += &format!("[{}]{:.4},", i + 1, total.perplexity());
        }
        // The bar has the terminal for itself until it is done.
        if bar.is_hidden() {
            write!(out, "{estimates}")?;
            out.flush()?;
            estimates.clear();
        }
    }
    bar.finish_and_clear();
    writeln!(out, "{estimates}\nFinal estimate: PPL = {:.4} +/- {:.5}", total.perplexity(), total.error())?;
    if !args.model.on.quiet {
        let rate = tokens.len() as f64 / begin.elapsed().as_secs_f64();
        notice(format!("{}: {} scored, {rate:.1} tok/s", session.device(), count(total.n as usize, "token")));
    }
    Ok(())
}

/// Negative log-likelihoods of tokens, in nats.
#[derive(Default)]
struct Scores {
    n: f64,
    sum: f64,
    sum_of_squares: f64,
}

impl Scores {
    /// `logits`: (at least next.len(), n_vocab); row `i` predicts `next[i]`.
    fn add(&mut self, logits: &[f32], next: &[u32], n_vocab: usize) {
        let rows = logits.par_chunks_exact(n_vocab).zip(next);
        let nll: Vec<f64> = rows.map(|(row, token)| negative_log_likelihood(row, *token)).collect();
        self.n += nll.len() as f64;
        self.sum += nll.iter().sum::<f64>();
        self.sum_of_squares += nll.iter().map(|v| v * v).sum::<f64>();
    }

    fn perplexity(&self) -> f64 {
        (self.sum / self.n).exp()
    }

    /// Standard error of the perplexity: that of the mean, times the derivative of exp.
    fn error(&self) -> f64 {
        let mean = self.sum / self.n;
        let variance = (self.sum_of_squares / self.n - mean * mean).max(0.0);
        (variance / (self.n - 1.0).max(1.0)).sqrt() * self.perplexity()
    }
}

/// `log sum_j exp(logits[j]) - logits[token]`.
fn negative_log_likelihood(logits: &[f32], token: u32) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max) as f64;
    let sum: f64 = logits.iter().map(|l| (*l as f64 - max).exp()).sum();
    max + sum.ln() - logits[token as usize] as f64
}
