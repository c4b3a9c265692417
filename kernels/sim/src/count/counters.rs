//! Counters of a launch.

use std::collections::BTreeMap;

use crate::ir::{Class, Program};

/// Counters of one launch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Warp instructions executed, by class.
    pub instructions: BTreeMap<Class, u64>,
    /// Lane instructions (active lanes summed over warp instructions), by class.
    pub lane_instructions: BTreeMap<Class, u64>,
    /// Warp instructions and lane instructions of each line of the PTX text that was executed.
    pub lines: BTreeMap<u32, (u64, u64)>,
    /// Warp-wide requests to global memory.
    pub global_requests: u64,
    /// Distinct 32-byte sectors of each request, summed.
    pub sectors_asked: u64,
    /// Sectors that the same bytes would fill side by side; equal to `sectors_asked` for a coalesced request.
    pub sectors_needed: u64,
    /// Distinct sectors the launch read from global memory, in bytes: what a cold, unlimited cache would fetch.
    pub dram_read_bytes: u64,
    /// Distinct sectors that the launch wrote, in bytes.
    pub dram_write_bytes: u64,
    /// Warp-wide requests to shared memory.
    pub shared_requests: u64,
    /// Passes over the banks that the requests took.
    pub shared_wavefronts: u64,
    /// Passes beyond the fewest possible.
    pub shared_conflicts: u64,
    /// Times a warp used a value of global memory that was still in flight.
    pub first_uses: u64,
    /// Bytes that the warp had in flight at those times, summed.
    pub in_flight_sum: u64,
    /// The most bytes that a warp had in flight at such a time.
    pub in_flight_max: u64,
    /// Arrivals of warps at barriers of their blocks.
    pub barriers: u64,
    /// Warps that ran.
    pub warps: u64,
}

impl Counters {
    /// Warp instructions of all classes.
    pub fn total_instructions(&self) -> u64 {
        self.instructions.values().sum()
    }

    /// Lane instructions of all classes.
    pub fn total_lane_instructions(&self) -> u64 {
        self.lane_instructions.values().sum()
    }

    /// Lane instructions per item, e.g. per weight of a matrix.
    pub fn lane_instructions_per(&self, items: u64) -> f64 {
        self.total_lane_instructions() as f64 / items as f64
    }

    /// Mean bytes in flight per warp when it first needs one of them.
    pub fn in_flight_mean(&self) -> f64 {
        self.in_flight_sum as f64 / self.first_uses.max(1) as f64
    }

    /// Adds the counters of another launch. `lines` has a meaning only if both launches are of one kernel.
    pub fn add(&mut self, other: &Counters) {
        for (class, n) in &other.instructions {
            *self.instructions.entry(*class).or_default() += n;
        }
        for (class, n) in &other.lane_instructions {
            *self.lane_instructions.entry(*class).or_default() += n;
        }
        for (line, (warps, lanes)) in &other.lines {
            let at = self.lines.entry(*line).or_default();
            at.0 += warps;
            at.1 += lanes;
        }
        self.global_requests += other.global_requests;
        self.sectors_asked += other.sectors_asked;
        self.sectors_needed += other.sectors_needed;
        self.dram_read_bytes += other.dram_read_bytes;
        self.dram_write_bytes += other.dram_write_bytes;
        self.shared_requests += other.shared_requests;
        self.shared_wavefronts += other.shared_wavefronts;
        self.shared_conflicts += other.shared_conflicts;
        self.first_uses += other.first_uses;
        self.in_flight_sum += other.in_flight_sum;
        self.in_flight_max = self.in_flight_max.max(other.in_flight_max);
        self.barriers += other.barriers;
        self.warps += other.warps;
    }

    /// Distinct bytes read and written.
    pub fn dram_bytes(&self) -> u64 {
        self.dram_read_bytes + self.dram_write_bytes
    }
}

/// The counters of one host thread while blocks run.
pub(crate) struct Stats {
    /// Warp instructions and lane instructions, by code position.
    pub executed: Vec<(u64, u64)>,
    pub c: Counters,
}

impl Stats {
    pub fn new(p: &Program) -> Stats {
        Stats { executed: vec![(0, 0); p.code.len()], c: Counters::default() }
    }

    pub fn merge(&mut self, other: &Stats) {
        for (a, b) in self.executed.iter_mut().zip(&other.executed) {
            a.0 += b.0;
            a.1 += b.1;
        }
        self.c.add(&other.c);
    }

    pub fn finish(mut self, p: &Program) -> Counters {
        for (pc, &(warps, lanes)) in self.executed.iter().enumerate().filter(|(pc, e)| e.0 > 0 && !p.helpers[*pc]) {
            *self.c.instructions.entry(p.classes[pc]).or_default() += warps;
            *self.c.lane_instructions.entry(p.classes[pc]).or_default() += lanes;
            let line = self.c.lines.entry(p.lines[pc]).or_default();
            line.0 += warps;
            line.1 += lanes;
        }
        self.c
    }
}
