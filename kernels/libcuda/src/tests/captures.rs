//! Captures, and what they do not allow.

use super::{device, fails, fill, function, get, module, ok, read, words};
use crate::api::event::{cuEventCreate, cuEventRecord, cuEventSynchronize};
use crate::api::graph::{
    cuGraphDestroy, cuGraphExecDestroy, cuGraphGetNodes, cuGraphInstantiateWithFlags, cuGraphLaunch,
};
use crate::api::memory::cuMemAlloc_v2;
use crate::api::stream::{
    cuStreamBeginCapture_v2, cuStreamCreate, cuStreamEndCapture, cuStreamGetCaptureInfo_v2, cuStreamIsCapturing,
    cuStreamSynchronize, cuStreamWaitEvent, cuThreadExchangeStreamCaptureMode,
};
use crate::raw::Out;
use crate::status::Status;

const NON_BLOCKING: u32 = 1;
/// Modes of a capture. A global one would disturb the other tests, which run beside.
const THREAD_LOCAL: u32 = 1;
const RELAXED: u32 = 2;

fn stream(flags: u32) -> u64 {
    get(|out| cuStreamCreate(out, flags))
}

/// Ends a capture that cannot succeed.
fn ends_with(stream: u64, status: Status) {
    let mut graph = 1;
    fails(cuStreamEndCapture(stream, Out::of(&mut graph)), status);
    assert_eq!(graph, 0);
    assert_eq!(get(|out| cuStreamIsCapturing(stream, out)), 0);
}

#[test]
fn a_graph_runs_what_was_captured_as_often_as_it_is_launched() {
    device();
    let kernel = function(module(), c"fill");
    let out = words(4);
    let (first, second) = (stream(NON_BLOCKING), stream(NON_BLOCKING));
    let [fork, join] = [0; 2].map(|flags| get(|out| cuEventCreate(out, flags)));
    ok(cuStreamBeginCapture_v2(first, THREAD_LOCAL));
    fails(cuStreamBeginCapture_v2(first, THREAD_LOCAL), Status::IllegalState);
    let (mut status, mut id, mut known) = (0, 0, 0);
    let info = [Out::of(&mut id), Out::of(&mut known), Out::of(&mut 0)];
    let [id_out, graph_out, nodes] = info;
    ok(cuStreamGetCaptureInfo_v2(first, Out::of(&mut status), id_out, graph_out, nodes, Out::of(&mut 0)));
    ok(fill(kernel, first, out, 1, 4));
    ok(cuEventRecord(fork, first));
    ok(cuStreamWaitEvent(second, fork, 0));
    assert_eq!(get(|out| cuStreamIsCapturing(second, out)), 1);
    ok(fill(kernel, second, out, 2, 2));
    ok(cuEventRecord(join, second));
    ok(cuStreamWaitEvent(first, join, 0));
    let graph = get(|out| cuStreamEndCapture(first, out));
    assert_eq!((status, known), (1, graph));
    assert_eq!(get(|out| cuStreamIsCapturing(second, out)), 0);
    assert_eq!(read(out, 4), [0; 4], "nothing has run");
    let mut nodes = [0; 4];
    let mut n = nodes.len();
    ok(cuGraphGetNodes(graph, Out::of(&mut nodes[0]), Out::of(&mut n)));
    assert_eq!(n, 2);
    let exec = get(|out| cuGraphInstantiateWithFlags(out, graph, 0));
    ok(cuGraphDestroy(graph));
    for _ in 0..2 {
        ok(cuGraphLaunch(exec, first));
        ok(cuStreamSynchronize(first));
        assert_eq!(read(out, 4), [2, 2, 1, 1]);
        ok(fill(kernel, first, out, 0, 4));
    }
    ok(cuGraphExecDestroy(exec));
}

