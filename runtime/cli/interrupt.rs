//! Ctrl-C: the first asks the work to end, the second ends the program.

use anyhow::Result;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

/// Exit code of a program that Ctrl-C ended: 128 and the signal's number.
const INTERRUPTED: i32 = 130;

/// From now on Ctrl-C is counted instead of ending the program. Call it once.
pub fn listen() -> Result<()> {
    ctrlc::set_handler(|| {
        if ASKED.swap(true, Ordering::Relaxed) {
            process::exit(INTERRUPTED);
        }
    })?;
    Ok(())
}

/// Whether the work should end.
pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// New work begins: an earlier Ctrl-C was not about it.
pub fn reset() {
    ASKED.store(false, Ordering::Relaxed);
}
