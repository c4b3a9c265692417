//! What the program arranges with the system before it begins.

/// Call it first: it needs a process of one thread.
pub fn prepare() {
    // Mesa's device selection layer asks for a Wayland session and complains on stderr where there is none.
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: no other thread runs yet.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
    #[cfg(unix)]
    sigbus::install_message();
}

/// A mapped file that another process truncates loses pages; a read of one of them raises SIGBUS, which ends the program. This
/// makes the program say why.
#[cfg(unix)]
mod sigbus {
    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
    use nix::unistd::write;
    use std::io;

    const LINE: &[u8] = b"pronk: a file was truncated while it was in use: replace model files by renaming\n";

    extern "C" fn explain(_: i32) {
        let _ = write(io::stderr(), LINE); // the program ends, whether it can be written or not
        // SAFETY: ends the process at once, without running any more of its code.
        unsafe { nix::libc::_exit(1) }
    }

    pub fn install_message() {
        let action = SigAction::new(SigHandler::Handler(explain), SaFlags::SA_RESETHAND, SigSet::empty());
        // SAFETY: the handler calls nothing but write(2) and _exit(2), which a handler may.
        let _ = unsafe { sigaction(Signal::SIGBUS, &action) }; // without it the system's message is all there is
    }
}
