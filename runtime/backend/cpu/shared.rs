//! Memory that several threads write.

use std::sync::atomic::{AtomicU32, Ordering};

/// A buffer of f32. Threads write different elements of it at the same time; a [`wait`](super::team::Member::wait) lies between the
/// writing of an element and the reading of it by another thread.
pub struct Shared(Vec<AtomicU32>);

impl Shared {
    /// `len` zeros.
    pub fn new(len: usize) -> Shared {
        Shared((0..len).map(|_| AtomicU32::new(0)).collect())
    }

    /// Its size.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.0[..])
    }

    /// Copies `out.len()` elements from element `at` on.
    pub fn load(&self, at: usize, out: &mut [f32]) {
        let values = &self.0[at..at + out.len()];
        for (out, v) in out.iter_mut().zip(values) {
            *out = f32::from_bits(v.load(Ordering::Relaxed));
        }
    }

    /// Writes `values` from element `at` on.
    pub fn store(&self, at: usize, values: &[f32]) {
        for (v, new) in self.0[at..at + values.len()].iter().zip(values) {
            v.store(new.to_bits(), Ordering::Relaxed);
        }
    }
}
