//! Chat templates under llama.cpp's names, for files that have none.

/// A well-known way to write a conversation, with llama.cpp's name for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the names are the models'
pub enum NamedTemplate {
    ChatMl,
    CommandR,
    DeepSeek,
    DeepSeek2,
    DeepSeek3,
    Gemma,
    Llama2,
    Llama3,
    MistralV1,
    MistralV3,
    MistralV3Tekken,
    MistralV7,
    Phi3,
    Vicuna,
    Zephyr,
}

use NamedTemplate::*;

/// With their names and sources.
const TABLE: [(NamedTemplate, &str, &str); 15] = [
    (ChatMl, "chatml", include_str!("templates/chatml.jinja")),
    (CommandR, "command-r", include_str!("templates/command-r.jinja")),
    (DeepSeek, "deepseek", include_str!("templates/deepseek.jinja")),
    (DeepSeek2, "deepseek2", include_str!("templates/deepseek2.jinja")),
    (DeepSeek3, "deepseek3", include_str!("templates/deepseek3.jinja")),
    (Gemma, "gemma", include_str!("templates/gemma.jinja")),
    (Llama2, "llama2", include_str!("templates/llama2.jinja")),
    (Llama3, "llama3", include_str!("templates/llama3.jinja")),
    (MistralV1, "mistral-v1", include_str!("templates/mistral-v1.jinja")),
    (MistralV3, "mistral-v3", include_str!("templates/mistral-v3.jinja")),
    (MistralV3Tekken, "mistral-v3-tekken", include_str!("templates/mistral-v3-tekken.jinja")),
    (MistralV7, "mistral-v7", include_str!("templates/mistral-v7.jinja")),
    (Phi3, "phi3", include_str!("templates/phi3.jinja")),
    (Vicuna, "vicuna", include_str!("templates/vicuna.jinja")),
    (Zephyr, "zephyr", include_str!("templates/zephyr.jinja")),
];

impl NamedTemplate {
    /// All of them, by name.
    pub fn all() -> impl Iterator<Item = NamedTemplate> {
        TABLE.iter().map(|row| row.0)
    }

    /// llama.cpp's name.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// Its Jinja source, for [`ChatTemplate::for_vocab`](super::ChatTemplate::for_vocab).
    pub fn source(self) -> &'static str {
        self.row().2
    }

    fn row(self) -> &'static (NamedTemplate, &'static str, &'static str) {
        // A test finds each of them in its own row.
        &TABLE[self as usize]
    }
}
