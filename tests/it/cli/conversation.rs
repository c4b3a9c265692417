//! The commands of a conversation, messages of several lines, replies as JSON, and long conversations.

use super::{file, folder, tiny};
use crate::common::program::{Done, done, run, with_input};
use serde_json::Value;

/// What a conversation of these lines gives, each reply as a JSON object.
fn chat(more: &[&str], lines: &str) -> (Vec<Value>, Done) {
    let model = tiny();
    let args = ["chat", "-m", &model, "--device", "cpu", "-n", "6", "--temp", "0", "--ignore-eos", "--json"];
    let done = with_input(&[&args[..], more].concat(), lines);
    let replies = done.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    (replies, done)
}

/// The replies, without their timings.
fn replies(lines: &str) -> Vec<(Value, Value)> {
    let (replies, done) = chat(&[], lines);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    replies.into_iter().map(|reply| (reply["text"].clone(), reply["tokens"].clone())).collect()
}

#[test]
fn a_reply_is_one_json_object() {
    for command in ["run", "chat"] {
        let args = ["-m", &tiny(), "-p", "Hello", "-n", "6", "--temp", "0", "--ignore-eos"];
        let done = run(&[&[command, "--json"], &args[..]].concat());
        assert_eq!(done.stdout.lines().count(), 1, "{}", done.stdout);
        let reply: Value = serde_json::from_str(&done.stdout).expect("JSON");
        let plain = run(&[&[command], &args[..]].concat()).stdout;
        assert_eq!(reply["text"].as_str().expect("a text").trim_end_matches('\n'), plain.trim_end_matches('\n'));
        assert_eq!(reply["tokens"].as_array().expect("tokens").len(), 6);
        assert_eq!((&reply["reason"], &reply["seed"]), (&"limit".into(), &Value::Null));
        assert_eq!(reply["timings"]["reply_tokens"], 6);
        assert!(reply["timings"]["prompt_tokens"].as_u64() > Some(0), "{reply}");
    }
}

#[test]
fn commands_change_the_conversation() {
    let [first, second] = &replies("Hello\nAnd the world?\n")[..] else { panic!("two replies") };
    let two = [first.clone(), second.clone()];
    assert_eq!(replies("Hello\nthe the\n/undo\nAnd the world?\n")[2], two[1], "the second message is forgotten");
    assert_eq!(replies("Hello\n/regen\nAnd the world?\n"), [first.clone(), first.clone(), second.clone()]);
    assert_eq!(replies("Hello\n/bye\nAnd the world?\n"), std::slice::from_ref(first));
    assert_eq!(replies("/system Be brief.\n/system\nHello\n/clear\nHello\n").len(), 2);
    let (_, done) = chat(&[], "/system Be brief.\n/system\n/undo\n/regen\n/help\n");
    for part in ["system message: Be brief.", "there is no message yet", "/save FILE", "ends the conversation"] {
        assert!(done.stderr.contains(part), "{part}: {}", done.stderr);
    }
}

#[test]
fn what_is_no_command_is_not_sent() {
    let (replies, done) = chat(&[], "/regenerate\n/ \n/save\n/clear all\n");
    assert!(replies.is_empty() && done.code == Some(0), "{}", done.stderr);
    for part in ["/regenerate is no command, and was not sent", "/save takes a file", "/clear takes no value"] {
        assert!(done.stderr.contains(part), "{part}: {}", done.stderr);
    }
    assert_eq!(chat(&[], "//help me\n/etc/hosts: what is that?\n").0.len(), 2, "a slash can be sent");
}

#[test]
fn a_message_has_several_lines() {
    let want = &replies("Hello\\\nthe world\n")[..];
    assert_eq!(want.len(), 1);
    assert_eq!(replies("\"\"\"\nHello\nthe world\n\"\"\"\n"), want);
    assert_eq!(replies("\"\"\"Hello\nthe world\"\"\"\n"), want);
    let (once, _) = chat(&["-p", "Hello\\nthe world"], "");
    assert_eq!(once[0]["tokens"], want[0].1);
}

