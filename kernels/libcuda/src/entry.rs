//! What every entry point passes through: faults on demand, the state before `cuInit`, panics, counts.

use crate::faults;
use crate::log::{Topic, say};
use crate::options;
use crate::state;
use crate::status::{Outcome, Status};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

/// An exported function.
pub struct Entry {
    pub name: &'static str,
    pub address: *const (),
}

/// When an entry point may be called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum When {
    Always,
    /// Only after `cuInit`.
    Initialized,
}

static CALLS: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());
/// Functions that a caller asked for and that this library does not have.
static MISSING: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Runs the body of an entry point; its `CUresult`.
pub fn call(name: &'static str, when: When, body: impl FnOnce() -> Outcome) -> i32 {
    if options::current().calls {
        *CALLS.lock().unwrap_or_else(|e| e.into_inner()).entry(name).or_default() += 1;
    }
    if let Some(status) = faults::injected(name) {
        say(Topic::Injected, &format!("{name} fails with {}", status.name().to_string_lossy()));
        return status as i32;
    }
    if when == When::Initialized && !state::is_initialized() {
        return Status::NotInitialized as i32;
    }
    // A panic must not reach the caller, which may be C. The message is on stderr then.
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => 0,
        Ok(Err(refusal)) => {
            if let Some(why) = refusal.why {
                say(Topic::Refused, &format!("{name}: {why}"));
            }
            refusal.status as i32
        }
        Err(_) => {
            say(Topic::Defect, &format!("{name} panicked"));
            Status::Unknown as i32
        }
    }
}

/// Records a function that a caller asks for and that is not there, for the log.
pub fn missing(name: &str) {
    if options::current().calls {
        MISSING.lock().unwrap_or_else(|e| e.into_inner()).insert(name.to_string());
    }
}

/// How often each entry point was called, and which were asked for that are not there, for the log.
pub fn report_calls() {
    for name in MISSING.lock().unwrap_or_else(|e| e.into_inner()).iter() {
        say(Topic::Missing, name);
    }
    for (name, n) in CALLS.lock().unwrap_or_else(|e| e.into_inner()).iter() {
        say(Topic::Called, &format!("{name} {n}"));
    }
}

/// Exports functions of the driver API. Each body gives an [`Outcome`]; handles and addresses are `u64`, pointers the types of
/// [`crate::raw`].
macro_rules! entries {
    ($when:ident: $($(#[$attribute:meta])* fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $body:block)*) => {
        $(
            $(#[$attribute])*
            #[unsafe(no_mangle)]
            pub extern "C" fn $name($($arg: $ty),*) -> i32 {
                $crate::entry::call(stringify!($name), $crate::entry::When::$when, || $body)
            }
        )*

        /// The functions of this subject.
        #[allow(clippy::fn_to_numeric_cast_any)] // an address is what `cuGetProcAddress` is asked for
        pub fn entries() -> Vec<$crate::entry::Entry> {
            vec![$($crate::entry::Entry { name: stringify!($name), address: $name as *const () }),*]
        }
    };
}
pub(crate) use entries;
