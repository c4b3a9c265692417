//! The order of streams, on a device where work runs only when something waits for it.

use super::{fails, fill, function, get, host, lazy_device, module, ok, read, words};
use crate::api::event::{cuEventCreate, cuEventElapsedTime, cuEventQuery, cuEventRecord, cuEventSynchronize};
use crate::api::memory::{cuMemFreeHost, cuMemHostAlloc};
use crate::api::stream::{
    cuLaunchHostFunc, cuStreamCreate, cuStreamDestroy_v2, cuStreamQuery, cuStreamSynchronize, cuStreamWaitEvent,
};
use crate::api::transfer::{cuMemcpyDtoHAsync_v2, cuMemcpyHtoDAsync_v2};
use crate::raw::{self, Out};
use crate::status::Status;
use std::sync::atomic::{AtomicU64, Ordering};

const NON_BLOCKING: u32 = 1;

#[test]
fn work_runs_when_something_waits_for_it() {
    lazy_device();
    let kernel = function(module(), c"fill");
    let out = words(4);
    let blocking = get(|out| cuStreamCreate(out, 0));
    let free = get(|out| cuStreamCreate(out, NON_BLOCKING));
    // The legacy stream, in which `read` copies, waits for blocking streams, and for no other.
    ok(fill(kernel, free, out, 1, 4));
    assert_eq!(read(out, 4), [0; 4]);
    ok(fill(kernel, blocking, out, 2, 4));
    assert_eq!(read(out, 4), [2; 4]);
    ok(cuStreamSynchronize(free));
    assert_eq!(read(out, 4), [1; 4]);
    // A stream that waits for an event takes along what came before the event, and not what came after.
    let event = get(|out| cuEventCreate(out, 0));
    ok(fill(kernel, free, out, 3, 4));
    ok(cuEventRecord(event, free));
    ok(fill(kernel, free, out, 4, 4));
    ok(cuStreamWaitEvent(blocking, event, 0));
    ok(fill(kernel, blocking, out, 5, 1));
    ok(cuStreamSynchronize(blocking));
    assert_eq!(read(out, 4), [5, 3, 3, 3]);
    // Work of a destroyed stream still runs.
    ok(cuStreamDestroy_v2(free));
    ok(crate::api::context::cuCtxSynchronize());
    assert_eq!(read(out, 4), [4; 4]);
}

#[test]
fn queries_find_work_unfinished_once() {
    lazy_device();
    let kernel = function(module(), c"fill");
    let out = words(4);
    let stream = get(|out| cuStreamCreate(out, NON_BLOCKING));
    let [from, to] = [0; 2].map(|flags| get(|out| cuEventCreate(out, flags)));
    ok(cuEventQuery(from));
    ok(cuEventRecord(from, stream));
    ok(fill(kernel, stream, out, 1, 4));
    ok(cuEventRecord(to, stream));
    let mut time = 0.0;
    fails(cuEventElapsedTime(Out::of(&mut time), from, to), Status::NotReady);
    fails(cuEventQuery(to), Status::NotReady);
    ok(cuEventQuery(to));
    ok(cuEventElapsedTime(Out::of(&mut time), from, to));
    assert!(time > 0.0);
    ok(fill(kernel, stream, out, 2, 4));
    fails(cuStreamQuery(stream), Status::NotReady);
    ok(cuStreamQuery(stream));
    assert_eq!(read(out, 4), [2; 4]);
}

/// Pageable memory is read at the call, pinned memory when the copy runs.
#[test]
fn copies_take_pinned_memory_as_it_is_when_they_run() {
    lazy_device();
    let out = words(2);
    let stream = get(|out| cuStreamCreate(out, NON_BLOCKING));
    let pinned = get(|out| cuMemHostAlloc(out, 4, 0));
    let mut pageable = [1u32];
    raw::write(pinned, &1u32.to_le_bytes()).expect("pinned memory");
    ok(cuMemcpyHtoDAsync_v2(out, host(&pageable), 4, stream));
    ok(cuMemcpyHtoDAsync_v2(out + 4, pinned, 4, stream));
    pageable[0] = 9;
    raw::write(pinned, &9u32.to_le_bytes()).expect("pinned memory");
    ok(cuStreamSynchronize(stream));
    assert_eq!((read(out, 2), pageable), (vec![1, 9], [9]));
    // Back: pageable memory has the bytes when the call returns, pinned memory after the event.
    let event = get(|out| cuEventCreate(out, 0));
    let mut back = [0u32];
    raw::write(pinned, &0u32.to_le_bytes()).expect("pinned memory");
    ok(cuMemcpyDtoHAsync_v2(pinned, out + 4, 4, stream));
    assert_eq!(raw::bytes(pinned, 4).expect("pinned memory"), [0; 4]);
    ok(cuEventRecord(event, stream));
    ok(cuEventSynchronize(event));
    assert_eq!(raw::bytes(pinned, 4).expect("pinned memory"), [9, 0, 0, 0]);
    ok(cuMemcpyDtoHAsync_v2(back.as_mut_ptr().expose_provenance() as u64, out, 4, stream));
    assert_eq!(back, [1]);
    ok(cuMemFreeHost(pinned));
}

#[test]
fn host_functions_run_in_their_place() {
    static SEEN: AtomicU64 = AtomicU64::new(0);
    extern "C" fn note(data: u64) {
        let mut word = [0; 4];
        raw::read(data, &mut word).expect("pinned memory");
        SEEN.store(u64::from(u32::from_le_bytes(word)), Ordering::Relaxed);
    }
    lazy_device();
    let kernel = function(module(), c"fill");
    let out = words(1);
    let stream = get(|out| cuStreamCreate(out, NON_BLOCKING));
    let pinned = get(|out| cuMemHostAlloc(out, 4, 0));
    ok(fill(kernel, stream, out, 11, 1));
    ok(cuMemcpyDtoHAsync_v2(pinned, out, 4, stream));
    ok(cuLaunchHostFunc(stream, Some(note), pinned));
    assert_eq!(SEEN.load(Ordering::Relaxed), 0);
    ok(cuStreamSynchronize(stream));
    assert_eq!(SEEN.load(Ordering::Relaxed), 11);
    fails(cuLaunchHostFunc(stream, None, 0), Status::InvalidValue);
}
