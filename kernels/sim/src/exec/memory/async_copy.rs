//! `cp.async`: copies from global to shared memory that run until they are waited for.

use super::shared_order::Kind;
use super::{Words, lanes};
use crate::check::shared::ASYNC;
use crate::exec::Exec;
use crate::exec::warp::Copy;
use crate::ir::*;
use crate::ty::Space;

impl Exec<'_> {
    pub fn cp_async(&mut self, c: &CpAsync, m: u32) {
        let mut dst = self.addresses(c.dst, c.dst_off, m);
        if dst.iter().any(|a| in_space(*a, Space::Shared)) {
            dst = dst.map(|a| a.wrapping_sub(SHARED_WINDOW));
        }
        let src = self.addresses(c.src, c.src_off, m);
        let mut sizes = [c.bytes; LANES];
        if let Some(r) = c.src_size {
            self.use_w(r, m);
            sizes = self.warp.w[usize::from(r)].map(|v| v.min(c.bytes));
        }
        if let Some(r) = c.ignore {
            self.use_p(r, m);
            let p = self.warp.p[usize::from(r)];
            lanes(p).for_each(|l| sizes[l] = 0);
        }
        let good = self.aligned(&dst, c.bytes, m) & self.aligned(&src, c.bytes, m);
        let good = self.fits_shared(&dst, c.bytes, good);
        let mut words: Words = [[0; LANES]; 8];
        // Lanes that read fewer bytes get zeros after them.
        let whole = lanes(good).filter(|&l| sizes[l] == c.bytes).fold(0, |acc, l| acc | 1 << l);
        let mem = Mem { n: (c.bytes / 4) as u8, ..Mem::plain(Space::Global, c.src, 4) };
        if whole != 0 {
            self.load_global(&src, c.bytes, whole, &mut words, &mem);
        }
        for l in lanes(good & !whole).filter(|&l| sizes[l] > 0) {
            let n = sizes[l].div_ceil(4);
            for k in 0..n {
                let bytes = (sizes[l] - 4 * k).min(4);
                let mut part: Words = [[0; LANES]; 8];
                for b in 0..bytes {
                    self.load_global(&src.map(|a| a + u64::from(4 * k + b)), 1, 1 << l, &mut part, &mem);
                    words[k as usize][l] |= (part[0][l] & 0xff) << (8 * b);
                }
            }
        }
        if good == 0 {
            return;
        }
        for l in lanes(good) {
            for k in 0..(c.bytes / 4) as usize {
                let at = (dst[l] / 4) as usize + k;
                self.shared_may_write(at, 15, l, Kind::Async);
                self.shared_written(at, 15, l, Kind::Async);
                self.cta.shared.data[at] = words[k][l];
            }
        }
        self.warp.issued += lanes(good).map(|l| u64::from(sizes[l])).sum::<u64>();
        let group = self.warp.committed;
        self.warp.copies.push(Copy { lanes: good, dst: dst.map(|a| a as u32), bytes: c.bytes, group });
    }

    /// Groups older than the latest `keep` are complete: their words become plain writes of the waiting thread.
    pub fn cp_wait(&mut self, keep: Option<u32>, m: u32) {
        let stamp = u64::from(self.cta.stamp);
        let mut copies = std::mem::take(&mut self.warp.copies);
        if !copies.is_empty() {
            self.loads_return(self.warp.issued);
        }
        for c in &mut copies {
            for l in lanes(c.lanes & m) {
                if keep.is_some_and(|k| c.group[l] + k >= self.warp.committed[l]) {
                    continue;
                }
                c.lanes &= !(1 << l);
                let me = u64::from(self.warp.index) << 5 | l as u64;
                for k in 0..c.bytes / 4 {
                    let w = &mut self.cta.shared.writer[(c.dst[l] / 4 + k) as usize];
                    if *w & ASYNC != 0 && *w >> 8 & 0x3ff == me {
                        *w = *w & !ASYNC & 0xffff_ffff | stamp << 32;
                    }
                }
            }
        }
        copies.retain(|c| c.lanes != 0);
        self.warp.copies = copies;
    }
}
