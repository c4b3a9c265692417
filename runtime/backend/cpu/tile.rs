//! Queries times keys, and scores times values, for one tile of the KV cache: in vectors of 16, decoded in registers.

use super::kv::{SLOTS, TILE};
use super::products::{Level, Simd, Work};

/// Vectors of 16 elements of the cache.
pub trait Lanes: Copy {
    /// Lanes of vector `i`: part `part` of them, as [`Simd`] counts.
    fn get<S: Simd>(self, s: S, i: usize, part: usize) -> S::Floats;
}

/// As they are.
#[derive(Clone, Copy)]
pub struct F32Lanes<'a>(pub &'a [[f32; 16]]);

/// f16, two bytes an element.
#[derive(Clone, Copy)]
pub struct F16Lanes<'a>(pub &'a [[u8; 32]]);

/// Quants with a scale for each lane: scale `i / vectors` belongs to vector `i`.
#[derive(Clone, Copy)]
pub struct ScaledLanes<'a> {
    pub quants: &'a [[u8; 16]],
    /// f16.
    pub scales: &'a [[u8; 32]],
    pub vectors: usize,
}

/// Quants with one scale for all lanes: scale `i / vectors` belongs to vector `i`.
#[derive(Clone, Copy)]
pub struct ScaledVectors<'a> {
    pub quants: &'a [[u8; 16]],
    pub scales: &'a [half::f16],
    pub vectors: usize,
}

impl Lanes for F32Lanes<'_> {
    #[inline(always)]
    fn get<S: Simd>(self, s: S, i: usize, part: usize) -> S::Floats {
        s.load(&self.0[i], part)
    }
}

impl Lanes for F16Lanes<'_> {
    #[inline(always)]
    fn get<S: Simd>(self, s: S, i: usize, part: usize) -> S::Floats {
        s.halves(&self.0[i], part)
    }
}

impl Lanes for ScaledLanes<'_> {
    #[inline(always)]
    fn get<S: Simd>(self, s: S, i: usize, part: usize) -> S::Floats {
        s.mul(s.signed(&self.quants[i], part), s.halves(&self.scales[i / self.vectors], part))
    }
}

impl Lanes for ScaledVectors<'_> {
    #[inline(always)]
    fn get<S: Simd>(self, s: S, i: usize, part: usize) -> S::Floats {
        s.mul(s.signed(&self.quants[i], part), s.float(self.scales[i / self.vectors].to_f32()))
    }
}

/// The scores of queries: `out[i][slot] = sum_d q[i][d] * keys[slot / SLOTS][d][slot % SLOTS]`.
pub struct Scores<'a, L> {
    /// (n, head_dim).
    pub q: &'a [f32],
    /// (groups, head_dim) vectors, each of [`SLOTS`] slots.
    pub keys: L,
    pub groups: usize,
    pub head_dim: usize,
    /// (n, [`TILE`]): the slots of the groups are written.
    pub out: &'a mut [f32],
}

/// Adds weighted values: `out[i][d] += sum_slot p[i][slot] * values[slot][d]`.
pub struct Weighted<'a, L> {
    /// (n, [`TILE`]).
    pub p: &'a [f32],
    /// (slots, width / 16) vectors.
    pub values: L,
    pub slots: usize,
    pub width: usize,
    /// (n, width).
    pub out: &'a mut [f32],
}

impl<L: Lanes> Scores<'_, L> {
    /// Computes them.
    pub fn run(self, level: Level) {
        level.run(self);
    }

    /// Those of queries `i..i + N`.
    #[inline(always)]
    fn some<const N: usize, S: Simd>(&mut self, s: S, i: usize) {
        let head_dim = self.head_dim;
        let q: [&[f32]; N] = std::array::from_fn(|n| &self.q[(i + n) * head_dim..][..head_dim]);
        for group in 0..self.groups {
            for part in 0..SLOTS / S::ROWS {
                let mut sums = [s.float(0.0); N];
                for d in 0..head_dim {
                    let keys = self.keys.get(s, group * head_dim + d, part);
                    for n in 0..N {
                        sums[n] = s.fma(s.float(q[n][d]), keys, sums[n]);
                    }
                }
                for n in 0..N {
                    let out = &mut self.out[(i + n) * TILE + group * SLOTS..];
                    s.store(sums[n], out.first_chunk_mut().expect("a tile is whole groups"), part);
                }
            }
        }
    }
}

impl<L: Lanes> Work for Scores<'_, L> {
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let n = self.q.len() / self.head_dim;
        for i in (0..n / 8 * 8).step_by(8) {
            self.some::<8, S>(s, i);
        }
        let i = n / 8 * 8;
        match n % 8 {
            0 => {}
            1 => self.some::<1, S>(s, i),
            2 => self.some::<2, S>(s, i),
            3 => self.some::<3, S>(s, i),
            4 => self.some::<4, S>(s, i),
            5 => self.some::<5, S>(s, i),
            6 => self.some::<6, S>(s, i),
            _ => self.some::<7, S>(s, i),
        }
    }
}

impl<L: Lanes> Weighted<'_, L> {
    /// Adds them.
    pub fn run(self, level: Level) {
        level.run(self);
    }

    /// Those of queries `i..i + N`.
    #[inline(always)]
    fn some<const N: usize, S: Simd>(&mut self, s: S, i: usize) {
        let (width, slots) = (self.width, self.slots);
        let p: [&[f32]; N] = std::array::from_fn(|n| &self.p[(i + n) * TILE..][..slots]);
        for chunk in 0..width / 16 {
            for part in 0..16 / S::ROWS {
                let at = |n: usize| (i + n) * width + 16 * chunk;
                let mut sums = [s.float(0.0); N];
                for n in 0..N {
                    sums[n] = s.load(self.out[at(n)..].first_chunk().expect("whole vectors"), part);
                }
                for slot in 0..slots {
                    let values = self.values.get(s, slot * (width / 16) + chunk, part);
                    for n in 0..N {
                        sums[n] = s.fma(s.float(p[n][slot]), values, sums[n]);
                    }
                }
                for n in 0..N {
                    s.store(sums[n], self.out[at(n)..].first_chunk_mut().expect("whole vectors"), part);
                }
            }
        }
    }
}

impl<L: Lanes> Work for Weighted<'_, L> {
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let n = self.out.len() / self.width;
        for i in (0..n / 8 * 8).step_by(8) {
            self.some::<8, S>(s, i);
        }
        let i = n / 8 * 8;
        match n % 8 {
            0 => {}
            1 => self.some::<1, S>(s, i),
            2 => self.some::<2, S>(s, i),
            3 => self.some::<3, S>(s, i),
            4 => self.some::<4, S>(s, i),
            5 => self.some::<5, S>(s, i),
            6 => self.some::<6, S>(s, i),
            _ => self.some::<7, S>(s, i),
        }
    }
}
