//! A grid: blocks over host threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use crate::check::finding::{Checks, Sink};
use crate::check::global::Memory;
use crate::count::counters::Stats;
use crate::error::Fault;
use crate::exec::cta::Cta;
use crate::exec::warp::Shape;
use crate::ir::Program;

/// What all blocks of a launch share.
pub(crate) struct Launch<'a> {
    pub prog: &'a Program,
    pub mem: &'a Memory,
    pub shape: Shape,
    pub params: &'a [u8],
    pub symbols: Vec<u64>,
    pub ctas: u32,
    pub checks: Checks,
    /// Number of the launch in the shadow of global memory.
    pub id: u64,
    /// Launches of the stream that may still run before, and after, `griddepcontrol.wait`: first and last.
    pub owned_before: Option<(u64, u64)>,
    pub owned_after: Option<(u64, u64)>,
    pub cooperative: bool,
    pub max_instructions: u64,
    /// Some block has published to others.
    pub released: AtomicBool,
    pub wide_atomics: Mutex<()>,
    /// Some thread let the next kernel start before it waited for the previous one itself.
    pub triggered_early: AtomicBool,
    /// Some warp ended without waiting.
    pub never_waited: AtomicBool,
    pub printed: Mutex<Vec<String>>,
    pub next: AtomicU32,
    pub stop: AtomicBool,
}

impl Launch<'_> {
    pub fn early_trigger(&self) {
        self.triggered_early.store(true, Relaxed);
    }

    pub fn print(&self, text: String) {
        if let Ok(mut p) = self.printed.lock() {
            p.push(text);
        }
    }

    /// Runs the grid on so many host threads.
    pub fn run(&self, threads: usize) -> Result<(Stats, Sink), Box<Fault>> {
        let threads = threads.clamp(1, self.ctas as usize);
        let results: Vec<_> = if threads == 1 {
            vec![self.work(0, 1)]
        } else {
            std::thread::scope(|s| {
                let handles: Vec<_> = (0..threads).map(|i| s.spawn(move || self.work(i, threads))).collect();
                // A worker that panics is a defect of the simulator: pass it on.
                handles.into_iter().map(|h| h.join().unwrap_or_else(|p| std::panic::resume_unwind(p))).collect()
            })
        };
        let (mut stats, mut sink) = (Stats::new(self.prog), Sink::new(self.checks));
        let mut fault: Option<Box<Fault>> = None;
        for (s, k, f) in results {
            stats.merge(&s);
            sink.merge(k);
            fault = fault.or(f);
        }
        match fault {
            Some(f) => Err(f),
            None => Ok((stats, sink)),
        }
    }

    fn work(&self, worker: usize, workers: usize) -> (Stats, Sink, Option<Box<Fault>>) {
        let (mut stats, mut sink) = (Stats::new(self.prog), Sink::new(self.checks));
        let result = if self.cooperative {
            self.resident(worker, workers, &mut stats, &mut sink)
        } else {
            self.one_by_one(&mut stats, &mut sink)
        };
        if result.is_err() {
            self.stop.store(true, Relaxed);
        }
        (stats, sink, result.err())
    }

    fn one_by_one(&self, stats: &mut Stats, sink: &mut Sink) -> Result<(), Box<Fault>> {
        let mut cta = Cta::new(self);
        while !self.stop.load(Relaxed) {
            let id = self.next.fetch_add(1, Relaxed);
            if id >= self.ctas {
                break;
            }
            cta.reset(self, id);
            while !cta.run(self, stats, sink)? {
                if self.stop.load(Relaxed) {
                    break;
                }
            }
            self.ended(&cta);
        }
        Ok(())
    }

    /// All blocks exist at once and take turns, so they may wait for each other.
    fn resident(&self, worker: usize, workers: usize, stats: &mut Stats, sink: &mut Sink) -> Result<(), Box<Fault>> {
        let mut ctas = Vec::new();
        for id in (worker as u32..self.ctas).step_by(workers) {
            let mut cta = Cta::new(self);
            cta.reset(self, id);
            ctas.push(cta);
        }
        while !ctas.is_empty() && !self.stop.load(Relaxed) {
            let mut k = 0;
            while k < ctas.len() {
                if ctas[k].run(self, stats, sink)? {
                    self.ended(&ctas.swap_remove(k));
                } else {
                    k += 1;
                }
            }
        }
        Ok(())
    }

    fn ended(&self, cta: &Cta) {
        if cta.warps.iter().any(|w| !w.waited) {
            self.never_waited.store(true, Relaxed);
        }
    }
}
