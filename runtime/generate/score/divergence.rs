//! The Kullback-Leibler divergence of a model from its base, for example the same model before quantization. A file
//! holds the base's predictions.
//!
//! Format of the file, all numbers little-endian: `PRONKLP1`; n_vocab (u32); window (u32); the beginning-of-text token,
//! or 2^32 - 1 (u32); the number of tokens (u32); the tokens (u32 each). Then, for each scored token in order, the
//! log-probabilities of the whole vocabulary: the lowest (f32), a step (f32), and n_vocab multiples of the step above
//! the lowest (u16). Rounding makes a model differ from its own file by a 24th of the squared step: less than 1e-7 if
//! the log-probabilities span 100.

use super::{Estimate, Mean, Predictions, Text, log_sum_exp};
use crate::plan::argmax;
use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;
use std::io::{self, Read, Write};
use thiserror::Error as ThisError;

const MAGIC: [u8; 8] = *b"PRONKLP1";
const NO_BOS: u32 = u32::MAX;

/// The bytes of the file before its rows.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Head {
    magic: [u8; 8],
    n_vocab: [u8; 4],
    window: [u8; 4],
    bos: [u8; 4],
    n_tokens: [u8; 4],
}

impl Text {
    /// The number of scored tokens: all tokens of each window but the first, which may be the beginning-of-text token.
    fn n_rows(&self, window: u32) -> u64 {
        let n_bos = self.bos.iter().len();
        let windows = self.tokens.len().div_ceil(window as usize - n_bos);
        (self.tokens.len() + windows * n_bos - windows) as u64
    }

    fn row_bytes(&self) -> u64 {
        8 + 2 * self.n_vocab as u64
    }

    /// The size in bytes of a file of predictions for this text, in windows of `window` tokens (at least 2).
    pub fn base_bytes(&self, window: u32) -> u64 {
        (size_of::<Head>() + 4 * self.tokens.len()) as u64 + self.n_rows(window) * self.row_bytes()
    }

    fn head(&self, window: u32) -> Head {
        let le = u32::to_le_bytes;
        let (bos, n_tokens) = (le(self.bos.unwrap_or(NO_BOS)), le(self.tokens.len() as u32));
        Head { magic: MAGIC, n_vocab: le(self.n_vocab), window: le(window), bos, n_tokens }
    }
}

/// Writes a model's predictions, for [`Base`] to read.
pub struct BaseWriter<W> {
    out: W,
    n_vocab: usize,
}

impl<W: Write> BaseWriter<W> {
    /// Writes the header: this text, in windows of `window` tokens.
    pub fn new(mut out: W, text: &Text, window: u32) -> io::Result<BaseWriter<W>> {
        let tokens: Vec<u8> = text.tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
        out.write_all(&[bytemuck::bytes_of(&text.head(window)), &tokens].concat())?;
        Ok(BaseWriter { out, n_vocab: text.n_vocab as usize })
    }

    /// Appends the predictions of a step.
    pub fn write(&mut self, predictions: &Predictions) -> io::Result<()> {
        let rows: Vec<Vec<u8>> = predictions.logits.par_chunks_exact(self.n_vocab).map(encode).collect();
        rows.iter().try_for_each(|row| self.out.write_all(row))
    }

    /// The underlying writer.
    pub fn into_inner(self) -> W {
        self.out
    }
}

/// The row of the file with the log-probabilities of these logits.
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

/// An error of a file of predictions.
#[derive(Debug, ThisError)]
pub enum BaseError {
    /// The file cannot be read.
    #[error("cannot read: {0}")]
    Io(#[from] io::Error),
    /// The file has another format.
    #[error("not a file of predictions")]
    NotPredictions,
    /// The length of the file does not match its text.
    #[error("has {bytes} bytes, expected {expected} (truncated?)")]
    Length {
        /// The size of the file in bytes.
        bytes: u64,
        /// The expected size in bytes.
        expected: u64,
    },
    /// The windows of the file have fewer than two tokens.
    #[error("has windows of {0}, expected at least 2")]
    WindowTooShort(u32),
    /// The file is about another vocabulary, text or window.
    #[error("has {what} {theirs}, expected {ours}")]
    Other {
        /// What differs.
        what: Difference,
        /// The value in the file: a number, or `none`.
        theirs: String,
        /// The expected value.
        ours: String,
    },
}

/// The difference between a file of predictions and the text or model that it is compared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Difference {
    /// The length of the vocabulary.
    Vocabulary,
    /// The beginning-of-text token.
    Bos,
    /// The number of tokens.
    Length,
    /// The token at this index.
    Token(usize),
    /// The length of the windows.
    Window,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Difference::Vocabulary => f.write_str("a vocabulary of"),
            Difference::Bos => f.write_str("the beginning-of-text token"),
            Difference::Length => f.write_str("another text: tokens"),
            Difference::Token(i) => write!(f, "another text: token {i} is"),
            Difference::Window => f.write_str("windows of"),
        }
    }
}

fn same<T: PartialEq + ToString>(what: Difference, theirs: T, ours: T) -> Result<(), BaseError> {
    match theirs == ours {
        true => Ok(()),
        false => Err(BaseError::Other { what, theirs: theirs.to_string(), ours: ours.to_string() }),
    }
}

