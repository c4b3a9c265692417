//! Conversations in files.

use super::super::output::WholeFile;
use anyhow::{Context, Result, bail};
use pronk::model::Config;
use pronk::text::Message;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

/// The form that this program writes and reads.
const VERSION: u32 = 1;
/// Limit of a file in bytes: a context of a million tokens has some 8 MiB of text.
const MAX_BYTES: u64 = 64 << 20;

/// A conversation as JSON.
#[derive(Serialize, Deserialize)]
struct Saved {
    /// [`VERSION`]. Other files have no such field.
    pronk_conversation: u32,
    model: Identity,
    /// None: the default of the template.
    system: Option<String>,
    messages: Vec<SavedMessage>,
}

#[derive(Serialize, Deserialize)]
struct SavedMessage {
    role: String,
    content: String,
}

/// What a model is known by. Files of one model in several tensor types are the same model.
#[derive(Serialize, Deserialize, PartialEq)]
struct Identity {
    name: String,
    layers: u32,
    width: u32,
    vocabulary: u32,
}

/// The version alone, which every form has.
#[derive(Deserialize)]
struct Version {
    pronk_conversation: u32,
}

impl Identity {
    fn of(config: &Config) -> Identity {
        let Config { name, n_layers, n_embd, n_vocab, .. } = config;
        Identity { name: name.clone(), layers: *n_layers, width: *n_embd, vocabulary: *n_vocab }
    }
}

/// Writes a conversation to a new file.
///
/// Errors: the file exists, or cannot be written.
pub fn save(path: &Path, config: &Config, system: Option<&str>, turns: &[Message]) -> Result<()> {
    let messages = turns.iter().map(|turn| SavedMessage { role: turn.role.clone(), content: turn.content.clone() });
    let saved = Saved {
        pronk_conversation: VERSION,
        model: Identity::of(config),
        system: system.map(str::to_string),
        messages: messages.collect(),
    };
    let mut file = WholeFile::create(path)?;
    writeln!(file, "{}", serde_json::to_string_pretty(&saved)?)?;
    file.commit_new()
}

/// The system message and the turns of a file.
///
/// Errors: it cannot be read, has another form, is damaged, or is a conversation with another model.
pub fn load(path: &Path, config: &Config) -> Result<(Option<String>, Vec<Message>)> {
    let name = path.display();
    let mut text = vec![];
    let opened = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut text));
    opened.with_context(|| format!("{name}: cannot read"))?;
    if text.len() as u64 > MAX_BYTES {
        bail!("{name}: more than {} MiB, a conversation has less", MAX_BYTES >> 20);
    }
    match serde_json::from_slice(&text) {
        Ok(Version { pronk_conversation: VERSION }) => {}
        Ok(Version { pronk_conversation: version }) => bail!("{name}: is of version {version}, expected {VERSION}"),
        Err(e) if e.is_data() => bail!("{name}: is not a conversation that /save wrote"),
        Err(e) => bail!("{name}: is not a conversation that /save wrote, or damaged: {e}"),
    }
    let saved: Saved = serde_json::from_slice(&text).with_context(|| format!("{name}: is damaged"))?;
    let Identity { name: model, .. } = &saved.model;
    if saved.model != Identity::of(config) {
        bail!("{name}: is a conversation with another model, {}", pronk::gguf::excerpt(model));
    }
    let roles = saved.messages.iter().map(|message| message.role.as_str());
    if !saved.messages.len().is_multiple_of(2)
        || !roles.eq(["user", "assistant"].into_iter().cycle().take(saved.messages.len()))
    {
        bail!("{name}: is damaged: the messages are not of user and assistant in turn");
    }
    Ok((saved.system, saved.messages.into_iter().map(|message| Message::new(message.role, message.content)).collect()))
}
