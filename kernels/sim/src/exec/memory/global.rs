//! Global memory: bounds, initialization, races between blocks, dependent launches, sectors.

use std::sync::atomic::Ordering::Relaxed;

use crate::check::finding::Check;
use crate::check::global::*;
use crate::exec::Exec;
use crate::exec::memory::{Words, byte_mask, lanes, touched_bytes};
use crate::exec::warp::FULL;
use crate::ir::*;
use crate::ty::Space;

/// What decides, without a branch into details, that a word may be accessed.
#[derive(Clone, Copy)]
struct Quick {
    launch: u64,
    cta: u64,
    dep_first: u64,
    dep_span: u64,
}

impl Quick {
    /// The last writer is fine: this block, or no block of this launch, or a launch that is over.
    #[inline]
    fn ok(self, w: u64, touched: u64) -> bool {
        let l = w >> LAUNCH_SHIFT;
        w & touched == touched
            && (l != self.launch || w & CTA_BITS == self.cta)
            && l.wrapping_sub(self.dep_first) > self.dep_span
    }
}

impl<'a> Exec<'a> {
    fn quick(&self) -> Quick {
        let (dep_first, dep_span) = self.owned();
        Quick { launch: self.launch.id, cta: u64::from(self.cta.id) << CTA_SHIFT, dep_first, dep_span }
    }

    /// Launches that may still run, from this warp's point of view: first, and how many more.
    fn owned(&self) -> (u64, u64) {
        let range = if self.warp.waited { self.launch.owned_after } else { self.launch.owned_before };
        range.map_or((u64::MAX >> 1, 0), |(first, last)| (first, last - first))
    }

    fn me(&self) -> u64 {
        self.launch.id << LAUNCH_SHIFT
            | (self.cta.epoch.min(EPOCH_MAX)) << EPOCH_SHIFT
            | u64::from(self.cta.id) << CTA_SHIFT
    }

