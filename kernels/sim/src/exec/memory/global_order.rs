//! Global memory: what is initialized, and what orders blocks and launches: fences, atomics, `griddepcontrol.wait`.

use std::sync::atomic::Ordering::Relaxed;

use super::{Words, lanes};
use crate::check::finding::Check;
use crate::check::global::*;
use crate::exec::Exec;
use crate::ir::*;

/// What the fast test of an access compares shadow words with.
#[derive(Clone, Copy)]
pub(super) struct Quick {
    pub launch: u64,
    cta: u64,
    pub dep_first: u64,
    pub dep_span: u64,
}

impl Quick {
    /// The bytes are initialized, and the last writer is this block, the host, or a launch that has ended.
    #[inline]
    pub fn ok(self, w: u64, touched: u64) -> bool {
        let l = w >> LAUNCH_SHIFT;
        w & touched == touched
            && (l != self.launch || w & CTA_BITS == self.cta)
            && l.wrapping_sub(self.dep_first) > self.dep_span
    }
}

impl Exec<'_> {
    pub(super) fn quick(&self) -> Quick {
        let (dep_first, dep_span) = self.owned();
        Quick { launch: self.launch.id, cta: u64::from(self.cta.id) << CTA_SHIFT, dep_first, dep_span }
    }

    /// Launches that may still run beside this warp: the first, and the number of launches after it.
    fn owned(&self) -> (u64, u64) {
        let range = if self.warp.waited { self.launch.owned_after } else { self.launch.owned_before };
        range.map_or((u64::MAX >> 1, 0), |(first, last)| (first, last - first))
    }

    /// This block at this time, as the shadow words record it.
    #[inline]
    pub(super) fn me(&self) -> u64 {
        self.launch.id << LAUNCH_SHIFT
            | (self.cta.epoch.min(EPOCH_MAX)) << EPOCH_SHIFT
            | u64::from(self.cta.id) << CTA_SHIFT
    }

    /// Reports a read that does not pass the fast test, if it is a defect.
    #[cold]
    pub(super) fn check_read(&mut self, alloc: &Alloc, word: usize, touched: u64, lane: usize, mem: &Mem) {
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
            && !((mem.strong || mem.guess) && w & STRONG != 0)
            && !self.cta.ordered(other, (w & EPOCH_BITS) >> EPOCH_SHIFT)
        {
            let block = self.launch.shape.cta(other);
            self.report(Check::GlobalRace, lane, || {
                format!("read of global address {address:#x}, written by block {block:?}")
            });
        }
    }

    /// Reports lanes of one instruction that write different values to one address.
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

    pub(super) fn check_write(&mut self, alloc: &Alloc, word: usize, touched: u64, lane: usize, strong: bool) {
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
                if !self.cta.may_follow(epoch) {
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

    /// Publishes at an address what this block did so far, if a fence (or `.release`) precedes.
    ///
    /// The lanes of one instruction publish the same point in time: only the first advances it.
    pub(super) fn release(&mut self, address: u64, release: bool, first: bool) {
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
        self.launch.progress.released.store(true, Relaxed);
    }

    /// Orders what this block does next after what others published at the address.
    pub(super) fn acquire(&mut self, address: u64) {
        if !self.launch.progress.released.load(Relaxed) {
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
}

/// The readers after one more.
#[inline]
pub(super) fn new_reader(old: u64, mine: u64) -> u64 {
    if old & LAUNCH_BITS != mine & LAUNCH_BITS {
        return mine;
    }
    let epoch = (old & EPOCH_BITS).max(mine & EPOCH_BITS);
    let strong = old & mine & STRONG;
    let touched = (old | mine) & 0xf0;
    let cta = if old & CTA_BITS == mine & CTA_BITS { mine & CTA_BITS } else { MULTI };
    mine & LAUNCH_BITS | epoch | strong | touched | cta
}
