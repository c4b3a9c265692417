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
        let all = (0..).zip(logits.iter().copied()).filter(|(_, l)| !l.is_nan()).collect();
        Ok(self.draw(all))
    }

    /// How many of the most likely tokens decide the choice where those in `left_out` are never chosen: [`Sampler::sample_best`] makes
    /// of them the choice that [`Sampler::sample`] makes of all. None if all tokens take part.
    pub fn n_best(&self, left_out: &[u32]) -> Option<usize> {
        let o = &self.options;
        let lowers = o.repeat_penalty >= 1.0 && o.presence_penalty >= 0.0 && o.frequency_penalty >= 0.0;
        if o.temperature == 0.0 || o.top_k == 0 || !lowers {
            return None;
        }
        // A penalty moves each token that it concerns behind others: as many more take part.
        Some(o.top_k.saturating_add(self.counts().len()).saturating_add(left_out.len()))
    }

    /// The next token, of the [`Sampler::n_best`] most likely ones and their finite logits.
    pub fn sample_best(&mut self, mut best: Vec<(u32, f32)>, left_out: &[u32]) -> u32 {
        let counts = self.counts();
        for (token, logit) in &mut best {
            if left_out.contains(token) {
                *logit = f32::NEG_INFINITY;
            }
            if let Some(count) = counts.get(token) {
                *logit = self.penalized(*logit, *count);
            }
        }
        self.draw(best)
    }

    /// Draws one of these tokens by their logits, none of which is NaN.
    fn draw(&mut self, tokens: Vec<(u32, f32)>) -> u32 {
        let kept = self.candidates(tokens);
        let mut at = self.rng.random_range(0.0..1.0) * kept.iter().map(|(_, p)| p).sum::<f64>();
        for (token, p) in &kept {
            at -= p;
            if at < 0.0 {
                return *token;
            }
        }
        kept[kept.len() - 1].0
    }

    /// The candidates among these tokens and their weights, the likeliest first. Never empty.
    fn candidates(&self, mut kept: Vec<(u32, f32)>) -> Vec<(u32, f64)> {
        let o = &self.options;
        // -0 counts as 0, as on devices.
        let likelier = |a: &(u32, f32), b: &(u32, f32)| (b.1 + 0.0).total_cmp(&(a.1 + 0.0)).then(a.0.cmp(&b.0));
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

    /// How often each recent token occurs; empty if nothing is penalized.
    fn counts(&self) -> HashMap<u32, u32> {
        let mut counts = HashMap::new();
        for token in self.recent.iter().filter(|_| self.penalizes()) {
            *counts.entry(*token).or_default() += 1;
        }
        counts
    }

    /// Changes the logits of recent tokens.
    fn penalize(&self, logits: &mut [f32]) {
        for (token, count) in self.counts() {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit = self.penalized(*logit, count);
            }
        }
    }

    /// The logit of a token that occurs `count` times among the recent ones.
    fn penalized(&self, logit: f32, count: u32) -> f32 {
        let o = &self.options;
        let scaled = if logit > 0.0 { logit / o.repeat_penalty } else { logit * o.repeat_penalty };
        scaled - (o.presence_penalty + count as f32 * o.frequency_penalty)
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

    /// Over random logits with equal ones among them, all options, and any length of the text.
    #[test]
    fn the_best_give_the_choice_that_all_give() {
        let mut random = ChaCha12Rng::seed_from_u64(3);
        let mut shorter = 0;
        for round in 0..3000 {
            let (top_k, repeat_last_n) = (random.random_range(1..12), random.random_range(0..8));
            let o = options(|o| {
                o.top_k = top_k;
                o.top_p = [1.0, 0.9, 0.3][round % 3];
                o.min_p = [0.0, 0.1][round % 2];
                o.repeat_penalty = [1.0, 1.3][round / 2 % 2];
                (o.presence_penalty, o.frequency_penalty) = [(0.0, 0.0), (0.5, 0.25)][round / 4 % 2];
                o.repeat_last_n = repeat_last_n;
                o.seed = round as u64;
            });
            let mut logits: Vec<f32> = (0..50).map(|_| random.random_range(-8..8) as f32 / 4.0).collect();
            logits[7] = -0.0;
            let ends = [3, 11];
            let left_out = if round % 5 == 0 { &ends[..] } else { &[] };
            let (mut of_all, mut of_best) = (Sampler::new(o.clone()), Sampler::new(o));
            for token in 0..random.random_range(0..12) {
                of_all.accept(token * token % 50);
                of_best.accept(token * token % 50);
            }
            let n = of_best.n_best(left_out).expect("few tokens decide");
            shorter += (n < logits.len()) as u32;
            let mut best: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).collect();
            best.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap().then(a.0.cmp(&b.0)));
            best.truncate(n);
            left_out.iter().for_each(|end| logits[*end as usize] = f32::NEG_INFINITY);
            let want = of_all.sample(&mut logits).unwrap();
            assert_eq!(of_best.sample_best(best, left_out), want, "round {round}");
        }
        assert!(shorter > 2900);
    }

    #[test]
    fn all_tokens_take_part_where_a_few_do_not_decide() {
        let n_best = |change: fn(&mut SamplerOptions)| {
            let mut o = SamplerOptions::default();
            change(&mut o);
            let mut sampler = Sampler::new(o);
            [1, 2, 1].into_iter().for_each(|token| sampler.accept(token));
            sampler.n_best(&[5])
        };
        assert_eq!(n_best(|_| {}), Some(41));
        assert_eq!(n_best(|o| o.repeat_penalty = 1.1), Some(43));
        assert_eq!(n_best(|o| o.repeat_penalty = 0.9), None);
        assert_eq!(n_best(|o| o.presence_penalty = -0.1), None);
        assert_eq!(n_best(|o| o.frequency_penalty = -0.1), None);
        assert_eq!(n_best(|o| o.top_k = 0), None);
        assert_eq!(n_best(|o| o.temperature = 0.0), None);
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