    /// Groups the lanes by allocation; those outside any are reported and dropped.
    fn by_alloc(&mut self, a: &Row64, bytes: u32, m: u32, mut go: impl FnMut(&mut Self, &'a Alloc, &Row64, u32)) {
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
    fn sectors(&mut self, alloc: &Alloc, offs: &Row64, bytes: u32, m: u32, write: bool) -> bool {
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
            if side_by_side && !mem.strong && x.load_run(alloc, offs[0], n, words, quick, mem.read_only) {
                if mem.space != Space::Const {
                    x.sectors_of_run(alloc, offs[0], 32 * u64::from(bytes));
                }
                return;
            }
            if mem.space != Space::Const {
                x.sectors(alloc, offs, bytes, m, false);
            }
            let strong = if mem.strong { STRONG } else { 0 };
            let first = offs[m.trailing_zeros() as usize];
            // One lane stands for all where all read the same.
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
                    // What an earlier kernel may still read stays on record.
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

    /// The common case: lanes side by side, and nothing to report (else false, with nothing done that repeating harms).
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

    /// The details of a read that is not obviously fine.
    #[cold]
    fn check_read(&mut self, alloc: &Alloc, word: usize, touched: u64, lane: usize, mem: &Mem) {
        let w = alloc.writer[word].load(Relaxed);
        let (lane, address) = (lane as u32, alloc.base + 4 * word as u64);
        if w & touched != touched {
            self.report(Check::UninitializedGlobal, lane, || format!("global address {address:#x} was never written"));
            alloc.writer[word].fetch_or(touched, Relaxed);
        }
        let (first, span) = self.owned();
        if (w >> LAUNCH_SHIFT).wrapping_sub(first) <= span {
            self.report(Check::DependentAccess, lane, || {
                format!(
                    "read of global address {address:#x}, written by an earlier kernel, without griddepcontrol.wait"
                )
            });
        }
        if w >> LAUNCH_SHIFT != self.launch.id || w >> 4 & touched == 0 {
            return;
        }
        if mem.read_only {
            self.report(Check::ReadOnlyWritten, lane, || {
                format!("ld.global.nc of address {address:#x}, which this kernel writes")
            });
        }
        let other = ((w & CTA_BITS) >> CTA_SHIFT) as u32;
        if other != self.cta.id
            && !(mem.strong && w & STRONG != 0)
            && !self.cta.ordered(other, (w & EPOCH_BITS) >> EPOCH_SHIFT)
        {
            let block = self.launch.shape.cta(other);
            self.report(Check::GlobalRace, lane, || {
                format!("read of global address {address:#x}, written by block {block:?}")
            });
        }
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

    /// Lanes of one instruction that write different values to one address.
    pub fn check_same_instruction(&mut self, a: &Row64, bytes: u32, m: u32, words: &Words, check: Check) {
        for l in lanes(m) {
            for j in lanes(m).take_while(|&j| j < l).filter(|&j| a[j] == a[l]) {
                if (0..bytes.div_ceil(4) as usize).any(|k| words[k][j] != words[k][l]) {
                    self.report(check, l as u32, || {
                        format!("lanes {j} and {l} write different values to address {:#x}", a[l])
                    });
                }
            }
        }
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
                // Two parts of a word written by one block in one go are one write.
                let same = old & !0xff == tag & !0xff;
                Some(tag | old & 15 | touched | if same { old & 0xf0 } else { 0 })
            });
        }
    }

    pub fn check_write(&mut self, alloc: &Alloc, word: usize, touched: u64, lane: usize, strong: bool) {
        let (w, r) = (alloc.writer[word].load(Relaxed), alloc.reader[word].load(Relaxed));
        let quick = self.quick();
        let mine = |v: u64| v >> LAUNCH_SHIFT != quick.launch || v & CTA_BITS == quick.cta;
        let over = |v: u64| (v >> LAUNCH_SHIFT).wrapping_sub(quick.dep_first) > quick.dep_span;
        if mine(w) && mine(r) && over(w) && over(r) {
            return;
        }
        let (lane, address) = (lane as u32, alloc.base + 4 * word as u64);
        for (v, what) in [(w, "written"), (r, "read")] {
            if !over(v) {
                self.report(Check::DependentAccess, lane, || {
                    format!(
                        "write to global address {address:#x}, {what} by an earlier kernel, without griddepcontrol.wait"
                    )
                });
            }
            if mine(v) || v >> 4 & touched == 0 || strong && v & STRONG != 0 {
                continue;
            }
            let epoch = (v & EPOCH_BITS) >> EPOCH_SHIFT;
            let other = ((v & CTA_BITS) >> CTA_SHIFT) as u32;
            if v & CTA_BITS == MULTI {
                if !self.cta.ordered_after_all(epoch, self.launch.ctas) {
                    self.report(Check::GlobalRace, lane, || {
                        format!("write to global address {address:#x}, read by other blocks")
                    });
                }
            } else if !self.cta.ordered(other, epoch) {
                let block = self.launch.shape.cta(other);
                self.report(Check::GlobalRace, lane, || {
                    format!("write to global address {address:#x}, {what} by block {block:?}")
                });
            }
        }
    }

    /// Publishes what this block did so far at a synchronizing address, if a fence (or `.release`) allows it.
    ///
    /// The lanes of one instruction publish the same point in time: only the first advances it.
    pub fn release(&mut self, address: u64, release: bool, first: bool) {
        if !(release || self.warp.fenced) || self.launch.ctas == 1 {
            return;
        }
        let Ok(mut sync) = self.launch.mem.sync.lock() else {
            return;
        };
        let o = sync.entry(address).or_default();
        o.epochs.resize(self.launch.ctas as usize, 0);
        for (o, s) in o.epochs.iter_mut().zip(&self.cta.seen) {
            *o = (*o).max(*s);
        }
        self.cta.epoch += u64::from(first);
        o.epochs[self.cta.id as usize] = self.cta.epoch as u32;
        o.version += 1;
        self.launch.released.store(true, Relaxed);
    }

    /// Takes over what others published there.
    pub fn acquire(&mut self, address: u64) {
        if !self.launch.released.load(Relaxed) {
            return;
        }
        let Ok(sync) = self.launch.mem.sync.lock() else {
            return;
        };
        let Some(o) = sync.get(&address) else { return };
        if self.cta.acquired == (address, o.version) {
            return;
        }
        self.cta.acquired = (address, o.version);
        self.cta.seen.resize(self.launch.ctas as usize, 0);
        for (s, o) in self.cta.seen.iter_mut().zip(&o.epochs) {
            *s = (*s).max(*o);
        }
        self.cta.epoch = self.cta.epoch.max(o.epochs.iter().copied().max().unwrap_or(0).into());
    }

    pub fn atomic_global(&mut self, atom: &Atom, a: &Row64, m: u32) {
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
                let op = |old: u64| crate::exec::memory::atomics::apply(atom.op, atom.ty, old, b, c);
                let mask = if bytes < 4 { byte_mask(touched as u8) } else { FULL };
                let old = if bytes == 8 {
                    // Pairs of words have no atomic type: 64-bit atomics exclude each other.
                    let _lock = x.launch.wide_atomics.lock();
                    let old =
                        u64::from(alloc.data[at].load(Relaxed)) | u64::from(alloc.data[at + 1].load(Relaxed)) << 32;
                    let new = op(old);
                    alloc.data[at].store(new as u32, Relaxed);
                    alloc.data[at + 1].store((new >> 32) as u32, Relaxed);
                    old
                } else {
                    let part = |w: u32| u64::from((w & mask) >> (8 * shift));
                    let f = |w: u32| Some(w & !mask | (op(part(w)) as u32) << (8 * shift) & mask);
                    match alloc.data[at].fetch_update(std::sync::atomic::Ordering::SeqCst, Relaxed, f) {
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

/// The reader field after one more reader.
fn new_reader(old: u64, mine: u64) -> u64 {
    if old & LAUNCH_BITS != mine & LAUNCH_BITS {
        return mine;
    }
    let epoch = (old & EPOCH_BITS).max(mine & EPOCH_BITS);
    let strong = old & mine & STRONG;
    let touched = (old | mine) & 0xf0;
    let cta = if old & CTA_BITS == mine & CTA_BITS { mine & CTA_BITS } else { MULTI };
    mine & LAUNCH_BITS | epoch | strong | touched | cta
}
