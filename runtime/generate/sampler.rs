//! Chooses tokens from logits.

use crate::plan::{argmax, can_choose};
use rand::{RngExt, SeedableRng, rngs::ChaCha12Rng};
use std::collections::{HashMap, VecDeque};
use thiserror::Error;

/// The logits are NaN or infinite, so that no token can be chosen and no likelihood computed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the model's logits are not finite")]
pub struct NotFinite;

/// Errors: a logit is NaN or infinity, or all are -infinity.
pub fn check_logits(logits: &[f32]) -> Result<(), NotFinite> {
    if can_choose(logits) { Ok(()) } else { Err(NotFinite) }
}

/// Options of choosing the next token. The defaults are llama.cpp's.
#[derive(Clone, PartialEq, Debug)]
pub struct SamplerOptions {
    /// Divisor of the logits; 0 is greedy.
    pub temperature: f32,
    /// Keep the `top_k` most likely tokens; 0 keeps all.
    pub top_k: usize,
    /// Keep the smallest set of most likely tokens whose probabilities sum to at least `top_p`; 1 keeps all.
    pub top_p: f32,
    /// Keep tokens at least `min_p` times as likely as the likeliest; 0 keeps all.
    pub min_p: f32,
    /// Divides the positive logits of recent tokens and multiplies the negative ones; 1 is neutral.
    pub repeat_penalty: f32,
    /// Number of recent tokens that are penalized.
    pub repeat_last_n: usize,
    /// Subtracted from the logits of recent tokens; 0 is neutral.
    pub presence_penalty: f32,
    /// Subtracted once per occurrence among the recent tokens; 0 is neutral.
    pub frequency_penalty: f32,
    /// Seed of the random choices.
    pub seed: u64,
}

impl Default for SamplerOptions {
    fn default() -> SamplerOptions {
        SamplerOptions {
            temperature: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            repeat_penalty: 1.0,
            repeat_last_n: 64,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            seed: 0,
        }
    }
}

/// Chooses tokens from logits: penalties, then top-k, top-p, min-p, then temperature.
pub struct Sampler {
    options: SamplerOptions,
    recent: VecDeque<u32>,
    rng: ChaCha12Rng,
}

impl Sampler {
    /// A sampler that has seen no text.
    pub fn new(options: SamplerOptions) -> Sampler {
        let rng = ChaCha12Rng::seed_from_u64(options.seed);
        Sampler { options, recent: VecDeque::new(), rng }
    }

    /// Whether the choice is the largest logit, so that the device's argmax can make it.
    pub fn is_argmax(&self) -> bool {
        self.options.temperature == 0.0 && !self.penalizes()
    }

    fn penalizes(&self) -> bool {
        let o = &self.options;
        o.repeat_last_n > 0 && (o.repeat_penalty != 1.0 || o.presence_penalty != 0.0 || o.frequency_penalty != 0.0)
    }

    /// Adds a token to the text, also a token of the prompt.
    pub fn accept(&mut self, token: u32) {
        self.recent.push_back(token);
        while self.recent.len() > self.options.repeat_last_n {
            self.recent.pop_front();
        }
    }

    /// Forgets the text.
    pub fn clear(&mut self) {
        self.recent.clear();
    }

    /// The next token. `logits` (n_vocab) is changed by the penalties. A token whose logit is -infinity is never
    /// chosen.
    ///
    /// Errors: the logits are not finite.
    pub fn sample(&mut self, logits: &mut [f32]) -> Result<u32, NotFinite> {
        check_logits(logits)?;
        self.penalize(logits);
        if self.options.temperature == 0.0 {
            return Ok(argmax(logits) as u32);
        }
        let kept = self.candidates(logits);
        let mut at = self.rng.random_range(0.0..1.0) * kept.iter().map(|(_, p)| p).sum::<f64>();
        for (token, p) in &kept {
            at -= p;
            if at < 0.0 {
                return Ok(*token);
            }
        }
        Ok(kept[kept.len() - 1].0)
    }

