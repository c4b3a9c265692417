//! A mapped file that another process truncates loses pages; who reads one of them gets SIGBUS, which ends the program. This makes
//! the program say why.

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::write;
use std::io;

const LINE: &[u8] = b"pronk: a file was truncated while it was in use: replace model files by renaming\n";

extern "C" fn explain(_: i32) {
    let _ = write(io::stderr(), LINE); // the program ends, whatever comes of it
    // SAFETY: ends the process at once, without any code of it.
    unsafe { nix::libc::_exit(1) }
}

/// Explains from now on.
pub fn explained() {
    let action = SigAction::new(SigHandler::Handler(explain), SaFlags::SA_RESETHAND, SigSet::empty());
    // SAFETY: the handler calls nothing but write(2) and _exit(2), which a handler may.
    let _ = unsafe { sigaction(Signal::SIGBUS, &action) }; // without it the system's message is all there is
}
