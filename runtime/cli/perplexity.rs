//! `pronk perplexity`: the perplexity of a text, and the divergence from another model.

use super::args::ModelArgs;
use super::interrupt::{self, Interrupted, Work};
use super::logits::ROWS_PER_STEP;
use super::output::{Stdout, WholeFile, count, notice, stdout};
use super::text::TextArgs;
use anyhow::{Context, Error, Result, anyhow};
use indicatif::{ProgressBar, ProgressStyle};
use pronk::generate::score::{
    Base, BaseError, BaseWriter, Difference, Divergence, Estimate, Perplexity, Predictions, Text,
};
use pronk::generate::{self, LoadOptions, bos, tokenizer};
use pronk::text::EncodeOptions;
use std::fs::File;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Measure how well a model predicts a text
///
/// The text is cut into windows of 512 tokens, or of -c. In each window every token but the first is scored; llama.cpp
/// scores the second half only. If the model expects a beginning-of-text token, each window starts with one.
#[derive(clap::Args)]
#[command(mut_group("TextArgs", |group| group.required(true)))]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    text: TextArgs,
    /// Save the predictions for --kl-base: 2 bytes per token of the text and token of the vocabulary
    #[arg(long, value_name = "FILE")]
    kl_base_out: Option<PathBuf>,
    /// Compare with the predictions that another model has saved for the same text: Kullback-Leibler divergence in
    /// nats, ratio of the perplexities, share of equal likeliest tokens
    #[arg(long, value_name = "FILE", conflicts_with = "kl_base_out")]
    kl_base: Option<PathBuf>,
}

/// Tokens per window, as in llama.cpp.
const WINDOW: u32 = 512;

pub fn run(args: &Args) -> Result<()> {
    let text = args.text.prompt()?.unwrap_or_default();
    let (gguf, model) = args.model.file.model()?;
    if let Some(path) = &args.kl_base_out {
        // An output that cannot be written is an error before the work.
        WholeFile::create(path)?.refuse_inputs(gguf.files().iter().map(Path::new).chain(args.text.path()))?;
    }
    let tokenizer = tokenizer(&gguf, &model)?;
    let tokens = tokenizer.encode(&text, EncodeOptions::default());
    let tokens = tokens.with_context(|| args.model.file.model.display().to_string())?;
    let text = Text { n_vocab: model.config.n_vocab, bos: bos(&tokenizer), tokens };
    let n_all = text.n_tokens();
    if n_all < 2 {
        return Err(generate::Error::NothingToScore { tokens: text.tokens.len() }.into());
    }
    let window = u32::try_from(n_all).unwrap_or(WINDOW).min(WINDOW).min(model.config.n_ctx_train);
    let options = LoadOptions { max_outputs: ROWS_PER_STEP, ..args.model.on.options(Some(window)) };
    let mut base = args.kl_base.as_ref().map(|path| BaseFile::open(path, &text)).transpose()?;
    let mut session = args.model.on.load(model, &options)?.session;
    let window = session.plan().kv.slots;
    let device = session.device();
    let mut score = Perplexity::new(&mut session, text)?;
    if !args.model.on.quiet {
        let (n, size) = (count(score.n_windows(), "window"), count(score.window().min(n_all), "token"));
        notice(format!(
            "perplexity: {n} of {size}, every token but the first scored (llama.cpp scores the second half)"
        ));
    }

    base.iter().try_for_each(|base| base.check_window(window))?;
    let _work = Work::begin(); // an interrupted run removes its unfinished file
    let base_out = args.kl_base_out.as_ref().map(|path| begin_base(path, score.text(), window));
    let mut base_out = base_out.transpose()?;

    let begin = Instant::now();
    let mut out = stdout();
    let bar = ProgressBar::new(score.n_reads() as u64);
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos} of {len} tokens, {eta} left; PPL {msg}")?);
    let mut estimates = String::new();
    for i in 1.. {
        let mut done_with = Ok(());
        let window = score.next_window(|predictions| {
            done_with = base_out.as_mut().map_or(Ok(()), |base| Ok(base.write(predictions)?));
            if let (Some(base), true) = (&mut base, done_with.is_ok()) {
                done_with = base.compare(predictions);
            }
            bar.inc(predictions.n_read as u64);
            done_with.is_ok() && !interrupt::asked()
        });
        let Some(window) = window else { break };
        let ended = done_with.and(window.map_err(Error::from)).and(match interrupt::asked() {
            true => Err(Interrupted.into()),
            false => Ok(()),
        });
        if let Err(e) = ended {
            bar.finish_and_clear();
            if i > 1 && bar.is_hidden() {
                let _ = writeln!(out); // ends the line of the estimates; the error says what is wrong
            }
            return Err(e);
        }
        if score.nll().n() > 0 {
            let estimate = format!("{:.4}", score.nll().exp().value);
            estimates += &format!("[{i}]{estimate},");
            bar.set_message(estimate);
        }
        // While the bar is on the terminal, nothing else is printed there.
        if bar.is_hidden() {
            let shown = write!(out, "{estimates}").and_then(|()| out.flush());
            // A file is worth its work also where the estimates have no reader; the last line finds out.
            if base_out.is_none() {
                shown?;
            }
            estimates.clear();
        }
    }
    bar.finish_and_clear();
    let n_scored = score.nll().n() as usize;
    if let (Some(base), Some(path)) = (base_out, &args.kl_base_out) {
        base.into_inner().commit()?;
        if !args.model.on.quiet {
            notice(format!("wrote {}: {}", path.display(), count(n_scored, "prediction")));
        }
    }
    let Estimate { value, error } = score.nll().exp();
    writeln!(out, "{estimates}\nFinal estimate: PPL = {value:.4} +/- {error:.5}")?;
    if let Some(base) = base {
        report(&base.base.finish(), &mut out)?;
    }
    if !args.model.on.quiet {
        let rate = score.text().tokens.len() as f64 / begin.elapsed().as_secs_f64();
        notice(format!("{device}: {} scored, {rate:.1} tok/s", count(n_scored, "token")));
    }
    Ok(())
}

