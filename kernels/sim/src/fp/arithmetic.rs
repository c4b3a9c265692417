//! Arithmetic of one lane, in every rounding mode. Values of 32 bits lie in the low half of a `u64`.

use super::{NAN32, Rnd, add_odd, canon, f, ftz, sum_error, to_f32, to_odd};

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

/// `s + err` in the rounding mode; `s` is rounded to nearest.
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

#[cfg(test)]
mod tests {
    use super::*;

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
