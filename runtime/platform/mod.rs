//! Set-up of the process: an environment variable for Mesa, its signals, and a message where memory runs out.

mod memory;
#[cfg(unix)]
mod signals;
#[cfg(not(unix))]
#[path = "console.rs"] // the same functions
mod signals;

pub use signals::{asked, set_unfinished, set_working};

/// Call this first: the process may have one thread only.
pub fn prepare() {
    // Without a Wayland session, Mesa's device selection layer prints a warning on stderr.
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: no other thread runs yet.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
    signals::install();
}
