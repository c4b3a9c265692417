//! A conversation on a terminal.

use super::{folder, text::saved};
use crate::common::chain::Chain;
use crate::common::terminal::Dialog;
use std::fs;

/// Renders the user's messages in capitals, so that the echo of what is typed is not taken for them; the reply is `ok`.
const TEMPLATE: &str = "{{ raise_exception('[' ~ (messages | map(attribute='content') | join('|') | upper) ~ ']') \
                        if messages[-1].content == 'show' }}x";

/// A conversation with a model that says `pieces`, whose history is kept in `state`.
fn dialog(pieces: &[&str], state: &str, variables: &[(&str, &str)]) -> (Dialog, tempfile::TempDir) {
    dialog_with(&[], pieces, state, variables)
}

/// The same, with more arguments.
fn dialog_with(more: &[&str], pieces: &[&str], state: &str, variables: &[(&str, &str)]) -> (Dialog, tempfile::TempDir) {
    let folder = folder();
    let model = saved(&Chain::byte_level(pieces).template(TEMPLATE), folder.path());
    let variables = [&[("XDG_STATE_HOME", state)], variables].concat();
    let args = [&["chat", "-m", &model, "--device", "cpu", "--temp", "0"], more].concat();
    let mut dialog = Dialog::start(&args, &variables);
    dialog.until("> ");
    (dialog, folder)
}

#[test]
fn interrupts_drop_a_line_then_end_an_idle_prompt() {
    let state = folder();
    let (mut dialog, _files) = dialog(&["Hello"], &state.path().display().to_string(), &[]);
    dialog.keys("half a line\x03");
    dialog.keys("show\r");
    assert!(dialog.until("]").ends_with("[SHOW]"), "the half line is not sent");
    dialog.until("> ");
    dialog.keys("\x03");
    dialog.until("Ctrl-C once more");
    dialog.until("> ");
    dialog.keys("\x03");
    assert_eq!(dialog.end(), Some(0));
}

/// The conversation goes on, and has the message and what was said of the reply.
#[test]
fn an_interrupt_ends_a_reply_and_not_the_conversation() {
    let state = folder();
    let path = state.path().join("talk.json").display().to_string();
    // The end of the reply is never chosen.
    let more = ["--ignore-eos", "-c", "100000"];
    let (mut dialog, _files) = dialog_with(&more, &["one", " two"], &state.path().display().to_string(), &[]);
    dialog.keys("Hello\r");
    dialog.until("one two");
    dialog.keys("\x03");
    dialog.until("tok/s");
    dialog.until("interrupted");
    dialog.until("> "); // not before the editor reads keys
    dialog.keys(&format!("/save {path}\r"));
    dialog.until("2 messages");
    dialog.until("> ");
    dialog.keys("show\r");
    assert!(dialog.until("[HELLO|ONE TWO").contains("pronk: "), "the next prompt has both");
    dialog.until("> ");
    dialog.keys("\x04");
    assert_eq!(dialog.end(), Some(0));
    let saved: serde_json::Value = serde_json::from_slice(&fs::read(&path).expect("a file")).expect("JSON");
    let said = |i: usize, key: &str| saved["messages"][i][key].as_str().map(String::from).unwrap_or_default();
    assert_eq!((said(0, "role"), said(0, "content")), ("user".to_string(), "Hello".to_string()));
    assert_eq!(said(1, "role"), "assistant");
    assert!(said(1, "content").starts_with("one two"), "{saved}");
}

#[test]
fn messages_of_several_lines_arrive_whole() {
    let state = folder();
    let (mut dialog, _files) = dialog(&["Hello"], &state.path().display().to_string(), &[]);
    for (keys, want) in [
        ("one\\\rtwo\r", "one\ntwo"),
        ("one\x1b\rtwo\r", "one\ntwo"),
        ("\"\"\"\rone\rtwo\r\"\"\"\r", "one\ntwo"),
        ("\x1b[200~one\ntwo\x1b[201~\r", "one\ntwo"),
        ("\x1b[200~one \\\ntwo\x1b[201~\r", "one \\\ntwo"),
    ] {
        dialog.keys("/clear\r");
        dialog.until("> ");
        dialog.keys(keys);
        dialog.until("tok/s");
        dialog.until("> ");
        dialog.keys("show\r");
        let shown = dialog.until("SHOW]");
        // A notice is one line, with escapes.
        let want = format!("[{}|", want.to_uppercase().replace('\n', "\\n"));
        assert!(shown.contains(&want), "{keys:?}: {shown:?}");
        dialog.until("> ");
    }
    dialog.keys("\x04");
    assert_eq!(dialog.end(), Some(0));
}

#[test]
fn messages_are_kept_for_the_next_conversation() {
    let state = folder();
    let path = state.path().display().to_string();
    let (mut first, _files) = dialog(&["Hello"], &path, &[]);
    first.keys("show\r");
    first.until("[SHOW]");
    first.until("> ");
    first.keys("/bye\r");
    assert_eq!(first.end(), Some(0));
    assert!(fs::read_to_string(state.path().join("pronk/chat_history")).expect("a file").contains("show\n"));
    let (mut second, _files) = dialog(&["Hello"], &path, &[]);
    second.keys("\x1b[A\x1b[A\r"); // the last but one message
    second.until("[SHOW]");
    second.until("> "); // not before the editor reads keys
    second.keys("\x04");
    assert_eq!(second.end(), Some(0));
    // A folder that cannot be is told once.
    let (mut third, _files) = dialog(&["Hello"], "/dev/null/none", &[]);
    third.keys("show\r");
    third.until("the history of messages is not kept");
    third.until("[SHOW]");
    third.until("> ");
    third.keys("show\r");
    assert!(!third.until("[SHOW]").contains("not kept"));
    third.until("> "); // not before the editor reads keys
    third.keys("\x04");
    assert_eq!(third.end(), Some(0));
}

#[test]
fn what_is_typed_is_green_unless_colors_are_off() {
    let state = folder();
    let path = state.path().display().to_string();
    for (variables, is_green) in [(&[][..], true), (&[("NO_COLOR", "1")], false)] {
        let (mut dialog, _files) = dialog(&["Hello"], &path, variables);
        dialog.keys("show\r");
        assert_eq!(dialog.until("[SHOW]").contains("\x1b[32m"), is_green);
        dialog.until("> "); // not before the editor reads keys
        dialog.keys("\x04");
        assert_eq!(dialog.end(), Some(0));
    }
}

#[test]
fn replies_break_between_words() {
    let state = folder();
    let words = [" twelve-chars"; 5].map(String::from);
    let numbered: Vec<String> = words.iter().enumerate().map(|(i, word)| format!("{word}{i}")).collect();
    let pieces: Vec<&str> = numbered.iter().map(String::as_str).collect();
    let (mut dialog, _files) = dialog(&pieces, &state.path().display().to_string(), &[]);
    dialog.keys("Hello\r");
    let shown = dialog.until("chars4");
    assert!(shown.contains("chars1\r\ntwelve-chars2 twelve-chars3\r\ntwelve-chars4"), "{shown:?}");
    dialog.until("> "); // not before the editor reads keys
    dialog.keys("\x04");
    assert_eq!(dialog.end(), Some(0));
}
