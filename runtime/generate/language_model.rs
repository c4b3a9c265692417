//! A loaded model with its tokenizer.

use super::score::{Perplexity, Text};
use super::{
    Chat, Error, GenerateOptions, Generator, LoadError, LoadEvent, LoadNotice, LoadOptions, Loaded, Session,
    load_model, load_model_on,
};
use crate::backend::Backend;
use crate::gguf::Gguf;
use crate::model::Model;
use crate::text::{self, ChatTemplate, EncodeOptions, Tokenizer, Vocab};
use std::path::Path;

/// A model on a device, with its tokenizer. It generates text.
///
/// It remembers the tokens in the KV cache: the common beginning of a text and the text before it is not computed
/// again.
pub struct LanguageModel {
    model: Model,
    pub(super) tokenizer: Tokenizer,
    notices: Vec<LoadNotice>,
    pub(super) session: Session,
    /// The tokens that the KV cache holds.
    pub(super) held: Vec<u32>,
}

impl LanguageModel {
    /// Loads a model file with the default [`LoadOptions`]: on the first GPU that can run it, else on the CPU.
    ///
    /// Errors: those of [`LanguageModel::load`].
    pub fn open(path: impl AsRef<Path>) -> Result<LanguageModel, Error> {
        LanguageModel::load(path, &LoadOptions::default(), &mut |_| {})
    }

    /// Loads a model file. `on_event` is called with the events of the load.
    ///
    /// Errors: the file cannot be read, is broken, or its model or tokenizer is not supported; no device can run the
    /// model; the requested context does not fit.
    pub fn load(
        path: impl AsRef<Path>,
        options: &LoadOptions,
        on_event: &mut dyn FnMut(LoadEvent),
    ) -> Result<LanguageModel, Error> {
        let (model, tokenizer) = read(path.as_ref())?;
        Ok(LanguageModel::new(load_model(model, options, on_event)?, tokenizer))
    }

    /// Loads a model file onto a backend of the caller, instead of [`LoadOptions::device`].
    ///
    /// Errors: those of [`LanguageModel::load`].
    pub fn load_on(
        backend: Box<dyn Backend>,
        path: impl AsRef<Path>,
        options: &LoadOptions,
        on_event: &mut dyn FnMut(LoadEvent),
    ) -> Result<LanguageModel, Error> {
        let (model, tokenizer) = read(path.as_ref())?;
        Ok(LanguageModel::new(load_model_on(backend, model, options, on_event)?, tokenizer))
    }

    /// Joins a loaded model and its tokenizer: that of [`tokenizer`], or one with the same tokens.
    pub fn new(loaded: Loaded, tokenizer: Tokenizer) -> LanguageModel {
        let Loaded { model, session, notices } = loaded;
        LanguageModel { model, tokenizer, notices, session, held: vec![] }
    }

    /// The hyperparameters, and the file.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The weights on the device, and the KV cache.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Notices about the load, for the user.
    pub fn notices(&self) -> &[LoadNotice] {
        &self.notices
    }

    /// The device: `cpu`, `cuda:0`, ...
    pub fn device(&self) -> String {
        self.session.device()
    }

    /// The context length, in tokens.
    pub fn n_ctx(&self) -> u32 {
        self.session.plan().kv.slots
    }

    /// Empties the KV cache: the next text is computed from its beginning.
    pub fn clear(&mut self) {
        self.held.clear();
        self.session.truncate(0);
    }

    /// The tokens of a plain text, after a beginning-of-text token where the model expects one.
    ///
    /// Errors: the vocabulary does not cover the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        let options = EncodeOptions { add_bos: self.tokenizer.add_bos(), parse_special: false };
        self.tokenizer.encode(text, options).map_err(|e| self.text_error(e))
    }

    /// Continues a text until the model ends it or the context is full, with the default sampler and seed.
    ///
    /// Errors: the text cannot be encoded, has no tokens, or does not fit into the context.
    pub fn generate(&mut self, prompt: &str) -> Result<Generator<'_>, Error> {
        self.generate_with(prompt, GenerateOptions::default())
    }

    /// Continues a text.
    ///
    /// Errors: those of [`LanguageModel::generate`]; an empty stop string.
    pub fn generate_with(&mut self, prompt: &str, options: GenerateOptions) -> Result<Generator<'_>, Error> {
        let tokens = self.encode(prompt)?;
        self.generate_tokens(&tokens, options)
    }

    /// Continues an encoded text. `prompt` has all of its tokens.
    ///
    /// Errors: those of [`LanguageModel::generate_with`].
    pub fn generate_tokens(&mut self, prompt: &[u32], options: GenerateOptions) -> Result<Generator<'_>, Error> {
        Generator::new(self, prompt, options)
    }

    /// Begins a conversation with the chat template of the model file.
    ///
    /// Errors: the file has no chat template, or a broken one.
    pub fn chat(&mut self) -> Result<Chat<'_>, Error> {
        let template = match self.model.gguf() {
            Some(gguf) => ChatTemplate::from_vocab(&Vocab::from_gguf(gguf).map_err(LoadError::from)?),
            None => Err(text::Error::Template("the model has no file".to_string())),
        };
        let template = template.map_err(|e| self.text_error(e))?;
        Ok(Chat::new(self, template))
    }

    /// Scores how well the model predicts a text, in windows of the whole context. Empties the KV cache.
    ///
    /// Errors: the text cannot be encoded, or has fewer than two tokens.
    pub fn score(&mut self, text: &str) -> Result<Perplexity<'_>, Error> {
        let tokens = self.tokenizer.encode(text, EncodeOptions::default()).map_err(|e| self.text_error(e))?;
        let text = Text { n_vocab: self.model.config.n_vocab, bos: bos(&self.tokenizer), tokens };
        self.held.clear();
        Perplexity::new(&mut self.session, text)
    }

    /// Drops the tokens in the KV cache after the common beginning with `prompt`. Returns the length of that beginning.
    pub(super) fn reuse(&mut self, prompt: &[u32]) -> usize {
        let n = self.held.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        self.session.truncate(n as u32);
        self.held.truncate(n);
        n
    }

    /// The error of a text or template, with the name of the model file.
    pub(super) fn text_error(&self, error: text::Error) -> Error {
        Error::Text { name: self.model.name().to_string(), error }
    }
}

/// Opens a model file and its tokenizer.
fn read(path: &Path) -> Result<(Model, Tokenizer), LoadError> {
    let gguf = Gguf::open(path)?;
    let model = Model::new(gguf.clone())?;
    let tokenizer = tokenizer(&gguf, &model)?;
    Ok((model, tokenizer))
}

/// The beginning-of-text token, if the model expects one.
pub fn bos(tokenizer: &Tokenizer) -> Option<u32> {
    tokenizer.bos().filter(|_| tokenizer.add_bos())
}

/// The tokenizer of a model file.
///
/// Errors: the tokenizer is missing or unknown; its vocabulary and the embedding table differ in length.
pub fn tokenizer(gguf: &Gguf, model: &Model) -> Result<Tokenizer, LoadError> {
    let tokenizer = Tokenizer::from_gguf(gguf)?;
    let rows = model.config.n_vocab as usize;
    if tokenizer.n_vocab() != rows {
        let what = format!("{} tokens, but token_embd.weight has {rows} rows", tokenizer.n_vocab());
        return Err(gguf.key_error("tokenizer.ggml.tokens", what).into());
    }
    Ok(tokenizer)
}
