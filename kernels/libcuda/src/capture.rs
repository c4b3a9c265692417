//! Streams that collect work for a graph, with the rules of `cuStreamBeginCapture`: what a capture does not allow is an error, and
//! invalidates it.

use crate::state::{Graph, State, run_to, with};
use crate::status::{Outcome, Refusal, Status};
use crate::work::Action;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::thread::{self, ThreadId};

/// Which calls a capture forbids to which threads (`CUstreamCaptureMode`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Global,
    ThreadLocal,
    Relaxed,
}

impl Mode {
    /// Errors: not a number of a mode.
    pub fn of(number: u32) -> Outcome<Mode> {
        match number {
            0 => Ok(Mode::Global),
            1 => Ok(Mode::ThreadLocal),
            2 => Ok(Mode::Relaxed),
            _ => Err(Status::InvalidValue.into()),
        }
    }
}

thread_local! {
    /// What `cuThreadExchangeStreamCaptureMode` set.
    static MODE: Cell<Mode> = const { Cell::new(Mode::Global) };
}

/// Sets the mode of this thread; the one before.
pub fn exchange_mode(mode: Mode) -> Mode {
    MODE.replace(mode)
}

/// What an event is recorded behind in a capture.
#[derive(Clone)]
pub struct Mark {
    pub capture: u64,
    nodes: BTreeSet<usize>,
}

struct Node {
    action: Action,
    after: BTreeSet<usize>,
}

/// A graph in the making.
pub struct Capture {
    /// What it becomes: without nodes until it ends.
    pub graph: u64,
    /// The stream in which it began and must end.
    origin: u64,
    mode: Mode,
    thread: ThreadId,
    /// In the order of the calls, which every edge goes along.
    nodes: Vec<Node>,
    /// What the next node of each stream comes after.
    ends: BTreeMap<u64, BTreeSet<usize>>,
    invalid: bool,
}

impl Capture {
    fn add(&mut self, stream: u64, action: Action) {
        let at = self.nodes.len();
        let after = std::mem::replace(self.ends.entry(stream).or_default(), BTreeSet::from([at]));
        self.nodes.push(Node { action, after });
    }

    pub fn is_invalid(&self) -> bool {
        self.invalid
    }

    /// Whether the end of the origin comes after every node.
    fn is_joined(&self) -> bool {
        let mut reached = BTreeSet::new();
        let mut open: Vec<usize> = self.ends.get(&self.origin).into_iter().flatten().copied().collect();
        while let Some(at) = open.pop() {
            if reached.insert(at) {
                open.extend(&self.nodes[at].after);
            }
        }
        reached.len() == self.nodes.len()
    }
}

impl State {
    /// The capture that a stream takes part in.
    pub fn capture_of(&self, stream: u64) -> Option<u64> {
        self.streams.get(stream).ok()?.capture
    }

    /// Makes a capture useless, since `status` says that it did what it may not.
    pub fn invalidate(&mut self, capture: u64, status: Status) -> Refusal {
        if let Ok(capture) = self.captures.get_mut(capture) {
            capture.invalid = true;
        }
        status.into()
    }

    /// For calls that may disturb a capture, such as those that wait or allocate.
    pub fn no_capture(&mut self) -> Outcome {
        let this = thread::current().id();
        let mode = MODE.get();
        let disturbed = self.captures.iter().find(|(_, capture)| match mode {
            Mode::Relaxed => false,
            Mode::ThreadLocal => capture.thread == this && capture.mode != Mode::Relaxed,
            Mode::Global => capture.mode == Mode::Global || capture.thread == this && capture.mode == Mode::ThreadLocal,
        });
        match disturbed.map(|(handle, _)| handle) {
            Some(capture) => Err(self.invalidate(capture, Status::StreamCaptureUnsupported)),
            None => Ok(()),
        }
    }

    /// For calls that wait for a stream, or for all streams of a device.
    pub fn not_capturing(&mut self, streams: impl Fn(u64, usize) -> bool) -> Outcome {
        let captured = self.streams.iter().filter(|(handle, stream)| streams(*handle, stream.device));
        let first = captured.filter_map(|(_, stream)| stream.capture).next();
        match first {
            Some(capture) => Err(self.invalidate(capture, Status::StreamCaptureUnsupported)),
            None => Ok(()),
        }
    }

    pub fn begin_capture(&mut self, handle: u64, mode: Mode) -> Outcome {
        let key = self.stream(handle)?;
        let context = self.current()?;
        let Ok(stream) = self.streams.get_mut(key) else { return Err(Status::StreamCaptureUnsupported.into()) };
        if stream.capture.is_some() {
            return Err(Status::IllegalState.into());
        }
        let ends = BTreeMap::from([(key, BTreeSet::new())]);
        let thread = thread::current().id();
        let graph = self.graphs.add(Graph { context, nodes: vec![] });
        let capture = Capture { graph, origin: key, mode, thread, nodes: vec![], ends, invalid: false };
        stream.capture = Some(self.captures.add(capture));
        Ok(())
    }

