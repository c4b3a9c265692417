//! Work that Ctrl-C and termination signals end cleanly: see [`platform`].

use crate::platform;
use std::fmt;
use std::process::ExitCode;

/// The error of a command that a signal ended. The program ends with [`exit_code`].
#[derive(Debug)]
pub struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// The exit code after [`Interrupted`]: 128 plus the number of the signal, 130 for Ctrl-C.
pub fn exit_code() -> ExitCode {
    platform::asked().map_or(ExitCode::FAILURE, |signal| ExitCode::from(128 + signal))
}

/// Work that ends cleanly when [`asked`] is true. It lasts until this is dropped. A second signal ends the program.
pub struct Work(());

impl Work {
    pub fn begin() -> Work {
        platform::set_working(true);
        Work(())
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        platform::set_working(false);
    }
}

/// Whether the work should end.
pub fn asked() -> bool {
    platform::asked().is_some()
}
