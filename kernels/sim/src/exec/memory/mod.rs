//! Loads and stores: addresses to spaces, registers to words. One file per space; `*_order` finds races.

mod async_copy;
mod atomics;
mod global;
mod global_order;
mod local;
mod matrix_rows;
mod shared;
mod shared_order;

use crate::check::finding::Check;
use crate::exec::Exec;
use crate::ir::*;
use crate::ty::Space;

/// Up to 32 bytes of every lane, as words.
pub(crate) type Words = [Row; 8];

/// The lanes of a mask, in order.
#[inline]
pub(crate) fn lanes(m: u32) -> impl Iterator<Item = usize> {
    (0..LANES).filter(move |l| m >> l & 1 != 0)
}

impl Exec<'_> {
    pub fn addresses(&mut self, reg: Reg, off: i64, m: u32) -> Row64 {
        self.use_reg(reg, m);
        match reg {
            Reg::D(r) => self.warp.d[usize::from(r)].map(|a| a.wrapping_add(off as u64)),
            Reg::W(r) => self.warp.w[usize::from(r)].map(|a| u64::from(a).wrapping_add(off as u64)),
            Reg::P(_) => [0; LANES],
        }
    }

    /// Calls `go` once per space with the lanes whose addresses lie in it, and their addresses inside the space.
    pub fn by_space(&mut self, space: Space, a: &mut Row64, m: u32, mut go: impl FnMut(&mut Self, Space, &Row64, u32)) {
        if space != Space::Generic {
            return go(self, space, a, m);
        }
        let mut left = m;
        for (s, base) in [(Space::Shared, SHARED_WINDOW), (Space::Local, LOCAL_WINDOW), (Space::Param, PARAM_WINDOW)] {
            let group = lanes(left).filter(|&l| in_space(a[l], s)).fold(0, |acc, l| acc | 1 << l);
            if group != 0 {
                let inside = a.map(|v| v.wrapping_sub(base));
                go(self, s, &inside, group);
                left &= !group;
            }
        }
        if left != 0 {
            go(self, Space::Global, a, left);
        }
    }

    /// The lanes whose address is a multiple of `bytes`; the others are reported.
    pub fn aligned(&mut self, a: &Row64, bytes: u32, m: u32) -> u32 {
        // The size of an access is a power of two.
        let low = u64::from(bytes) - 1;
        if a.iter().fold(0, |acc, a| acc | a) & low == 0 {
            return m;
        }
        let bad = lanes(m).filter(|&l| a[l] & low != 0).fold(0, |acc, l| acc | 1 << l);
        for l in lanes(bad) {
            self.report(Check::Misaligned, l as u32, || format!("address {:#x} of an access of {bytes} bytes", a[l]));
        }
        m & !bad
    }

    pub fn load(&mut self, mem: &Mem, m: u32) {
        let mut a = self.addresses(mem.addr, mem.off, m);
        let bytes = u32::from(mem.size) * u32::from(mem.n);
        let mut words: Words = [[0; LANES]; 8];
        let mut flying = 0;
        self.by_space(mem.space, &mut a, m, |x, space, a, m| {
            let good = x.aligned(a, bytes, m);
            match space {
                Space::Shared => x.load_shared(a, bytes, good, &mut words),
                Space::Local => x.load_local(a, bytes, good, &mut words),
                Space::Param => x.load_param(a, bytes, good, &mut words),
                _ => {
                    x.load_global(a, bytes, good, &mut words, mem);
                    flying |= good;
                }
            }
        });
        self.distribute(mem, m, &words);
        if flying != 0 && mem.space != Space::Const {
            self.warp.issued += u64::from(bytes) * u64::from(flying.count_ones());
            for k in 0..usize::from(mem.n) {
                self.in_flight(mem.regs[k], flying);
            }
        }
    }

    /// Stores words to the destination registers, extended to the width of these.
    fn distribute(&mut self, mem: &Mem, m: u32, words: &Words) {
        for k in 0..usize::from(mem.n) {
            match (mem.size, mem.regs[k]) {
                (4, Reg::W(r)) => self.warp.put_w(r, m, &words[k]),
                (8, Reg::D(r)) => {
                    let (lo, hi) = (&words[2 * k], &words[2 * k + 1]);
                    let mut row = [0; LANES];
                    for i in 0..LANES {
                        row[i] = u64::from(hi[i]) << 32 | u64::from(lo[i]);
                    }
                    self.warp.put_d(r, m, &row);
                }
                (size, reg) => {
                    let (at, bits) = (k * usize::from(size), 8 * u32::from(size));
                    for l in lanes(m) {
                        let lo = words[at / 4][l] >> (8 * (at % 4));
                        let v = if bits == 32 { lo } else { lo & ((1 << bits) - 1) };
                        let v = if mem.signed {
                            i64::from((v << (32 - bits)) as i32 >> (32 - bits)) as u64
                        } else {
                            u64::from(v)
                        };
                        // Registers of 16 bits keep the upper half of their row zero.
                        let v = if mem.narrow { v & 0xffff } else { v };
                        self.warp.set(reg, l, v);
                    }
                }
            }
        }
    }

    /// The source registers as words.
    fn collect(&mut self, mem: &Mem, m: u32) -> Words {
        let mut words: Words = [[0; LANES]; 8];
        for k in 0..usize::from(mem.n) {
            let reg = mem.regs[k];
            self.use_reg(reg, m);
            match (mem.size, reg) {
                (4, Reg::W(r)) => words[k] = self.warp.w[usize::from(r)],
                (8, Reg::D(r)) => {
                    let row = &self.warp.d[usize::from(r)];
                    words[2 * k] = row.map(|v| v as u32);
                    words[2 * k + 1] = row.map(|v| (v >> 32) as u32);
                }
                (size, reg) => {
                    let (at, bits) = (k * usize::from(size), 8 * u32::from(size));
                    for l in lanes(m) {
                        let v = self.warp.get(reg, l) as u32;
                        let v = if bits == 32 { v } else { v & ((1 << bits) - 1) };
                        words[at / 4][l] |= v << (8 * (at % 4));
                    }
                }
            }
        }
        words
    }

    pub fn store(&mut self, mem: &Mem, m: u32) {
        let mut a = self.addresses(mem.addr, mem.off, m);
        let words = self.collect(mem, m);
        let bytes = u32::from(mem.size) * u32::from(mem.n);
        self.by_space(mem.space, &mut a, m, |x, space, a, m| {
            let good = x.aligned(a, bytes, m);
            match space {
                Space::Shared => x.store_shared(a, bytes, good, &words),
                Space::Local => x.store_local(a, bytes, good, &words),
                Space::Param => {
                    let frame = a.map(|v| v.wrapping_sub(PARAM_FRAME));
                    x.store_local(&frame, bytes, good, &words);
                }
                _ => x.store_global(a, bytes, good, &words, mem),
            }
        });
    }
}

/// Bits of the bytes of a word that an access touches: `bytes` of them, the first `shift` bytes into the word.
#[inline]
pub(crate) fn touched_bytes(bytes: u32, shift: u32) -> u8 {
    if bytes >= 4 { 15 } else { ((1 << bytes) - 1) << shift }
}

/// A mask of bytes: all eight bits of each byte whose bit is set.
#[inline]
pub(crate) fn byte_mask(touched: u8) -> u32 {
    (0..4).filter(|i| touched >> i & 1 != 0).fold(0, |acc, i| acc | 0xff << (8 * i))
}
