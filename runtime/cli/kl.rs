//! How far a model's predictions are from those of another one, which a file holds: that of its base, before quantization say.
//!
//! The file, all numbers little-endian: `PRONKLP1`, what the predictions are about (n_vocab u32, window u32, the beginning-of-text
//! token or 2^32 - 1 u32, tokens u32, the tokens u32 each), then for each scored token, in order, the log-probabilities of the whole
//! vocabulary in its place: the lowest (f32), a step (f32), and n_vocab numbers of steps above the lowest (u16). A model differs
//! from its own file by a 24th of the squared step: less than 1e-7 where the log-probabilities span 100.

use super::output::WholeFile;
use super::perplexity::{Mean, log_sum_exp};
use anyhow::{Context, Result, bail};
use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};

const MAGIC: [u8; 8] = *b"PRONKLP1";
const NO_BOS: u32 = u32::MAX;

/// What predictions are about: two models can be compared where all of it is the same, and the windows are.
#[derive(Clone, PartialEq, Debug)]
pub struct Text<'a> {
    pub n_vocab: u32,
    pub bos: Option<u32>,
    /// The text, without beginning-of-text tokens.
    pub tokens: &'a [u32],
}

/// The file without its rows, up to the tokens.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Head {
    magic: [u8; 8],
    n_vocab: [u8; 4],
    window: [u8; 4],
    bos: [u8; 4],
    n_tokens: [u8; 4],
}

impl Text<'_> {
    /// Tokens that are scored: all of each window but its first. The beginning-of-text token is one of a window's.
    fn n_rows(&self, window: u32) -> u64 {
        let n_bos = self.bos.iter().len();
        let windows = self.tokens.len().div_ceil(window as usize - n_bos);
        (self.tokens.len() + windows * n_bos - windows) as u64
    }

    fn row_bytes(&self) -> u64 {
        8 + 2 * self.n_vocab as u64
    }

    fn head(&self, window: u32) -> Head {
        let le = u32::to_le_bytes;
        let (bos, n_tokens) = (le(self.bos.unwrap_or(NO_BOS)), le(self.tokens.len() as u32));
        Head { magic: MAGIC, n_vocab: le(self.n_vocab), window: le(window), bos, n_tokens }
    }

    fn file_bytes(&self, window: u32) -> u64 {
        (size_of::<Head>() + 4 * self.tokens.len()) as u64 + self.n_rows(window) * self.row_bytes()
    }
}

/// A file of predictions that is being written.
pub struct BaseWriter {
    out: WholeFile,
    n_vocab: usize,
}

impl BaseWriter {
    /// Errors: the file cannot be written, or there is no space for it.
    pub fn create(path: &Path, text: &Text, window: u32) -> Result<BaseWriter> {
        let mut out = WholeFile::create(path)?;
        out.require(text.file_bytes(window))?;
        let tokens: Vec<u8> = text.tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
        out.write_all(&[bytemuck::bytes_of(&text.head(window)), &tokens].concat())?;
        Ok(BaseWriter { out, n_vocab: text.n_vocab as usize })
    }

    /// Appends rows of logits.
    pub fn write(&mut self, logits: &[f32]) -> Result<()> {
        let rows: Vec<Vec<u8>> = logits.par_chunks_exact(self.n_vocab).map(encode).collect();
        Ok(rows.iter().try_for_each(|row| self.out.write_all(row))?)
    }

    pub fn commit(self) -> Result<()> {
        self.out.commit()
    }
}

/// A row of the file: the log-probabilities of these logits.
fn encode(logits: &[f32]) -> Vec<u8> {
    let total = log_sum_exp(logits);
    let (lowest, highest) = logits.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
    let step = ((highest - lowest) / f32::from(u16::MAX)).max(f32::MIN_POSITIVE);
    let steps = logits.iter().map(|v| ((v - lowest) / step).round() as u16);
    let head = [(lowest as f64 - total) as f32, step].map(f32::to_le_bytes).concat();
    head.into_iter().chain(steps.flat_map(u16::to_le_bytes)).collect()
}

/// The log-probabilities of a row of the file, normalized again.
fn decode(row: &[u8]) -> Vec<f64> {
    let (numbers, steps) = row.split_at(8);
    let number = |i: usize| f64::from(f32::from_le_bytes([0, 1, 2, 3].map(|b| numbers[4 * i + b])));
    let (lowest, step) = (number(0), number(1));
    let steps = steps.as_chunks::<2>().0.iter().map(|steps| f64::from(u16::from_le_bytes(*steps)));
    let mut log_p: Vec<f64> = steps.map(|steps| lowest + step * steps).collect();
    let total = log_p.iter().map(|v| v.exp()).sum::<f64>().ln();
    log_p.iter_mut().for_each(|v| *v -= total);
    log_p
}

/// A file of predictions that a model is compared with.
pub struct Base {
    path: PathBuf,
    file: BufReader<File>,
    /// Tokens of a window.
    window: u32,
    n_vocab: usize,
    row_bytes: usize,
    /// Kullback-Leibler divergence at each scored token, in nats.
    divergences: Vec<f32>,
    /// Negative log-likelihood of the text's tokens in the file, and what the model's is above it.
    nll: Mean,
    nll_difference: Mean,
    /// Tokens where the likeliest is the same.
    same_top: u64,
}