/// The base: a file of predictions with which a model is compared, row by row.
pub struct Base<R> {
    file: R,
    window: u32,
    n_vocab: usize,
    row_bytes: usize,
    /// Kullback-Leibler divergence at each scored token, in nats.
    divergences: Vec<f32>,
    /// Negative log-likelihood of the text's tokens in the file, and the model's minus that.
    nll: Mean,
    nll_difference: Mean,
    /// Number of scored tokens where the likeliest token is the same.
    same_top: u64,
}

impl<R: Read> Base<R> {
    /// Reads the header of a file of `bytes` bytes.
    ///
    /// Errors: the file has another format, text or vocabulary.
    pub fn new(mut file: R, bytes: u64, text: &Text) -> Result<Base<R>, BaseError> {
        let mut head = Head::zeroed();
        if bytes < size_of::<Head>() as u64 {
            return Err(BaseError::NotPredictions);
        }
        file.read_exact(bytemuck::bytes_of_mut(&mut head))?;
        if head.magic != MAGIC {
            return Err(BaseError::NotPredictions);
        }
        let [n_vocab, window, bos, n_tokens] =
            [head.n_vocab, head.window, head.bos, head.n_tokens].map(u32::from_le_bytes);
        let or_none = |token: u32| if token == NO_BOS { "none".to_string() } else { token.to_string() };
        same(Difference::Vocabulary, n_vocab, text.n_vocab)?;
        same(Difference::Bos, or_none(bos), or_none(text.bos.unwrap_or(NO_BOS)))?;
        same(Difference::Length, n_tokens as usize, text.tokens.len())?;
        if window < 2 {
            return Err(BaseError::WindowTooShort(window));
        }
        let expected = text.base_bytes(window);
        if bytes != expected {
            return Err(BaseError::Length { bytes, expected });
        }
        for (i, ours) in text.tokens.iter().enumerate() {
            let mut theirs = [0; 4];
            file.read_exact(&mut theirs)?;
            same(Difference::Token(i), u32::from_le_bytes(theirs), *ours)?;
        }
        Ok(Base {
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

    /// Errors: the file has windows of another length.
    pub fn check_window(&self, window: u32) -> Result<(), BaseError> {
        same(Difference::Window, self.window, window)
    }

    /// Compares the next rows of the file with the predictions of a step.
    ///
    /// Errors: the file cannot be read.
    pub fn compare(&mut self, predictions: &Predictions) -> Result<(), BaseError> {
        let mut rows = vec![0; predictions.next.len() * self.row_bytes];
        self.file.read_exact(&mut rows)?;
        let logits = predictions.logits.par_chunks_exact(self.n_vocab);
        let pairs = rows.par_chunks_exact(self.row_bytes).zip(logits).zip(predictions.next);
        let compared: Vec<_> = pairs.map(|((row, logits), next)| compare(&decode(row), logits, *next)).collect();
        for row in compared {
            self.divergences.push(row.divergence as f32);
            self.nll.add(row.base_nll);
            self.nll_difference.add(row.nll - row.base_nll);
            self.same_top += row.same_top as u64;
        }
        Ok(())
    }

    /// The result of the comparison.
    pub fn finish(mut self) -> Divergence {
        let mut mean = Mean::default();
        self.divergences.iter().for_each(|v| mean.add(*v as f64));
        self.divergences.sort_unstable_by(f32::total_cmp);
        let n = mean.n() as f64;
        let same = self.same_top as f64 / n;
        Divergence {
            base_perplexity: self.nll.exp(),
            perplexity_ratio: self.nll_difference.exp(),
            mean: mean.estimate(),
            same_top: Estimate { value: same, error: (same * (1.0 - same) / (n - 1.0).max(1.0)).sqrt() },
            sorted: self.divergences,
        }
    }
}

struct Compared {
    divergence: f64,
    base_nll: f64,
    nll: f64,
    same_top: bool,
}

/// `sum_j P(j) (log P(j) - log Q(j))` with P of the file and Q of the logits, and the log-probabilities of the next
/// token in both.
fn compare(log_p: &[f64], logits: &[f32], next: u32) -> Compared {
    let total = log_sum_exp(logits);
    let log_q = |j: usize| logits[j] as f64 - total;
    let divergence = log_p.iter().enumerate().map(|(j, p)| p.exp() * (p - log_q(j))).sum();
    let top_p = (0..log_p.len()).max_by(|a, b| log_p[*a].total_cmp(&log_p[*b]).then(b.cmp(a)));
    // The file rounds, so several tokens may share its maximum: each of them counts as its likeliest.
    let same_top = top_p.is_some_and(|top| log_p[argmax(logits)] == log_p[top]);
    let next = next as usize;
    Compared { divergence, base_nll: -log_p[next], nll: -log_q(next), same_top }
}

/// The divergence of a model's predictions from those of its base.
#[derive(Clone, PartialEq, Debug)]
pub struct Divergence {
    /// Perplexity of the base.
    pub base_perplexity: Estimate,
    /// The model's perplexity over the base's.
    pub perplexity_ratio: Estimate,
    /// Kullback-Leibler divergence (1951) of the model from the base, mean over the scored tokens, in nats.
    pub mean: Estimate,
    /// The share of scored tokens where the likeliest token is the same.
    pub same_top: Estimate,
    /// The divergence at each token, in order.
    sorted: Vec<f32>,
}

impl Divergence {
    /// The quantile `q` of the divergence, in nats: 0.5 is the median, 1 the maximum. NaN without tokens.
    pub fn quantile(&self, q: f64) -> f32 {
        let last = self.sorted.len().saturating_sub(1);
        self.sorted.get((q * last as f64).round() as usize).copied().unwrap_or(f32::NAN)
    }
}
