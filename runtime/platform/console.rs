//! What Ctrl-C does where there are no signals. It asks the work in progress to end; the second one, or one without such work,
//! ends the program. An unfinished file is removed.

use std::fs;
use std::io::{Write, stderr};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

static WORKING: AtomicBool = AtomicBool::new(false);
static ASKED: AtomicBool = AtomicBool::new(false);
static UNFINISHED: Mutex<Option<PathBuf>> = Mutex::new(None);

/// The number of Ctrl-C among signals.
const SIGINT: u8 = 2;

/// Takes Ctrl-C over. If that fails, the system's own action stays.
pub fn install() {
    let _ = ctrlc::set_handler(|| {
        if !WORKING.load(Ordering::SeqCst) || ASKED.swap(true, Ordering::SeqCst) {
            remove_unfinished();
            process::exit(128 + i32::from(SIGINT));
        }
    });
}

/// Ends the program with a line on stderr and exit code 1.
pub fn end_with(line: &[u8]) -> ! {
    remove_unfinished();
    let _ = stderr().write_all(line);
    process::exit(1)
}

fn remove_unfinished() {
    if let Some(path) = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = fs::remove_file(path); // the program ends even if this fails
    }
}

/// The file to remove if Ctrl-C or a lack of memory ends the program.
pub fn set_unfinished(path: Option<&Path>) {
    *UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner) = path.map(Path::to_path_buf);
}

/// Says that work begins, which looks at [`asked`], or that it has ended.
pub fn set_working(working: bool) {
    if working {
        ASKED.store(false, Ordering::SeqCst);
    }
    WORKING.store(working, Ordering::SeqCst);
}

/// The signal that asked the work to end.
pub fn asked() -> Option<u8> {
    ASKED.load(Ordering::Relaxed).then_some(SIGINT)
}
