//! Runs a warp: picks one of its parts, executes instructions, handles divergence.

mod barrier;
mod block;
mod compute;
mod cta;
mod exchange;
mod format;
mod grid;
pub(crate) mod launch;
pub(crate) mod memory;
mod mma;
mod printf;
mod ready;
pub(crate) mod shape;
mod step;
pub(crate) mod warp;
mod wmma;

use crate::check::finding::{Check, Finding, Sink};
use crate::count::counters::Stats;
use crate::error::Fault;
use crate::exec::block::{Barrier, CtaState};
use crate::exec::launch::Launch;
use crate::exec::warp::{Part, State, Warp};
use crate::ir::*;

/// What one warp uses while it runs.
pub(crate) struct Exec<'a> {
    pub launch: &'a Launch<'a>,
    pub prog: &'a Program,
    pub cta: &'a mut CtaState,
    pub barriers: &'a mut Vec<Barrier>,
    pub warp: &'a mut Warp,
    pub stats: &'a mut Stats,
    pub sink: &'a mut Sink,
    pub pc: usize,
}

/// What an instruction does to the part that executes it.
pub(crate) enum Flow {
    Next,
    /// Target, and the lanes that jump there; the others go on.
    Jump(u32, u32),
    /// Wait in this state, and execute the instruction again.
    Hold(State),
    /// Arrived at a barrier.
    Arrived,
    /// These lanes are done.
    Exit(u32),
    /// These lanes have jumped; the others execute the instruction again.
    Split(u32),
    /// Lets other parts and warps run.
    Yield,
    Fault(Box<Fault>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    Done,
    Blocked,
    Budget,
}

/// Choices of the part with the lowest order before another part has a turn: a lane may wait for a lane of another part.
/// Unmeasured.
const PATIENCE: u32 = 4096;

impl Exec<'_> {
    pub fn line(&self) -> u32 {
        self.prog.lines[self.pc]
    }

    pub fn thread(&self, lane: u32) -> [u32; 3] {
        self.launch.shape.thread(self.warp.index * 32 + lane)
    }

    pub fn report(&mut self, check: Check, lane: u32, message: impl FnOnce() -> String) {
        let (line, kernel, block, thread) = (self.line(), &self.prog.name, self.cta.block, self.thread(lane));
        self.sink.add(check, line, || Finding {
            check,
            kernel: kernel.clone(),
            line,
            block,
            thread,
            message: message(),
            count: 1,
        });
    }

    /// Runs until the warp ends or blocks, or `budget` instructions are spent.
    pub fn run(&mut self, budget: &mut u64) -> Result<Stop, Box<Fault>> {
        loop {
            let Some(k) = self.pick() else {
                return Ok(if self.warp.done() { Stop::Done } else { Stop::Blocked });
            };
            let Part { pc, mask, state } = self.warp.parts[k];
            let alone = self.warp.parts.len() == 1;
            let mut forced = state == State::Forced;
            self.pc = pc as usize;
            loop {
                if *budget == 0 {
                    self.warp.parts[k] = Part { pc: self.pc as u32, mask, state: State::Ready };
                    return Ok(Stop::Budget);
                }
                *budget -= 1;
                let flow = self.step(mask, forced);
                forced = false;
                let next = self.pc + 1;
                match flow {
                    Flow::Next => self.pc = next,
                    Flow::Jump(target, taken) if taken == mask => self.pc = target as usize,
                    Flow::Jump(_, 0) => self.pc = next,
                    Flow::Jump(target, taken) => {
                        self.warp.parts[k] = Part { pc: next as u32, mask: mask & !taken, state: State::Ready };
                        self.warp.parts.push(Part { pc: target, mask: taken, state: State::Ready });
                        break;
                    }
                    Flow::Hold(state) => {
                        self.warp.parts[k] = Part { pc: self.pc as u32, mask, state };
                        break;
                    }
                    Flow::Arrived => {
                        self.warp.parts[k] = Part { pc: self.pc as u32, mask, state: State::Barrier };
                        break;
                    }
                    Flow::Exit(lanes) => {
                        self.warp.exited |= lanes;
                        if lanes == mask {
                            self.warp.parts.swap_remove(k);
                        } else {
                            self.warp.parts[k] = Part { pc: next as u32, mask: mask & !lanes, state: State::Ready };
                        }
                        break;
                    }
                    Flow::Split(gone) => {
                        self.warp.parts[k] = Part { pc: self.pc as u32, mask: mask & !gone, state: State::Ready };
                        break;
                    }
                    Flow::Yield => {
                        self.warp.parts[k] = Part { pc: next as u32, mask, state: State::Ready };
                        return Ok(Stop::Budget);
                    }
                    Flow::Fault(f) => return Err(f),
                }
                if !alone && self.prog.block_start[self.pc] {
                    self.warp.parts[k] = Part { pc: self.pc as u32, mask, state: State::Ready };
                    break;
                }
            }
        }
    }

    /// Merges parts that met, and picks the one to run.
    fn pick(&mut self) -> Option<usize> {
        let parts = &mut self.warp.parts;
        if parts.len() == 1 {
            return match parts[0].state {
                State::Ready | State::Forced => Some(0),
                State::Sync | State::Gather => {
                    parts[0].state = State::Forced;
                    Some(0)
                }
                State::Barrier => None,
            };
        }
        let mut i = 0;
        while i < parts.len() {
            let mut j = i + 1;
            while j < parts.len() {
                let (a, b) = (parts[i], parts[j]);
                if a.pc == b.pc && a.state != State::Barrier && b.state != State::Barrier {
                    parts[i] = Part { pc: a.pc, mask: a.mask | b.mask, state: State::Ready };
                    parts.swap_remove(j);
                } else {
                    j += 1;
                }
            }
            i += 1;
        }
        let order = &self.prog.order;
        let runnable = |p: &Part| matches!(p.state, State::Ready | State::Forced);
        let best = (0..parts.len())
            .filter(|&i| runnable(&parts[i]))
            .min_by_key(|&i| (order[parts[i].pc as usize], parts[i].pc));
        if let Some(best) = best {
            self.warp.switches += 1;
            if self.warp.switches.is_multiple_of(PATIENCE) {
                let turn = (self.warp.switches / PATIENCE) as usize;
                let ready: Vec<usize> = (0..parts.len()).filter(|&i| runnable(&parts[i])).collect();
                return Some(ready[turn % ready.len()]);
            }
            return Some(best);
        }
        // No part can run: one that waits for lanes of the warp goes on without them.
        let held = parts
            .iter()
            .position(|p| p.state == State::Sync)
            .or_else(|| parts.iter().position(|p| p.state == State::Gather))?;
        parts[held].state = State::Forced;
        Some(held)
    }
}
