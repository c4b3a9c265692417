//! Read-modify-write operations: `atom` and `red`.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use super::shared_order::Kind;
use super::{byte_mask, lanes, touched_bytes};
use crate::check::finding::Check;
use crate::check::global::STRONG;
use crate::exec::Exec;
use crate::exec::warp::FULL;
use crate::fp::{BF16, F16, Format, Rnd, add_odd, canon, f};
use crate::ir::*;
use crate::ty::{Space, Ty};

impl Exec<'_> {
    pub fn atomic(&mut self, atom: &Atom, m: u32) {
        let mut a = self.addresses(atom.addr, atom.off, m);
        self.use_reg(atom.b, m);
        if let Some(c) = atom.c {
            self.use_reg(c, m);
        }
        self.by_space(atom.space, &mut a, m, |x, space, a, m| {
            let good = x.aligned(a, atom.ty.size(), m);
            match space {
                Space::Shared => x.atomic_shared(atom, a, good),
                Space::Global => x.atomic_global(atom, a, good),
                _ => lanes(good).for_each(|l| {
                    x.report(Check::OutOfBounds, l as u32, || {
                        format!("atomic on {space:?} memory, address {:#x}", a[l])
                    });
                }),
            }
        });
    }

    fn atomic_shared(&mut self, atom: &Atom, a: &Row64, m: u32) {
        let bytes = atom.ty.size();
        let m = self.fits_shared(a, bytes, m);
        if m == 0 {
            return;
        }
        self.count_banks(a, bytes, m);
        for l in lanes(m) {
            let (at, shift) = ((a[l] / 4) as usize, (a[l] % 4) as u32);
            let touched = u64::from(touched_bytes(bytes, shift));
            let n = bytes.div_ceil(4) as usize;
            for k in 0..n {
                self.shared_read(at + k, touched, l, Kind::Atomic);
                self.shared_may_write(at + k, touched, l, Kind::Atomic);
                self.shared_written(at + k, touched, l, Kind::Atomic);
            }
            let data = &mut self.cta.shared.data;
            let old = u64::from(data[at]) | if n == 2 { u64::from(data[at + 1]) << 32 } else { 0 };
            let old = old >> (8 * shift);
            let c = atom.c.map_or(0, |c| self.warp.get(c, l));
            let new = apply(atom.op, atom.ty, old, self.warp.get(atom.b, l), c);
            let data = &mut self.cta.shared.data;
            if n == 2 {
                data[at] = new as u32;
                data[at + 1] = (new >> 32) as u32;
            } else {
                let keep = !byte_mask(touched as u8);
                data[at] = data[at] & keep | (new as u32) << (8 * shift) & !keep;
            }
            if let Some(d) = atom.d {
                let bits = 8 * bytes;
                let v = if bits == 64 { old } else { old & ((1 << bits) - 1) };
                self.warp.set(d, l, v);
            }
        }
    }

    fn atomic_global(&mut self, atom: &Atom, a: &Row64, m: u32) {
        let bytes = atom.ty.size();
        self.by_alloc(a, bytes, m, |x, alloc, offs, m| {
            x.sectors(alloc, offs, bytes, m, true);
            for l in lanes(m) {
                let address = alloc.base + offs[l];
                x.release(address, atom.release, l == m.trailing_zeros() as usize);
                let (at, shift) = ((offs[l] / 4) as usize, (offs[l] % 4) as u32);
                let touched = u64::from(touched_bytes(bytes, shift));
                for k in 0..bytes.div_ceil(4) as usize {
                    if alloc.writer[at + k].load(Relaxed) & touched != touched {
                        x.report(Check::UninitializedGlobal, l as u32, || {
                            format!("atomic on global address {address:#x}, which was never written")
                        });
                    }
                    x.check_write(alloc, at + k, touched, l, true);
                }
                let b = x.warp.get(atom.b, l);
                let c = atom.c.map_or(0, |c| x.warp.get(c, l));
                let op = |old: u64| apply(atom.op, atom.ty, old, b, c);
                let mask = if bytes < 4 { byte_mask(touched as u8) } else { FULL };
                let old = if bytes == 8 {
                    // Pairs of words have no atomic type: 64-bit atomics exclude each other.
                    let _lock = x.launch.progress.wide_atomics.lock();
                    let old =
                        u64::from(alloc.data[at].load(Relaxed)) | u64::from(alloc.data[at + 1].load(Relaxed)) << 32;
                    let new = op(old);
                    alloc.data[at].store(new as u32, Relaxed);
                    alloc.data[at + 1].store((new >> 32) as u32, Relaxed);
                    old
                } else {
                    let part = |w: u32| u64::from((w & mask) >> (8 * shift));
                    let f = |w: u32| Some(w & !mask | (op(part(w)) as u32) << (8 * shift) & mask);
                    match alloc.data[at].fetch_update(SeqCst, Relaxed, f) {
                        Ok(w) | Err(w) => part(w),
                    }
                };
                let tag = x.me() | touched << 4 | STRONG;
                for k in 0..bytes.div_ceil(4) as usize {
                    let _ = alloc.writer[at + k].fetch_update(Relaxed, Relaxed, |old| Some(tag | old & 15 | touched));
                }
                x.acquire(address);
                if let Some(d) = atom.d {
                    x.warp.set(d, l, old);
                }
            }
        });
    }
}

/// The operations on f16 and bf16.
fn small(format: Format, a: u32, b: u32, op: AtomOp) -> u32 {
    let (x, y) = (format.decode(a & 0xffff), format.decode(b & 0xffff));
    match op {
        AtomOp::Min => format.encode(if y.is_nan() || x < y { x } else { y }, Rnd::Rn, false),
        AtomOp::Max => format.encode(if y.is_nan() || x > y { x } else { y }, Rnd::Rn, false),
        _ => format.encode(add_odd(x, y), Rnd::Rn, false),
    }
}

/// The new value. Values lie in the low bits. `c` is the third operand of `cas`.
fn apply(op: AtomOp, ty: Ty, old: u64, b: u64, c: u64) -> u64 {
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
