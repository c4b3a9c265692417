use super::{ContextEnd, End, Error, GenerateEvent, GenerateOptions, Generator, LanguageModel, Piece, Stats};
use crate::text::{ChatTemplate, EncodeOptions, Message};

/// A conversation with a model. [`LanguageModel::chat`] begins one.
///
/// The whole conversation is rendered and encoded again for each message, since only the template knows where a turn ends; what
/// the KV cache holds of it is not computed again.
pub struct Chat<'m> {
    model: &'m mut LanguageModel,
    template: ChatTemplate,
    /// How replies are generated: reply `n`, counted from 0, with the sampler's seed plus `n`. With [`ContextEnd::Shift`] the
    /// oldest turns are forgotten where a message needs room.
    pub options: GenerateOptions,
    system: Option<Message>,
    turns: Vec<Message>,
    /// Replies so far, also of conversations that were cleared: each has a seed of its own.
    n_replies: u64,
}

impl<'m> Chat<'m> {
    /// A conversation with this chat template.
    pub fn new(model: &'m mut LanguageModel, template: ChatTemplate) -> Chat<'m> {
        let options = GenerateOptions::default();
        Chat { model, template, options, system: None, turns: vec![], n_replies: 0 }
    }

    /// What the model is told before the conversation; None: what its template says.
    pub fn set_system(&mut self, text: Option<&str>) {
        self.system = text.map(|text| Message::new("system", text));
    }

    /// The model.
    pub fn model(&self) -> &LanguageModel {
        self.model
    }

    /// The messages that the model reads: the user's and the assistant's in turn, without the system's.
    pub fn turns(&self) -> &[Message] {
        &self.turns
    }

    /// Forgets the conversation, but not the system message.
    pub fn clear(&mut self) {
        self.turns.clear();
        self.model.clear();
    }

    /// Says something: the reply comes piece by piece. Message and reply become part of the conversation when the reply has
    /// ended, whatever its [`End`]. After an error, and where the turn is dropped before its end, it is as if nothing had been
    /// said.
    ///
    /// Errors: the template refuses the conversation; a text that cannot be encoded; [`Error::TooLong`] where the conversation
    /// does not fit into the context.
    pub fn say(&mut self, text: &str) -> Result<Turn<'_>, Error> {
        let mut turns = [&self.turns[..], &[Message::new("user", text)]].concat();
        let mut prompt = self.prompt(&turns)?;
        let (n_ctx, n_turns) = (self.model.n_ctx() as usize, turns.len());
        if matches!(self.options.context_end, ContextEnd::Shift { .. }) && prompt.len() > n_ctx {
            // Half of the context: so that the next message does not shift again.
            while turns.len() > 2 && prompt.len() > n_ctx / 2 {
                turns.drain(..2);
                prompt = self.prompt(&turns)?;
            }
        }
        let n_forgotten = n_turns - turns.len();
        let mut options = self.options.clone();
        options.sampler.seed = options.sampler.seed.wrapping_add(self.n_replies);
        let generator = self.model.generate_tokens(&prompt, options)?;
        let said = Said { turns: &mut self.turns, n_replies: &mut self.n_replies };
        Ok(Turn { generator, turns, n_forgotten, reply: String::new(), said: Some(said) })
    }

    /// The whole conversation, as the model reads it.
    fn prompt(&self, turns: &[Message]) -> Result<Vec<u32>, Error> {
        let messages: Vec<Message> = self.system.iter().chain(turns).cloned().collect();
        let text = self.template.render(&messages, true, &serde_json::Map::new());
        let text = text.map_err(|e| self.model.text_error(e))?;
        let options = EncodeOptions { add_bos: false, parse_special: true };
        self.model.tokenizer().encode(&text, options).map_err(|e| self.model.text_error(e))
    }
}

/// The reply to a message, as an iterator over its pieces.
pub struct Turn<'c> {
    generator: Generator<'c>,
    /// The conversation with the message.
    turns: Vec<Message>,
    n_forgotten: usize,
    reply: String,
    /// None once the turn is part of it.
    said: Option<Said<'c>>,
}

/// What a turn adds to when it has ended.
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

    /// How many of the oldest messages were forgotten to make room for this one.
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
            self.turns.push(Message::new("assistant", std::mem::take(&mut self.reply)));
            *said.turns = std::mem::take(&mut self.turns);
            *said.n_replies += 1;
        }
        piece
    }
}

impl std::iter::FusedIterator for Turn<'_> {}
