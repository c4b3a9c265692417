//! Read-modify-write operations on one value.

use crate::fp::{BF16, F16, Format, Rnd, add_odd, canon, f};
use crate::ir::AtomOp;
use crate::ty::Ty;

fn small(format: Format, a: u32, b: u32, op: AtomOp) -> u32 {
    let (x, y) = (format.decode(a & 0xffff), format.decode(b & 0xffff));
    match op {
        AtomOp::Min => format.encode(if y.is_nan() || x < y { x } else { y }, Rnd::Rn, false),
        AtomOp::Max => format.encode(if y.is_nan() || x > y { x } else { y }, Rnd::Rn, false),
        _ => format.encode(add_odd(x, y), Rnd::Rn, false),
    }
}

/// The new value; all values in the low bits.
pub(crate) fn apply(op: AtomOp, ty: Ty, old: u64, b: u64, c: u64) -> u64 {
    let mask = if ty.size() == 8 { u64::MAX } else { (1 << (8 * ty.size())) - 1 };
    let signed = |v: u64| {
        if ty.size() == 8 { v as i64 } else { i64::from(v as i32) }
    };
    let (old, b) = (old & mask, b & mask);
    let format = match ty {
        Ty::F16 | Ty::F16x2 => Some(F16),
        Ty::BF16 | Ty::BF16x2 => Some(BF16),
        _ => None,
    };
    if let (Some(format), AtomOp::Add | AtomOp::Min | AtomOp::Max) = (format, op) {
        let (o, v) = (old as u32, b as u32);
        let low = small(format, o, v, op);
        return u64::from(if ty.size() == 2 { low } else { small(format, o >> 16, v >> 16, op) << 16 | low });
    }
    let new = match (op, ty) {
        (AtomOp::Add, Ty::F32) => u64::from(canon(f(old as u32) + f(b as u32))),
        (AtomOp::Add, Ty::F64) => (f64::from_bits(old) + f64::from_bits(b)).to_bits(),
        (AtomOp::Add, _) => old.wrapping_add(b),
        (AtomOp::Min, t) if t.signed() => signed(old).min(signed(b)) as u64,
        (AtomOp::Max, t) if t.signed() => signed(old).max(signed(b)) as u64,
        (AtomOp::Min, _) => old.min(b),
        (AtomOp::Max, _) => old.max(b),
        (AtomOp::And, _) => old & b,
        (AtomOp::Or, _) => old | b,
        (AtomOp::Xor, _) => old ^ b,
        (AtomOp::Exch, _) => b,
        (AtomOp::Cas, _) => {
            if old == b {
                c
            } else {
                old
            }
        }
        (AtomOp::Inc, _) => {
            if old >= b {
                0
            } else {
                old + 1
            }
        }
        (AtomOp::Dec, _) => {
            if old == 0 || old > b {
                b
            } else {
                old - 1
            }
        }
    };
    new & mask
}