    /// The graph of what was captured.
    pub fn end_capture(&mut self, handle: u64) -> Outcome<u64> {
        let key = self.stream(handle)?;
        let id = self.capture_of(key).ok_or(Status::IllegalState)?;
        let capture = self.captures.get(id)?;
        if capture.origin != key {
            return Err(self.invalidate(id, Status::StreamCaptureUnmatched));
        }
        if capture.mode != Mode::Relaxed && capture.thread != thread::current().id() {
            return Err(self.invalidate(id, Status::StreamCaptureWrongThread));
        }
        let capture = self.captures.remove(id)?;
        self.leave_capture(id);
        let wrong = match (capture.invalid, capture.is_joined()) {
            (true, _) => Some(Status::StreamCaptureInvalidated),
            (false, false) => Some(Status::StreamCaptureUnjoined),
            (false, true) => None,
        };
        if let Some(status) = wrong {
            let _ = self.graphs.remove(capture.graph); // unless the caller has destroyed it
            return Err(status.into());
        }
        self.graphs.get_mut(capture.graph)?.nodes = capture.nodes.into_iter().map(|node| node.action).collect();
        Ok(capture.graph)
    }

    /// All streams of a capture are as before it.
    fn leave_capture(&mut self, id: u64) {
        self.streams.iter_mut().filter(|(_, s)| s.capture == Some(id)).for_each(|(_, s)| s.capture = None);
    }

    /// Forgets the capture of a stream that is destroyed.
    pub fn drop_capture(&mut self, stream: u64) {
        if let Some(id) = self.capture_of(stream) {
            self.forget_capture(id);
        }
    }

    /// Forgets the captures that this thread began.
    pub fn drop_captures_of_thread(&mut self) {
        let this = thread::current().id();
        let own: Vec<u64> = self.captures.iter().filter(|(_, c)| c.thread == this).map(|(id, _)| id).collect();
        own.into_iter().for_each(|id| self.forget_capture(id));
    }

    fn forget_capture(&mut self, id: u64) {
        if let Ok(capture) = self.captures.remove(id) {
            let _ = self.graphs.remove(capture.graph);
        }
        self.leave_capture(id);
    }

    /// Puts work into a stream, or into the graph that captures it. True: into the stream.
    fn put(&mut self, key: u64, action: Action) -> Outcome<bool> {
        if let Some(id) = self.capture_of(key) {
            let capture = self.captures.get_mut(id)?;
            if capture.invalid {
                return Err(Status::StreamCaptureInvalidated.into());
            }
            capture.add(key, action);
            return Ok(false);
        }
        let implied = self.implied(key);
        if let Some(id) = implied.iter().find_map(|other| self.capture_of(*other)) {
            return Err(self.invalidate(id, Status::StreamCaptureImplicit));
        }
        for other in implied {
            let end = self.queues.end(other);
            self.queues.wait_for(key, end);
        }
        let device = self.device_of(key);
        self.devices[device].check_told()?;
        self.queues.push(key, device, action);
        Ok(true)
    }

    /// `cuEventRecord`.
    pub fn record(&mut self, event: u64, stream: u64) -> Outcome {
        let key = self.stream(stream)?;
        self.events.get(event)?;
        let captured = match self.capture_of(key) {
            Some(id) => {
                let capture = self.captures.get(id)?;
                if capture.invalid {
                    return Err(Status::StreamCaptureInvalidated.into());
                }
                Some(Mark { capture: id, nodes: capture.ends.get(&key).cloned().unwrap_or_default() })
            }
            None => {
                self.put(key, Action::Mark(event))?;
                None
            }
        };
        let point = captured.is_none().then(|| self.queues.end(key));
        let event = self.events.get_mut(event)?;
        (event.captured, event.point, event.came) = (captured, point, None);
        Ok(())
    }

    /// `cuStreamWaitEvent`: a stream that waits for an event of a capture joins it.
    pub fn wait_event(&mut self, stream: u64, event: u64) -> Outcome {
        let key = self.stream(stream)?;
        let event = self.events.get(event)?;
        let (mark, point) = (event.captured.clone(), event.point);
        match (self.capture_of(key), mark) {
            (None, None) => {
                if let Some(point) = point {
                    self.queues.wait_for(key, point);
                }
                Ok(())
            }
            (Some(id), None) => Err(self.invalidate(id, Status::StreamCaptureIsolation)),
            (Some(id), Some(mark)) if id != mark.capture => {
                let _ = self.invalidate(id, Status::StreamCaptureMerge);
                Err(self.invalidate(mark.capture, Status::StreamCaptureMerge))
            }
            (_, Some(mark)) => {
                // A capture that has ended leaves its events of no use.
                let capture = self.captures.get_mut(mark.capture).map_err(|_| Status::InvalidHandle)?;
                capture.ends.entry(key).or_default().extend(mark.nodes);
                self.streams.get_mut(key).map_err(|_| Status::StreamCaptureImplicit)?.capture = Some(mark.capture);
                Ok(())
            }
        }
    }
}

/// Gives work to a stream. It runs now, or when something waits for it in lazy mode.
pub fn issue(handle: u64, action: Action) -> Outcome {
    let end = with(|state| {
        let key = state.stream(handle)?;
        let queued = state.put(key, action)?;
        let lazy = state.devices[state.device_of(key)].lazy;
        Ok((queued && !lazy).then(|| state.queues.end(key)))
    })?;
    end.map_or(Ok(()), run_to)
}

/// Gives work to a stream, and waits for it unless the stream captures. Errors: also those of earlier work.
pub fn issue_and_wait(handle: u64, action: Action) -> Outcome {
    let (device, end) = with(|state| {
        let key = state.stream(handle)?;
        let queued = state.put(key, action)?;
        Ok((state.device_of(key), queued.then(|| state.queues.end(key))))
    })?;
    let Some(end) = end else { return Ok(()) };
    run_to(end)?;
    with(|state| state.devices[device].check())
}
