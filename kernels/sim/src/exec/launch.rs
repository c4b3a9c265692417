//! What all blocks of a launch share. `grid` runs them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use crate::check::finding::Checks;
use crate::check::global::Memory;
use crate::exec::shape::Shape;
use crate::ir::Program;

/// What all blocks of a launch share.
pub(crate) struct Launch<'a> {
    pub prog: &'a Program,
    pub mem: &'a Memory,
    pub shape: Shape,
    pub params: &'a [u8],
    /// Values of the program's symbols.
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
    pub progress: Progress,
}

/// What the blocks of a launch have done so far, as far as others must know.
#[derive(Default)]
pub(crate) struct Progress {
    /// Some block has published to others.
    pub released: AtomicBool,
    /// Held during an atomic of 64 bits.
    pub wide_atomics: Mutex<()>,
    /// Some thread let the next kernel start before it waited for the previous one itself.
    pub triggered_early: AtomicBool,
    /// Some warp ended without waiting.
    pub never_waited: AtomicBool,
    /// What `printf` wrote.
    pub printed: Mutex<Vec<String>>,
    /// The next block that a host thread takes.
    pub next: AtomicU32,
    /// A block failed: the others end early.
    pub stop: AtomicBool,
}

impl Launch<'_> {
    pub fn early_trigger(&self) {
        self.progress.triggered_early.store(true, Relaxed);
    }

    pub fn print(&self, text: String) {
        if let Ok(mut p) = self.progress.printed.lock() {
            p.push(text);
        }
    }
}
