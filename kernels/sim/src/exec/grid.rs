//! A grid: its blocks run on several host threads.

use std::sync::atomic::Ordering::Relaxed;
use std::thread::Builder;

use super::cta::Cta;
use super::launch::Launch;
use crate::check::finding::Sink;
use crate::count::counters::Stats;
use crate::error::Fault;

/// What a worker has found, and why it ended early.
type Share = (Stats, Sink, Option<Box<Fault>>);

impl Launch<'_> {
    /// Runs the grid on at most this number of host threads.
    pub fn run(&self, threads: usize) -> Result<(Stats, Sink), Box<Fault>> {
        let threads = threads.clamp(1, self.ctas as usize);
        let results: Vec<_> = if threads == 1 { vec![self.work(0, 1)] } else { self.share(threads)? };
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

    /// [`Self::work`] on each of several threads.
    fn share(&self, threads: usize) -> Result<Vec<Share>, Box<Fault>> {
        std::thread::scope(|s| {
            let start = |i| Builder::new().spawn_scoped(s, move || self.work(i, threads));
            let started: Result<Vec<_>, _> = (0..threads).map(start).collect();
            let handles = started.map_err(|e| {
                self.progress.stop.store(true, Relaxed); // those that have started end
                Fault::Thread { kernel: self.prog.name.clone(), what: e.to_string() }
            })?;
            // A worker that panics is a defect of the simulator: pass it on.
            Ok(handles.into_iter().map(|h| h.join().unwrap_or_else(|p| std::panic::resume_unwind(p))).collect())
        })
    }

    fn work(&self, worker: usize, workers: usize) -> Share {
        let (mut stats, mut sink) = (Stats::new(self.prog), Sink::new(self.checks));
        let result = if self.cooperative {
            self.resident(worker, workers, &mut stats, &mut sink)
        } else {
            self.one_by_one(&mut stats, &mut sink)
        };
        if result.is_err() {
            self.progress.stop.store(true, Relaxed);
        }
        (stats, sink, result.err())
    }

    fn one_by_one(&self, stats: &mut Stats, sink: &mut Sink) -> Result<(), Box<Fault>> {
        let mut cta = Cta::new(self);
        while !self.progress.stop.load(Relaxed) {
            let id = self.progress.next.fetch_add(1, Relaxed);
            if id >= self.ctas {
                break;
            }
            cta.reset(self, id);
            while !cta.run(self, stats, sink)? {
                if self.progress.stop.load(Relaxed) {
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
        while !ctas.is_empty() && !self.progress.stop.load(Relaxed) {
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
            self.progress.never_waited.store(true, Relaxed);
        }
    }
}
