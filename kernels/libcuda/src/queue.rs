//! Work in the order of its streams. Each piece has a number that rises with the calls; what a piece waits for has lower numbers, so that
//! going from piece to piece ends.

use crate::raw::Callback;
use crate::work::Action;
use std::collections::{BTreeMap, VecDeque};

/// A point of a stream: everything of it up to this number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Point {
    pub stream: u64,
    pub number: u64,
}

/// A piece of work.
pub struct Work {
    pub number: u64,
    pub device: usize,
    pub action: Action,
    /// What must have run before, beside the earlier work of its stream.
    after: Vec<Point>,
}

/// The work of one stream that has not run.
#[derive(Default)]
struct Queue {
    waiting: VecDeque<Work>,
    /// What the next piece must come after.
    after: Vec<Point>,
    /// The number of the latest piece, and its device.
    last: u64,
    device: usize,
    /// A callback of this stream is being called.
    calling: bool,
}

/// The queues of all streams.
#[derive(Default)]
pub struct Queues {
    number: u64,
    by_stream: BTreeMap<u64, Queue>,
}

/// What [`Queues::next`] found.
pub enum Next {
    /// Everything up to the point has run.
    Done,
    /// This runs next.
    Run(Work),
    /// This is called next, without the lock of the state; [`Queues::called`] follows. The device is that of its stream.
    Call { callback: Callback, stream: u64, device: usize },
    /// Another thread is in a callback that comes before.
    Wait,
}

impl Queues {
    /// Adds work to the end of a stream.
    pub fn push(&mut self, stream: u64, device: usize, action: Action) {
        self.number += 1;
        let queue = self.by_stream.entry(stream).or_default();
        let after = std::mem::take(&mut queue.after);
        queue.waiting.push_back(Work { number: self.number, device, action, after });
        (queue.last, queue.device) = (self.number, device);
    }

    /// Later work of `stream` comes after `point`.
    pub fn wait_for(&mut self, stream: u64, point: Point) {
        if point.stream != stream && !self.has_run(point) {
            self.by_stream.entry(stream).or_default().after.push(point);
        }
    }

    /// The end of a stream as it is now.
    pub fn end(&self, stream: u64) -> Point {
        Point { stream, number: self.by_stream.get(&stream).map_or(0, |queue| queue.last) }
    }

    /// The streams that have had work on this device, destroyed ones too.
    pub fn streams_of(&self, device: usize) -> impl Iterator<Item = u64> {
        self.by_stream
            .iter()
            .filter(move |(_, queue)| queue.last > 0 && queue.device == device)
            .map(|(stream, _)| *stream)
    }

    pub fn has_run(&self, point: Point) -> bool {
        let Some(queue) = self.by_stream.get(&point.stream) else { return true };
        !queue.calling && queue.waiting.front().is_none_or(|work| work.number > point.number)
    }

    /// Takes out the piece that must run next for `point` to be reached.
    pub fn next(&mut self, point: Point) -> Next {
        let mut point = point;
        loop {
            let Some(queue) = self.by_stream.get(&point.stream) else { return Next::Done };
            if queue.calling {
                return Next::Wait;
            }
            let Some(work) = queue.waiting.front().filter(|work| work.number <= point.number) else {
                return Next::Done;
            };
            match work.after.iter().find(|before| !self.has_run(**before)) {
                Some(before) => point = *before,
                None => break,
            }
        }
        let stream = point.stream;
        let Some(queue) = self.by_stream.get_mut(&stream) else { return Next::Done };
        match queue.waiting.pop_front() {
            Some(Work { action: Action::Call(callback), device, .. }) => {
                queue.calling = true;
                Next::Call { callback, stream, device }
            }
            Some(work) => Next::Run(work),
            None => Next::Done,
        }
    }

    /// The callback of [`Next::Call`] has returned.
    pub fn called(&mut self, stream: u64) {
        if let Some(queue) = self.by_stream.get_mut(&stream) {
            queue.calling = false;
        }
    }

    /// Forgets streams that are destroyed and have no work left.
    pub fn tidy(&mut self, lives: impl Fn(u64) -> bool) {
        self.by_stream.retain(|stream, queue| lives(*stream) || queue.calling || !queue.waiting.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of the work that `point` needs, in the order in which it runs.
    fn order(queues: &mut Queues, point: Point) -> Vec<u64> {
        let mut seen = vec![];
        while let Next::Run(work) = queues.next(point) {
            seen.push(work.number);
        }
        seen
    }

    #[test]
    fn only_what_a_point_needs_runs() {
        let mut queues = Queues::default();
        queues.push(7, 0, Action::Mark(0)); // 1
        queues.push(8, 0, Action::Mark(0)); // 2
        let eight = queues.end(8);
        queues.push(8, 0, Action::Mark(0)); // 3
        queues.wait_for(7, eight);
        queues.push(7, 0, Action::Mark(0)); // 4
        assert_eq!(order(&mut queues, Point { stream: 7, number: 1 }), [1]);
        let seven = queues.end(7);
        assert!(!queues.has_run(seven));
        assert_eq!(order(&mut queues, seven), [2, 4], "3 is not waited for");
        assert!(queues.has_run(seven) && !queues.has_run(queues.end(8)));
    }
}
