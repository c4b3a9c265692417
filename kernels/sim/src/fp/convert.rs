//! Conversions of one lane: PTX ISA, "Data Movement and Conversion Instructions: cvt".

use super::{BF16, E4M3, E5M2, F16, Format, NAN32, Rnd, canon, f, ftz, to_f32};
use crate::ty::Ty;

/// The types that `cvt` takes; [`code`] is the index.
pub(crate) const TYPES: [Ty; 14] = [
    Ty::U8,
    Ty::U16,
    Ty::U32,
    Ty::U64,
    Ty::S8,
    Ty::S16,
    Ty::S32,
    Ty::S64,
    Ty::F16,
    Ty::BF16,
    Ty::F32,
    Ty::F64,
    Ty::E4M3x2,
    Ty::E5M2x2,
];

/// `imm` of [`convert`], from the lowest bit: destination type and source type (4 bits each), rounding (2), to an integral
/// value, flush subnormals, saturate, negative values to zero, unused (2), bytes of the destination register (4).
pub(crate) const INTEGRAL: u32 = 1 << 10;
pub(crate) const CVT_FTZ: u32 = 1 << 11;
pub(crate) const CVT_SAT: u32 = 1 << 12;
pub(crate) const CVT_RELU: u32 = 1 << 13;

pub(crate) fn code(ty: Ty) -> Option<u32> {
    TYPES.iter().position(|t| *t == ty).map(|i| i as u32)
}

/// The format of a 16-bit or 8-bit type.
fn small(ty: Ty) -> Format {
    match ty {
        Ty::BF16 => BF16,
        Ty::E4M3x2 => E4M3,
        Ty::E5M2x2 => E5M2,
        _ => F16,
    }
}

/// The integral value that the mode asks for.
fn integral(x: f64, rnd: Rnd) -> f64 {
    match rnd {
        Rnd::Rn => x.round_ties_even(),
        Rnd::Rz => x.trunc(),
        Rnd::Rm => x.floor(),
        Rnd::Rp => x.ceil(),
    }
}

/// An integer as f64, rounded to odd.
fn int_to_odd(v: i128) -> f64 {
    let r = v as f64;
    let err = v - r as i128;
    let bits = r.to_bits();
    match (err != 0 && bits & 1 == 0, (err > 0) == (r > 0.0)) {
        (true, true) => f64::from_bits(bits + 1),
        (true, false) => f64::from_bits(bits - 1),
        _ => r,
    }
}

/// An integer as f64, rounded as asked.
fn directed_int(v: i128, rnd: Rnd) -> f64 {
    let r = v as f64;
    let back = r as i128;
    match rnd {
        Rnd::Rm if back > v => r.next_down(),
        Rnd::Rp if back < v => r.next_up(),
        Rnd::Rz if back.abs() > v.abs() => f64::from_bits(r.to_bits() - 1),
        _ => r,
    }
}

/// Least and largest value of an integer type.
fn int_range(ty: Ty) -> (i128, i128) {
    let bits = 8 * ty.size();
    if ty.signed() { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) }
}

/// The general conversion, one lane.
pub(crate) fn convert(a: u64, _: u64, _: u64, imm: u32) -> u64 {
    let (to, from) = (TYPES[(imm & 15) as usize], TYPES[(imm >> 4 & 15) as usize]);
    let rnd = Rnd::from_bits(imm >> 8);
    let reg_bits = 8 * (imm >> 16 & 15);
    if from.integer() {
        let bits = 8 * from.size();
        let raw = i128::from(a & if bits == 64 { u64::MAX } else { (1 << bits) - 1 });
        let v = if from.signed() && raw >> (bits - 1) != 0 { raw - (1 << bits) } else { raw };
        if to.integer() {
            return store_int(v, to, reg_bits, imm & CVT_SAT != 0);
        }
        return match to {
            Ty::F64 => directed_int(v, rnd).to_bits(),
            Ty::F32 => u64::from(saturate32(canon(to_f32(int_to_odd(v), rnd)), imm)),
            _ => u64::from(small(to).encode(int_to_odd(v), rnd, false)),
        };
    }
    let x = match from {
        Ty::F32 => f64::from(f(if imm & CVT_FTZ != 0 { ftz(a as u32) } else { a as u32 })),
        Ty::F64 => f64::from_bits(a),
        t => small(t).decode(a as u32 & 0xffff),
    };
    if to.integer() {
        let (lo, hi) = int_range(to);
        let v = if x.is_nan() { 0 } else { (integral(x, rnd) as i128).clamp(lo, hi) };
        return store_int(v, to, reg_bits, false);
    }
    let x = if imm & INTEGRAL != 0 { integral(x, rnd) } else { x };
    match to {
        Ty::F64 if imm & CVT_SAT != 0 => (if x > 0.0 { x.min(1.0) } else { 0.0 }).to_bits(),
        Ty::F64 => x.to_bits(),
        Ty::F32 => {
            let r = if imm & INTEGRAL != 0 { x as f32 } else { to_f32(x, rnd) };
            let r = if r.is_nan() { NAN32 } else { r.to_bits() };
            u64::from(saturate32(if imm & CVT_FTZ != 0 { ftz(r) } else { r }, imm))
        }
        t => {
            let mut x = x;
            if imm & CVT_RELU != 0 && x < 0.0 {
                x = 0.0;
            }
            if imm & CVT_SAT != 0 && (t == Ty::F16 || t == Ty::BF16) {
                x = if x > 0.0 { x.min(1.0) } else { 0.0 };
            }
            u64::from(small(t).encode(x, rnd, imm & CVT_SAT != 0))
        }
    }
}

