//! Threads that run the same list of stages together.

use std::hint;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a thread that waits for the others stays awake: longer than most waits of a decode step, and so short that a thread
/// without a core of its own soon leaves it to others. Unmeasured.
const AWAKE: Duration = Duration::from_micros(30);

/// The threads of one device. They sleep between steps.
pub struct Team {
    /// None: the calling thread works alone.
    pool: Option<rayon::ThreadPool>,
}

impl Team {
    /// `n` threads. Where the system does not allow them, the calling thread works alone.
    pub fn new(n: usize) -> Team {
        let builder = rayon::ThreadPoolBuilder::new().thread_name(|i| format!("cpu {i}"));
        Team { pool: if n > 1 { builder.num_threads(n).build().ok() } else { None } }
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.pool.as_ref().map_or(1, rayon::ThreadPool::current_num_threads)
    }

    /// Calls `work` on every thread with the thread's member, and returns when all calls have.
    pub fn run(&self, work: impl Fn(Member) + Sync) {
        let barrier = Barrier::new(self.threads());
        match &self.pool {
            None => work(Member { index: 0, barrier: &barrier }),
            Some(pool) => {
                pool.broadcast(|context| {
                    let _awake = Ended(&barrier);
                    work(Member { index: context.index(), barrier: &barrier });
                });
            }
        }
    }
}

/// One thread of a team at work.
#[derive(Clone, Copy)]
pub struct Member<'a> {
    /// Which thread, from 0 on.
    pub index: usize,
    barrier: &'a Barrier,
}

impl Member<'_> {
    /// Returns when every thread of the team has called this as often.
    pub fn wait(&self) {
        self.barrier.wait();
    }
}

/// Hands out the numbers below a limit, each to one thread.
#[derive(Default)]
pub struct Counter(AtomicUsize);

impl Counter {
    /// The next number below `n` that no thread has; None if there is none.
    pub fn next(&self, n: usize) -> Option<usize> {
        Some(self.0.fetch_add(1, Ordering::Relaxed)).filter(|i| *i < n)
    }
}

/// Where threads wait for each other, any number of times.
struct Barrier {
    threads: usize,
    arrived: AtomicUsize,
    /// How often all have arrived.
    round: AtomicUsize,
    /// Number of threads that wait for `woken`.
    asleep: Mutex<usize>,
    woken: Condvar,
    /// A thread has panicked: the others do not wait for it.
    broken: AtomicBool,
}

impl Barrier {
    fn new(threads: usize) -> Barrier {
        Barrier {
            threads,
            arrived: AtomicUsize::new(0),
            round: AtomicUsize::new(0),
            asleep: Mutex::new(0),
            woken: Condvar::new(),
            broken: AtomicBool::new(false),
        }
    }

    fn wait(&self) {
        if self.threads == 1 {
            return;
        }
        let round = self.round.load(Ordering::Acquire);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.threads {
            self.arrived.store(0, Ordering::Relaxed);
            self.round.store(round + 1, Ordering::SeqCst);
            self.wake();
            return;
        }
        let begin = Instant::now();
        while self.round.load(Ordering::Acquire) == round && !self.broken.load(Ordering::Relaxed) {
            for _ in 0..32 {
                hint::spin_loop();
            }
            if begin.elapsed() > AWAKE {
                self.sleep(round);
            }
        }
        assert!(!self.broken.load(Ordering::Relaxed), "another thread of this step has panicked");
    }

    fn sleep(&self, round: usize) {
        let mut asleep = self.asleep.lock().unwrap_or_else(PoisonError::into_inner);
        *asleep += 1;
        while self.round.load(Ordering::SeqCst) == round && !self.broken.load(Ordering::Relaxed) {
            asleep = self.woken.wait(asleep).unwrap_or_else(PoisonError::into_inner);
        }
        *asleep -= 1;
    }

    fn wake(&self) {
        if *self.asleep.lock().unwrap_or_else(PoisonError::into_inner) > 0 {
            self.woken.notify_all();
        }
    }
}

/// The end of a thread's work: after a panic the others must not wait.
struct Ended<'a>(&'a Barrier);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.broken.store(true, Ordering::Relaxed);
            self.0.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_handed_out_once_between_two_waits() {
        for threads in [1, 2, 5] {
            let team = Team::new(threads);
            assert_eq!(team.threads(), threads);
            let counters: Vec<Counter> = (0..200).map(|_| Counter::default()).collect();
            let sums: Vec<AtomicUsize> = (0..200).map(|_| AtomicUsize::new(0)).collect();
            team.run(|member| {
                for (i, (counter, sum)) in counters.iter().zip(&sums).enumerate() {
                    while let Some(n) = counter.next(10) {
                        sum.fetch_add(n, Ordering::Relaxed);
                    }
                    member.wait();
                    assert_eq!(sums[..=i].iter().map(|sum| sum.load(Ordering::Relaxed)).min(), Some(45));
                }
            });
        }
    }

    #[test]
    #[should_panic]
    fn a_panic_of_one_thread_ends_the_others() {
        Team::new(3).run(|member| match member.index {
            1 => panic!("on purpose"),
            _ => member.wait(),
        });
    }
}
