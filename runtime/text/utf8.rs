//! Decodes a stream of UTF-8 bytes.

/// Turns the bytes of generated tokens into text without splitting a character. An incomplete character is held back;
/// bytes that are not UTF-8 become U+FFFD. The whole output is `String::from_utf8_lossy` of the whole input.
#[derive(Debug, Clone, Default)]
pub struct Detokenizer {
    /// The beginning of an incomplete character, at most 3 bytes.
    pending: Vec<u8>,
}

impl Detokenizer {
    /// Begins a text.
    pub fn new() -> Detokenizer {
        Detokenizer::default()
    }

    /// Takes the next token's bytes ([`Tokenizer::token_bytes`](super::Tokenizer::token_bytes)), returns the text that
    /// is complete.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let mut text = String::with_capacity(self.pending.len());
        let mut done = 0;
        for chunk in self.pending.utf8_chunks() {
            text.push_str(chunk.valid());
            done += chunk.valid().len();
            let invalid = chunk.invalid();
            let at_end = done + invalid.len() == self.pending.len();
            let incomplete = at_end && str::from_utf8(invalid).is_err_and(|e| e.error_len().is_none());
            if !invalid.is_empty() && !incomplete {
                text.push(char::REPLACEMENT_CHARACTER);
                done += invalid.len();
            }
        }
        self.pending.drain(..done);
        text
    }

    /// Ends the text. Returns U+FFFD if the last character is incomplete, else an empty text.
    pub fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.pending)).into_owned()
    }
}
