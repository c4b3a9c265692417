//! Stop strings in a stream of text.

use super::Error;

/// Passes text on up to the first stop string. Text that may be the beginning of a stop string is held back.
///
/// The first stop string is the one that ends first; among several with the same end, the longest. So the result does
/// not depend on how the text is cut into pieces.
#[derive(Debug, Clone)]
pub struct StopMatcher {
    stops: Vec<String>,
    /// The held-back end of the text: the longest beginning of a stop string.
    pending: String,
    /// Index in `stops`.
    stopped: Option<usize>,
}

impl StopMatcher {
    /// Errors: an empty stop string.
    pub fn new(stops: impl IntoIterator<Item = impl Into<String>>) -> Result<StopMatcher, Error> {
        let stops: Vec<String> = stops.into_iter().map(Into::into).collect();
        match stops.iter().position(String::is_empty) {
            Some(i) => Err(Error::EmptyStop(i)),
            None => Ok(StopMatcher { stops, pending: String::new(), stopped: None }),
        }
    }

    /// Takes the next text and returns the text that can be shown: none after a stop string.
    pub fn push(&mut self, text: &str) -> String {
        if self.stopped.is_some() {
            return String::new();
        }
        self.pending.push_str(text);
        let found = |(i, stop): (usize, &String)| self.pending.find(stop.as_str()).map(|at| (at + stop.len(), at, i));
        let keep = match self.stops.iter().enumerate().filter_map(found).min() {
            Some((_, start, i)) => {
                self.stopped = Some(i);
                self.pending.truncate(start);
                start
            }
            None => self.safe_len(),
        };
        let rest = self.pending.split_off(keep);
        std::mem::replace(&mut self.pending, rest)
    }

    /// Ends the text. Returns the text that was held back, since it did not become a stop string.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.pending)
    }

    /// The stop string that was found.
    pub fn stopped(&self) -> Option<&str> {
        self.stopped.map(|i| self.stops[i].as_str())
    }

    /// Bytes of `pending` that cannot be part of a stop string.
    fn safe_len(&self) -> usize {
        let may_start = |at: &usize| self.stops.iter().any(|stop| stop.starts_with(&self.pending[*at..]));
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0);
        let tail = self.pending.len().saturating_sub(longest);
        let boundaries = (tail..self.pending.len()).filter(|&at| self.pending.is_char_boundary(at));
        boundaries.into_iter().find(may_start).unwrap_or(self.pending.len())
    }
}
