//! Loops over f32 that the compiler turns into vector code.

use crate::plan::Pairing;
use multiversion::multiversion;

/// `e^x` within 3 units in the last place; NaN of NaN. `x` is clamped to the range whose results are normal numbers.
///
/// `e^x = 2^n e^r` with `n = round(x / ln 2)`, and the Taylor polynomial of degree 6 of `e^r` for `|r| <= ln 2 / 2`.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    /// Added to a number below 2^22, leaves the nearest integer in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts: products of the first with small integers are exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = if x < -87.3 { -87.3 } else { x };
    let x = if x > 88.3 { 88.3 } else { x };
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = x - n * LN_2_HIGH - n * LN_2_LOW;
    let p = 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    let p = p * r + 0.5;
    let p = p * r * r + r + 1.0;
    p * f32::from_bits(rounded.to_bits().wrapping_add(127) << 23)
}

/// RMSNorm of each group of `w.len()` elements, in place.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
pub fn rms_norm(x: &mut [f32], w: &[f32], eps: f32) {
    for x in x.chunks_exact_mut(w.len()) {
        let mut squares = [0.0f32; 32];
        let chunks = x.chunks_exact(32);
        let tail = chunks.remainder();
        for x in chunks {
            squares.iter_mut().zip(x).for_each(|(sum, x)| *sum += x * x);
        }
        squares.iter_mut().zip(tail).for_each(|(sum, x)| *sum += x * x);
        let mean_square = squares.iter().sum::<f32>() / w.len() as f32;
        let scale = 1.0 / (mean_square + eps).sqrt();
        x.iter_mut().zip(w).for_each(|(x, w)| *x = *x * scale * w);
    }
}

/// `gate = gate / (1 + exp(-gate)) * up`.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
pub fn swi_glu(gate: &mut [f32], up: &[f32]) {
    gate.iter_mut().zip(up).for_each(|(gate, up)| *gate = *gate / (1.0 + exp(-*gate)) * up);
}

/// `x += y`.
pub fn add(x: &mut [f32], y: &[f32]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}

/// [`Rope`](crate::plan::Rope) of elements `first..first + x.len()` of a token's row, by the angles of its position. With
/// [`Pairing::Halves`] `x` is whole heads, else whole pairs.
pub fn rope(x: &mut [f32], first: usize, angles: &[f32], head_dim: usize, pairing: Pairing) {
    match pairing {
        Pairing::Halves => {
            for head in x.chunks_exact_mut(head_dim) {
                let (a, b) = head[..angles.len()].split_at_mut(angles.len() / 2);
                for ((a, b), angle) in a.iter_mut().zip(b).zip(angles.chunks_exact(2)) {
                    (*a, *b) = rotated(*a, *b, angle);
                }
            }
        }
        Pairing::Neighbours => {
            let (mut at, mut rest) = (first % head_dim, x);
            while !rest.is_empty() {
                let (head, next) = rest.split_at_mut(rest.len().min(head_dim - at));
                let angles = angles.get(at..).unwrap_or(&[]);
                for (pair, angle) in head.chunks_exact_mut(2).zip(angles.chunks_exact(2)) {
                    (pair[0], pair[1]) = rotated(pair[0], pair[1], angle);
                }
                (at, rest) = (0, next);
            }
        }
    }
}

#[inline(always)]
fn rotated(a: f32, b: f32, angle: &[f32]) -> (f32, f32) {
    let (cos, sin) = (angle[0], angle[1]);
    (a * cos - b * sin, a * sin + b * cos)
}

/// One step of an online softmax (Milakov and Gimelshein, 2018) over the scores `s` of a tile: makes them `exp(scale * s - m)` with the
/// largest score so far, `m`. Returns that, and the sum of the results.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
pub fn softmax(s: &mut [f32], scale: f32, so_far: f32) -> (f32, f32) {
    let mut most = so_far;
    for s in s.iter_mut() {
        *s *= scale;
        most = if *s > most { *s } else { most };
    }
    let mut sums = [0.0f32; 16];
    let mut chunks = s.chunks_exact_mut(16);
    for s in &mut chunks {
        for (s, sum) in s.iter_mut().zip(&mut sums) {
            *s = exp(*s - most);
            *sum += *s;
        }
    }
    for (s, sum) in chunks.into_remainder().iter_mut().zip(&mut sums) {
        *s = exp(*s - most);
        *sum += *s;
    }
    (most, sums.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_three_units_in_the_last_place() {
        for i in -87_000..=88_000 {
            let x = i as f32 / 1000.0;
            let (got, want) = (exp(x), (x as f64).exp() as f32);
            let ulps = got.to_bits().abs_diff(want.to_bits());
            assert!(ulps <= 3, "exp({x}) = {got}, expected {want}");
        }
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(f32::NEG_INFINITY) < 1.3e-38);
        assert_eq!(exp(0.0), 1.0);
    }
}
