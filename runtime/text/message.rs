//! The turns of a conversation.

use std::ops::Range;

use serde::Serialize;

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// `system`, `user` or `assistant`. It is the program's word, not a text: control tokens may be made of it.
    pub role: String,
    /// The text of the message.
    pub content: String,
    /// Byte ranges of `content`, in order: control tokens that a model has generated.
    #[serde(skip)]
    control: Vec<Range<usize>>,
}

impl Message {
    /// Creates a message. All of its content is text, whatever it looks like.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Message {
        Message { role: role.into(), content: content.into(), control: vec![] }
    }

    /// Appends a control token that a model has generated, by its text.
    pub fn push_control(&mut self, text: &str) {
        let start = self.content.len();
        self.content.push_str(text);
        self.control.push(start..self.content.len());
    }

    /// Whether a control token lies at this byte of the content.
    pub(super) fn is_control(&self, at: usize) -> bool {
        self.control.iter().any(|range| range.contains(&at))
    }
}
