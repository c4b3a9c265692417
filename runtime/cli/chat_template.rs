//! The chat template that a conversation is written with, where it is not the file's own.

use anyhow::{Context, Result, bail};
use pronk::text::{ChatTemplate, NamedTemplate, Vocab};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Longest template that is read from a file, in bytes: the library refuses less.
const MAX_BYTES: u64 = 1 << 20;

#[derive(clap::Args)]
pub struct ChatTemplateArgs {
    /// Chat template in place of the model file's: a file in Jinja, or a name of llama.cpp's (chatml, llama2, llama3, mistral-v1,
    /// ...)
    #[arg(long, value_name = "NAME|FILE")]
    chat_template: Option<String>,
}

/// A template from the command line.
pub struct Given<'a> {
    /// What was asked for.
    name: &'a str,
    source: String,
}

impl ChatTemplateArgs {
    /// The source that the command line asks for, if it asks for one.
    pub fn source(&self) -> Result<Option<Given<'_>>> {
        let Some(name) = self.chat_template.as_deref() else { return Ok(None) };
        if let Some(known) = NamedTemplate::all().find(|template| template.name() == name) {
            return Ok(Some(Given { name, source: known.source().to_string() }));
        }
        if !Path::new(name).exists() {
            bail!("--chat-template {name}: no such file, and no template of that name: expected {}", names());
        }
        let mut source = String::new();
        let read = File::open(name).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut source));
        read.with_context(|| format!("--chat-template {name}"))?;
        Ok(Some(Given { name, source }))
    }
}

impl Given<'_> {
    /// It, with the special tokens of a vocabulary.
    pub fn template(&self, vocab: &Vocab) -> Result<ChatTemplate> {
        ChatTemplate::for_vocab(&self.source, vocab).with_context(|| format!("--chat-template {}", self.name))
    }
}

/// The file's own template; if it has none, the error says what there is instead.
pub fn of_file(vocab: &Vocab) -> Result<ChatTemplate> {
    let template = ChatTemplate::from_vocab(vocab);
    match &vocab.chat_template {
        Some(_) => Ok(template?),
        None => template.map_err(|e| anyhow::anyhow!("{e}; --chat-template takes a file or one of {}", names())),
    }
}

fn names() -> String {
    NamedTemplate::all().map(NamedTemplate::name).collect::<Vec<_>>().join(", ")
}
