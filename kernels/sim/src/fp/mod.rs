//! Floating point as PTX defines it: directed rounding, subnormals, canonical NaNs, small formats.
//!
//! Sums and products are formed in f64 and rounded to odd there (Boldo and Melquiond, 2008: with at least two spare
//! bits, a second rounding of such a value to a narrower format is correct in every mode).

pub(crate) mod convert;

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

/// `s` is the sum rounded to nearest, `err` what it is short of the exact one: makes the last bit a sticky bit.
fn to_odd(s: f64, err: f64) -> f64 {
    let bits = s.to_bits();
    let away = (err > 0.0) == (s > 0.0);
    let odd = if away { bits.wrapping_add(1) } else { bits.wrapping_sub(1) };
    // A NaN or an infinity has a NaN error, which compares false.
    if err.abs() > 0.0 && bits & 1 == 0 { f64::from_bits(odd) } else { s }
}

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

/// Exact zero as a sum of opposite values is -0 when rounding down.
fn zero_sum(r: f32, a: f64, b: f64, rnd: Rnd) -> f32 {
    if rnd == Rnd::Rm && a + b == 0.0 && (a.is_sign_negative() || b.is_sign_negative()) { -0.0 } else { r }
}

fn finish(mut r: u32, imm: u32) -> u32 {
    if imm & FTZ != 0 {
        r = ftz(r);
    }
    if imm & SAT != 0 {
        let v = f(r);
        r = if v.is_nan() || v <= 0.0 {
            0
        } else if v >= 1.0 {
            1f32.to_bits()
        } else {
            r
        };
    }
    r
}

/// Bits that say how an operation rounds: two of [`Rnd`], then these.
pub(crate) const FTZ: u32 = 4;
pub(crate) const SAT: u32 = 8;

fn inp(x: u64, imm: u32) -> f64 {
    let x = x as u32;
    f64::from(f(if imm & FTZ != 0 { ftz(x) } else { x }))
}

pub(crate) fn add_f32(a: u64, b: u64, _: u64, imm: u32) -> u64 {
    let (a, b, rnd) = (inp(a, imm), inp(b, imm), Rnd::from_bits(imm));
    finish(canon(zero_sum(to_f32(add_odd(a, b), rnd), a, b, rnd)), imm).into()
}

pub(crate) fn sub_f32(a: u64, b: u64, c: u64, imm: u32) -> u64 {
    let negated = if f(b as u32).is_nan() { b } else { b ^ 0x8000_0000 };
    add_f32(a, negated, c, imm)
}

pub(crate) fn mul_f32(a: u64, b: u64, _: u64, imm: u32) -> u64 {
    finish(canon(to_f32(inp(a, imm) * inp(b, imm), Rnd::from_bits(imm))), imm).into()
}

pub(crate) fn fma_f32(a: u64, b: u64, c: u64, imm: u32) -> u64 {
    let (p, c, rnd) = (inp(a, imm) * inp(b, imm), inp(c, imm), Rnd::from_bits(imm));
    finish(canon(zero_sum(to_f32(add_odd(p, c), rnd), p, c, rnd)), imm).into()
}

pub(crate) fn div_f32(a: u64, b: u64, _: u64, imm: u32) -> u64 {
    let (a, b) = (inp(a, imm), inp(b, imm));
    let q = a / b;
    let exact = q == 0.0 || !q.is_finite();
    let q = if exact { q } else { to_odd(q, (-q).mul_add(b, a) * b.signum()) };
    finish(canon(to_f32(q, Rnd::from_bits(imm))), imm).into()
}

pub(crate) fn sqrt_f32(a: u64, _: u64, _: u64, imm: u32) -> u64 {
    let a = inp(a, imm);
    let s = a.sqrt();
    let exact = s == 0.0 || !s.is_finite();
    let s = if exact { s } else { to_odd(s, (-s).mul_add(s, a)) };
    finish(canon(to_f32(s, Rnd::from_bits(imm))), imm).into()
}

pub(crate) fn rcp_f32(a: u64, b: u64, c: u64, imm: u32) -> u64 {
    let _ = b;
    div_f32(1f32.to_bits().into(), a, c, imm)
}

