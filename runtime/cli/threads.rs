//! The threads of the CPU's work.

use anyhow::{Result, bail};
use std::io;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Builder, JoinHandle};

/// Number of cores, as far as the system says it.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Whether [`prepare`] has found that the system does not allow a thread for each core.
static FEW: AtomicBool = AtomicBool::new(false);

/// Where the system does not allow a thread for each core, all work runs on the thread that calls this. Otherwise threads start
/// when they are needed, as many as [`start`] says or one for each core.
pub fn prepare() {
    if !allowed(cores()) {
        FEW.store(true, Ordering::Relaxed);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread();
        pool.build_global().expect("no thread is started");
    }
}

/// Starts `n` threads for the work of this process.
///
/// Errors: the system does not allow that many.
pub fn start(n: u16) -> Result<()> {
    match FEW.load(Ordering::Relaxed) {
        true if n == 1 => Ok(()),
        true => bail!("the system does not allow more threads"),
        false => Ok(rayon::ThreadPoolBuilder::new().num_threads(n.into()).build_global()?),
    }
}

/// Whether the system allows `n` threads at once, besides this one. It starts and ends them.
fn allowed(n: usize) -> bool {
    let (threads, failures): (Vec<io::Result<JoinHandle<()>>>, Vec<_>) =
        (0..n).map(|_| Builder::new().spawn(thread::park)).partition(Result::is_ok);
    let allowed = failures.is_empty();
    for thread in threads.into_iter().flatten() {
        thread.thread().unpark();
        let _ = thread.join(); // it cannot fail: it does nothing
    }
    allowed
}
