//! How well a model predicts: likelihoods, perplexity of a text, divergence from another model, Llama Guard's verdicts.

mod divergence;
mod guard;
mod perplexity;

pub use divergence::{Base, BaseError, BaseWriter, Difference, Divergence};
pub use guard::{GuardError, GuardPrompt, Judgement};
pub use perplexity::{Perplexity, Predictions, Text};

/// `log sum_j exp(logits[j])`, in f64: a token's log-probability is its logit less this.
pub fn log_sum_exp(logits: &[f32]) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max) as f64;
    let sum: f64 = logits.iter().map(|l| (*l as f64 - max).exp()).sum();
    max + sum.ln()
}

/// An estimate from a sample.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// Its standard error.
    pub error: f64,
}

/// A running mean.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Mean {
    n: u64,
    sum: f64,
    sum_of_squares: f64,
}

impl Mean {
    /// Adds a number.
    pub fn add(&mut self, v: f64) {
        self.n += 1;
        self.sum += v;
        self.sum_of_squares += v * v;
    }

    /// Count of the numbers.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// The mean and its standard error; NaN without numbers.
    pub fn estimate(&self) -> Estimate {
        let n = self.n as f64;
        let value = self.sum / n;
        let variance = (self.sum_of_squares / n - value.powi(2)).max(0.0);
        Estimate { value, error: (variance / (n - 1.0).max(1.0)).sqrt() }
    }

    /// `exp` of the mean. Its standard error is that of the mean, times the derivative.
    pub fn exp(&self) -> Estimate {
        let Estimate { value, error } = self.estimate();
        Estimate { value: value.exp(), error: error * value.exp() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_exponentials_do_not_overflow() {
        assert!((log_sum_exp(&[1.0, 2.0, 3.0]) - 3.407_605_964).abs() < 1e-8);
        assert!((log_sum_exp(&[1e5, 1e5]) - (1e5 + 2f64.ln())).abs() < 1e-9);
        assert_eq!(log_sum_exp(&[f32::NEG_INFINITY, 0.0]), 0.0);
    }

    #[test]
    fn means_have_standard_errors() {
        let mut mean = Mean::default();
        [1.0, 2.0, 3.0, 6.0].into_iter().for_each(|v| mean.add(v));
        // The sample's variance is 14 / 3.
        let want = Estimate { value: 3.0, error: (14.0f64 / 3.0 / 4.0).sqrt() };
        assert!((mean.estimate().error - want.error).abs() < 1e-12 && mean.estimate().value == want.value);
        assert!((mean.exp().error - want.error * 3f64.exp()).abs() < 1e-10);
        assert!(Mean::default().estimate().value.is_nan());
    }
}
