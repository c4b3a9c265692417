//! Shared memory: bounds, initialization, races between barriers, banks, asynchronous copies, matrix loads.

use crate::check::finding::Check;
use crate::check::shared::*;
use crate::exec::memory::{Words, byte_mask, lanes, touched_bytes};
use crate::exec::warp::{Copy, FULL};
use crate::exec::{Exec, Flow};
use crate::ir::*;

/// Which kind of access, for the races.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Atomic,
    Async,
}

impl Exec<'_> {
    /// Lanes inside the block's shared memory; the others are reported.
    fn fits_shared(&mut self, a: &Row64, bytes: u32, m: u32) -> u32 {
        let size = u64::from(self.cta.shared.bytes);
        let mut good = 0;
        for l in 0..LANES {
            good |= u32::from(a[l] <= size && u64::from(bytes) <= size.wrapping_sub(a[l])) << l;
        }
        for l in lanes(m & !good) {
            self.report(Check::OutOfBounds, l as u32, || {
                format!("shared address {:#x}, {bytes} bytes of {size}", a[l])
            });
        }
        m & good
    }

    fn count_banks(&mut self, a: &Row64, bytes: u32, m: u32) {
        let first = a[m.trailing_zeros() as usize];
        let (total, fewest) =
            if m == FULL && (0..LANES).all(|l| a[l] == first + (l as u64) * u64::from(bytes)) && bytes >= 4 {
                let n = u64::from(bytes / 4);
                (n, n)
            } else if lanes(m).all(|l| a[l] == first) {
                let n = (32 / (32 / (bytes.div_ceil(4))).max(1)).into();
                (n, n)
            } else {
                wavefronts(a, bytes, m)
            };
        self.stats.c.shared_requests += 1;
        self.stats.c.shared_wavefronts += total;
        self.stats.c.shared_conflicts += total - fewest;
    }

    pub fn load_shared(&mut self, a: &Row64, bytes: u32, m: u32, words: &mut Words) {
        let m = self.fits_shared(a, bytes, m);
        if m == 0 {
            return;
        }
        self.count_banks(a, bytes, m);
        let n = bytes.div_ceil(4) as usize;
        for l in lanes(m) {
            let (at, shift) = ((a[l] / 4) as usize, (a[l] % 4) as u32);
            let touched = u64::from(touched_bytes(bytes, shift));
            for (k, row) in words.iter_mut().enumerate().take(n) {
                self.shared_read(at + k, touched, l, Kind::Plain);
                row[l] = self.cta.shared.data[at + k] >> (8 * shift);
            }
        }
    }

    pub fn store_shared(&mut self, a: &Row64, bytes: u32, m: u32, words: &Words) {
        let m = self.fits_shared(a, bytes, m);
        if m == 0 {
            return;
        }
        self.count_banks(a, bytes, m);
        if !lanes(m).is_sorted_by(|&x, &y| a[x] < a[y]) {
            self.check_same_instruction(a, bytes, m, words, Check::SharedRace);
        }
        let n = bytes.div_ceil(4) as usize;
        for l in lanes(m) {
            let touched = u64::from(touched_bytes(bytes, (a[l] % 4) as u32));
            (0..n).for_each(|k| self.shared_may_write((a[l] / 4) as usize + k, touched, l, Kind::Plain));
        }
        for l in lanes(m) {
            let (at, shift) = ((a[l] / 4) as usize, (a[l] % 4) as u32);
            let touched = u64::from(touched_bytes(bytes, shift));
            for (k, row) in words.iter().enumerate().take(n) {
                self.shared_written(at + k, touched, l, Kind::Plain);
                let keep = !byte_mask(touched as u8);
                let d = &mut self.cta.shared.data[at + k];
                *d = *d & keep | row[l] << (8 * shift) & !keep;
            }
        }
    }

    /// Has the warp synchronized with a thread since that thread's access?
    #[inline]
    fn after(&self, thread: u64, stamp: u32) -> bool {
        self.warp.seen[(thread >> 5) as usize & 31] >= stamp
    }

    #[inline]
    fn shared_read(&mut self, word: usize, touched: u64, lane: usize, kind: Kind) {
        let me = u64::from(self.warp.index) << 5 | lane as u64;
        let w = self.cta.shared.writer[word];
        let other = w >> 8 & 0x3ff;
        let clean = w & touched == touched && (other == me || self.after(other, (w >> 32) as u32)) && w & ASYNC == 0;
        if !clean {
            self.check_shared_read(word, touched, lane, kind);
        }
        if kind == Kind::Atomic {
            return;
        }
        let r = self.cta.shared.reader[word];
        let (bit, stamp, lane) = (1u64 << self.warp.index, u64::from(self.cta.stamp), lane as u64);
        let mine = bit | lane << 32 | stamp << 40;
        if r == mine {
            return;
        }
        self.cta.shared.reader[word] = if r >> 40 == stamp {
            let several = if r & bit != 0 && r >> 32 & 31 != lane { MANY_LANES } else { 0 };
            r | bit | lane << 32 | several
        } else if r == 0 || self.readers_done(r) {
            mine
        } else {
            // Older readers that nothing orders before a later writer: keep them and their stamp.
            r | bit | MANY_LANES
        };
    }

    fn readers_done(&self, r: u64) -> bool {
        let stamp = (r >> 40) as u32;
        (0..self.warp.seen.len()).filter(|i| r >> i & 1 != 0).all(|i| self.warp.seen[i] >= stamp)
    }

    #[cold]
    fn check_shared_read(&mut self, word: usize, touched: u64, lane: usize, kind: Kind) {
        let w = self.cta.shared.writer[word];
        let (me, other) = (self.warp.index << 5 | lane as u32, (w >> 8 & 0x3ff) as u32);
        let (lane, address) = (lane as u32, 4 * word);
        let thread = self.launch.shape.thread(other);
        if w & touched != touched {
            self.report(Check::UninitializedShared, lane, || {
                format!("shared address {address:#x} was never written by this block")
            });
            self.cta.shared.writer[word] |= touched;
        }
        if w & ASYNC != 0 && w >> 4 & touched != 0 {
            self.report(Check::AsyncCopy, lane, || {
                format!("read of shared address {address:#x} before the cp.async of thread {thread:?} was waited for")
            });
            return;
        }
        let both_atomic = kind == Kind::Atomic && w & ATOMIC != 0;
        if w >> 4 & touched != 0 && other != me && !both_atomic && !self.after(other.into(), (w >> 32) as u32) {
            self.report(Check::SharedRace, lane, || {
                format!("read of shared address {address:#x}, written by thread {thread:?} with no barrier between")
            });
        }
    }

    /// May this lane write the word? All lanes of an instruction ask before any of them is recorded.
    #[inline]
    fn shared_may_write(&mut self, word: usize, touched: u64, lane: usize, kind: Kind) {
        let me = u64::from(self.warp.index) << 5 | lane as u64;
        let (w, r) = (self.cta.shared.writer[word], self.cta.shared.reader[word]);
        let other = w >> 8 & 0x3ff;
        let mine = 1u64 << self.warp.index | (lane as u64) << 32;
        let clean = (w == 0 || other == me || self.after(other, (w >> 32) as u32))
            && (r == 0 || r << 24 >> 24 == mine || self.readers_done(r))
            && w & ASYNC == 0;
        if !clean {
            self.check_shared_write(word, touched, lane, kind);
        }
    }

    #[inline]
    fn shared_written(&mut self, word: usize, touched: u64, lane: usize, kind: Kind) {
        let me = u64::from(self.warp.index) << 5 | lane as u64;
        let stamp = u64::from(self.cta.stamp);
        let w = self.cta.shared.writer[word];
        let same = w >> 8 & 0x3ff == me && w >> 32 == stamp;
        let bytes = w & 15 | touched | touched << 4 | if same { w & 0xf0 } else { 0 };
        let flag = match kind {
            Kind::Plain => 0,
            Kind::Atomic => ATOMIC,
            Kind::Async => ASYNC,
        };
        self.cta.shared.writer[word] = bytes | me << 8 | flag | stamp << 32;
    }

    #[cold]
    fn check_shared_write(&mut self, word: usize, touched: u64, lane: usize, kind: Kind) {
        let (w, r) = (self.cta.shared.writer[word], self.cta.shared.reader[word]);
        let (me, other) = (self.warp.index << 5 | lane as u32, (w >> 8 & 0x3ff) as u32);
        let address = 4 * word;
        let thread = self.launch.shape.thread(other);
        if w & ASYNC != 0 && w >> 4 & touched != 0 {
            self.report(Check::AsyncCopy, lane as u32, || {
                format!("write to shared address {address:#x} before the cp.async of thread {thread:?} was waited for")
            });
        }
        let both_atomic = kind == Kind::Atomic && w & ATOMIC != 0;
        if w >> 4 & touched != 0
            && other != me
            && !both_atomic
            && w & ASYNC == 0
            && !self.after(other.into(), (w >> 32) as u32)
        {
            self.report(Check::SharedRace, lane as u32, || {
                format!("write to shared address {address:#x}, written by thread {thread:?} with no barrier between")
            });
        }
        let stamp = (r >> 40) as u32;
        for i in (0..self.warp.seen.len() as u32).filter(|i| r >> i & 1 != 0) {
            let own = i == self.warp.index;
            let alone = own && r & MANY_LANES == 0 && r >> 32 & 31 == lane as u64;
            if self.warp.seen[i as usize] < stamp && !alone {
                let who = if own { "another lane of the warp".to_string() } else { format!("warp {i}") };
                self.report(Check::SharedRace, lane as u32, || {
                    format!("write to shared address {address:#x}, read by {who} with no barrier between")
                });
            }
        }
    }

    pub fn atomic_shared(&mut self, atom: &Atom, a: &Row64, m: u32) {
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
            let new = crate::exec::memory::atomics::apply(atom.op, atom.ty, old, self.warp.get(atom.b, l), c);
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

    pub fn cp_async(&mut self, c: &CpAsync, m: u32) {
        let mut dst = self.addresses(c.dst, c.dst_off, m);
        if dst.iter().any(|a| in_space(*a, crate::ty::Space::Shared)) {
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
        // Lanes that read fewer bytes get zeros behind them.
        let whole = lanes(good).filter(|&l| sizes[l] == c.bytes).fold(0, |acc, l| acc | 1 << l);
        let mem = Mem {
            space: crate::ty::Space::Global,
            size: 4,
            n: (c.bytes / 4) as u8,
            regs: [Reg::W(0); 8],
            addr: c.src,
            off: 0,
            signed: false,
            narrow: false,
            release: false,
            strong: false,
            read_only: false,
        };
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

    /// `ldmatrix`, `stmatrix`: lane `8 i + r` holds the address of row `r` of matrix `i`; lane `l` gets elements `2 (l % 4)`
    /// and the next of row `l / 4`, or of column `l / 4` if transposed.
    pub fn ldmatrix(&mut self, lm: &LdMatrix, m: u32, load: bool, forced: bool) -> Flow {
        if let Some(flow) = self.converge(m, FULL, forced) {
            return flow;
        }
        let n = usize::from(lm.n);
        let givers = if n == 4 { FULL } else { (1 << (8 * n)) - 1 };
        let mut a = self.addresses(lm.addr, lm.off, givers & m);
        if lm.generic {
            a = a.map(|v| v.wrapping_sub(SHARED_WINDOW));
        }
        let good = self.aligned(&a, 16, givers & m);
        let good = self.fits_shared(&a, 16, good);
        let (mut total, mut fewest) = (0, 0);
        for i in 0..n {
            let (t, f) = wavefronts(&a, 16, good & 0xff << (8 * i));
            (total, fewest) = (total + t, fewest + f);
        }
        self.stats.c.shared_requests += 1;
        self.stats.c.shared_wavefronts += total;
        self.stats.c.shared_conflicts += total - fewest;
        for i in 0..n {
            let mut matrix = [[0u32; 4]; 8];
            if !load {
                self.use_w(lm.regs[i], m);
                let row = self.warp.w[usize::from(lm.regs[i])];
                for l in 0..LANES {
                    for half in 0..2 {
                        let v = row[l] >> (16 * half) & 0xffff;
                        let (r, c) = if lm.trans { (2 * (l % 4) + half, l / 4) } else { (l / 4, 2 * (l % 4) + half) };
                        matrix[r][c / 2] |= v << (16 * (c % 2));
                    }
                }
            }
            for (r, row) in matrix.iter_mut().enumerate() {
                let giver = 8 * i + r;
                if good >> giver & 1 == 0 {
                    continue;
                }
                let at = (a[giver] / 4) as usize;
                for (k, v) in row.iter_mut().enumerate() {
                    if load {
                        self.shared_read(at + k, 15, giver, Kind::Plain);
                        *v = self.cta.shared.data[at + k];
                    } else {
                        self.shared_may_write(at + k, 15, giver, Kind::Plain);
                        self.shared_written(at + k, 15, giver, Kind::Plain);
                        self.cta.shared.data[at + k] = *v;
                    }
                }
            }
            if load {
                let mut out = [0; LANES];
                for (l, o) in out.iter_mut().enumerate() {
                    for half in 0..2 {
                        let (r, c) = if lm.trans { (2 * (l % 4) + half, l / 4) } else { (l / 4, 2 * (l % 4) + half) };
                        *o |= (matrix[r][c / 2] >> (16 * (c % 2)) & 0xffff) << (16 * half);
                    }
                }
                self.warp.put_w(lm.regs[i], m, &out);
            }
        }
        Flow::Next
    }
}
