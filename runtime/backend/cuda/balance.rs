//! How decode products divide rows of weights among the blocks of a grid and the warps of a block: kernels/products/mat_stream.cuh.

use super::params::{STREAM_BLOCKS, STREAM_THREADS, WARP};
use std::fmt;

const WARPS: u32 = STREAM_THREADS / WARP;
/// Parts of a row that may be summed apart, at most: a warp each.
const MOST_PARTS: u32 = WARPS;
/// Steps whose time an item takes beside its own, in quarters: addresses, the sum over the lanes. Unmeasured.
const ITEM_QUARTERS: u64 = 1;

/// Pairs of rows of one type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pairs {
    /// How many.
    pub pairs: u32,
    /// Steps of 32 chunks of a row.
    pub steps: u32,
    /// Bytes of a row.
    pub row_bytes: u64,
}

/// A division: `blocks` of the grid, of which `first_blocks` have the rows of the first type, each with a run of pairs, as long as the
/// others' up to one; each row in `parts` that are summed apart. An item is a part of a pair; the warps of a block take items in turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Division {
    /// Of the grid.
    pub blocks: u32,
    /// Those with rows of the first type.
    pub first_blocks: u32,
    /// Of a row.
    pub parts: u32,
}

/// What a division gives of the speed of a perfect one: the mean over the largest of the work.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Balance {
    /// Of multiprocessors: pairs of rows, if blocks b and b + half of all run on one (kernels/products/mat_entries.cuh).
    pub of_sms: f64,
    /// Of warps: steps.
    pub of_warps: f64,
}

impl Division {
    /// The division that is done first. Every choice of parts, and of blocks where there are two types, is tried, and of equals the
    /// first taken. `fits`: whether a row of x fits shared memory; otherwise parts are not summed apart.
    pub fn of(n_sms: u32, first: Pairs, second: Option<Pairs>, fits: bool) -> Division {
        let all = first.pairs + second.map_or(0, |second| second.pairs);
        let blocks = (STREAM_BLOCKS * n_sms).min(all).max(1 + second.is_some() as u32);
        let choices: Vec<u32> = match second {
            None => vec![blocks],
            Some(_) => (1..blocks).collect(),
        };
        let most = if fits { MOST_PARTS } else { 1 };
        let parts = (0..=most.ilog2()).map(|log| 1 << log).filter(|parts| *parts == 1 || *parts <= first.steps);
        let all = parts.flat_map(|parts| choices.iter().map(move |first_blocks| (parts, *first_blocks)));
        let divisions = all.map(|(parts, first_blocks)| Division { blocks, first_blocks, parts });
        let time = |division: &Division| division.time(first, second);
        divisions.min_by_key(time).unwrap_or(Division { blocks, first_blocks: blocks, parts: 1 })
    }

    /// The time of the slowest warp, in quarters of the bytes of a step.
    fn time(&self, first: Pairs, second: Option<Pairs>) -> u64 {
        let of = |Pairs { pairs, steps, row_bytes }: Pairs, blocks: u32| {
            let rounds = (pairs.div_ceil(blocks) * self.parts).div_ceil(WARPS) as u64;
            rounds * (4 * steps.div_ceil(self.parts) as u64 + ITEM_QUARTERS) * row_bytes / steps as u64
        };
        let second = second.map_or(0, |second| of(second, self.blocks - self.first_blocks));
        of(first, self.first_blocks).max(second)
    }

    /// How even the division is. Of two types, that of the first.
    pub fn balance(&self, first: Pairs) -> Balance {
        let most = first.pairs.div_ceil(self.first_blocks);
        let sms = self.first_blocks.div_ceil(STREAM_BLOCKS);
        let longest = (most * self.parts).div_ceil(WARPS) * first.steps.div_ceil(self.parts);
        let steps = first.pairs as f64 * first.steps as f64;
        Balance {
            of_sms: first.pairs as f64 / (first.pairs.div_ceil(sms) * sms) as f64,
            of_warps: steps / (longest as f64 * (WARPS * self.first_blocks) as f64),
        }
    }
}

impl fmt::Display for Division {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} blocks, rows in {} parts", self.blocks, self.parts)
    }
}
