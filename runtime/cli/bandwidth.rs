//! The read bandwidth of the CPU's memory, measured.

use rayon::prelude::*;
use std::hint::black_box;
use std::time::Instant;

/// Size of the array in bytes: far larger than any cache; filled and read in half a second on two slow cores.
const BYTES: usize = 512 << 20;
/// Bytes that one task reads at a time.
const CHUNK: usize = 1 << 20;
const PASSES: usize = 9;

/// Bytes per second that all threads read together: the median of several passes over a large array. None if the array
/// does not fit into memory.
pub fn read_bandwidth() -> Option<f64> {
    let mut words: Vec<u64> = vec![];
    words.try_reserve_exact(BYTES / 8).ok()?;
    words.extend((0..BYTES as u64 / 8).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let sum = |chunk: &[u64]| chunk.iter().fold(0u64, |sum, v| sum.wrapping_add(*v));
    let pass = |_| {
        let begin = Instant::now();
        black_box(words.par_chunks(CHUNK / 8).map(sum).reduce(|| 0, u64::wrapping_add));
        BYTES as f64 / begin.elapsed().as_secs_f64()
    };
    let mut rates: Vec<f64> = (0..PASSES).map(pass).collect();
    rates.sort_by(f64::total_cmp);
    Some(rates[PASSES / 2])
}