/// The neighbour of `s` that directed rounding of `s + err` asks for.
fn directed(s: f64, err: f64, rnd: Rnd) -> u64 {
    let r = match rnd {
        Rnd::Rm if err < 0.0 => s.next_down(),
        Rnd::Rp if err > 0.0 => s.next_up(),
        Rnd::Rz if s > 0.0 && err < 0.0 => s.next_down(),
        Rnd::Rz if s < 0.0 && err > 0.0 => s.next_up(),
        _ => s,
    };
    r.to_bits()
}

pub(crate) fn add_f64(a: u64, b: u64, _: u64, imm: u32) -> u64 {
    let (a, b, rnd) = (f64::from_bits(a), f64::from_bits(b), Rnd::from_bits(imm));
    let s = a + b;
    if s == 0.0 && rnd == Rnd::Rm && (a.is_sign_negative() || b.is_sign_negative()) {
        return (-0.0f64).to_bits();
    }
    directed(s, sum_error(a, b, s), rnd)
}

pub(crate) fn sub_f64(a: u64, b: u64, c: u64, imm: u32) -> u64 {
    add_f64(a, b ^ (1 << 63), c, imm)
}

pub(crate) fn mul_f64(a: u64, b: u64, _: u64, imm: u32) -> u64 {
    let (a, b) = (f64::from_bits(a), f64::from_bits(b));
    let p = a * b;
    directed(p, a.mul_add(b, -p), Rnd::from_bits(imm))
}

pub(crate) fn div_f64(a: u64, b: u64, _: u64, imm: u32) -> u64 {
    let (a, b) = (f64::from_bits(a), f64::from_bits(b));
    let q = a / b;
    directed(q, (-q).mul_add(b, a) * b.signum(), Rnd::from_bits(imm))
}

pub(crate) fn sqrt_f64(a: u64, _: u64, _: u64, imm: u32) -> u64 {
    let a = f64::from_bits(a);
    let s = a.sqrt();
    directed(s, (-s).mul_add(s, a), Rnd::from_bits(imm))
}

/// `min` and `max` of PTX: a NaN loses against a number unless `nan`, and -0 is below +0.
pub(crate) fn min32(a: f32, b: f32, nan: bool) -> u32 {
    pick(a, b, nan, (a < b) || (a == b && a.is_sign_negative()))
}

pub(crate) fn max32(a: f32, b: f32, nan: bool) -> u32 {
    pick(a, b, nan, (a > b) || (a == b && a.is_sign_positive()))
}

fn pick(a: f32, b: f32, nan: bool, first: bool) -> u32 {
    if a.is_nan() || b.is_nan() {
        if nan || (a.is_nan() && b.is_nan()) {
            return NAN32;
        }
        return if a.is_nan() { b.to_bits() } else { a.to_bits() };
    }
    if first { a.to_bits() } else { b.to_bits() }
}

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

    #[test]
    fn directed_modes_bracket_the_exact_value() {
        let mut x = 3u64;
        for _ in 0..100_000 {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (a, b) = (x >> 32, x & 0xffff_ffff);
            if !f(a as u32).is_finite() || !f(b as u32).is_finite() || f(b as u32) == 0.0 {
                continue;
            }
            for op in [add_f32, mul_f32, div_f32] as [fn(u64, u64, u64, u32) -> u64; 3] {
                let at = |rnd| f(op(a, b, 0, rnd) as u32);
                let (rn, rz, rm, rp) = (at(0), at(1), at(2), at(3));
                assert!(rm <= rn && rn <= rp, "{rm:e} {rn:e} {rp:e}");
                assert!(
                    rm == rp || rm.next_up() == rp || rm == f32::NEG_INFINITY || rp == f32::INFINITY,
                    "{rm:e} {rp:e}"
                );
                assert!(if rn > 0.0 { rz == rm } else { rz == rp || rn == 0.0 }, "{rz:e}");
            }
            assert_eq!(f(add_f32(a, b, 0, 0) as u32).to_bits(), (f(a as u32) + f(b as u32)).to_bits());
            assert_eq!(f(div_f32(a, b, 0, 0) as u32).to_bits(), (f(a as u32) / f(b as u32)).to_bits());
        }
    }
}
