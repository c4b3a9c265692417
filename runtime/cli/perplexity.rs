use super::args::{ModelArgs, tokenizer};
use super::interrupt::{self, Interrupted, Work};
use super::kl::{Base, BaseWriter, Text};
use super::logits::ROWS_PER_STEP;
use super::output::{WholeFile, count, notice, stdout};
use super::text::TextArgs;
use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use pronk::generate::{LoadOptions, NotFinite, Outputs};
use pronk::text::EncodeOptions;
use rayon::prelude::*;
use std::io::Write;
use std::path::{Path, PathBuf};
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
    /// Save all predictions, for --kl-base: 2 bytes for each token of the vocabulary, times the tokens of the text
    #[arg(long, value_name = "FILE")]
    kl_base_out: Option<PathBuf>,
    /// Compare with the predictions of another model that were saved from the same text: Kullback-Leibler divergence in nats, ratio
    /// of the perplexities, how often the likeliest token is the same
    #[arg(long, value_name = "FILE", conflicts_with = "kl_base_out")]
    kl_base: Option<PathBuf>,
}

/// Tokens of a window, as in llama.cpp.
const WINDOW: u32 = 512;

pub fn run(args: &Args) -> Result<()> {
    let text = args.text.prompt()?.unwrap_or_default();
    let (gguf, model) = args.model.file.model()?;
    if let Some(path) = &args.kl_base_out {
        // Finds out before the work whether it can be written.
        WholeFile::create(path)?.refuse_inputs(gguf.files().iter().map(Path::new).chain(args.text.path()))?;
    }
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
    let about = Text { n_vocab: model.config.n_vocab, bos: bos.first().copied(), tokens: &tokens };
    let mut base = args.kl_base.as_ref().map(|path| Base::open(path, &about)).transpose()?;
    let mut session = args.model.on.load(model, &options)?.session;
    let window = session.plan().kv.slots as usize;
    if window < 2 {
        bail!("windows of {window} (-c): expected at least 2");
    }
    let windows = tokens.chunks(window - bos.len());
    if !args.model.on.quiet {
        let (n, size) = (count(windows.len(), "window"), count(window.min(n_all), "token"));
        notice(format!(
            "perplexity: {n} of {size}, every token but the first scored (llama.cpp scores the second half)"
        ));
    }

    base.iter().try_for_each(|base| base.check_window(window as u32))?;
    let _work = Work::begin()?; // an interrupted run removes what it has written
    let base_out = args.kl_base_out.as_ref().map(|path| BaseWriter::create(path, &about, window as u32));
    let mut base_out = base_out.transpose()?;

    let begin = Instant::now();
    let n_vocab = session.n_vocab() as usize;
    let mut nll = Mean::default();
    let mut out = stdout();
    let bar = ProgressBar::new((tokens.len() + windows.len() * bos.len()) as u64);
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos} of {len} tokens, {eta} left; PPL {msg}")?);
    let mut estimates = String::new();
    for (i, text) in windows.enumerate() {
        let tokens = [&bos, text].concat();
        session.truncate(0);
        let mut scored = 0;
        let mut done_with = Ok(());
        session.feed(&tokens, Outputs::All, |done, logits| {
            // The last token's logits predict what is not in the window.
            let next = &tokens[scored + 1..tokens.len().min(done + 1)];
            let logits = &logits[..next.len() * n_vocab];
            let rows = logits.par_chunks_exact(n_vocab).zip(next);
            let row_nll: Vec<f64> = rows.map(|(row, token)| log_sum_exp(row) - row[*token as usize] as f64).collect();
            row_nll.into_iter().for_each(|v| nll.add(v));
            done_with = base_out.as_mut().map_or(Ok(()), |base| base.write(logits));
            if let (Some(base), true) = (&mut base, done_with.is_ok()) {
                done_with = base.compare(logits, next);
            }
            bar.inc((done - scored) as u64);
            scored = done;
            done_with.is_ok() && !interrupt::asked()
        })?;
        done_with?;
        if interrupt::asked() {
            return Err(Interrupted.into());
        }
        if nll.n > 0.0 {
            if !nll.mean().is_finite() {
                bar.finish_and_clear();
                return Err(NotFinite.into());
            }
            bar.set_message(format!("{:.4}", nll.mean().exp()));
            estimates += &format!("[{}]{:.4},", i + 1, nll.mean().exp());
        }
        // The bar has the terminal for itself until it is done.
        if bar.is_hidden() {
            let shown = write!(out, "{estimates}").and_then(|()| out.flush());
            // A file is worth its work though nobody reads this; the last line tells if nobody can.
            if base_out.is_none() {
                shown?;
            }
            estimates.clear();
        }
    }
    bar.finish_and_clear();
    if let (Some(base), Some(path)) = (base_out, &args.kl_base_out) {
        base.commit()?;
        if !args.model.on.quiet {
            notice(format!("wrote {}: {}", path.display(), count(nll.n as usize, "prediction")));
        }
    }
    let perplexity = nll.mean().exp();
    // The error of the mean, times the derivative of exp.
    writeln!(out, "{estimates}\nFinal estimate: PPL = {perplexity:.4} +/- {:.5}", nll.error() * perplexity)?;
    if let Some(base) = base {
        base.report(&mut out)?;
    }
    if !args.model.on.quiet {
        let rate = tokens.len() as f64 / begin.elapsed().as_secs_f64();
        notice(format!("{}: {} scored, {rate:.1} tok/s", session.device(), count(nll.n as usize, "token")));
    }
    Ok(())
}

/// The mean of some numbers.
#[derive(Default)]
pub struct Mean {
    pub n: f64,
    sum: f64,
    sum_of_squares: f64,
}

impl Mean {
    pub fn add(&mut self, v: f64) {
        self.n += 1.0;
        self.sum += v;
        self.sum_of_squares += v * v;
    }

    pub fn mean(&self) -> f64 {
        self.sum / self.n
    }

    /// Standard error of the mean.
    pub fn error(&self) -> f64 {
        let variance = (self.sum_of_squares / self.n - self.mean().powi(2)).max(0.0);
        (variance / (self.n - 1.0).max(1.0)).sqrt()
    }
}

/// `log sum_j exp(logits[j])`.
pub fn log_sum_exp(logits: &[f32]) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max) as f64;
    let sum: f64 = logits.iter().map(|l| (*l as f64 - max).exp()).sum();
    max + sum.ln()
}
