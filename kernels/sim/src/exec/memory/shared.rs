//! Shared memory: bounds, banks, and the accesses themselves.

use super::shared_order::Kind;
use crate::check::finding::Check;
use crate::count::banks::wavefronts;
use crate::exec::Exec;
use crate::exec::memory::{Words, byte_mask, lanes, touched_bytes};
use crate::exec::warp::FULL;
use crate::ir::*;

impl Exec<'_> {
    /// Lanes inside the block's shared memory; the others are reported.
    pub fn fits_shared(&mut self, a: &Row64, bytes: u32, m: u32) -> u32 {
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

    pub fn count_banks(&mut self, a: &Row64, bytes: u32, m: u32) {
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
}
