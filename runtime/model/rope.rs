//! RoPE: its scaling, and the rotation table.

use super::config::Reader;
use super::{Config, Error};
use crate::gguf::excerpt;
use bytes::Bytes;
use rayon::prelude::*;
use std::f64::consts::TAU;

/// RoPE scaling: changes the rotations to extend the context beyond the trained one.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RopeScaling {
    /// Divisor of the frequencies; 1: no scaling.
    pub factor: f32,
    /// Factor of cosines and sines, and so, squared, of attention scores.
    pub magnitude: f32,
    /// Selects pairs that keep a share of their own frequency; None: linear scaling of all pairs (Chen et al., 2023).
    pub yarn: Option<Yarn>,
}

/// YaRN (Peng et al., 2023): pairs with many turns in the original context keep their frequency, pairs with few turns
/// are scaled, and pairs between are mixed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Yarn {
    /// Share of their own frequency that fast pairs keep; 1 in the paper.
    pub extrapolation: f32,
    /// Minimum number of turns of a fast pair in the original context.
    pub beta_fast: f32,
    /// Maximum number of turns of a slow pair in the original context.
    pub beta_slow: f32,
    /// Number of positions that the model was trained for, before scaling.
    pub original_context: u32,
}

impl RopeScaling {
    /// Rotations as they were trained.
    pub const NONE: RopeScaling = RopeScaling { factor: 1.0, magnitude: 1.0, yarn: None };

    /// Reads the keys as llama.cpp does: scaling is linear by default, and a factor of 0 means 1. Llama 3.1's scaling
    /// is not among the keys: it is in the tensor `rope_freqs.weight`.
    pub(super) fn read(read: &Reader, n_ctx_train: u32) -> Result<RopeScaling, Error> {
        const TYPE: &str = "rope.scaling.type";
        let kind = read.or(TYPE, "linear")?;
        if !["none", "linear", "yarn"].contains(&kind) {
            let what = format!("{}, expected none, linear or yarn", excerpt(kind));
            return Err(read.error(TYPE, what));
        }
        let keys = ["rope.scaling.factor", "rope.scale_linear"];
        let given = || keys.into_iter().find(|key| read.has(key));
        let factor = match (kind != "none").then(given).flatten() {
            Some(key) if read.or(key, 1.0f32)? == 0.0 => 1.0,
            Some(key) => read.positive(key, None)?,
            None => 1.0,
        };
        let yarn = Yarn::read(read, kind == "yarn", n_ctx_train)?;
        const ATTENTION: &str = "rope.scaling.attn_factor";
        let mut magnitude = read.positive(ATTENTION, Some(1.0))?;
        magnitude *= read.positive("rope.scaling.yarn_attn_factor", Some(1.0))?;
        if yarn.is_some() {
            // The attention temperature of the paper.
            magnitude *= 1.0 + 0.1 * factor.max(1.0).ln();
        }
        if !magnitude.is_finite() {
            let what = "with yarn_attn_factor and the factor it makes inf, expected a finite number";
            return Err(read.error(ATTENTION, what));
        }
        Ok(RopeScaling { factor, magnitude, yarn })
    }
}

impl Yarn {
    /// `by_default`: whether YaRN is used if the file has no `yarn_ext_factor`.
    fn read(read: &Reader, by_default: bool, n_ctx_train: u32) -> Result<Option<Yarn>, Error> {
        let default = if by_default { 1.0 } else { 0.0 };
        const EXTRAPOLATION: &str = "rope.scaling.yarn_ext_factor";
        let extrapolation = match read.or(EXTRAPOLATION, default)? {
            below_zero if below_zero < 0.0 => default, // llama.cpp: below zero means the default
            v if v <= 1.0 => v,
            v => return Err(read.error(EXTRAPOLATION, format!("{v}, expected at most 1"))),
        };
        if extrapolation == 0.0 {
            return Ok(None);
        }
        let original = read.or("rope.scaling.original_context_length", n_ctx_train)?;
        Ok(Some(Yarn {
            extrapolation,
            beta_fast: read.positive("rope.scaling.yarn_beta_fast", Some(32.0))?,
            beta_slow: read.positive("rope.scaling.yarn_beta_slow", Some(1.0))?,
            original_context: if original == 0 { n_ctx_train } else { original },
        }))
    }

    /// The share of its own frequency that each pair keeps: `extrapolation` for fast pairs, falling to 0 for slow
    /// pairs.
    fn kept(&self, config: &Config) -> impl Fn(usize) -> f64 + use<> {
        let dim = config.rope_dim as f64;
        // The index of the pair with `beta` turns in the original context.
        let pair = |beta: f32| {
            let wavelength = self.original_context as f64 / beta as f64;
            dim * (wavelength / TAU).ln() / (2.0 * (config.rope_base as f64).ln())
        };
        // Rounded outwards and clamped, as in the paper's code and llama.cpp.
        let fast = pair(self.beta_fast).floor().max(0.0);
        let slow = pair(self.beta_slow).ceil().min(dim - 1.0);
        let width = (slow - fast).max(0.001);
        let extrapolation = self.extrapolation as f64;
        move |i| extrapolation * (1.0 - ((i as f64 - fast) / width).clamp(0.0, 1.0))
    }
}

/// Cosine and sine of every pair's angle at every position, times the magnitude: (positions, rope_dim) f32, pairs
/// interleaved.
///
/// The angle of pair `i` at position `p` is `p * f`, `f = base^(-2i / rope_dim) / divisors[i]` (Su et al., 2021;
/// divisors: Llama 3.1's `rope_freqs`), scaled to `f * ((1 - kept) / factor + kept)` with YaRN's share `kept`, else 0.
/// Computed in f64: at position 131071 an f32 angle is wrong by 0.01 rad.
pub fn table(config: &Config, divisors: Option<&[f32]>, positions: u32) -> Bytes {
    let pairs = config.rope_dim as usize / 2;
    let scaling = config.rope_scaling;
    let kept = scaling.yarn.map(|yarn| yarn.kept(config));
    let frequency = |i: usize| {
        let plain = (config.rope_base as f64).powf(-2.0 * i as f64 / config.rope_dim as f64);
        let kept = kept.as_ref().map_or(0.0, |kept| kept(i));
        plain / divisors.map_or(1.0, |d| d[i] as f64) * ((1.0 - kept) / scaling.factor as f64 + kept)
    };
    let frequencies: Vec<f64> = (0..pairs).map(frequency).collect();
    let magnitude = scaling.magnitude as f64;
    let mut table = vec![0.0f32; positions as usize * 2 * pairs];
    table.par_chunks_exact_mut(2 * pairs).enumerate().for_each(|(p, row)| {
        for (pair, frequency) in row.chunks_exact_mut(2).zip(&frequencies) {
            let (sin, cos) = (p as f64 * frequency).sin_cos();
            (pair[0], pair[1]) = ((cos * magnitude) as f32, (sin * magnitude) as f32);
        }
    });
    Bytes::from_owner(Table(table))
}

/// A float vector that can be viewed as bytes.
struct Table(Vec<f32>);

impl AsRef<[u8]> for Table {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}
