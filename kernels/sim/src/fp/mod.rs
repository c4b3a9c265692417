//! Floating point as PTX defines it: directed rounding, subnormals, canonical NaNs, small formats.
//!
//! Sums and products are formed in f64 and rounded to odd there (Boldo and Melquiond, 2008: with at least two spare
//! bits, a second rounding of such a value to a narrower format is correct in every mode).

mod arithmetic;
pub(crate) mod convert;
mod format;

pub(crate) use arithmetic::*;
pub(crate) use format::*;

/// A rounding mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rnd {
    /// To nearest, ties to even
    Rn,
    /// Towards zero
    Rz,
    /// Down
    Rm,
    /// Up
    Rp,
}

impl Rnd {
    pub fn from_bits(v: u32) -> Rnd {
        [Rnd::Rn, Rnd::Rz, Rnd::Rm, Rnd::Rp][(v & 3) as usize]
    }
}

/// The NaN that f32 arithmetic yields.
pub(crate) const NAN32: u32 = 0x7fff_ffff;

/// The bits of a number; a NaN becomes the canonical one.
pub(crate) fn canon(x: f32) -> u32 {
    if x.is_nan() { NAN32 } else { x.to_bits() }
}

/// Subnormals to zero of the same sign.
pub(crate) fn ftz(x: u32) -> u32 {
    if x & 0x7f80_0000 == 0 { x & 0x8000_0000 } else { x }
}

pub(crate) fn f(x: u32) -> f32 {
    f32::from_bits(x)
}

/// Rounds to odd: `s` is a result rounded to nearest, `err` the exact result minus `s`, of which the sign counts.
fn to_odd(s: f64, err: f64) -> f64 {
    let bits = s.to_bits();
    let away = (err > 0.0) == (s > 0.0);
    let odd = if away { bits.wrapping_add(1) } else { bits.wrapping_sub(1) };
    // A NaN or an infinity has a NaN error, which compares false.
    if err.abs() > 0.0 && bits & 1 == 0 { f64::from_bits(odd) } else { s }
}

/// The exact `a + b` minus `s`, which is the sum rounded to nearest (Knuth's TwoSum).
fn sum_error(a: f64, b: f64, s: f64) -> f64 {
    let bb = s - a;
    (a - (s - bb)) + (b - bb)
}

/// `a + b` rounded to odd. Both must be far from the limits of f64.
pub(crate) fn add_odd(a: f64, b: f64) -> f64 {
    let s = a + b;
    to_odd(s, sum_error(a, b, s))
}

/// `a * b + c` in f32, rounded once to nearest.
pub(crate) fn fma32(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(target_feature = "fma") {
        return a.mul_add(b, c);
    }
    add_odd(f64::from(a) * f64::from(b), f64::from(c)) as f32
}

/// An odd-rounded (or exact) value to f32.
pub(crate) fn to_f32(x: f64, rnd: Rnd) -> f32 {
    let r = x as f32;
    let back = f64::from(r);
    match rnd {
        Rnd::Rz if back.abs() > x.abs() => {
            if x > 0.0 {
                r.next_down()
            } else {
                r.next_up()
            }
        }
        Rnd::Rm if back > x => r.next_down(),
        Rnd::Rp if back < x => r.next_up(),
        _ => r,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fused_multiply_add_is_rounded_once() {
        let mut x = 7u64;
        let mut next = || {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (x >> 32) as u32
        };
        for _ in 0..300_000 {
            // Exponents close to each other, so that sums cancel and tie.
            let near = |v: u32| f((v & 0x80ff_ffff) | 0x3f00_0000 & 0x7f00_0000);
            let (a, b, c) = (near(next()), near(next()), near(next()));
            let odd = add_odd(f64::from(a) * f64::from(b), c.into()) as f32;
            assert_eq!(canon(odd), canon(a.mul_add(b, c)), "{a:e} {b:e} {c:e}");
            let (a, b, c) = (f(next()), f(next()), f(next()));
            let odd = add_odd(f64::from(a) * f64::from(b), c.into()) as f32;
            assert_eq!(canon(odd), canon(a.mul_add(b, c)), "{a:e} {b:e} {c:e}");
        }
    }
}
