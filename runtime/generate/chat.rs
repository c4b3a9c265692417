//! Conversations with a model.

use super::{ContextEnd, End, Error, GenerateEvent, GenerateOptions, Generator, LanguageModel, Piece, Stats};
use crate::text::{ChatTemplate, Message};

/// A conversation with a model. [`LanguageModel::chat`] creates it.
///
/// For each message the template renders the whole conversation, since only the template knows where a turn ends.
/// Tokens that are in the KV cache are not computed again.
pub struct Chat<'m> {
    model: &'m mut LanguageModel,
    template: ChatTemplate,
    /// How replies are generated. Reply `n`, counted from 0, uses the sampler's seed plus `n`. With
    /// [`ContextEnd::Shift`] the oldest turns are forgotten to make room for a message.
    pub options: GenerateOptions,
    /// Whether control tokens are parsed in messages. Without it a message is text, whatever it spells.
    pub parse_special: bool,
    system: Option<Message>,
    turns: Vec<Message>,
    /// Number of replies so far, those of cleared conversations included: each has its own seed.
    n_replies: u64,
}

impl<'m> Chat<'m> {
    /// Creates a conversation with this chat template.
    pub fn new(model: &'m mut LanguageModel, template: ChatTemplate) -> Chat<'m> {
        let options = GenerateOptions::default();
        Chat { model, template, options, parse_special: false, system: None, turns: vec![], n_replies: 0 }
    }

    /// Sets the system message; None: the default of the template.
    pub fn set_system(&mut self, text: Option<&str>) {
        self.system = text.map(|text| Message::new("system", text));
    }

    /// The system message, if one is set.
    pub fn system(&self) -> Option<&str> {
        self.system.as_ref().map(|message| message.content.as_str())
    }

    /// The seed of the next reply; None where the choices are not random.
    pub fn seed(&self) -> Option<u64> {
        let sampler = &self.options.sampler;
        (sampler.temperature > 0.0).then(|| sampler.seed.wrapping_add(self.n_replies))
    }

    /// The model.
    pub fn model(&self) -> &LanguageModel {
        self.model
    }

    /// The messages of the user and the assistant in turn, without the system message.
    pub fn turns(&self) -> &[Message] {
        &self.turns
    }

    /// Forgets the conversation, but not the system message.
    pub fn clear(&mut self) {
        self.turns.clear();
        self.model.clear();
    }

    /// Forgets the last message and the reply to it. Returns the text of the message; None if there is none.
    pub fn undo(&mut self) -> Option<String> {
        self.turns.pop();
        self.turns.pop().map(|message| message.content)
    }

    /// Replaces the conversation by messages of the user and the assistant in turn: those of [`Chat::turns`], for example. The
    /// system message stays.
    pub fn resume(&mut self, turns: Vec<Message>) {
        self.turns = turns;
    }

    /// Sends a message and returns the reply, which comes piece by piece. Message and reply become part of the
    /// conversation when the reply ends, for every [`End`]. After an error, or if the turn is dropped before its end,
    /// the conversation is unchanged.
    ///
    /// Errors: the template refuses the conversation; the text cannot be encoded; [`Error::TooLong`] if the
    /// conversation does not fit into the context.
    pub fn say(&mut self, text: &str) -> Result<Turn<'_>, Error> {
        let mut turns = [&self.turns[..], &[Message::new("user", text)]].concat();
        let mut prompt = self.prompt(&turns)?;
        let (n_ctx, n_turns) = (self.model.n_ctx() as usize, turns.len());
        if matches!(self.options.context_end, ContextEnd::Shift { .. }) && prompt.len() > n_ctx {
            // Keeps half of the context free, so that the next message does not shift again.
            while turns.len() > 2 && prompt.len() > n_ctx / 2 {
                turns.drain(..2);
                prompt = self.prompt(&turns)?;
            }
        }
        let n_forgotten = n_turns - turns.len();
        let mut options = self.options.clone();
        options.sampler.seed = options.sampler.seed.wrapping_add(self.n_replies);
        let generator = self.model.generate_tokens(&prompt, options)?.without_first_space();
        let said = Said { turns: &mut self.turns, n_replies: &mut self.n_replies };
        Ok(Turn { generator, turns, n_forgotten, reply: String::new(), said: Some(said) })
    }

    /// The tokens of the whole conversation.
    fn prompt(&self, turns: &[Message]) -> Result<Vec<u32>, Error> {
        let messages: Vec<Message> = self.system.iter().chain(turns).cloned().collect();
        let prompt = self.template.prompt(self.model.tokenizer(), &messages, true, &serde_json::Map::new());
        let encoded = prompt.and_then(|prompt| {
            let prompt = if self.parse_special { prompt.with_control_tokens() } else { prompt };
            prompt.encode(self.model.tokenizer())
        });
        encoded.map_err(|e| self.model.text_error(e))
    }
}

/// The reply to a message, as an iterator over its pieces.
pub struct Turn<'c> {
    generator: Generator<'c>,
    /// The conversation, the new message included.
    turns: Vec<Message>,
    n_forgotten: usize,
    reply: String,
    /// None after the turn has become part of the conversation.
    said: Option<Said<'c>>,
}

/// The state of the chat that a turn changes when it ends.
struct Said<'c> {
    turns: &'c mut Vec<Message>,
    n_replies: &'c mut u64,
}

impl<'c> Turn<'c> {
    /// [`Generator::on_event`].
    pub fn on_event(mut self, on_event: impl FnMut(GenerateEvent) + 'c) -> Turn<'c> {
        self.generator = self.generator.on_event(on_event);
        self
    }

    /// [`Generator::cancel_when`].
    pub fn cancel_when(mut self, is_cancelled: impl Fn() -> bool + 'c) -> Turn<'c> {
        self.generator = self.generator.cancel_when(is_cancelled);
        self
    }

    /// Number of the oldest messages that were forgotten to make room for this one.
    pub fn n_forgotten(&self) -> usize {
        self.n_forgotten
    }

    /// [`Generator::end`].
    pub fn end(&self) -> Option<End> {
        self.generator.end()
    }

    /// [`Generator::stats`].
    pub fn stats(&self) -> &Stats {
        self.generator.stats()
    }
}

impl Iterator for Turn<'_> {
    type Item = Result<Piece, Error>;

    fn next(&mut self) -> Option<Result<Piece, Error>> {
        let piece = self.generator.next();
        if let Some(Ok(piece)) = &piece {
            self.reply.push_str(&piece.text);
        }
        if piece.is_none()
            && self.end().is_some()
            && let Some(said) = self.said.take()
        {
            self.turns.push(self.generator.message(&self.reply));
            *said.turns = std::mem::take(&mut self.turns);
            *said.n_replies += 1;
        }
        piece
    }
}

impl std::iter::FusedIterator for Turn<'_> {}
