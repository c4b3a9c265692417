//! Set-up of the process: an environment variable for Mesa, and a message for SIGBUS.

/// Call this first: the process may have one thread only.
pub fn prepare() {
    // Without a Wayland session, Mesa's device selection layer prints a warning on stderr.
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: no other thread runs yet.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
    #[cfg(unix)]
    sigbus::install_message();
}

/// If another process truncates a mapped file, a read of a lost page raises SIGBUS, which ends the program. The handler
/// prints why.
#[cfg(unix)]
mod sigbus {
    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
    use nix::unistd::write;
    use std::io;

    const LINE: &[u8] = b"pronk: a file was truncated while it was in use: replace model files by renaming\n";

    extern "C" fn explain(_: i32) {
        let _ = write(io::stderr(), LINE); // the program ends even if this fails
        // SAFETY: _exit(2) may be called in a signal handler; it runs no more code of the process.
        unsafe { nix::libc::_exit(1) }
    }

    pub fn install_message() {
        let action = SigAction::new(SigHandler::Handler(explain), SaFlags::SA_RESETHAND, SigSet::empty());
        // SAFETY: the handler calls only write(2) and _exit(2), and both may be called in a signal handler.
        let _ = unsafe { sigaction(Signal::SIGBUS, &action) }; // if this fails, the system's message is printed instead
    }
}
