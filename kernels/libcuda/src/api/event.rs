//! Events.

use crate::entry::entries;
use crate::options::NoWait;
use crate::queue::Point;
use crate::raw::Out;
use crate::state::{Event, run_to, wait, with};
use crate::status::{Outcome, Status};

/// `CU_EVENT_DISABLE_TIMING`
const DISABLE_TIMING: u32 = 2;
/// All flags that there are.
const FLAGS: u32 = 7;

/// What an event waits for, and its device. Errors: it belongs to a capture.
fn point(event: u64) -> Outcome<(Option<Point>, usize)> {
    with(|state| {
        let event = state.events.get(event)?;
        let device = state.contexts.get(event.context)?.device;
        let point = event.point;
        match event.captured.as_ref().map(|mark| mark.capture) {
            Some(capture) => Err(state.invalidate(capture, Status::CapturedEvent)),
            None => Ok((point, device)),
        }
    })
}

fn record(event: u64, stream: u64) -> Outcome {
    // What runs at once has its time at once.
    let now = with(|state| {
        state.record(event, stream)?;
        let key = state.stream(stream)?;
        let lazy = state.devices[state.device_of(key)].lazy;
        Ok(state.events.get(event)?.point.filter(|_| !lazy))
    })?;
    now.map_or(Ok(()), run_to)
}

fn elapsed(out: Out<f32>, from: u64, to: u64) -> Outcome {
    with(|state| {
        let (from, to) = (state.events.get(from)?, state.events.get(to)?);
        let recorded = [from, to].iter().all(|event| event.timed && event.point.is_some());
        if !recorded {
            return Err(Status::InvalidHandle.into());
        }
        let (Some(from), Some(to)) = (from.came, to.came) else { return Err(Status::NotReady.into()) };
        let seconds = if to >= from { (to - from).as_secs_f32() } else { -(from - to).as_secs_f32() };
        out.put(seconds * 1e3)
    })
}

entries! { Initialized:

fn cuEventCreate(out: Out<u64>, flags: u32) {
    if flags > FLAGS || out.is_null() {
        return Err(Status::InvalidValue.into());
    }
    with(|state| {
        let timed = flags & DISABLE_TIMING == 0;
        let event = Event { context: state.current()?, point: None, captured: None, came: None, timed };
        out.put(state.events.add(event))
    })
}

fn cuEventDestroy_v2(event: u64) {
    with(|state| state.events.remove(event).map(|_| ()))
}

fn cuEventRecord(event: u64, stream: u64) {
    record(event, stream)
}

fn cuEventRecordWithFlags(event: u64, stream: u64, _flags: u32) {
    record(event, stream)
}

fn cuEventSynchronize(event: u64) {
    let (point, device) = point(event)?;
    point.map_or(Ok(()), |point| wait(point, NoWait::Events))?;
    with(|state| state.devices[device].check())
}

// As `cuStreamQuery`.
fn cuEventQuery(event: u64) {
    let (point, device) = point(event)?;
    let Some(point) = point else { return Ok(()) };
    let had_run = with(|state| Ok(state.queues.has_run(point)))?;
    run_to(point)?;
    with(|state| state.devices[device].check())?;
    if had_run { Ok(()) } else { Err(Status::NotReady.into()) }
}

// Time of the simulator, which is not that of a GPU.
fn cuEventElapsedTime(out: Out<f32>, from: u64, to: u64) {
    elapsed(out, from, to)
}

fn cuEventElapsedTime_v2(out: Out<f32>, from: u64, to: u64) {
    elapsed(out, from, to)
}

}