fn saturate32(v: u32, imm: u32) -> u32 {
    if imm & CVT_SAT == 0 {
        return v;
    }
    let x = f(v);
    if x > 0.0 { x.min(1.0).to_bits() } else { 0 }
}

/// An integer into a register that may be wider than its type.
fn store_int(v: i128, to: Ty, reg_bits: u32, sat: bool) -> u64 {
    let bits = 8 * to.size();
    let v = if sat {
        let (lo, hi) = int_range(to);
        v.clamp(lo, hi)
    } else if to.signed() {
        v << (128 - bits) >> (128 - bits)
    } else {
        v & ((1 << bits) - 1)
    };
    let v = v as u64;
    if reg_bits >= 64 { v } else { v & ((1 << reg_bits) - 1) }
}

/// Two f32 into one register of two small values: the first operand is the high half.
pub(crate) fn pack_small(a: u64, b: u64, _: u64, imm: u32) -> u64 {
    let (hi, lo) = (convert(a, 0, 0, imm), convert(b, 0, 0, imm));
    let bits = if matches!(TYPES[(imm & 15) as usize], Ty::E4M3x2 | Ty::E5M2x2) { 8 } else { 16 };
    hi << bits | lo
}

/// Two f16 to two 8-bit values, saturated.
pub(crate) fn halves_to_small(a: u64, _: u64, _: u64, imm: u32) -> u64 {
    let one = |v: u64| {
        let x = F16.decode(v as u32 & 0xffff);
        let x = if imm & CVT_RELU != 0 && x < 0.0 { 0.0 } else { x };
        u64::from(small(TYPES[(imm & 15) as usize]).encode(x, Rnd::Rn, true))
    };
    one(a >> 16) << 8 | one(a)
}

/// Two 8-bit values of the type with this code to two f16.
pub(crate) fn small_to_halves(a: u64, _: u64, _: u64, code: u32) -> u64 {
    let format = small(TYPES[code as usize]);
    let half = |v: u64| u64::from(F16.encode(format.decode(v as u32 & 0xff), Rnd::Rn, false));
    half(a >> 8) << 16 | half(a)
}

/// f32 to tf32: 10 bits of the mantissa stay. `away`: ties go away from zero, else to even.
pub(crate) fn to_tf32(a: u64, _: u64, _: u64, away: u32) -> u64 {
    let a = a as u32;
    let step = if away != 0 { 0x1000 } else { 0xfff + (a >> 13 & 1) };
    u64::from(if f(a).is_nan() { NAN32 } else { a.wrapping_add(step) & !0x1fff })
}

/// Two integers to a saturated pair. `imm`: the code of their type, and 16 if `c` lies above them.
pub(crate) fn pack_ints(a: u64, b: u64, c: u64, imm: u32) -> u64 {
    let (to, bits) = (TYPES[(imm & 15) as usize], 8 * TYPES[(imm & 15) as usize].size());
    let sat = |v: u64| store_int(i128::from(v as i32), to, bits, true);
    let above = if imm & 16 != 0 { c << (2 * bits) } else { 0 };
    (above | sat(a) << bits | sat(b)) & 0xffff_ffff
}
