//! What a rendering may take besides the engine's own fuel: time, output, and values of bounded size and depth.
//!
//! A list that has another twice is small in memory, and its text is twice as long: forty such steps make a text that no
//! machine holds. So values are measured with all that is in them, as often as it is there, before a variable has them.

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use minijinja::Error;
use minijinja::value::{Tuple, Value, ValueKind};

use super::python::refuse;

/// Deepest value of a variable. Dropping it recurses: 100000 levels take some 30 MiB of stack.
const MAX_NESTED: usize = 100_000;
/// From this depth on the size of a list is remembered, so that a list around it is measured without it.
const REMEMBERED: usize = 16;
/// How often the clock is read: once in so many parts of values.
const PARTS_PER_LOOK: usize = 4096;

/// Limits of one rendering.
#[derive(Debug, Clone, Copy)]
pub(in crate::text) struct Limits {
    /// The engine's fuel: an instruction, or 64 bytes of text made, takes a unit.
    pub fuel: u64,
    /// Longest text that is written, in bytes. What a macro or a `set` block writes counts as well.
    pub output: usize,
    /// Most parts that the value of a variable has: what is in a list counts as often as it is there.
    pub parts: usize,
    /// When it is given up.
    pub deadline: Instant,
}

/// What a rendering has taken of its limits.
pub(super) struct Budget {
    limits: Limits,
    written: AtomicUsize,
    late: AtomicBool,
    long: AtomicBool,
    /// Deep lists by their addresses, with their sizes. They are kept, so that no other value gets the address.
    measured: Mutex<HashMap<usize, (Value, Size)>>,
}

#[derive(Clone, Copy)]
struct Size {
    parts: usize,
    depth: usize,
}

impl Budget {
    pub(super) fn new(limits: Limits) -> Budget {
        let (late, long) = (AtomicBool::new(false), AtomicBool::new(false));
        Budget { limits, written: AtomicUsize::new(0), late, long, measured: Mutex::new(HashMap::new()) }
    }

    /// The error that ended the rendering, if it was a limit of these.
    pub(super) fn exceeded(&self) -> Option<Error> {
        if self.late.load(Ordering::Relaxed) {
            Some(refuse(LATE))
        } else if self.long.load(Ordering::Relaxed) {
            Some(self.too_long())
        } else {
            None
        }
    }

    /// Refuses a value that is too large or too deep for a variable, and ends what takes too long.
    pub(super) fn check(&self, value: &Value) -> Result<(), Error> {
        self.in_time()?;
        if value.as_object().is_some() {
            let mut parts = 0;
            self.measure(value, 0, &mut parts)?;
        }
        Ok(())
    }

    fn in_time(&self) -> Result<(), Error> {
        if Instant::now() < self.limits.deadline {
            return Ok(());
        }
        self.late.store(true, Ordering::Relaxed);
        Err(refuse(LATE))
    }

    /// The size of a value. `level`: how many lists it is in; `parts`: those that were counted before.
    fn measure(&self, value: &Value, level: usize, parts: &mut usize) -> Result<Size, Error> {
        let before = *parts;
        let address = address(value);
        let known = address.and_then(|address| Some(self.measured.lock().ok()?.get(&address)?.1));
        *parts = parts.saturating_add(known.map_or(1, |size| size.parts));
        let mut depth = known.map_or(0, |size| size.depth);
        if *parts > self.limits.parts {
            return Err(refuse(format!("a value with more than {} parts", self.limits.parts)));
        }
        if level + depth > MAX_NESTED {
            return Err(refuse(format!("a value nested more than {MAX_NESTED} deep")));
        }
        if *parts / PARTS_PER_LOOK != before / PARTS_PER_LOOK {
            self.in_time()?;
        }
        if known.is_none()
            && let Some(object) = value.as_object()
        {
            let mut add = |part: &Value| -> Result<(), Error> {
                depth = depth.max(1 + self.measure(part, level + 1, parts)?.depth);
                Ok(())
            };
            match value.kind() {
                ValueKind::Map => {
                    for (key, value) in object.try_iter_pairs().into_iter().flatten() {
                        add(&key)?;
                        add(&value)?;
                    }
                }
                ValueKind::Seq | ValueKind::Iterable => {
                    for part in object.try_iter().into_iter().flatten() {
                        add(&part)?;
                    }
                }
                _ => {}
            }
        }
        let size = Size { parts: *parts - before, depth };
        if known.is_none()
            && depth >= REMEMBERED
            && let (Some(address), Ok(mut measured)) = (address, self.measured.lock())
        {
            measured.insert(address, (value.clone(), size));
        }
        Ok(size)
    }

    /// The text of a value.
    pub(super) fn text(&self, value: &Value) -> Result<String, Error> {
        self.in_time()?;
        if let Some(text) = value.as_str() {
            return Ok(text.to_string());
        }
        if value.is_undefined() {
            return Ok(String::new());
        }
        let mut text = Bounded { text: String::new(), budget: self };
        match write!(text, "{value}") {
            Ok(()) => Ok(text.text),
            Err(fmt::Error) => Err(self.exceeded().unwrap_or_else(|| refuse("a value that has no text"))),
        }
    }

    /// Notes that text is written.
    pub(super) fn write(&self, bytes: usize) -> Result<(), Error> {
        let before = self.written.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.limits.output {
            self.long.store(true, Ordering::Relaxed);
            return Err(self.too_long());
        }
        Ok(())
    }

    fn too_long(&self) -> Error {
        refuse(format!("{TOO_LONG} {} bytes of text", self.limits.output))
    }
}

/// What [`Budget::exceeded`] says; the number of seconds is not its own.
pub(in crate::text) const LATE: &str = "takes too long";
pub(in crate::text) const TOO_LONG: &str = "makes more than";

/// Where the items of a list or tuple lie, which no other value shares.
fn address(value: &Value) -> Option<usize> {
    if let Some(list) = value.downcast_object_ref::<Vec<Value>>() {
        return Some(std::ptr::from_ref(list).addr());
    }
    value.downcast_object_ref::<Tuple>().map(|tuple| std::ptr::from_ref(tuple).addr())
}

/// The text of a value, as long as the output may be.
struct Bounded<'b> {
    text: String,
    budget: &'b Budget,
}

impl Write for Bounded<'_> {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let limits = &self.budget.limits;
        let len = self.text.len() + part.len();
        if len > limits.output {
            self.budget.long.store(true, Ordering::Relaxed);
            return Err(fmt::Error);
        }
        if len / PARTS_PER_LOOK != self.text.len() / PARTS_PER_LOOK && self.budget.in_time().is_err() {
            return Err(fmt::Error);
        }
        self.text.push_str(part);
        Ok(())
    }
}
