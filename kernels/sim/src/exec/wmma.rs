//! `wmma.load`, `wmma.store` and `wmma.mma`. Products are summed as those of `mma.sync` are: exactly in f64, then rounded once; of f64
//! each product is added with one rounding.

use super::memory::{Words, lanes};
use super::warp::FULL;
use super::{Exec, Flow};
use crate::check::finding::Check;
use crate::fp::{F16, Rnd, b as bf16, canon, f, h};
use crate::ir::*;
use crate::ty::{Space, Ty};

/// A matrix, row by row.
struct Matrix {
    cols: usize,
    values: Vec<f64>,
}

impl Exec<'_> {
    /// Waits for all lanes of the warp. None: go on.
    fn all_lanes(&mut self, m: u32, forced: bool) -> Option<Flow> {
        if let Some(flow) = self.converge(m, FULL, forced) {
            return Some(flow);
        }
        if !self.whole(m) {
            self.report(Check::DivergentMask, m.trailing_zeros(), || "wmma needs all 32 lanes".to_string());
        }
        None
    }

    /// The addresses of element `e` of register `i` of every lane.
    fn elements(&self, op: &WmmaMove, base: &Row64, i: usize, e: usize) -> Row64 {
        let tile = &op.tile;
        let mut a = [0; LANES];
        for l in 0..LANES {
            let (row, col) = tile.place(l, i, e);
            let (major, minor, length) = if op.column_major { (col, row, tile.rows) } else { (row, col, tile.cols) };
            let stride = op.stride.map_or(length as u64, |r| u64::from(self.warp.w[usize::from(r)][l]));
            a[l] = base[l].wrapping_add((major as u64 * stride + minor as u64) * u64::from(tile.ty.size()));
        }
        a
    }

    pub fn wmma_move(&mut self, op: &WmmaMove, m: u32, load: bool, forced: bool) -> Flow {
        if let Some(flow) = self.all_lanes(m, forced) {
            return flow;
        }
        let base = self.addresses(op.addr, op.off, m);
        if let Some(stride) = op.stride {
            self.use_w(stride, m);
        }
        let bits = 8 * op.tile.ty.size();
        for (i, &reg) in op.tile.regs.iter().enumerate() {
            if !load {
                self.use_reg(reg, m);
            }
            let mut values = [0u64; LANES];
            for e in 0..op.tile.per_register() {
                let a = self.elements(op, &base, i, e);
                let shift = bits * e as u32;
                if load {
                    let words = self.load_elements(op, a, m);
                    lanes(m)
                        .for_each(|l| values[l] |= (u64::from(words[1][l]) << 32 | u64::from(words[0][l])) << shift);
                } else {
                    let mut words: Words = [[0; LANES]; 8];
                    for l in lanes(m) {
                        let value = self.warp.get(reg, l) >> shift;
                        (words[0][l], words[1][l]) = (value as u32, (value >> 32) as u32);
                        if bits < 32 {
                            words[0][l] &= (1 << bits) - 1;
                        }
                    }
                    self.store_elements(op, a, m, &words);
                }
            }
            if load {
                lanes(m).for_each(|l| self.warp.set(reg, l, values[l]));
            }
        }
        Flow::Next
    }

    fn load_elements(&mut self, op: &WmmaMove, mut a: Row64, m: u32) -> Words {
        let bytes = op.tile.ty.size();
        let mem = Mem::plain(op.space, op.addr, bytes as u8);
        let mut words: Words = [[0; LANES]; 8];
        self.by_space(op.space, &mut a, m, |x, space, a, m| {
            let good = x.aligned(a, bytes, m);
            match space {
                Space::Shared => x.load_shared(a, bytes, good, &mut words),
                Space::Local => x.load_local(a, bytes, good, &mut words),
                Space::Param => x.load_param(a, bytes, good, &mut words),
                Space::Global | Space::Const | Space::Generic => x.load_global(a, bytes, good, &mut words, &mem),
            }
        });
        if bytes < 4 {
            words[0] = words[0].map(|word| word & ((1 << (8 * bytes)) - 1));
        }
        words
    }

    fn store_elements(&mut self, op: &WmmaMove, mut a: Row64, m: u32, words: &Words) {
        let bytes = op.tile.ty.size();
        let mem = Mem::plain(op.space, op.addr, bytes as u8);
        self.by_space(op.space, &mut a, m, |x, space, a, m| {
            let good = x.aligned(a, bytes, m);
            match space {
                Space::Shared => x.store_shared(a, bytes, good, words),
                Space::Local | Space::Param => x.store_local(a, bytes, good, words),
                Space::Global | Space::Const | Space::Generic => x.store_global(a, bytes, good, words, &mem),
            }
        });
    }

    pub fn wmma(&mut self, op: &WmmaProduct, m: u32, forced: bool) -> Flow {
        if let Some(flow) = self.all_lanes(m, forced) {
            return flow;
        }
        for tile in [&op.a, &op.b, &op.c] {
            tile.regs.iter().for_each(|reg| self.use_reg(*reg, m));
        }
        let [a, b, mut sum] = [&op.a, &op.b, &op.c].map(|tile| self.matrix(tile));
        for (sums, a) in sum.values.chunks_exact_mut(b.cols).zip(a.values.chunks_exact(a.cols)) {
            for (a, b) in a.iter().zip(b.values.chunks_exact(b.cols)) {
                sums.iter_mut().zip(b).for_each(|(sum, b)| *sum = a.mul_add(*b, *sum));
            }
        }
        let tile = &op.d;
        for (i, &reg) in tile.regs.iter().enumerate() {
            for l in lanes(m) {
                let bits = (0..tile.per_register()).fold(0, |bits, e| {
                    let (row, col) = tile.place(l, i, e);
                    bits | encode(tile.ty, sum.values[row * tile.cols + col], op.saturate) << (16 * e)
                });
                self.warp.set(reg, l, bits);
            }
        }
        Flow::Next
    }

    /// The elements of a tile. Integers and all smaller floats are exact in f64.
    fn matrix(&self, tile: &Tile) -> Matrix {
        let mut values = vec![0.0; tile.rows * tile.cols];
        let bits = 8 * tile.ty.size();
        for (i, &reg) in tile.regs.iter().enumerate() {
            for l in 0..LANES {
                let all = self.warp.get(reg, l);
                for e in 0..tile.per_register() {
                    let (row, col) = tile.place(l, i, e);
                    values[row * tile.cols + col] = decode(tile.ty, all >> (bits * e as u32));
                }
            }
        }
        Matrix { cols: tile.cols, values }
    }
}

/// The element in the low bits.
fn decode(ty: Ty, bits: u64) -> f64 {
    let low = bits as u32;
    match ty {
        Ty::F64 => f64::from_bits(bits),
        Ty::F16 => h(low & 0xffff).into(),
        Ty::BF16 => bf16(low & 0xffff).into(),
        Ty::Tf32 => f(low & !0x1fff).into(),
        Ty::S8 => f64::from(low as i8),
        Ty::U8 => f64::from(low as u8),
        Ty::S32 => f64::from(low as i32),
        _ => f(low).into(),
    }
}

fn encode(ty: Ty, value: f64, saturate: bool) -> u64 {
    let limited = |most: f64| if saturate { value.clamp(-most, most) } else { value };
    match ty {
        Ty::F64 => value.to_bits(),
        Ty::F16 => F16.encode(limited(65504.0), Rnd::Rn, false).into(),
        // Sums of at most 16 products of bytes and a word fit in f64; without saturation they wrap.
        Ty::S32 if saturate => u64::from(value as i32 as u32),
        Ty::S32 => u64::from(value as i64 as u32),
        _ => canon(limited(f32::MAX.into()) as f32).into(),
    }
}
