//! The state of one warp.

use super::shape::{Shape, special};
use crate::ir::*;

/// All lanes.
pub(crate) const FULL: u32 = u32::MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Ready,
    /// At a `.sync` instruction, for lanes of its mask that are elsewhere.
    Sync,
    /// At an aligned barrier, for the other lanes of the warp.
    Gather,
    /// No other lane can come: executes with the lanes that are here.
    Forced,
    /// Arrived at a barrier, which has not completed.
    Barrier,
}

/// Lanes with one program counter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    pub pc: u32,
    pub mask: u32,
    pub state: State,
}

/// A load whose value has not been used yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pending {
    pub reg: Reg,
    pub lanes: u32,
    /// Bytes that the warp had requested when it issued this load, those of the load included.
    pub issued: u64,
}

/// One warp-wide `cp.async`.
#[derive(Debug, Clone)]
pub(crate) struct Copy {
    pub lanes: u32,
    pub dst: [u32; LANES],
    pub bytes: u32,
    /// Group of each lane, counted by `commit_group`.
    pub group: [u32; LANES],
}

#[derive(Debug)]
pub(crate) struct Warp {
    pub index: u32,
    pub w: Vec<Row>,
    pub d: Vec<Row64>,
    pub p: Vec<u32>,
    /// Lanes of each register that are initialized and not pending.
    pub ready_w: Vec<u32>,
    pub ready_d: Vec<u32>,
    pub ready_p: Vec<u32>,
    pub pending: Vec<Pending>,
    pub issued: u64,
    pub completed: u64,
    /// Local memory: row `i` is word `i` of all lanes. Initialized bytes have the same layout.
    pub local: Vec<Row>,
    pub local_init: Vec<[u8; LANES]>,
    pub carry: u32,
    pub parts: Vec<Part>,
    /// Lanes that exist, and those that have exited.
    pub lanes: u32,
    pub exited: u32,
    /// A fence since the last plain store to global memory.
    pub fenced: bool,
    /// After `griddepcontrol.wait`.
    pub waited: bool,
    pub copies: Vec<Copy>,
    pub committed: [u32; LANES],
    /// For each warp of the block, the stamp up to which this warp has synchronized with it.
    pub seen: Vec<u32>,
    pub switches: u32,
}

impl Warp {
    pub fn new(p: &Program, index: u32) -> Warp {
        let mut w = Warp {
            index,
            w: vec![[0; LANES]; p.rows[0]],
            d: vec![[0; LANES]; p.rows[1]],
            p: vec![0; p.rows[2]],
            ready_w: vec![0; p.rows[0]],
            ready_d: vec![0; p.rows[1]],
            ready_p: vec![0; p.rows[2]],
            pending: Vec::new(),
            issued: 0,
            completed: 0,
            local: vec![[0; LANES]; p.local_bytes.div_ceil(4) as usize],
            local_init: vec![[0; LANES]; p.local_bytes.div_ceil(4) as usize],
            carry: 0,
            parts: Vec::new(),
            lanes: 0,
            exited: 0,
            fenced: false,
            waited: false,
            copies: Vec::new(),
            committed: [0; LANES],
            seen: Vec::new(),
            switches: 0,
        };
        for &(r, v) in &p.const_w {
            w.w[usize::from(r)] = [v; LANES];
        }
        for &(r, v) in &p.const_d {
            w.d[usize::from(r)] = [v; LANES];
        }
        for &(r, v) in &p.const_p {
            w.p[usize::from(r)] = v;
        }
        w
    }

    /// Makes the warp ready for a new block.
    pub fn reset(&mut self, p: &Program, launch: &Shape, block: [u32; 3], symbols: &[u64], warps: usize) {
        self.ready_w.fill(0);
        self.ready_d.fill(0);
        self.ready_p.fill(0);
        p.const_w.iter().for_each(|&(r, _)| self.ready_w[usize::from(r)] = FULL);
        p.const_d.iter().for_each(|&(r, _)| self.ready_d[usize::from(r)] = FULL);
        p.const_p.iter().for_each(|&(r, _)| self.ready_p[usize::from(r)] = FULL);
        for (&(r, ..), &v) in p.symbols.iter().zip(symbols) {
            self.d[usize::from(r)] = [v; LANES];
            self.ready_d[usize::from(r)] = FULL;
        }
        for &(r, s) in &p.specials {
            let row = &mut self.w[usize::from(r)];
            for (lane, v) in row.iter_mut().enumerate() {
                *v = special(s, launch, block, self.index, lane as u32);
            }
            self.ready_w[usize::from(r)] = FULL;
        }
        self.local_init.fill([0; LANES]);
        self.pending.clear();
        self.copies.clear();
        self.committed = [0; LANES];
        (self.issued, self.completed, self.carry, self.exited, self.switches) = (0, 0, 0, 0, 0);
        (self.fenced, self.waited) = (false, false);
        let left = launch.threads - self.index * LANES as u32;
        self.lanes = if left >= 32 { FULL } else { (1 << left) - 1 };
        self.parts.clear();
        self.parts.push(Part { pc: 0, mask: self.lanes, state: State::Ready });
        self.seen.clear();
        self.seen.resize(warps, 0);
    }

    /// The value of a register in one lane, zero-extended.
    pub fn get(&self, r: Reg, lane: usize) -> u64 {
        match r {
            Reg::W(r) => u64::from(self.w[usize::from(r)][lane]),
            Reg::D(r) => self.d[usize::from(r)][lane],
            Reg::P(r) => u64::from(self.p[usize::from(r)] >> lane & 1),
        }
    }

    pub fn set(&mut self, r: Reg, lane: usize, v: u64) {
        match r {
            Reg::W(r) => {
                self.w[usize::from(r)][lane] = v as u32;
                self.ready_w[usize::from(r)] |= 1 << lane;
            }
            Reg::D(r) => {
                self.d[usize::from(r)][lane] = v;
                self.ready_d[usize::from(r)] |= 1 << lane;
            }
            Reg::P(r) => {
                let p = &mut self.p[usize::from(r)];
                *p = *p & !(1 << lane) | ((v & 1) as u32) << lane;
                self.ready_p[usize::from(r)] |= 1 << lane;
            }
        }
    }

    pub fn put_w(&mut self, r: R, m: u32, v: &Row) {
        let row = &mut self.w[usize::from(r)];
        if m == FULL {
            *row = *v;
        } else {
            for i in 0..LANES {
                row[i] = if m >> i & 1 != 0 { v[i] } else { row[i] };
            }
        }
        self.ready_w[usize::from(r)] |= m;
    }

    pub fn put_d(&mut self, r: R, m: u32, v: &Row64) {
        let row = &mut self.d[usize::from(r)];
        if m == FULL {
            *row = *v;
        } else {
            for i in 0..LANES {
                row[i] = if m >> i & 1 != 0 { v[i] } else { row[i] };
            }
        }
        self.ready_d[usize::from(r)] |= m;
    }

    pub fn put_p(&mut self, r: R, m: u32, v: u32) {
        let p = &mut self.p[usize::from(r)];
        *p = *p & !m | v & m;
        self.ready_p[usize::from(r)] |= m;
    }

    pub fn ready(&mut self, r: Reg) -> &mut u32 {
        match r {
            Reg::W(r) => &mut self.ready_w[usize::from(r)],
            Reg::D(r) => &mut self.ready_d[usize::from(r)],
            Reg::P(r) => &mut self.ready_p[usize::from(r)],
        }
    }

    pub fn done(&self) -> bool {
        self.parts.is_empty()
    }
}
