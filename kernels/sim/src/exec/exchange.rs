//! Exchanges between the lanes of a warp.

use crate::check::finding::Check;
use crate::exec::memory::lanes;
use crate::exec::warp::State;
use crate::exec::{Exec, Flow};
use crate::ir::*;

impl Exec<'_> {
    /// A `.sync` instruction is executed by all lanes of `wanted` at once. `Some`: wait for lanes that are elsewhere. `None`:
    /// go on; lanes that do not come are reported. Lanes that have exited are not waited for, and may stand in a mask.
    pub fn converge(&mut self, m: u32, wanted: u32, forced: bool) -> Option<Flow> {
        let missing = wanted & self.warp.lanes & !m & !self.warp.exited;
        if missing == 0 {
            return None;
        }
        if !forced {
            return Some(Flow::Hold(State::Sync));
        }
        let lane = m.trailing_zeros();
        self.report(Check::DivergentMask, lane, || {
            format!("lanes {missing:#010x} of the mask do not execute this instruction")
        });
        None
    }

    /// The masks of a `.sync` instruction, of each lane. A lane must be in its own mask, and all lanes of the masks must execute
    /// the instruction.
    fn member_masks(&mut self, mask: R, m: u32, forced: bool) -> (Row, Option<Flow>) {
        self.use_w(mask, m);
        let masks = self.warp.w[usize::from(mask)];
        let wanted = lanes(m).fold(0, |acc, l| acc | masks[l]);
        if let Some(flow) = self.converge(m, wanted, forced) {
            return (masks, Some(flow));
        }
        for l in lanes(m).filter(|&l| masks[l] >> l & 1 == 0) {
            self.report(Check::DivergentMask, l as u32, || {
                format!("the mask {:#010x} does not have the lane that executes it", masks[l])
            });
        }
        (masks, None)
    }

    pub fn shuffle(&mut self, s: &Shfl, m: u32, forced: bool) -> Flow {
        let (masks, flow) = self.member_masks(s.mask, m, forced);
        if let Some(flow) = flow {
            return flow;
        }
        self.use_w(s.b, m);
        self.use_w(s.c, m);
        let (b, c) = (self.warp.w[usize::from(s.b)], self.warp.w[usize::from(s.c)]);
        let mut from = [0usize; LANES];
        let (mut in_range, mut read) = (0u32, 0u32);
        for l in lanes(m) {
            let (b, clamp, seg) = ((b[l] & 31) as i32, (c[l] & 31) as i32, (c[l] >> 8 & 31) as i32);
            let lane = l as i32;
            let max = (lane & seg) | (clamp & !seg);
            let min = lane & seg;
            let (j, ok) = match s.mode {
                // `up` is bounded by the first lane of the segment.
                ShflMode::Up => (lane - b, lane - b >= max),
                ShflMode::Down => (lane + b, lane + b <= max),
                ShflMode::Bfly => (lane ^ b, (lane ^ b) <= max),
                ShflMode::Idx => (min | (b & !seg), (min | (b & !seg)) <= max),
            };
            from[l] = if ok { j as usize & 31 } else { l };
            in_range |= u32::from(ok) << l;
            read |= 1 << from[l];
        }
        for l in lanes(m).filter(|&l| m >> from[l] & 1 == 0 || masks[l] >> from[l] & 1 == 0) {
            self.report(Check::DivergentMask, l as u32, || format!("reads lane {}, which does not take part", from[l]));
        }
        self.use_w(s.a, read & m);
        let a = self.warp.w[usize::from(s.a)];
        let mut r = [0; LANES];
        lanes(m).for_each(|l| r[l] = a[from[l]]);
        self.warp.put_w(s.d, m, &r);
        if let Some(p) = s.p {
            self.warp.put_p(p, m, in_range);
        }
        Flow::Next
    }

    pub fn vote(&mut self, (mode, d, a, negate, mask): (Vote, Reg, R, bool, R), m: u32, forced: bool) -> Flow {
        let (masks, flow) = self.member_masks(mask, m, forced);
        if let Some(flow) = flow {
            return flow;
        }
        self.use_p(a, m);
        let a = self.warp.p[usize::from(a)] ^ if negate { u32::MAX } else { 0 };
        for l in lanes(m) {
            let group = masks[l] & m;
            let v = match mode {
                Vote::All => u32::from(a & group == group),
                Vote::Any => u32::from(a & group != 0),
                Vote::Uni => u32::from(a & group == group || a & group == 0),
                Vote::Ballot => a & group,
            };
            self.warp.set(d, l, v.into());
        }
        Flow::Next
    }

    pub fn matching(&mut self, (all, d, p, a, mask): (bool, R, Option<R>, Reg, R), m: u32, forced: bool) -> Flow {
        let (masks, flow) = self.member_masks(mask, m, forced);
        if let Some(flow) = flow {
            return flow;
        }
        self.use_reg(a, m);
        let mut same = 0;
        let mut r = [0; LANES];
        for l in lanes(m) {
            let group = masks[l] & m;
            let v = self.warp.get(a, l);
            let equal = lanes(group).filter(|&k| self.warp.get(a, k) == v).fold(0, |acc, k| acc | 1 << k);
            same |= u32::from(equal == group) << l;
            r[l] = if !all || equal == group { equal } else { 0 };
        }
        self.warp.put_w(d, m, &r);
        if let Some(p) = p {
            self.warp.put_p(p, m, same);
        }
        Flow::Next
    }

    pub fn redux(&mut self, f: fn(u32, u32) -> u32, (d, a, mask): (R, R, R), m: u32, forced: bool) -> Flow {
        let (masks, flow) = self.member_masks(mask, m, forced);
        if let Some(flow) = flow {
            return flow;
        }
        self.use_w(a, m);
        let a = self.warp.w[usize::from(a)];
        let mut r = [0; LANES];
        lanes(m).for_each(|l| r[l] = lanes(masks[l] & m).map(|k| a[k]).reduce(f).unwrap_or(0));
        self.warp.put_w(d, m, &r);
        Flow::Next
    }

    pub fn elect(&mut self, d: Option<R>, p: R, mask: R, m: u32, forced: bool) -> Flow {
        let (masks, flow) = self.member_masks(mask, m, forced);
        if let Some(flow) = flow {
            return flow;
        }
        let mut leader = 0;
        for l in lanes(m) {
            let first = (masks[l] & m).trailing_zeros();
            leader |= u32::from(first == l as u32) << l;
            if let Some(d) = d {
                self.warp.set(Reg::W(d), l, first.into());
            }
        }
        self.warp.put_p(p, m, leader);
        Flow::Next
    }

    /// `bar.warp.sync`: what the warp's lanes did before is ordered before what they do next.
    pub fn warp_sync(&mut self, mask: R, m: u32, forced: bool) -> Flow {
        let (_, flow) = self.member_masks(mask, m, forced);
        if let Some(flow) = flow {
            return flow;
        }
        let own = self.warp.index as usize;
        self.warp.seen[own] = self.cta.stamp;
        self.cta.stamp += 1;
        Flow::Next
    }
}
