//! Shared memory: what is initialized, and what no barrier orders.

use crate::check::finding::Check;
use crate::check::shared::*;
use crate::exec::Exec;

/// How an access takes part in races.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Plain,
    Atomic,
    Async,
}

impl Exec<'_> {
    /// Has the warp synchronized with a thread since that thread's access?
    #[inline]
    fn after(&self, thread: u64, stamp: u32) -> bool {
        self.warp.seen[(thread >> 5) as usize & 31] >= stamp
    }

    #[inline]
    pub(super) fn shared_read(&mut self, word: usize, touched: u64, lane: usize, kind: Kind) {
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
            // Older readers are not ordered before a later writer: they stay, with their stamp.
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

    /// Checks that this lane may write the word. All lanes of an instruction are checked before the first is recorded.
    #[inline]
    pub(super) fn shared_may_write(&mut self, word: usize, touched: u64, lane: usize, kind: Kind) {
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
    pub(super) fn shared_written(&mut self, word: usize, touched: u64, lane: usize, kind: Kind) {
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
                let reader = if own { "another lane of the warp".to_string() } else { format!("warp {i}") };
                self.report(Check::SharedRace, lane as u32, || {
                    format!("write to shared address {address:#x}, read by {reader} with no barrier between")
                });
            }
        }
    }
}
