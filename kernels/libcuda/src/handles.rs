//! Objects of the API by their handles. A handle is a number that is given once: one of a destroyed object, of another kind, or made up by
//! the caller is found out.

use crate::status::{Outcome, Status};
use std::collections::BTreeMap;

/// Handles of one kind are multiples of this, so that none looks like an index.
const STEP: u64 = 16;
/// Bit of the first kind's number in a handle. Handles are above every address of a device.
const KIND_SHIFT: u32 = 56;

/// What a handle is of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    Context = 1,
    Stream,
    Event,
    Module,
    Function,
    Graph,
    GraphExec,
    Link,
    Pool,
    Capture,
}

/// The live objects of a kind.
pub struct Handles<T> {
    kind: Kind,
    given: u64,
    live: BTreeMap<u64, T>,
}

impl<T> Handles<T> {
    pub fn new(kind: Kind) -> Handles<T> {
        Handles { kind, given: 0, live: BTreeMap::new() }
    }

    /// Keeps `object`; its handle.
    pub fn add(&mut self, object: T) -> u64 {
        self.given += 1;
        let handle = ((self.kind as u64) << KIND_SHIFT) + self.given * STEP;
        self.live.insert(handle, object);
        handle
    }

    /// Errors: no live object has the handle.
    pub fn get(&self, handle: u64) -> Outcome<&T> {
        Ok(self.live.get(&handle).ok_or(self.unknown())?)
    }

    pub fn get_mut(&mut self, handle: u64) -> Outcome<&mut T> {
        let unknown = self.unknown();
        Ok(self.live.get_mut(&handle).ok_or(unknown)?)
    }

    /// Errors: no live object has the handle.
    pub fn remove(&mut self, handle: u64) -> Outcome<T> {
        Ok(self.live.remove(&handle).ok_or(self.unknown())?)
    }

    fn unknown(&self) -> Status {
        if self.kind == Kind::Context { Status::InvalidContext } else { Status::InvalidHandle }
    }

    pub fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.live.iter().map(|(handle, object)| (*handle, object))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut T)> {
        self.live.iter_mut().map(|(handle, object)| (*handle, object))
    }

    /// Removes those that `go` picks; how many.
    pub fn remove_if(&mut self, mut go: impl FnMut(&T) -> bool) -> usize {
        let before = self.live.len();
        self.live.retain(|_, object| !go(object));
        before - self.live.len()
    }
}