#[test]
fn a_conversation_goes_on_from_its_file() {
    let folder = folder();
    let path = folder.path().join("talk.json").display().to_string();
    let [_, second] = &replies(&format!("/system Be brief.\nHello\n/save {path}\nAnd the world?\n"))[..] else {
        panic!("two replies")
    };
    assert_eq!(replies(&format!("/load {path}\nAnd the world?\n")), std::slice::from_ref(second));
    let saved = std::fs::read_to_string(&path).expect("a file");
    let refused = |name: &str, text: &str, part: &str| {
        let path = file(&folder, name, text.as_bytes());
        let (replies, done) = chat(&["-q"], &format!("/load {path}\n"));
        assert!(replies.is_empty() && done.code == Some(1), "{name}: {}", done.stderr);
        assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
        assert!(done.stderr.contains(&path) && done.stderr.contains(part), "{part}: {}", done.stderr);
    };
    refused("version", &saved.replace("\"pronk_conversation\": 1", "\"pronk_conversation\": 9"), "is of version 9");
    refused("model", &saved.replace("\"layers\": ", "\"layers\": 1"), "another model");
    refused("cut", &saved[..saved.len() / 2], "damaged");
    refused("roles", &saved.replace("\"assistant\"", "\"user\""), "is damaged");
    refused("other", "[]", "is not a conversation");
    // An existing file is kept.
    let (_, done) = chat(&["-q"], &format!("Hello\n/save {path}\n"));
    assert!(done.code == Some(1) && done.stderr.contains(&path), "{}", done.stderr);
    assert_eq!(std::fs::read_to_string(&path).expect("a file"), saved);
}

#[test]
fn json_needs_a_message() {
    // Stdin is no terminal here, so it is the conversation.
    let done = done(&["chat", "-m", &tiny(), "--json"]);
    assert_eq!((done.code, done.stdout.as_str()), (Some(0), ""));
}

/// Bytes by which the memory of a conversation may grow after its first tenth. Measured over 2,000 turns: 24 KiB (tiny model, x86-64 Linux, glibc).
#[cfg(target_os = "linux")]
const GROWTH: u64 = 1 << 20;

/// A conversation that shifts its context: its memory stays, and its last reply is that of a program that begins with its file.
#[cfg(target_os = "linux")]
fn soak(turns: usize) {
    use crate::common::program::pronk;
    use std::io::{BufRead, BufReader, Write};
    use std::process::Stdio;
    let folder = folder();
    let path = folder.path().join("talk.json").display().to_string();
    let model = tiny();
    let args = ["chat", "-m", &model, "--device", "cpu", "-n", "6", "--temp", "0", "--ignore-eos", "--json", "-q"];
    let args = [&args[..], &["-t", "1", "-c", "64", "--context-end", "shift"]].concat();
    let mut child = pronk(&args).stdin(Stdio::piped()).spawn().expect("the program starts");
    let status = format!("/proc/{}/status", child.id());
    let resident = || -> u64 {
        let status = std::fs::read_to_string(&status).expect("a status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
    };
    let mut input = child.stdin.take().expect("piped");
    let mut replies = BufReader::new(child.stdout.take().expect("piped")).lines();
    let (mut begin, mut last) = (0, String::new());
    for turn in 0..turns {
        if turn == turns - 1 {
            writeln!(input, "/save {path}").expect("it reads");
        }
        writeln!(input, "Hello the world").expect("it reads");
        last = replies.next().expect("a reply").expect("a line");
        if turn == turns / 10 {
            begin = resident();
        }
    }
    let growth = resident().saturating_sub(begin);
    drop(input);
    child.wait().expect("it ends");
    println!("{turns} turns: {begin} bytes after a tenth, {growth} more at the end");
    assert!(growth <= GROWTH, "{growth} bytes more after {turns} turns");
    let fresh = with_input(&args, &format!("/load {path}\nHello the world\n")).stdout;
    let tokens = |reply: &str| serde_json::from_str::<Value>(reply).expect("JSON")["tokens"].clone();
    assert_eq!(tokens(&last), tokens(&fresh));
}

#[cfg(target_os = "linux")]
#[test]
fn a_long_conversation_needs_no_more_memory() {
    soak(100);
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "takes minutes: make soak"]
fn soak_of_2000_turns() {
    soak(2000);
}

/// README's table has a row for each line of `/help`, with the same words.
#[test]
fn the_readme_has_every_command() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("README.md");
    let help = chat(&["-q"], "/help\n").1.stderr;
    assert!(help.lines().count() > 8, "{help}");
    for line in help.lines() {
        let (names, what) = line.split_at(20);
        assert!(readme.contains(&format!("| `{}` | {} |\n", names.trim(), what.trim())), "{line}");
    }
}
