//! The kernels of a stream: which of them may still run when the next one starts.

/// Launch numbers in the shadow of global memory have 16 bits.
const LAST_NUMBER: u64 = 0xfffe;

/// The latest kernel of the stream, and what may still run beside it.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// The first launch that may run until the latest one has ended, and the latest one; 0 if none runs.
    first: u64,
    last: u64,
    /// The latest launch may have let its successor start before its predecessors had ended, or have ended before them.
    early: bool,
    /// The latest launch may have ended before its predecessors had.
    never_waited: bool,
    /// Number of the latest launch.
    pub number: u64,
}

impl Stream {
    /// All kernels have ended.
    pub fn synchronize(&mut self) {
        (self.first, self.last) = (0, 0);
    }

    /// Numbers a launch. True: the numbers start again, so that what earlier launches did must be forgotten.
    pub fn advance(&mut self) -> bool {
        self.number += 1;
        let again = self.number > LAST_NUMBER;
        if again {
            self.number = 1;
            self.synchronize();
        }
        again
    }

    /// Launches whose memory a new one must not touch, before and after its `griddepcontrol.wait`: first and last.
    ///
    /// The predecessor always. Its own predecessors as well, if it let this launch start before it had waited for them;
    /// and even after this launch's wait, if it ended without waiting for them.
    pub fn owners(&self, dependent: bool) -> [Option<(u64, u64)>; 2] {
        if !dependent || self.last == 0 {
            return [None, None];
        }
        let before = (if self.early { self.first } else { self.last }, self.last);
        let after = (self.never_waited && self.first < self.last).then(|| (self.first, self.last - 1));
        [Some(before), after]
    }

    /// Records the launch that was numbered last. `before`: the launches that may have run beside it. `early`: some thread
    /// let the next kernel start before it had waited. `never_waited`: some warp ended without waiting.
    pub fn launched(&mut self, before: Option<(u64, u64)>, dependent: bool, early: bool, never_waited: bool) {
        self.first = before.map_or(self.number, |(first, _)| first);
        self.last = self.number;
        self.early = dependent && (early || never_waited);
        self.never_waited = dependent && never_waited;
    }
}
