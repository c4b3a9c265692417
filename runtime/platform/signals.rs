//! What signals do. A termination signal asks the work in progress to end; the second one, or one without such work, ends the
//! program, with the exit code 128 plus its number. SIGBUS ends it with a message. An unfinished file is removed in each case.

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::{unlink, write};
use std::ffi::{CStr, CString, c_char};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, Ordering};

/// Whether work is in progress that looks at [`asked`].
static WORKING: AtomicBool = AtomicBool::new(false);
/// The signal that asked the work to end; 0: none has.
static ASKED: AtomicI32 = AtomicI32::new(0);
/// The path of the file to remove; null: none.
static UNFINISHED: AtomicPtr<c_char> = AtomicPtr::new(ptr::null_mut());
/// Whether a thread is ending the program with a message.
static ENDING: AtomicBool = AtomicBool::new(false);

const TERMINATION: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

const LOST_PAGE: &[u8] = b"pronk: a file was truncated while it was in use: replace model files by renaming\n";

/// Takes the signals over. One that the parent process had ignored, as `nohup` does, stays ignored.
pub fn install() {
    for signal in TERMINATION {
        let handler = SigHandler::Handler(terminate);
        if let Some(old) = set_action(signal, handler, SaFlags::SA_RESTART)
            && matches!(old.handler(), SigHandler::SigIgn)
        {
            set_action(signal, SigHandler::SigIgn, SaFlags::empty());
        }
    }
    // Several threads can read lost pages at once: the action stays in place for all of them.
    set_action(Signal::SIGBUS, SigHandler::Handler(lost_page), SaFlags::SA_ONSTACK);
    // A write beyond the size limit of files returns an error instead.
    set_action(Signal::SIGXFSZ, SigHandler::SigIgn, SaFlags::empty());
}

/// Sets the action of a signal, which runs while all others are blocked, and returns the one before. If it fails, the system's
/// own action stays.
fn set_action(signal: Signal, handler: SigHandler, flags: SaFlags) -> Option<SigAction> {
    let action = SigAction::new(handler, flags, SigSet::all());
    // SAFETY: the handlers call only unlink(2), write(2), pause(2) and _exit(2), which a signal handler may call.
    unsafe { sigaction(signal, &action) }.ok()
}

extern "C" fn terminate(signal: i32) {
    if !WORKING.load(Ordering::SeqCst) || ASKED.swap(signal, Ordering::SeqCst) != 0 {
        remove_unfinished();
        // SAFETY: _exit(2) runs no more code of the process.
        unsafe { libc::_exit(128 + signal) }
    }
}

extern "C" fn lost_page(_: i32) {
    end_with(LOST_PAGE)
}

/// Ends the program with a line on stderr and exit code 1. A handler may call this. If several threads do, the first one's line is
/// written and the others wait for the end.
pub fn end_with(line: &[u8]) -> ! {
    while ENDING.swap(true, Ordering::SeqCst) {
        // SAFETY: pause(2) only waits.
        unsafe { libc::pause() };
    }
    remove_unfinished();
    let mut rest = line;
    while let Ok(written @ 1..) = write(io::stderr(), rest) {
        rest = &rest[written..];
    }
    // SAFETY: _exit(2) runs no more code of the process.
    unsafe { libc::_exit(1) }
}

fn remove_unfinished() {
    let path = UNFINISHED.swap(ptr::null_mut(), Ordering::SeqCst);
    if !path.is_null() {
        // SAFETY: `set_unfinished` made it from a `CString`, which is never freed.
        let _ = unlink(unsafe { CStr::from_ptr(path) }); // the program ends even if this fails
    }
}

/// The file to remove if a signal or a lack of memory ends the program.
pub fn set_unfinished(path: Option<&Path>) {
    let path = path.and_then(|path| CString::new(path.as_os_str().as_bytes()).ok());
    // Leaked: a handler on another thread may be reading it.
    UNFINISHED.store(path.map_or(ptr::null_mut(), CString::into_raw), Ordering::SeqCst);
}

/// Says that work begins, which looks at [`asked`], or that it has ended.
pub fn set_working(working: bool) {
    if working {
        ASKED.store(0, Ordering::SeqCst);
    }
    WORKING.store(working, Ordering::SeqCst);
}

/// The signal that asked the work to end.
pub fn asked() -> Option<u8> {
    u8::try_from(ASKED.load(Ordering::Relaxed)).ok().filter(|signal| *signal > 0)
}
