use super::args::{ModelArgs, TextArgs, tokenizer};
use super::logits::ROWS_PER_STEP;
use super::output::notice;
use anyhow::{Context, Result, bail};
use pronk::generate::{LoadOptions, Outputs};
use pronk::text::EncodeOptions;
use rayon::prelude::*;
use std::io::{self, Write};
use std::time::Instant;

/// Measure how well a model predicts a text
///
/// The text is cut into windows of the context. Every token of a window but the first is scored; where the model expects a
/// beginning-of-text token, each window starts with one.
#[derive(clap::Args)]
#[command(mut_group("TextArgs", |group| group.required(true)))]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    text: TextArgs,
}

pub fn run(args: &Args) -> Result<()> {
    let text = args.text.prompt()?.unwrap_or_default();
    let (gguf, model) = args.model.file.model()?;
    let tokenizer = tokenizer(&gguf, &model)?;
    let tokens = tokenizer.encode(&text, EncodeOptions::default());
    let tokens = tokens.with_context(|| args.model.file.model.display().to_string())?;
    let bos: Vec<u32> = tokenizer.bos().filter(|_| tokenizer.add_bos()).into_iter().collect();
    let n_all = bos.len() + tokens.len();
    if n_all < 2 {
        bail!("the text has {} tokens, nothing to predict", tokens.len());
    }
    let options = args.model.on.options();
    // A short text needs no more than its own length of the model's context.
    let short = u32::try_from(n_all).ok().filter(|n| *n < model.config.n_ctx_train);
    let options = LoadOptions { n_ctx: options.n_ctx.or(short), max_outputs: ROWS_PER_STEP, ..options };
    let mut session = args.model.on.load(model, &options)?.session;
    let window = session.plan().kv.slots as usize;
    if window < 2 {
        bail!("-c {window}: expected at least 2");
    }

    let begin = Instant::now();
    let n_vocab = session.n_vocab() as usize;
    let mut total = Scores::default();
    let mut out = io::stdout().lock();
    for (i, text) in tokens.chunks(window - bos.len()).enumerate() {
        let tokens = [&bos, text].concat();
        session.truncate(0);
        let mut scored = 0;
        session.feed(&tokens, Outputs::All, |done, logits| {
            // The last token's logits predict what is not in the window.
            let next = &tokens[scored + 1..tokens.len().min(done + 1)];
            total.add(logits, next, n_vocab);
            scored = done;
            true
        })?;
        if total.n > 0.0 {
            write!(out, "[{}]{:.4},", i + 1, total.perplexity())?;
            out.flush()?;
        }
    }
    writeln!(out, "\nFinal estimate: PPL = {:.4} +/- {:.5}", total.perplexity(), total.error())?;
    if !args.model.on.quiet {
        let rate = tokens.len() as f64 / begin.elapsed().as_secs_f64();
        notice(format!("{}: {} tokens scored, {rate:.1} tok/s", session.device(), total.n));
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
