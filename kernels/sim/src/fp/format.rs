//! Small formats: f16, bf16 and the two of 8 bits, to and from wider ones.

use super::Rnd;

/// A binary format with an implicit leading bit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Format {
    pub exp: u32,
    pub man: u32,
    /// e4m3 has no infinity and its NaN is all ones.
    pub finite_only: bool,
}

pub(crate) const F16: Format = Format { exp: 5, man: 10, finite_only: false };
pub(crate) const BF16: Format = Format { exp: 8, man: 7, finite_only: false };
pub(crate) const E4M3: Format = Format { exp: 4, man: 3, finite_only: true };
pub(crate) const E5M2: Format = Format { exp: 5, man: 2, finite_only: false };

impl Format {
    fn bias(self) -> i32 {
        (1 << (self.exp - 1)) - 1
    }

    fn sign(self) -> u32 {
        1 << (self.exp + self.man)
    }

    pub fn nan(self) -> u32 {
        self.sign() - 1
    }

    fn infinity(self) -> u32 {
        ((1 << self.exp) - 1) << self.man
    }

    /// The largest finite value.
    fn max(self) -> u32 {
        if self.finite_only { self.nan() - 1 } else { self.infinity() - 1 }
    }

    pub fn decode(self, v: u32) -> f64 {
        let sign = if v & self.sign() != 0 { -1.0 } else { 1.0 };
        let (e, m) = ((v & (self.sign() - 1)) >> self.man, v & ((1 << self.man) - 1));
        if self.finite_only {
            if v & self.nan() == self.nan() {
                return f64::NAN;
            }
        } else if e == (1 << self.exp) - 1 {
            return if m == 0 { sign * f64::INFINITY } else { f64::NAN };
        }
        let scale = |e: i32| f64::from_bits(((e + 1023) as u64) << 52);
        let bottom = 1 - self.bias() - self.man as i32;
        if e == 0 {
            sign * f64::from(m) * scale(bottom)
        } else {
            sign * f64::from(m | 1 << self.man) * scale(bottom + e as i32 - 1)
        }
    }

    /// Rounds an exact or odd-rounded value. `saturate`: what overflows becomes the largest finite value.
    pub fn encode(self, x: f64, rnd: Rnd, saturate: bool) -> u32 {
        if x.is_nan() {
            return self.nan();
        }
        let bits = x.to_bits();
        let negative = bits >> 63 != 0;
        let sign = if negative { self.sign() } else { 0 };
        let biased = ((bits >> 52) & 0x7ff) as i32;
        let magnitude = if biased == 0x7ff {
            u32::MAX
        } else {
            let m = (bits & ((1 << 52) - 1)) | if biased == 0 { 0 } else { 1 << 52 };
            let e = biased.max(1) - 1023;
            let lowest = 1 - self.bias();
            let top = e.max(lowest);
            let shift = (top - self.man as i32 - (e - 52)).min(63) as u32;
            let (kept, rest, half) = (m >> shift, m & ((1 << shift) - 1), 1u64 << (shift - 1));
            let up = match rnd {
                Rnd::Rn => rest > half || (rest == half && kept & 1 != 0),
                Rnd::Rz => false,
                Rnd::Rm => negative && rest != 0,
                Rnd::Rp => !negative && rest != 0,
            };
            (((top - lowest) as u32) << self.man).saturating_add((kept + u64::from(up)) as u32)
        };
        if magnitude > self.max() {
            let finite = match rnd {
                Rnd::Rn => false,
                Rnd::Rz => true,
                Rnd::Rm => !negative,
                Rnd::Rp => negative,
            };
            if saturate || (finite && magnitude != u32::MAX) {
                return sign | self.max();
            }
            return if self.finite_only { sign | self.nan() } else { sign | self.infinity() };
        }
        sign | magnitude
    }
}

/// f16 to f32, exact.
pub(crate) fn h(v: u32) -> f32 {
    let magnitude = (v & 0x7fff) << 13;
    // Multiplying by 2^112 moves the exponent's bias and makes subnormals normal.
    let scaled = f32::from_bits(magnitude) * f32::from_bits(0x7780_0000);
    let bits = if magnitude >= 0x0f80_0000 { magnitude | 0x7f80_0000 } else { scaled.to_bits() };
    f32::from_bits(bits | (v & 0x8000) << 16)
}

/// f32 to f16, to nearest even.
pub(crate) fn to_h(x: f32) -> u32 {
    let sign = (x.to_bits() >> 16) & 0x8000;
    let a = x.to_bits() & 0x7fff_ffff;
    // Adding 0.5 puts the last bit of a subnormal f16 at the last bit of the sum.
    let small = (f32::from_bits(a) + 0.5).to_bits().wrapping_sub(0x3f00_0000);
    let normal = a.wrapping_add(0xc800_0fff).wrapping_add((a >> 13) & 1) >> 13;
    let large = if a > 0x7f80_0000 { 0x7fff } else { 0x7c00 };
    let magnitude = if a >= 0x4780_0000 {
        large
    } else if a < 0x3880_0000 {
        small
    } else {
        normal
    };
    if a > 0x7f80_0000 { 0x7fff } else { sign | magnitude }
}

/// bf16 to f32, exact.
pub(crate) fn b(v: u32) -> f32 {
    f32::from_bits(v << 16)
}

/// f32 to bf16, to nearest even.
pub(crate) fn to_b(x: f32) -> u32 {
    let bits = x.to_bits();
    if x.is_nan() { 0x7fff } else { (bits.wrapping_add(0x7fff + ((bits >> 16) & 1))) >> 16 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fp::f;

    #[test]
    fn half_conversions_agree_with_the_generic_format() {
        for v in 0..=0xffffu32 {
            let (fast, slow) = (h(v), F16.decode(v));
            assert!(fast.is_nan() && slow.is_nan() || f64::from(fast).to_bits() == slow.to_bits(), "{v:#x}");
            if !fast.is_nan() {
                assert_eq!(to_h(fast), v);
                assert_eq!(F16.encode(slow, Rnd::Rn, false), v);
            }
            let wide = b(v);
            if !wide.is_nan() {
                assert_eq!(to_b(wide), v);
                assert_eq!(BF16.encode(wide.into(), Rnd::Rn, false), v);
            }
        }
        let mut x = 1u32;
        for _ in 0..1_000_000 {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let v = f(x);
            assert_eq!(to_h(v), F16.encode(v.into(), Rnd::Rn, false), "{v:e}");
            assert_eq!(to_b(v), BF16.encode(v.into(), Rnd::Rn, false), "{v:e}");
            // Values in f16's range, ties included.
            let near = f((x & 0x8fff_f000) | 0x3000_0000);
            assert_eq!(to_h(near), F16.encode(near.into(), Rnd::Rn, false), "{near:e}");
        }
    }
}