impl Base {
    /// Errors: not such a file, or one of another text or vocabulary.
    pub fn open(path: &Path, text: &Text) -> Result<Base> {
        let name = path.display();
        let failed = || format!("{name}: cannot read");
        let file = File::open(path).with_context(failed)?;
        let bytes = file.metadata().with_context(failed)?.len();
        let mut file = BufReader::new(file);
        let mut head = Head::zeroed();
        if bytes < size_of::<Head>() as u64 {
            bail!("{name}: no file of predictions (--kl-base-out writes one)");
        }
        file.read_exact(bytemuck::bytes_of_mut(&mut head)).with_context(failed)?;
        if head.magic != MAGIC {
            bail!("{name}: no file of predictions (--kl-base-out writes one)");
        }
        let [n_vocab, window, bos, n_tokens] =
            [head.n_vocab, head.window, head.bos, head.n_tokens].map(u32::from_le_bytes);
        let refuse = |what: &str, theirs: String, ours: String| match theirs == ours {
            true => Ok(()),
            false => bail!("{name}: is of {what} {theirs}, this is {ours}"),
        };
        let or_none = |token: u32| if token == NO_BOS { "none".to_string() } else { token.to_string() };
        refuse("a vocabulary of", n_vocab.to_string(), text.n_vocab.to_string())?;
        refuse("the beginning-of-text token", or_none(bos), or_none(text.bos.unwrap_or(NO_BOS)))?;
        refuse("another text: tokens", n_tokens.to_string(), text.tokens.len().to_string())?;
        if window < 2 {
            bail!("{name}: is of windows of {window}, expected at least 2");
        }
        if bytes != text.file_bytes(window) {
            bail!("{name}: has {bytes} bytes, expected {} (was it cut?)", text.file_bytes(window));
        }
        for (i, ours) in text.tokens.iter().enumerate() {
            let mut theirs = [0; 4];
            file.read_exact(&mut theirs).with_context(failed)?;
            let theirs = u32::from_le_bytes(theirs).to_string();
            refuse(&format!("another text: token {i} is"), theirs, ours.to_string())?;
        }
        Ok(Base {
            path: path.to_path_buf(),
            file,
            window,
            n_vocab: text.n_vocab as usize,
            row_bytes: text.row_bytes() as usize,
            divergences: vec![],
            nll: Mean::default(),
            nll_difference: Mean::default(),
            same_top: 0,
        })
    }

    /// Errors: the file is of other windows.
    pub fn check_window(&self, window: u32) -> Result<()> {
        if self.window != window {
            bail!("{}: is of windows (-c) of {}, this is {window}", self.path.display(), self.window);
        }
        Ok(())
    }

    /// Compares the next rows of the file with rows of logits; `next[i]` is the token that follows.
    pub fn compare(&mut self, logits: &[f32], next: &[u32]) -> Result<()> {
        let mut rows = vec![0; next.len() * self.row_bytes];
        self.file.read_exact(&mut rows).with_context(|| format!("{}: cannot read", self.path.display()))?;
        let pairs = rows.par_chunks_exact(self.row_bytes).zip(logits.par_chunks_exact(self.n_vocab)).zip(next);
        let compared: Vec<_> = pairs.map(|((row, logits), next)| compare(&decode(row), logits, *next)).collect();
        for row in compared {
            self.divergences.push(row.divergence as f32);
            self.nll.add(row.base_nll);
            self.nll_difference.add(row.nll - row.base_nll);
            self.same_top += row.same_top as u64;
        }
        Ok(())
    }

    /// What the comparison has found.
    pub fn report(mut self, mut out: impl Write) -> Result<()> {
        let mut mean = Mean::default();
        self.divergences.iter().for_each(|v| mean.add(*v as f64));
        self.divergences.sort_unstable_by(f32::total_cmp);
        let last = self.divergences.len().saturating_sub(1);
        let quantile = |q: f64| self.divergences.get((q * last as f64).round() as usize).copied().unwrap_or(f32::NAN);
        let ratio = self.nll_difference.mean().exp();
        let same = self.same_top as f64 / mean.n;
        let base = self.nll.mean().exp();
        writeln!(out, "Base: PPL = {base:.4} +/- {:.5}", self.nll.error() * base)?;
        writeln!(out, "PPL / base PPL = {ratio:.6} +/- {:.6}", self.nll_difference.error() * ratio)?;
        writeln!(out, "Mean KL divergence = {:.8} +/- {:.8}", mean.mean(), mean.error())?;
        let quantiles = [("median", 0.5), ("90%", 0.9), ("99%", 0.99), ("99.9%", 0.999), ("maximum", 1.0)];
        let quantiles = quantiles.map(|(name, q)| format!("{name} {:.8}", quantile(q)));
        writeln!(out, "KL divergence: {}", quantiles.join(", "))?;
        let error = (same * (1.0 - same) / (mean.n - 1.0).max(1.0)).sqrt();
        Ok(writeln!(out, "Same top token = {:.3}% +/- {:.3}%", 100.0 * same, 100.0 * error)?)
    }
}

struct Compared {
    divergence: f64,
    base_nll: f64,
    nll: f64,
    same_top: bool,
}

/// `sum_j P(j) (log P(j) - log Q(j))`, P of the file, Q of the logits; and what both say of the token that follows.
fn compare(log_p: &[f64], logits: &[f32], next: u32) -> Compared {
    let total = log_sum_exp(logits);
    let log_q = |j: usize| logits[j] as f64 - total;
    let divergence = log_p.iter().enumerate().map(|(j, p)| p.exp() * (p - log_q(j))).sum();
    let top_p = (0..log_p.len()).max_by(|a, b| log_p[*a].total_cmp(&log_p[*b]).then(b.cmp(a)));
    // The file rounds: a token that is as likely there as its likeliest is that.
    let same_top = top_p.is_some_and(|top| log_p[pronk::backend::cpu::argmax(logits)] == log_p[top]);
    let next = next as usize;
    Compared { divergence, base_nll: -log_p[next], nll: -log_q(next), same_top }
}
