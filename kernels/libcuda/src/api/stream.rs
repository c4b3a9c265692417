//! Streams, and their capture.

use crate::capture::{Mode, exchange_mode, issue};
use crate::entry::entries;
use crate::options::NoWait;
use crate::queue::Point;
use crate::raw::{Callback, HostFunction, Out, StreamFunction};
use crate::state::{Stream, run_to, wait, with};
use crate::status::{Outcome, Status};
use crate::work::Action;

/// `CU_STREAM_NON_BLOCKING`
const NON_BLOCKING: u32 = 1;
/// `CUstreamCaptureStatus`
const NONE: u32 = 0;
const ACTIVE: u32 = 1;
const INVALIDATED: u32 = 2;

fn create(out: Out<u64>, flags: u32, priority: i32) -> Outcome {
    if flags > NON_BLOCKING || out.is_null() {
        return Err(Status::InvalidValue.into());
    }
    with(|state| {
        let (context, device) = (state.current()?, state.current_device()?);
        let blocking = flags & NON_BLOCKING == 0;
        out.put(state.streams.add(Stream { context, device, blocking, priority: priority.clamp(-5, 0), capture: None }))
    })
}

/// The device and the end of a stream that is not capturing.
fn end(stream: u64) -> Outcome<(usize, Point)> {
    with(|state| {
        let key = state.stream(stream)?;
        state.not_capturing(|other, _| other == key)?;
        Ok((state.device_of(key), state.queues.end(key)))
    })
}

/// Status, number and graph of a stream's capture.
fn capture(stream: u64) -> Outcome<(u32, u64, u64)> {
    with(|state| {
        let key = state.stream(stream)?;
        let Some(id) = state.capture_of(key) else { return Ok((NONE, 0, 0)) };
        let capture = state.captures.get(id)?;
        Ok((if capture.is_invalid() { INVALIDATED } else { ACTIVE }, id, capture.graph))
    })
}

entries! { Initialized:

fn cuStreamCreate(out: Out<u64>, flags: u32) {
    create(out, flags, 0)
}

fn cuStreamCreateWithPriority(out: Out<u64>, flags: u32, priority: i32) {
    create(out, flags, priority)
}

// Work that has not run yet still runs, with that of its device.
fn cuStreamDestroy_v2(stream: u64) {
    with(|state| {
        state.streams.get(stream)?;
        state.drop_capture(stream);
        state.streams.remove(stream).map(|_| ())
    })
}

fn cuStreamSynchronize(stream: u64) {
    let (device, end) = end(stream)?;
    wait(end, NoWait::Streams)?;
    with(|state| {
        state.devices[device].sim.synchronize();
        state.devices[device].check()
    })
}

// In lazy mode a query of unfinished work says that it is unfinished, and runs it: a loop of queries ends.
fn cuStreamQuery(stream: u64) {
    let (device, end) = end(stream)?;
    let had_run = with(|state| Ok(state.queues.has_run(end)))?;
    run_to(end)?;
    with(|state| state.devices[device].check())?;
    if had_run { Ok(()) } else { Err(Status::NotReady.into()) }
}

fn cuStreamWaitEvent(stream: u64, event: u64, _flags: u32) {
    with(|state| state.wait_event(stream, event))
}

fn cuStreamGetCtx(stream: u64, out: Out<u64>) {
    with(|state| {
        let key = state.stream(stream)?;
        let context = state.streams.get(key).map(|s| s.context).or_else(|_| state.current())?;
        out.put(context)
    })
}

fn cuStreamGetFlags(stream: u64, out: Out<u32>) {
    with(|state| {
        let key = state.stream(stream)?;
        out.put(state.streams.get(key).map_or(0, |s| if s.blocking { 0 } else { NON_BLOCKING }))
    })
}

fn cuStreamGetPriority(stream: u64, out: Out<i32>) {
    with(|state| {
        let key = state.stream(stream)?;
        out.put(state.streams.get(key).map_or(0, |s| s.priority))
    })
}

fn cuStreamGetId(stream: u64, out: Out<u64>) {
    with(|state| out.put(state.stream(stream)?))
}

fn cuStreamGetDevice(stream: u64, out: Out<i32>) {
    with(|state| {
        let key = state.stream(stream)?;
        out.put(state.device_of(key) as i32)
    })
}

fn cuStreamAttachMemAsync(stream: u64, address: u64, _bytes: usize, _flags: u32) {
    with(|state| {
        state.stream(stream)?;
        state.memory.place(address, 0).map(|_| ())
    })
}

fn cuLaunchHostFunc(stream: u64, function: Option<HostFunction>, data: u64) {
    let function = function.ok_or(Status::InvalidValue)?;
    issue(stream, Action::Call(Callback::Host { function, data }))
}

fn cuStreamAddCallback(stream: u64, function: Option<StreamFunction>, data: u64, flags: u32) {
    let function = function.filter(|_| flags == 0).ok_or(Status::InvalidValue)?;
    end(stream)?; // a capture does not take it
    issue(stream, Action::Call(Callback::Stream { function, stream, data }))
}

fn cuStreamBeginCapture_v2(stream: u64, mode: u32) {
    let mode = Mode::of(mode)?;
    with(|state| state.begin_capture(stream, mode))
}

fn cuStreamEndCapture(stream: u64, out: Out<u64>) {
    let graph = with(|state| state.end_capture(stream));
    out.put(*graph.as_ref().unwrap_or(&0))?;
    graph.map(|_| ())
}

fn cuStreamIsCapturing(stream: u64, out: Out<u32>) {
    out.put(capture(stream)?.0)
}

fn cuStreamGetCaptureInfo_v2(stream: u64, status: Out<u32>, id: Out<u64>, graph: Out<u64>, nodes: Out<u64>, n: Out<usize>) {
    let (state, number, of_capture) = capture(stream)?;
    status.put(state)?;
    id.offer(number);
    graph.offer(of_capture);
    // Nodes have no handles.
    nodes.offer(0);
    n.offer(0);
    Ok(())
}

fn cuStreamGetCaptureInfo_v3(
    stream: u64,
    status: Out<u32>,
    id: Out<u64>,
    graph: Out<u64>,
    nodes: Out<u64>,
    edges: Out<u64>,
    n: Out<usize>,
) {
    let (state, number, of_capture) = capture(stream)?;
    status.put(state)?;
    id.offer(number);
    graph.offer(of_capture);
    nodes.offer(0);
    edges.offer(0);
    n.offer(0);
    Ok(())
}

fn cuThreadExchangeStreamCaptureMode(mode: Out<u32>) {
    let before = exchange_mode(Mode::of(mode.get()?)?);
    mode.put(before as u32)
}

}
