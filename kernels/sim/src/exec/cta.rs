//! A block: its warps take turns until all have ended; barriers complete when their warps have arrived.

use crate::check::finding::{Check, Finding, Sink};
use crate::check::shared::Shared;
use crate::count::counters::Stats;
use crate::error::Fault;
use crate::exec::block::{Arrival, Barrier, CtaState};
use crate::exec::launch::Launch;
use crate::exec::memory::lanes;
use crate::exec::warp::{State, Warp};
use crate::exec::{Exec, Stop};
use crate::ir::{Bool, Op, Program};

/// A block on a host thread.
#[derive(Debug)]
pub(crate) struct Cta {
    pub state: CtaState,
    pub warps: Vec<Warp>,
    pub barriers: Vec<Barrier>,
    next: usize,
}

/// Instructions that a warp runs before the next warp has its turn; unmeasured.
const TURN: u64 = 20_000;

impl Cta {
    pub fn new(launch: &Launch) -> Cta {
        let warps = (0..launch.shape.threads.div_ceil(32)).map(|i| Warp::new(launch.prog, i)).collect();
        let state = CtaState {
            id: 0,
            block: [0; 3],
            shared: Shared::new(launch.shape.total_shared),
            stamp: 1,
            epoch: 0,
            seen: Vec::new(),
            acquired: (0, 0),
            clock: 0,
            instructions: 0,
        };
        Cta { state, warps, barriers: Vec::new(), next: 0 }
    }

    pub fn reset(&mut self, launch: &Launch, id: u32) {
        let s = &mut self.state;
        (s.id, s.block, s.stamp, s.epoch, s.acquired) = (id, launch.shape.cta(id), 1, 0, (0, 0));
        (s.clock, s.instructions) = (0, 0);
        s.seen.clear();
        s.shared.reset();
        self.barriers.clear();
        self.barriers.resize_with(16, Barrier::default);
        self.next = 0;
        let n = self.warps.len();
        for w in &mut self.warps {
            w.reset(launch.prog, &launch.shape, launch.shape.cta(id), &launch.symbols, n);
        }
    }

    /// Runs until the block has ended (true) or every warp had its turn (false).
    pub fn run(&mut self, launch: &Launch, stats: &mut Stats, sink: &mut Sink) -> Result<bool, Box<Fault>> {
        let mut idle = true;
        for _ in 0..self.warps.len() {
            let k = self.next;
            self.next = (k + 1) % self.warps.len();
            let warp = &mut self.warps[k];
            if warp.done() || warp.parts.iter().all(|p| p.state == State::Barrier) {
                continue;
            }
            idle = false;
            let mut budget = TURN;
            let mut exec = Exec {
                launch,
                prog: launch.prog,
                cta: &mut self.state,
                barriers: &mut self.barriers,
                warp,
                stats,
                sink,
                pc: 0,
            };
            let stop = exec.run(&mut budget)?;
            let pc = exec.pc;
            self.state.instructions += TURN - budget;
            if stop == Stop::Done {
                stats.c.warps += 1;
            }
            if self.state.instructions > launch.max_instructions {
                let (kernel, line) = (launch.prog.name.clone(), launch.prog.lines[pc]);
                return Err(
                    Fault::Endless { kernel, line, block: self.state.block, limit: launch.max_instructions }.into()
                );
            }
            self.complete(launch.prog, false);
        }
        if self.warps.iter().all(Warp::done) {
            for (id, b) in self.barriers.iter().enumerate() {
                if let Some(a) = b.arrivals.first() {
                    report(
                        launch,
                        &self.state,
                        sink,
                        a,
                        format!("the block ends while warps have arrived at barrier {id}"),
                    );
                }
            }
            return Ok(true);
        }
        if idle {
            self.stuck(launch, sink)?;
        }
        Ok(false)
    }

    /// Completes barriers: those whose warps have all arrived, or (`forced`) every barrier at which a warp waits. True if one was completed.
    fn complete(&mut self, prog: &Program, forced: bool) -> bool {
        let all = self.warps.len() as u32;
        let mut any = false;
        for b in &mut self.barriers {
            let full = b.warps >= b.expected.unwrap_or(all);
            if b.arrivals.is_empty() || !(full || forced) {
                continue;
            }
            any = true;
            let arrivals = std::mem::take(b).arrivals;
            self.state.stamp += 1;
            let votes = |f: fn(u32, u32) -> bool| arrivals.iter().filter(|a| a.waits).all(|a| f(a.votes, a.lanes));
            let popc: u32 = arrivals.iter().map(|a| a.votes.count_ones()).sum();
            let (and, or) = (votes(|v, l| v == l), popc > 0);
            for a in arrivals.iter().filter(|a| a.waits) {
                let w = &mut self.warps[a.warp as usize];
                for from in &arrivals {
                    let s = &mut w.seen[from.warp as usize];
                    *s = (*s).max(from.stamp);
                }
                if let Op::Bar(bar) = &prog.code[a.pc].op
                    && let Some((op, d, ..)) = bar.red
                {
                    let v = match op {
                        None => u64::from(popc),
                        Some(Bool::And) => and.into(),
                        Some(_) => or.into(),
                    };
                    lanes(a.lanes).for_each(|l| w.set(d, l, v));
                }
                for p in w.parts.iter_mut().filter(|p| p.state == State::Barrier) {
                    p.state = State::Ready;
                    p.pc += 1;
                }
            }
            // If one thread waited for earlier kernels, all threads that pass the barrier have waited.
            if arrivals.iter().any(|a| self.warps[a.warp as usize].waited) {
                arrivals.iter().for_each(|a| self.warps[a.warp as usize].waited = true);
            }
        }
        any
    }

    /// Every warp has ended or waits at a barrier that is not complete.
    fn stuck(&mut self, launch: &Launch, sink: &mut Sink) -> Result<(), Box<Fault>> {
        let ended = self.warps.iter().filter(|w| w.done()).count();
        let waiting: Vec<(usize, Arrival)> =
            self.barriers.iter().enumerate().flat_map(|(id, b)| b.arrivals.first().map(|a| (id, *a))).collect();
        let Some(&(id, first)) = waiting.first() else {
            let (kernel, line) = (launch.prog.name.clone(), launch.prog.lines[0]);
            let message = "no warp can go on".to_string();
            return Err(Fault::Deadlock { kernel, line, block: self.state.block, message }.into());
        };
        let arrived = self.barriers[id].warps;
        let expected = self.barriers[id].expected.unwrap_or(self.warps.len() as u32);
        let message = format!(
            "barrier {id}: {arrived} of {expected} warps have arrived, {ended} have exited, no other warp can arrive"
        );
        if ended > 0 && waiting.len() == 1 {
            report(launch, &self.state, sink, &first, message);
            self.complete(launch.prog, true);
            return Ok(());
        }
        let (kernel, line) = (launch.prog.name.clone(), launch.prog.lines[first.pc]);
        Err(Fault::Deadlock { kernel, line, block: self.state.block, message }.into())
    }
}

fn report(launch: &Launch, state: &CtaState, sink: &mut Sink, a: &Arrival, message: String) {
    let (kernel, line) = (launch.prog.name.clone(), launch.prog.lines[a.pc]);
    let thread = launch.shape.thread(a.warp * 32 + a.lanes.trailing_zeros());
    let check = Check::DivergentBarrier;
    sink.add(check, line, || Finding { check, kernel, line, block: state.block, thread, message, count: 1 });
}