/// Begins a file of predictions. Errors: it cannot be written; the disk is too full.
fn begin_base(path: &Path, text: &Text, window: u32) -> Result<BaseWriter<WholeFile>> {
    let out = WholeFile::create(path)?;
    out.require(text.base_bytes(window))?;
    Ok(BaseWriter::new(out, text, window)?)
}

/// A file of predictions to compare with. Errors name the file.
struct BaseFile<'a> {
    path: &'a Path,
    base: Base<BufReader<File>>,
}

impl BaseFile<'_> {
    fn open<'a>(path: &'a Path, text: &Text) -> Result<BaseFile<'a>> {
        let file = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let base = file.map_err(BaseError::from).and_then(|(bytes, file)| Base::new(BufReader::new(file), bytes, text));
        Ok(BaseFile { path, base: base.map_err(|e| base_error(path, &e))? })
    }

    fn check_window(&self, window: u32) -> Result<()> {
        self.base.check_window(window).map_err(|e| base_error(self.path, &e))
    }

    fn compare(&mut self, predictions: &Predictions) -> Result<()> {
        self.base.compare(predictions).map_err(|e| base_error(self.path, &e))
    }
}

/// The error of a file of predictions, with the flag that helps.
fn base_error(path: &Path, error: &BaseError) -> Error {
    let name = path.display();
    match error {
        BaseError::NotPredictions => anyhow!("{name}: {error} (--kl-base-out writes one)"),
        BaseError::Other { what: Difference::Window, theirs, ours } => {
            anyhow!("{name}: was saved with windows (-c) of {theirs}, this run has {ours}")
        }
        _ => anyhow!("{name}: {error}"),
    }
}

fn report(found: &Divergence, out: &mut Stdout) -> Result<()> {
    let Estimate { value, error } = found.base_perplexity;
    writeln!(out, "Base: PPL = {value:.4} +/- {error:.5}")?;
    let Estimate { value, error } = found.perplexity_ratio;
    writeln!(out, "PPL / base PPL = {value:.6} +/- {error:.6}")?;
    let Estimate { value, error } = found.mean;
    writeln!(out, "Mean KL divergence = {value:.8} +/- {error:.8}")?;
    let quantiles = [("median", 0.5), ("90%", 0.9), ("99%", 0.99), ("99.9%", 0.999), ("maximum", 1.0)];
    let quantiles = quantiles.map(|(name, q)| format!("{name} {:.8}", found.quantile(q)));
    writeln!(out, "KL divergence: {}", quantiles.join(", "))?;
    let Estimate { value, error } = found.same_top;
    Ok(writeln!(out, "Same top token = {:.3}% +/- {:.3}%", 100.0 * value, 100.0 * error)?)
}