#[test]
fn what_a_capture_does_not_allow_invalidates_it() {
    device();
    let kernel = function(module(), c"fill");
    let out = words(4);
    let (first, second) = (stream(NON_BLOCKING), stream(NON_BLOCKING));
    let event = get(|out| cuEventCreate(out, 0));
    // Waiting, and allocating.
    ok(cuStreamBeginCapture_v2(first, THREAD_LOCAL));
    fails(cuStreamSynchronize(first), Status::StreamCaptureUnsupported);
    fails(fill(kernel, first, out, 1, 4), Status::StreamCaptureInvalidated);
    assert_eq!(get(|out| cuStreamIsCapturing(first, out)), 2);
    ends_with(first, Status::StreamCaptureInvalidated);
    ok(cuStreamBeginCapture_v2(first, THREAD_LOCAL));
    fails(cuMemAlloc_v2(Out::of(&mut 0), 4), Status::StreamCaptureUnsupported);
    ends_with(first, Status::StreamCaptureInvalidated);
    // The same is allowed where it was asked for.
    ok(cuStreamBeginCapture_v2(first, RELAXED));
    get(|out| cuMemAlloc_v2(out, 4));
    get(|out| cuStreamEndCapture(first, out));
    ok(cuStreamBeginCapture_v2(first, THREAD_LOCAL));
    let mut mode = RELAXED;
    ok(cuThreadExchangeStreamCaptureMode(Out::of(&mut mode)));
    get(|out| cuMemAlloc_v2(out, 4));
    ok(cuThreadExchangeStreamCaptureMode(Out::of(&mut mode)));
    get(|out| cuStreamEndCapture(first, out));
    // An event of a capture is no event to wait for.
    ok(cuStreamBeginCapture_v2(first, THREAD_LOCAL));
    ok(cuEventRecord(event, first));
    fails(cuEventSynchronize(event), Status::CapturedEvent);
    ends_with(first, Status::StreamCaptureInvalidated);
    // An event from outside.
    ok(cuEventRecord(event, second));
    ok(cuStreamBeginCapture_v2(first, THREAD_LOCAL));
    fails(cuStreamWaitEvent(first, event, 0), Status::StreamCaptureIsolation);
    ends_with(first, Status::StreamCaptureInvalidated);
    // Two captures that meet.
    ok(cuStreamBeginCapture_v2(first, THREAD_LOCAL));
    ok(cuStreamBeginCapture_v2(second, THREAD_LOCAL));
    ok(cuEventRecord(event, first));
    fails(cuStreamWaitEvent(second, event, 0), Status::StreamCaptureMerge);
    ends_with(first, Status::StreamCaptureInvalidated);
    ends_with(second, Status::StreamCaptureInvalidated);
}

#[test]
fn a_capture_ends_where_it_began_with_all_its_work_joined() {
    device();
    let kernel = function(module(), c"fill");
    let out = words(4);
    let (first, second) = (stream(NON_BLOCKING), stream(NON_BLOCKING));
    let event = get(|out| cuEventCreate(out, 0));
    fails(cuStreamEndCapture(first, Out::of(&mut 0)), Status::IllegalState);
    let fork = || {
        ok(cuStreamBeginCapture_v2(first, THREAD_LOCAL));
        ok(fill(kernel, first, out, 1, 4));
        ok(cuEventRecord(event, first));
        ok(cuStreamWaitEvent(second, event, 0));
        ok(fill(kernel, second, out, 2, 4));
    };
    fork();
    ends_with(first, Status::StreamCaptureUnjoined);
    fork();
    fails(cuStreamEndCapture(second, Out::of(&mut 0)), Status::StreamCaptureUnmatched);
    ends_with(first, Status::StreamCaptureInvalidated);
    // Another thread may not end it.
    ok(cuStreamBeginCapture_v2(first, THREAD_LOCAL));
    let other = std::thread::spawn(move || cuStreamEndCapture(first, Out::of(&mut 0)));
    fails(other.join().expect("it ends"), Status::StreamCaptureWrongThread);
    ends_with(first, Status::StreamCaptureInvalidated);
    // The legacy stream would wait for a blocking stream that captures.
    fails(cuStreamBeginCapture_v2(0, THREAD_LOCAL), Status::StreamCaptureUnsupported);
    let blocking = stream(0);
    ok(cuStreamBeginCapture_v2(blocking, THREAD_LOCAL));
    fails(fill(kernel, 0, out, 1, 4), Status::StreamCaptureImplicit);
    ends_with(blocking, Status::StreamCaptureInvalidated);
}
