//! Global memory: bounds, sectors, and the accesses themselves.

use std::sync::atomic::Ordering::Relaxed;

use super::global_order::{Quick, new_reader};
use crate::check::finding::Check;
use crate::check::global::*;
use crate::exec::Exec;
use crate::exec::memory::{Words, byte_mask, lanes, touched_bytes};
use crate::exec::warp::FULL;
use crate::ir::*;
use crate::ty::Space;

impl<'a> Exec<'a> {
    /// Calls `go` once per allocation with its lanes and their offsets. Lanes outside of all allocations are reported.
    pub(super) fn by_alloc(
        &mut self,
        a: &Row64,
        bytes: u32,
        m: u32,
        mut go: impl FnMut(&mut Self, &'a Alloc, &Row64, u32),
    ) {
        let mut left = m;
        while left != 0 {
            let first = left.trailing_zeros() as usize;
            let Some((alloc, _)) = self.launch.mem.find(a[first], u64::from(bytes)) else {
                left &= !(1 << first);
                let mem = self.launch.mem;
                self.report(Check::OutOfBounds, first as u32, || {
                    format!("global address {:#x}, {bytes} bytes: {}", a[first], mem.describe(a[first]))
                });
                continue;
            };
            let last = alloc.bytes - u64::from(bytes);
            let mut group = 0;
            let mut offs = [0; LANES];
            for l in 0..LANES {
                offs[l] = a[l].wrapping_sub(alloc.base);
                group |= u32::from(offs[l] <= last) << l;
            }
            group &= left;
            left &= !group;
            go(self, alloc, &offs, group);
        }
    }

    /// Counts sectors, and marks them as fetched or written. True if no two lanes have the same address.
    pub(super) fn sectors(&mut self, alloc: &Alloc, offs: &Row64, bytes: u32, m: u32, write: bool) -> bool {
        let mut sorted = [u64::MAX; LANES];
        let mut n = 0;
        for l in lanes(m) {
            sorted[n] = offs[l];
            n += 1;
        }
        let sorted = &mut sorted[..n];
        if !sorted.is_sorted() {
            sorted.sort_unstable();
        }
        let (mut distinct, mut asked, mut last, mut sector) = (0u64, 0, u64::MAX, u64::MAX);
        let serial = self.launch.shape.serial;
        let marks = if write { &alloc.written_sectors } else { &alloc.read_sectors };
        for &off in sorted.iter() {
            distinct += u64::from(off != last);
            last = off;
            if off / SECTOR != sector {
                sector = off / SECTOR;
                asked += 1;
                let mark = &marks[sector as usize];
                if mark.load(Relaxed) != serial && mark.swap(serial, Relaxed) != serial {
                    *(if write { &mut self.stats.c.dram_write_bytes } else { &mut self.stats.c.dram_read_bytes }) +=
                        SECTOR;
                }
            }
        }
        self.stats.c.global_requests += 1;
        self.stats.c.sectors_asked += asked;
        self.stats.c.sectors_needed += (distinct * u64::from(bytes)).div_ceil(SECTOR);
        distinct == n as u64
    }

    pub fn load_global(&mut self, a: &Row64, bytes: u32, m: u32, words: &mut Words, mem: &Mem) {
        let quick = self.quick();
        let me = self.me();
        self.by_alloc(a, bytes, m, |x, alloc, offs, m| {
            let n = bytes.div_ceil(4) as usize;
            let side_by_side = m == FULL && bytes >= 4 && (1..LANES).all(|l| offs[l] == offs[l - 1] + u64::from(bytes));
            if side_by_side && !mem.strong && !mem.guess && x.load_run(alloc, offs[0], n, words, quick, mem.read_only) {
                if mem.space != Space::Const {
                    x.sectors_of_run(alloc, offs[0], 32 * u64::from(bytes));
                }
                return;
            }
            if mem.space != Space::Const {
                x.sectors(alloc, offs, bytes, m, false);
            }
            let strong = if mem.strong || mem.guess { STRONG } else { 0 };
            let first = offs[m.trailing_zeros() as usize];
            // If all lanes read one address, one of them is checked and read for all.
            let same = lanes(m).all(|l| offs[l] == first);
            for l in lanes(if same { m & m.wrapping_neg() } else { m }) {
                let (at, shift) = ((offs[l] / 4) as usize, (offs[l] % 4) as u32);
                let touched = u64::from(touched_bytes(bytes, shift));
                let (data, writer, reader) =
                    (&alloc.data[at..at + n], &alloc.writer[at..at + n], &alloc.reader[at..at + n]);
                for k in 0..n {
                    let w = writer[k].load(Relaxed);
                    let ok = quick.ok(w, touched) && !(mem.read_only && w >> LAUNCH_SHIFT == quick.launch);
                    let r = reader[k].load(Relaxed);
                    if !ok || mem.strong {
                        x.check_read(alloc, at + k, touched, l, mem);
                    }
                    let mine = me | touched << 4 | strong;
                    // The record of an earlier kernel that may still run is kept.
                    if r != mine && (r >> LAUNCH_SHIFT).wrapping_sub(quick.dep_first) > quick.dep_span {
                        reader[k].store(new_reader(r, mine), Relaxed);
                    }
                    words[k][l] = data[k].load(Relaxed) >> (8 * shift);
                }
            }
            if same {
                let l = m.trailing_zeros() as usize;
                for row in words.iter_mut().take(n) {
                    let v = row[l];
                    lanes(m).for_each(|i| row[i] = v);
                }
            }
            if mem.strong {
                lanes(m).for_each(|l| x.acquire(alloc.base + offs[l]));
            }
        });
    }

    /// The common case: lanes side by side and nothing to report. False: something may be wrong, and nothing was recorded.
    fn load_run(&self, alloc: &Alloc, off: u64, n: usize, words: &mut Words, quick: Quick, read_only: bool) -> bool {
        let at = (off / 4) as usize;
        let end = at + LANES * n;
        let (data, writer, reader) = (&alloc.data[at..end], &alloc.writer[at..end], &alloc.reader[at..end]);
        let fine = |w: u64| quick.ok(w, 15) & !(read_only & (w >> LAUNCH_SHIFT == quick.launch));
        if !writer.iter().fold(true, |ok, w| ok & fine(w.load(Relaxed))) {
            return false;
        }
        let mine = self.me() | 0xf0;
        for r in reader {
            let old = r.load(Relaxed);
            if old != mine && (old >> LAUNCH_SHIFT).wrapping_sub(quick.dep_first) > quick.dep_span {
                r.store(new_reader(old, mine), Relaxed);
            }
        }
        for (l, lane) in data.chunks_exact(n).enumerate() {
            for (row, v) in words.iter_mut().zip(lane) {
                row[l] = v.load(Relaxed);
            }
        }
        true
    }

    fn sectors_of_run(&mut self, alloc: &Alloc, off: u64, bytes: u64) {
        let (first, last) = (off / SECTOR, (off + bytes - 1) / SECTOR);
        let serial = self.launch.shape.serial;
        for mark in &alloc.read_sectors[first as usize..=last as usize] {
            if mark.load(Relaxed) != serial && mark.swap(serial, Relaxed) != serial {
                self.stats.c.dram_read_bytes += SECTOR;
            }
        }
        self.stats.c.global_requests += 1;
        self.stats.c.sectors_asked += last - first + 1;
        self.stats.c.sectors_needed += bytes.div_ceil(SECTOR);
    }

    pub fn store_global(&mut self, a: &Row64, bytes: u32, m: u32, words: &Words, mem: &Mem) {
        if mem.strong {
            for l in lanes(m) {
                self.release(a[l], mem.release, l == m.trailing_zeros() as usize);
            }
        } else {
            self.warp.fenced = false;
        }
        self.by_alloc(a, bytes, m, |x, alloc, offs, m| {
            let distinct = x.sectors(alloc, offs, bytes, m, true);
            if !distinct {
                x.check_same_instruction(offs, bytes, m, words, Check::GlobalRace);
            }
            let n = bytes.div_ceil(4) as usize;
            for l in lanes(m) {
                let (at, shift) = ((offs[l] / 4) as usize, (offs[l] % 4) as u32);
                let touched = u64::from(touched_bytes(bytes, shift));
                for (k, row) in words.iter().enumerate().take(n) {
                    x.check_write(alloc, at + k, touched, l, mem.strong);
                    x.put(alloc, at + k, touched, row[l] << (8 * shift), mem.strong);
                }
            }
        });
    }

    fn put(&self, alloc: &Alloc, word: usize, touched: u64, v: u32, strong: bool) {
        let tag = self.me() | touched << 4 | if strong { STRONG } else { 0 };
        if touched == 15 {
            alloc.data[word].store(v, Relaxed);
            alloc.writer[word].store(tag | 15, Relaxed);
        } else {
            let mask = byte_mask(touched as u8);
            let merge = |old: u32| Some(old & !mask | v & mask);
            // `fetch_update` of a function that always yields a value cannot fail.
            let _ = alloc.data[word].fetch_update(Relaxed, Relaxed, merge);
            let _ = alloc.writer[word].fetch_update(Relaxed, Relaxed, |old| {
                // Two parts of a word that one block writes in one epoch are one write.
                let same = old & !0xff == tag & !0xff;
                Some(tag | old & 15 | touched | if same { old & 0xf0 } else { 0 })
            });
        }
    }
}