    /// The candidate tokens and their weights, the likeliest first. Never empty.
    fn candidates(&self, logits: &[f32]) -> Vec<(u32, f64)> {
        let o = &self.options;
        let mut kept: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).filter(|(_, l)| !l.is_nan()).collect();
        let likelier = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if (1..kept.len()).contains(&o.top_k) {
            kept.select_nth_unstable_by(o.top_k - 1, likelier);
            kept.truncate(o.top_k);
        }
        kept.sort_unstable_by(likelier);
        let Some(&(best, max)) = kept.first() else {
            return vec![(0, 1.0)];
        };
        if max == f32::INFINITY {
            return vec![(best, 1.0)];
        }
        let weight = |l: f32, t: f32| ((l as f64 - max as f64) / t as f64).exp();
        if o.top_p < 1.0 {
            let total: f64 = kept.iter().map(|(_, l)| weight(*l, 1.0)).sum();
            let mut sum = 0.0;
            let n = kept.iter().take_while(|(_, l)| {
                let before = sum;
                sum += weight(*l, 1.0);
                before < o.top_p as f64 * total
            });
            let n = n.count().max(1);
            kept.truncate(n);
        }
        kept.retain(|(_, l)| weight(*l, 1.0) >= o.min_p as f64 || *l == max);
        kept.into_iter().map(|(token, l)| (token, weight(l, o.temperature))).collect()
    }

    fn penalize(&self, logits: &mut [f32]) {
        if !self.penalizes() {
            return;
        }
        let mut counts: HashMap<u32, u32> = HashMap::new();
        for token in &self.recent {
            *counts.entry(*token).or_default() += 1;
        }
        let o = &self.options;
        for (token, count) in counts {
            let Some(logit) = logits.get_mut(token as usize) else {
                continue;
            };
            *logit = if *logit > 0.0 { *logit / o.repeat_penalty } else { *logit * o.repeat_penalty };
            *logit -= o.presence_penalty + count as f32 * o.frequency_penalty;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(change: impl Fn(&mut SamplerOptions)) -> SamplerOptions {
        let mut o = SamplerOptions { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, ..SamplerOptions::default() };
        change(&mut o);
        o
    }

    /// The share of each token in 20000 draws.
    fn shares(o: SamplerOptions, logits: &[f32]) -> Vec<f64> {
        let mut sampler = Sampler::new(o);
        let mut counts = vec![0.0; logits.len()];
        for _ in 0..20000 {
            counts[sampler.sample(&mut logits.to_vec()).unwrap() as usize] += 1.0 / 20000.0;
        }
        counts
    }

    fn close(got: &[f64], want: &[f64]) {
        assert!(got.iter().zip(want).all(|(g, w)| (g - w).abs() < 0.015), "{got:?}, wanted {want:?}");
    }

    /// Logits whose weights are 1, 8, 3 and 2.
    fn logits() -> [f32; 4] {
        [1.0f32, 8.0, 3.0, 2.0].map(f32::ln)
    }

    #[test]
    fn frequencies_follow_the_softmax() {
        close(&shares(options(|_| {}), &logits()), &[1.0 / 14.0, 8.0 / 14.0, 3.0 / 14.0, 2.0 / 14.0]);
        close(&shares(options(|o| o.temperature = 0.5), &logits()), &[1.0 / 78.0, 64.0 / 78.0, 9.0 / 78.0, 4.0 / 78.0]);
    }

    #[test]
    fn truncation_keeps_the_likeliest() {
        close(&shares(options(|o| o.top_k = 2), &logits()), &[0.0, 8.0 / 11.0, 3.0 / 11.0, 0.0]);
        close(&shares(options(|o| o.top_p = 0.75), &logits()), &[0.0, 8.0 / 11.0, 3.0 / 11.0, 0.0]);
        close(&shares(options(|o| o.top_p = 0.0), &logits()), &[0.0, 1.0, 0.0, 0.0]);
        close(&shares(options(|o| o.min_p = 0.2), &logits()), &[0.0, 8.0 / 13.0, 3.0 / 13.0, 2.0 / 13.0]);
        close(&shares(options(|o| o.min_p = 2.0), &logits()), &[0.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn penalties_change_the_logits_of_recent_tokens() {
        let mut sampler = Sampler::new(options(|o| {
            (o.repeat_penalty, o.presence_penalty, o.frequency_penalty, o.repeat_last_n) = (2.0, 0.25, 0.5, 3);
        }));
        [0, 1, 2, 1].into_iter().for_each(|t| sampler.accept(t)); // 0 is forgotten
        let mut logits = [4.0, 4.0, -1.0, 1.0];
        sampler.penalize(&mut logits);
        assert_eq!(logits, [4.0, 2.0 - 0.25 - 1.0, -2.0 - 0.25 - 0.5, 1.0]);
        sampler.clear();
        sampler.penalize(&mut logits);
        assert_eq!(logits, [4.0, 2.0 - 0.25 - 1.0, -2.0 - 0.25 - 0.5, 1.0]);
    }

    #[test]
    fn seeds_repeat_and_differ() {
        let draw = |seed| {
            let mut sampler = Sampler::new(options(|o| o.seed = seed));
            (0..50).map(|_| sampler.sample(&mut logits())).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn logits_that_are_not_finite_choose_nothing() {
        let nan = f32::NAN;
        let mut sampler = Sampler::new(SamplerOptions::default());
        assert_eq!(sampler.sample(&mut [nan, -1.0, nan]), Err(NotFinite));
        assert_eq!(sampler.sample(&mut [nan, nan]), Err(NotFinite));
        assert_eq!(sampler.sample(&mut [nan, f32::NEG_INFINITY]), Err(NotFinite));
        assert_eq!(sampler.sample(&mut [0.0, f32::INFINITY, 3.0]), Err(NotFinite));
        assert_eq!(sampler.sample(&mut [f32::NEG_INFINITY, -1e30, f32::NEG_INFINITY]), Ok(1));
        let mut greedy = Sampler::new(options(|o| o.temperature = 0.0));
        assert_eq!(greedy.sample(&mut [f32::NEG_INFINITY, 3.0, 3.0]), Ok(1));
        assert_eq!(greedy.sample(&mut [nan, nan]), Err(NotFinite));
    }
}
