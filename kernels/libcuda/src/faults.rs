//! Calls that fail because a test asks for it.

use crate::api;
use crate::options;
use crate::state;
use crate::status::Status;
use std::sync::atomic::{AtomicU64, Ordering};

/// `NAME`, `NAME=CODE`, `NAME@N`, `NAME=CODE@N`: an entry point returns an error without doing anything.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    name: String,
    status: Status,
    /// Which of its calls, from 1; none: all.
    call: Option<u64>,
}

impl Fault {
    /// Errors: no such entry point, status or number of a call.
    pub fn parse(text: &str) -> Result<Fault, String> {
        let wrong = |what: &str| format!("PTX_SIM_FAIL: {text}: {what}");
        let (rest, call) = match text.split_once('@') {
            Some((rest, n)) => {
                (rest, Some(n.parse().ok().filter(|n| *n > 0).ok_or(wrong("after @: a number from 1"))?))
            }
            None => (text, None),
        };
        let (name, status) = match rest.split_once('=') {
            Some((name, code)) => (
                name,
                code.parse().ok().and_then(Status::of).ok_or(wrong("after =: a status that this library knows"))?,
            ),
            None => (rest, Status::Unknown),
        };
        if !api::names().any(|known| known == name) {
            return Err(wrong("not an entry point of this library"));
        }
        Ok(Fault { name: name.to_string(), status, call })
    }
}

/// The status that this call of an entry point must return, if it is the one that fails.
pub fn injected(name: &str) -> Option<Status> {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let fault = options::current().fault.as_ref().filter(|fault| fault.name == name)?;
    let number = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
    if fault.call.is_some_and(|call| call != number) {
        return None;
    }
    if name == "cuStreamEndCapture" {
        // With a driver too, the capture is over when its end fails.
        let _ = state::with(|state| {
            state.drop_captures_of_thread();
            Ok(())
        });
    }
    Some(fault.status)
}
