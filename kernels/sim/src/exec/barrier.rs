//! Arrival of a warp at a barrier of its block. The block completes it: see `cta`.

use super::block::Arrival;
use super::warp::State;
use super::{Exec, Flow};
use crate::check::finding::Check;
use crate::ir::*;

impl Exec<'_> {
    /// `bar` and `barrier`.
    pub fn barrier(&mut self, bar: &Bar, m: u32, active: u32, forced: bool) -> Flow {
        let alive = self.warp.lanes & !self.warp.exited;
        let lane = m.trailing_zeros();
        if m != alive {
            // A barrier counts whole warps, so this part waits for the rest of the warp. It is a defect if the rest does not come.
            if !forced && active == m {
                return Flow::Hold(State::Gather);
            }
            let missing = alive & !m;
            if bar.aligned || active != m {
                self.report(Check::DivergentBarrier, lane, || {
                    format!("lanes {missing:#010x} of the warp do not execute this barrier")
                });
            }
        }
        if bar.aligned && self.warp.exited != 0 {
            let exited = self.warp.exited;
            self.report(Check::DivergentBarrier, lane, || {
                format!("lanes {exited:#010x} of the warp have exited before this barrier")
            });
        }
        self.use_w(bar.id, m);
        let id = self.warp.w[usize::from(bar.id)][lane as usize];
        let Some(b) = self.barriers.get_mut(id as usize) else {
            return self.deadlock(format!("barrier {id}: a block has {} barriers", self.barriers.len()));
        };
        let mut arrival = Arrival {
            warp: self.warp.index,
            pc: self.pc,
            stamp: self.cta.stamp,
            waits: !bar.arrive,
            lanes: m,
            votes: 0,
        };
        let count = bar.count.map(|r| self.warp.w[usize::from(r)][lane as usize]);
        if let Some(n) = count
            && (n % 32 != 0 || n == 0)
        {
            return self.deadlock(format!("barrier {id}: {n} threads is not a multiple of the warp size"));
        }
        // A warp may arrive in several parts; it counts once.
        let again = b.arrivals.iter().any(|a| a.warp == arrival.warp && a.waits);
        if let Some((_, _, p, negate)) = bar.red {
            let v = self.warp.p[usize::from(p)] ^ if negate { u32::MAX } else { 0 };
            arrival.votes = v & m;
        }
        if b.arrivals.is_empty() {
            b.expected = count.map(|n| n / 32);
        } else if b.expected != count.map(|n| n / 32) {
            let (first, now) = (b.expected, count);
            self.report(Check::DivergentBarrier, lane, || {
                format!("barrier {id}: {now:?} threads expected here, {:?} by another warp", first.map(|n| 32 * n))
            });
        }
        let b = &mut self.barriers[id as usize];
        b.arrivals.push(arrival);
        b.warps += u32::from(!again);
        self.stats.c.barriers += 1;
        if bar.arrive {
            self.cta.stamp += 1;
            return Flow::Next;
        }
        Flow::Arrived
    }
}
