//! The largest logit, found by all threads.

use super::run::{Counters, Run};
use super::team::Member;
use crate::plan::{Argmax, NOT_FINITE};
use std::sync::atomic::{AtomicU64, Ordering};

/// Elements that a thread takes at once. Unmeasured.
pub const CHUNK: usize = 4096;

/// The largest of the elements that were shown to it, the first among equals, as one number: larger for a larger element, and for a
/// smaller index. 0: none is above -infinity. [`u64::MAX`]: one is not a number, or infinity.
#[derive(Default)]
pub struct Largest(AtomicU64);

impl Largest {
    /// Forgets all elements.
    pub fn clear(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Shows it the elements from index `first` on.
    fn show(&self, first: usize, x: &[f32]) {
        let key = |(i, v): (usize, &f32)| match *v {
            v if v.is_nan() || v == f32::INFINITY => u64::MAX,
            f32::NEG_INFINITY => 0,
            v => {
                let bits = (v + 0.0).to_bits(); // both zeros are the same
                let ordered = if bits >> 31 == 0 { bits | 1 << 31 } else { !bits };
                (ordered as u64) << 32 | (!((first + i) as u32)) as u64
            }
        };
        let largest = x.iter().enumerate().map(key).max().unwrap_or(0);
        self.0.fetch_max(largest, Ordering::Relaxed);
    }

    /// What [`choice`](crate::plan::choice) gives for the elements.
    fn choice(&self) -> u32 {
        match self.0.load(Ordering::Relaxed) {
            0 | u64::MAX => NOT_FINITE,
            key => !(key as u32),
        }
    }
}

impl Run<'_> {
    pub fn argmax(&self, op: &Argmax, counters: &Counters, member: Member, x: &mut [f32]) {
        let (rows, cols) = (self.step.n_outputs as usize, self.loaded.plan[op.x].cols as usize);
        let chunks = cols.div_ceil(CHUNK);
        while let Some(i) = counters[0].next(rows * chunks) {
            let (row, first) = (i / chunks, i % chunks * CHUNK);
            let x = &mut x[..CHUNK.min(cols - first)];
            self.loaded.buf(op.x).load(row * cols + first, x);
            self.loaded.largest[row].show(first, x);
        }
        member.wait();
        while let Some(row) = counters[1].next(rows) {
            let largest = &self.loaded.largest[row];
            self.loaded.buf(op.out).store(row, &[largest.choice() as f32]);
            largest.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::choice;

    #[test]
    fn the_choice_is_that_of_the_definition() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        for x in [
            &[1.0, 3.0, 3.0, -2.0][..],
            &[-1.0, -0.5, -3.0],
            &[-0.0, 0.0, -1.0],
            &[0.0, -0.0],
            &[-inf, -2.0e38, -inf],
            &[-inf, -inf],
            &[1.0, nan],
            &[1.0, inf, 2.0],
            &[f32::MAX, f32::MIN_POSITIVE],
            &[-1e-45, -1e-44],
        ] {
            for split in 0..x.len() {
                let largest = Largest::default();
                largest.show(split, &x[split..]);
                largest.show(0, &x[..split]);
                assert_eq!(largest.choice(), choice(x), "{x:?}");
            }
        }
    }
}
