//! Ctrl-C and termination signals. During a [`Work`] the first signal asks it to end, and the second ends the program;
//! at other times the first signal ends the program. A file that is being written is removed.

use anyhow::Result;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

static WORKING: AtomicBool = AtomicBool::new(false);
static ASKED: AtomicBool = AtomicBool::new(false);
static UNFINISHED: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Exit code after Ctrl-C: 128 plus the number of the signal.
pub const EXIT_CODE: u8 = 130;

/// The error of a command that Ctrl-C ended. The program ends with [`EXIT_CODE`].
#[derive(Debug)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Work that ends cleanly when [`asked`] is true. It lasts until this is dropped.
pub struct Work(());

impl Work {
    pub fn begin() -> Result<Work> {
        static LISTEN: Once = Once::new();
        let mut listening = Ok(());
        LISTEN.call_once(|| {
            listening = ctrlc::set_handler(|| {
                if !WORKING.load(Ordering::SeqCst) || ASKED.swap(true, Ordering::SeqCst) {
                    if let Some(path) = unfinished().take() {
                        let _ = fs::remove_file(path); // the program ends even if this fails
                    }
                    process::exit(EXIT_CODE.into());
                }
            });
        });
        listening?;
        ASKED.store(false, Ordering::SeqCst);
        WORKING.store(true, Ordering::SeqCst);
        Ok(Work(()))
    }
}

/// The file to remove if a signal ends the program. No code panics while it holds the lock.
pub fn unfinished() -> MutexGuard<'static, Option<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Work {
    fn drop(&mut self) {
        WORKING.store(false, Ordering::SeqCst);
    }
}

/// Whether the work should end.
pub fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}
