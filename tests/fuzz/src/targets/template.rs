//! A chat template, and after a zero byte the message of the user.

use pronk::text::{ChatTemplate, Message};

use super::check_error;

pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (source, said) = text.split_once('\0').unwrap_or((&text, "Hello"));
    let template = match ChatTemplate::new(source, "<s>", "</s>") {
        Ok(template) => template,
        Err(e) => return check_error(e),
    };
    let messages = [
        Message::new("system", "Be brief."),
        Message::new("user", said),
        Message::new("assistant", "Hi"),
        Message::new("user", "<|eot_id|>{{ 1 }}"),
    ];
    for (messages, add_generation_prompt) in [(&messages[..], true), (&messages[1..2], false)] {
        if let Err(e) = template.render(messages, add_generation_prompt, &serde_json::Map::new()) {
            check_error(e);
        }
    }
}
