//! Conversations as tokens: control tokens come from the template, never from what a message says.
//!
//! A template may trim, cut and compare a message, so a message keeps its text while it is rendered. Only where a control token is
//! spelled in it, or begins at its end, it gets a mark: a character that neither a message nor the template has. In the rendered text the marks are
//! positions at which no control token may lie.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::{ChatTemplate, EncodeOptions, Error, Message, Tokenizer};

/// Candidates for the mark: private characters, which no vocabulary needs. `tojson` never escapes them.
pub(super) const MARKS: RangeInclusive<char> = '\u{100000}'..='\u{10FFFD}';

/// A rendered conversation. [`ChatTemplate::prompt`] creates it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    text: String,
    /// Bytes of `text`, in order, at which no control token may lie.
    plain_at: Vec<usize>,
}

impl Prompt {
    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The same prompt, in which control tokens are parsed everywhere: also in what a user has typed.
    pub fn with_control_tokens(self) -> Prompt {
        Prompt { plain_at: vec![], ..self }
    }

    /// The ids. If the model expects a beginning-of-text token and the template did not write it, it is put first.
    ///
    /// Errors: those of [`Tokenizer::encode`].
    pub fn encode(&self, tokenizer: &Tokenizer) -> Result<Vec<u32>, Error> {
        let options = EncodeOptions { add_bos: false, parse_special: true };
        let mut ids = tokenizer.encode_around(&self.text, options, &self.plain_at)?;
        if let Some(bos) = tokenizer.bos().filter(|bos| tokenizer.add_bos() && ids.first() != Some(bos)) {
            ids.insert(0, bos);
        }
        Ok(ids)
    }
}

impl ChatTemplate {
    /// The conversation as [`ChatTemplate::render`] writes it, for a model with this tokenizer. The texts of `messages` and `extra`
    /// stay text in it. What a template makes of a message by changing its letters is beyond this.
    ///
    /// Errors: those of [`ChatTemplate::render`].
    pub fn prompt(
        &self,
        tokenizer: &Tokenizer,
        messages: &[Message],
        add_generation_prompt: bool,
        extra: &Map<String, Value>,
    ) -> Result<Prompt, Error> {
        let mut texts: Vec<&str> = messages.iter().map(|message| message.content.as_str()).collect();
        extra.values().for_each(|value| add_texts(value, &mut texts));
        if texts.iter().all(|text| tokenizer.control_starts(text).is_empty()) {
            let text = self.render(messages, add_generation_prompt, extra)?;
            return Ok(Prompt { text, plain_at: vec![] });
        }
        texts.push(self.source());
        let mark = Mark::not_in(&texts)?;
        let messages: Vec<Message> = messages
            .iter()
            .map(|message| {
                let starts = tokenizer.control_starts(&message.content);
                let starts: Vec<usize> = starts.into_iter().filter(|at| !message.is_control(*at)).collect();
                Message::new(&*message.role, mark.put(&message.content, &starts))
            })
            .collect();
        let extra = extra.iter().map(|(name, value)| (name.clone(), mark.put_in_value(tokenizer, value)));
        match self.render(&messages, add_generation_prompt, &extra.collect()) {
            Ok(text) => Ok(mark.take(&text)),
            Err(Error::Template(problem)) => Err(Error::Template(mark.take(&problem).text)),
            Err(other) => Err(other),
        }
    }
}

/// The texts in a value.
fn add_texts<'v>(value: &'v Value, texts: &mut Vec<&'v str>) {
    match value {
        Value::String(text) => texts.push(text),
        Value::Array(items) => items.iter().for_each(|item| add_texts(item, texts)),
        Value::Object(items) => items.values().for_each(|item| add_texts(item, texts)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A character before what is no control token, although it looks like one.
struct Mark(char);

impl Mark {
    /// Errors: the texts have all candidates.
    fn not_in(texts: &[&str]) -> Result<Mark, Error> {
        let used: BTreeSet<char> = texts.iter().flat_map(|text| text.chars()).filter(|c| MARKS.contains(c)).collect();
        let free = MARKS.into_iter().find(|c| !used.contains(c));
        free.map(Mark).ok_or_else(|| Error::Template("the messages have all private characters".to_string()))
    }

    /// A text with marks at these bytes.
    fn put(&self, text: &str, starts: &[usize]) -> String {
        let (mut out, mut at) = (String::with_capacity(text.len()), 0);
        for start in starts {
            out += &text[at..*start];
            out.push(self.0);
            at = *start;
        }
        out + &text[at..]
    }

    fn put_in_value(&self, tokenizer: &Tokenizer, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.put(text, &tokenizer.control_starts(text))),
            Value::Array(items) => items.iter().map(|item| self.put_in_value(tokenizer, item)).collect(),
            Value::Object(items) => {
                items.iter().map(|(name, item)| (name.clone(), self.put_in_value(tokenizer, item))).collect()
            }
            other => other.clone(),
        }
    }

    /// A text without the marks, and where they were.
    fn take(&self, text: &str) -> Prompt {
        let mut prompt = Prompt { text: String::with_capacity(text.len()), plain_at: vec![] };
        for (i, part) in text.split(self.0).enumerate() {
            if i > 0 {
                prompt.plain_at.push(prompt.text.len());
            }
            prompt.text += part;
        }
        prompt
    }
}
