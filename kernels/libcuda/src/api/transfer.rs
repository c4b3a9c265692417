//! Copies and fills.

use crate::capture::{issue, issue_and_wait};
use crate::entry::entries;
use crate::memory::Place;
use crate::raw;
use crate::state::with;
use crate::status::{Outcome, Status};
use crate::work::Action;

/// Which side of a copy the name of a function fixes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    OfDevice,
    Any,
}

/// What the copy touches. Errors: a side that must be of a device is not, or is of no allocation.
fn sides(to: u64, from: u64, bytes: usize, [to_side, from_side]: [Side; 2]) -> Outcome<[Place; 2]> {
    with(|state| {
        let places = [state.memory.place(to, bytes as u64)?, state.memory.place(from, bytes as u64)?];
        for (place, (address, side)) in places.into_iter().zip([(to, to_side), (from, from_side)]) {
            if side == Side::OfDevice && place == Place::Pageable {
                return Err(Status::InvalidValue.because(format!("address {address:#x} is not of a device")));
            }
        }
        Ok(places)
    })
}

/// A copy in the legacy stream that is done when the call returns.
fn copy_now(to: u64, from: u64, bytes: usize, wanted: [Side; 2]) -> Outcome {
    if bytes == 0 {
        return with(|state| state.current().map(|_| ()));
    }
    with(|state| state.no_capture())?;
    sides(to, from, bytes, wanted)?;
    issue_and_wait(0, Action::Copy { to, from, bytes: bytes as u64 })
}

/// A copy in a stream. What is pageable is read, and has been written, when the call returns.
fn copy_in(to: u64, from: u64, bytes: usize, stream: u64, wanted: [Side; 2]) -> Outcome {
    if bytes == 0 {
        return with(|state| state.stream(stream).map(|_| ()));
    }
    let places = sides(to, from, bytes, wanted)?;
    let captures = with(|state| {
        let key = state.stream(stream)?;
        Ok(state.capture_of(key).is_some())
    })?;
    let copy = Action::Copy { to, from, bytes: bytes as u64 };
    match places {
        _ if captures => issue(stream, copy),
        [Place::Pageable, _] => issue_and_wait(stream, copy),
        [_, Place::Pageable] => issue(stream, Action::Write { to, data: raw::bytes(from, bytes)? }),
        _ => issue(stream, copy),
    }
}

fn fill(to: u64, value: &[u8], n: usize) -> Option<Action> {
    let bytes = (value.len() as u64).checked_mul(n as u64)?;
    Some(Action::Fill { to, pattern: value.to_vec(), bytes })
}

/// Errors: the memory is not of a device, or not inside one allocation; its address is not a multiple of the value's size.
fn fill_in(to: u64, value: &[u8], n: usize, stream: Option<u64>) -> Outcome {
    let action = fill(to, value, n).ok_or(Status::InvalidValue)?;
    if n == 0 {
        return with(|state| state.stream(stream.unwrap_or(0)).map(|_| ()));
    }
    sides(to, to, n * value.len(), [Side::OfDevice; 2])?;
    if !to.is_multiple_of(value.len() as u64) {
        return Err(Status::InvalidValue.into());
    }
    // `cuMemset*` without a stream may return before the fill has run.
    issue(stream.unwrap_or(0), action)
}

entries! { Initialized:

fn cuMemcpy(to: u64, from: u64, bytes: usize) {
    copy_now(to, from, bytes, [Side::Any, Side::Any])
}

fn cuMemcpyHtoD_v2(to: u64, from: u64, bytes: usize) {
    copy_now(to, from, bytes, [Side::OfDevice, Side::Any])
}

fn cuMemcpyDtoH_v2(to: u64, from: u64, bytes: usize) {
    copy_now(to, from, bytes, [Side::Any, Side::OfDevice])
}

fn cuMemcpyDtoD_v2(to: u64, from: u64, bytes: usize) {
    copy_now(to, from, bytes, [Side::OfDevice, Side::OfDevice])
}

fn cuMemcpyPeer(to: u64, _to_context: u64, from: u64, _from_context: u64, bytes: usize) {
    copy_now(to, from, bytes, [Side::OfDevice, Side::OfDevice])
}

fn cuMemcpyAsync(to: u64, from: u64, bytes: usize, stream: u64) {
    copy_in(to, from, bytes, stream, [Side::Any, Side::Any])
}

fn cuMemcpyHtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: u64) {
    copy_in(to, from, bytes, stream, [Side::OfDevice, Side::Any])
}

fn cuMemcpyDtoHAsync_v2(to: u64, from: u64, bytes: usize, stream: u64) {
    copy_in(to, from, bytes, stream, [Side::Any, Side::OfDevice])
}

fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: u64) {
    copy_in(to, from, bytes, stream, [Side::OfDevice, Side::OfDevice])
}

fn cuMemcpyPeerAsync(to: u64, _to_context: u64, from: u64, _from_context: u64, bytes: usize, stream: u64) {
    copy_in(to, from, bytes, stream, [Side::OfDevice, Side::OfDevice])
}

fn cuMemsetD8_v2(to: u64, value: u8, n: usize) {
    fill_in(to, &[value], n, None)
}

fn cuMemsetD16_v2(to: u64, value: u16, n: usize) {
    fill_in(to, &value.to_le_bytes(), n, None)
}

fn cuMemsetD32_v2(to: u64, value: u32, n: usize) {
    fill_in(to, &value.to_le_bytes(), n, None)
}

fn cuMemsetD8Async(to: u64, value: u8, n: usize, stream: u64) {
    fill_in(to, &[value], n, Some(stream))
}

fn cuMemsetD16Async(to: u64, value: u16, n: usize, stream: u64) {
    fill_in(to, &value.to_le_bytes(), n, Some(stream))
}

fn cuMemsetD32Async(to: u64, value: u32, n: usize, stream: u64) {
    fill_in(to, &value.to_le_bytes(), n, Some(stream))
}

}
