//! `mma.sync`: fragments of a 16 x k, a k x 8 and two 16 x 8 matrices, spread over the lanes as the PTX ISA's figures show.
//!
//! With `group = lane / 4` and `t = lane % 4`, and `e` elements of a multiplicand per 4-byte register: register `i` of A
//! holds row `group + 8 (i % 2)`, columns `e (t + 4 (i / 2))` onwards; register `i` of B the rows `e (t + 4 i)` onwards of column
//! `group`; element `i` of C and D is row `group + 8 (i / 2)`, column `2 t + i % 2`.
//!
//! Products are exact and are summed in f64 (integers: exactly), then rounded once. The hardware sums in fewer bits and
//! truncates, so floating-point results may differ from it in the last bits.

use crate::check::finding::Check;
use crate::exec::warp::FULL;
use crate::exec::{Exec, Flow};
use crate::fp::{E4M3, E5M2, F16, Rnd, b as bf16, canon, f, h};
use crate::ir::*;

impl Exec<'_> {
    pub fn mma(&mut self, op: &Mma, m: u32, forced: bool) -> Flow {
        if let Some(flow) = self.converge(m, FULL, forced) {
            return flow;
        }
        if !self.whole(m) {
            let lane = m.trailing_zeros();
            self.report(Check::DivergentMask, lane, || "mma needs all 32 lanes".to_string());
        }
        for r in op.a.iter().chain(&op.b).chain(&op.c) {
            self.use_w(*r, m);
        }
        let out = match op.kind {
            MmaKind::Int { a_signed, b_signed, saturate } => self.mma_int(op, a_signed, b_signed, saturate),
            kind => self.mma_float(op, kind),
        };
        for (r, row) in op.d.iter().zip(&out) {
            self.warp.put_w(*r, m, row);
        }
        Flow::Next
    }

    fn mma_int(&self, op: &Mma, a_signed: bool, b_signed: bool, saturate: bool) -> Vec<Row> {
        let w = &self.warp.w;
        let value = |v: u32, i: usize, signed: bool| {
            let byte = (v >> (8 * i)) as u8;
            if signed { i32::from(byte as i8) } else { i32::from(byte) }
        };
        let mut a = [[0i32; 32]; 16];
        let mut b = [[0i32; 8]; 32];
        for l in 0..LANES {
            let (group, t) = (l / 4, l % 4);
            for (i, r) in op.a.iter().enumerate() {
                for e in 0..4 {
                    a[group + 8 * (i % 2)][4 * (t + 4 * (i / 2)) + e] = value(w[usize::from(*r)][l], e, a_signed);
                }
            }
            for (i, r) in op.b.iter().enumerate() {
                for e in 0..4 {
                    b[4 * (t + 4 * i) + e][group] = value(w[usize::from(*r)][l], e, b_signed);
                }
            }
        }
        let mut dots = [[0i32; 8]; 16];
        for (dots, a) in dots.iter_mut().zip(&a) {
            for (a, b) in a.iter().zip(&b).take(usize::from(op.k)) {
                dots.iter_mut().zip(b).for_each(|(d, b)| *d += a * b);
            }
        }
        let mut out = vec![[0; LANES]; 4];
        for l in 0..LANES {
            for (i, row) in out.iter_mut().enumerate() {
                let (r, c) = (l / 4 + 8 * (i / 2), 2 * (l % 4) + i % 2);
                let (dot, acc) = (dots[r][c], w[usize::from(op.c[i])][l] as i32);
                row[l] = if saturate { acc.saturating_add(dot) } else { acc.wrapping_add(dot) } as u32;
            }
        }
        out
    }

    fn mma_float(&self, op: &Mma, kind: MmaKind) -> Vec<Row> {
        let w = &self.warp.w;
        let (per, a_e5m2, b_e5m2) = match kind {
            MmaKind::Tf32 => (1, false, false),
            MmaKind::F8 { a_e5m2, b_e5m2 } => (4, a_e5m2, b_e5m2),
            MmaKind::F16 { .. } | MmaKind::BF16 | MmaKind::Int { .. } => (2, false, false),
        };
        let value = |v: u32, e: usize, e5m2: bool| match kind {
            MmaKind::Tf32 => f64::from(f(v & !0x1fff)),
            MmaKind::BF16 => bf16(v >> (16 * e) & 0xffff).into(),
            MmaKind::F8 { .. } => (if e5m2 { E5M2 } else { E4M3 }).decode(v >> (8 * e) & 0xff),
            MmaKind::F16 { .. } | MmaKind::Int { .. } => h(v >> (16 * e) & 0xffff).into(),
        };
        let mut a = [[0f64; 32]; 16];
        let mut b = [[0f64; 8]; 32];
        for l in 0..LANES {
            let (group, t) = (l / 4, l % 4);
            for (i, r) in op.a.iter().enumerate() {
                for e in 0..per {
                    a[group + 8 * (i % 2)][per * (t + 4 * (i / 2)) + e] = value(w[usize::from(*r)][l], e, a_e5m2);
                }
            }
            for (i, r) in op.b.iter().enumerate() {
                for e in 0..per {
                    b[per * (t + 4 * i) + e][group] = value(w[usize::from(*r)][l], e, b_e5m2);
                }
            }
        }
        let half_acc = kind == MmaKind::F16 { d32: false, c32: false };
        let place = |l: usize, i: usize| (l / 4 + 8 * (i / 2), 2 * (l % 4) + i % 2);
        let mut sums = [[0f64; 8]; 16];
        for l in 0..LANES {
            for i in 0..4 {
                let (r, c) = place(l, i);
                sums[r][c] = if half_acc {
                    F16.decode(w[usize::from(op.c[i / 2])][l] >> (16 * (i % 2)) & 0xffff)
                } else {
                    f64::from(f(w[usize::from(op.c[i])][l]))
                };
            }
        }
        for (sums, a) in sums.iter_mut().zip(&a) {
            for (a, b) in a.iter().zip(&b).take(usize::from(op.k)) {
                sums.iter_mut().zip(b).for_each(|(s, b)| *s += a * b);
            }
        }
        let mut out = vec![[0; LANES]; op.d.len()];
        for l in 0..LANES {
            for i in 0..4 {
                let (r, c) = place(l, i);
                if half_acc {
                    out[i / 2][l] |= F16.encode(sums[r][c], Rnd::Rn, false) << (16 * (i % 2));
                } else {
                    out[i][l] = canon(sums[r][c] as f32);
                }
            }
        }
        out
    }
}
