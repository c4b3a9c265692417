//! The output of `run` and `chat`, and the ways they end.

use super::{file, folder, tiny};
use crate::common::program::{finish, pronk, run, with_input};
use std::io::Read;
use std::process::Child;

const GREEDY: [&str; 3] = ["--temp", "0", "--ignore-eos"];

#[test]
fn run_continues_a_text() {
    let folder = folder();
    let text = file(&folder, "prompt.txt", b"Hello the world\n");
    let model = tiny();
    let from_text = run(&[&["run", "-m", &model, "-p", "Hello the world", "-n", "12"], &GREEDY[..]].concat());
    let from_file = run(&[&["run", "-m", &model, "-f", &text, "-n", "12"], &GREEDY[..]].concat());
    assert_eq!(from_text.stdout, from_file.stdout);
    assert!(from_text.stdout.len() > 12, "{}", from_text.stdout);
    assert!(from_text.stderr.contains("reply 12 tokens (limit -n), "), "{}", from_text.stderr);
    assert!(!from_text.stderr.contains("seed "), "nothing is left to chance: {}", from_text.stderr);
    assert_eq!(run(&["run", "-m", &model, "-p", "Hello", "-n", "0", "-q"]).stdout, "");
    assert_eq!(run(&["run", "-m", &model, "-p", "Hello", "-n", "3", "-q"]).stderr, "");
}

#[test]
fn stdin_is_a_text_too() {
    let model = tiny();
    let args = [&["run", "-m", &model, "-n", "12"], &GREEDY[..]].concat();
    let want = run(&[&args[..], &["-p", "Hello the world"]].concat()).stdout;
    assert_eq!(with_input(&args, "Hello the world\n").stdout, want);
    assert_eq!(with_input(&[&args[..], &["-f", "-"]].concat(), "Hello the world\n").stdout, want);
    let ids = |args: &[&str], input: &str| with_input(&[&["tokenize", "-m", &tiny(), "--ids"], args].concat(), input);
    assert_eq!(ids(&["-f", "-"], "Hello").stdout, ids(&["-p", "Hello"], "").stdout);
    let once = with_input(&["chat", "-m", &tiny(), "-n", "4", "--seed", "1", "-f", "-"], "Hello\nthe world\n");
    assert_eq!(once.stderr.matches("reply ").count(), 1, "{}", once.stderr);
}

#[test]
fn seeds_repeat() {
    let draw = |seed| run(&["run", "-m", &tiny(), "-p", "Hello", "-n", "24", "--ignore-eos", "--seed", seed]).stdout;
    assert_eq!(draw("7"), draw("7"));
    assert_ne!(draw("7"), draw("8"));
    let drawn = run(&["run", "-m", &tiny(), "-p", "Hello", "-n", "24", "--ignore-eos", "-s", "-1"]);
    let seed = drawn.stderr.rsplit("seed ").next().expect("a seed").trim();
    assert!(seed.parse::<u32>().is_ok(), "{seed}");
    assert_eq!(draw(seed), drawn.stdout);
}

#[test]
fn threads_do_not_change_the_result() {
    let with = |n| run(&[&["run", "-m", &tiny(), "-p", "Hello", "-n", "24", "-t", n], &GREEDY[..]].concat()).stdout;
    assert_eq!(with("1"), with("3"));
    let many = run(&["run", "-m", &tiny(), "-p", "Hello", "-n", "1", "-t", "1024"]);
    assert!(many.stderr.contains("-t 1024: this machine has "), "{}", many.stderr);
}

#[test]
fn a_stop_string_ends_the_text_and_is_left_out() {
    let args = ["run", "-m", &tiny(), "-p", "Hello the world", "-n", "40"];
    let all = run(&[&args[..], &GREEDY[..]].concat()).stdout;
    let stop: String = all.chars().skip(20).take(3).collect();
    let (before, _) = all.split_once(&stop).expect("part of it");
    let got = run(&[&args[..], &GREEDY[..], &["--stop", "not in there", "--stop", &stop]].concat()).stdout;
    assert_eq!(got.trim_end_matches('\n'), before.trim_end_matches('\n'));
}

#[test]
fn a_full_context_ends_the_text() {
    let done = run(&[&["run", "-m", &tiny(), "-p", "Hello", "-c", "16"], &GREEDY[..]].concat());
    assert!(
        done.stderr.contains("the context is full: 16 tokens") && !done.stderr.contains("limit"),
        "{}",
        done.stderr
    );
    let done = run(&["run", "-m", &tiny(), "-p", "", "-n", "1", "-c", "0"]); // only the beginning-of-text token
    assert!(done.stderr.contains("prompt 1 token in"), "{}", done.stderr);
}

#[test]
fn a_full_context_shifts_where_asked() {
    const SHIFTED: &str = "the context is full: 7 tokens dropped after the first 2, the last 7 read again";
    let model = tiny();
    let with =
        |context: &[&str]| run(&[&["run", "-m", &model, "-p", "Hello", "-n", "60"], &GREEDY[..], context].concat());
    let stops = with(&["-c", "16"]);
    let shifts = with(&["-c", "16", "--context-end", "shift", "--keep", "1"]);
    assert!(shifts.stdout.starts_with(stops.stdout.trim_end()), "{} after {}", shifts.stdout, stops.stdout);
    assert!(
        shifts.stderr.contains(SHIFTED) && shifts.stderr.contains("reply 60 tokens (limit -n)"),
        "{}",
        shifts.stderr
    );
    assert_eq!(shifts.stderr.matches("the context is full").count(), 1, "{}", shifts.stderr);
    assert!(shifts.stderr.contains(" shifts of the context"), "{}", shifts.stderr);
    let quiet = with(&["-c", "16", "--context-end", "shift", "--keep", "-1", "-q"]);
    assert_eq!(quiet.stderr, "");
    // There are too few tokens to drop.
    let kept = with(&["-c", "4", "--context-end", "shift", "--keep", "-1"]);
    assert!(kept.stderr.contains("the context is full: 4 tokens (-c); too few to drop any"), "{}", kept.stderr);
    let chat = ["chat", "-m", &model, "-c", "64", "-n", "8", "--context-end", "shift"];
    let done = with_input(&[&chat[..], &GREEDY[..]].concat(), &"Hello\n".repeat(6));
    assert_eq!((done.code, done.stderr.matches("reply 8 tokens").count()), (Some(0), 6), "{}", done.stderr);
    assert!(done.stderr.contains("oldest messages forgotten"), "{}", done.stderr);
}

#[test]
fn chat_answers_once_or_line_by_line() {
    let once = run(&["chat", "-m", &tiny(), "--system", "Be brief.", "-p", "Hello", "-n", "8", "--seed", "1"]);
    assert!(!once.stdout.is_empty());
    let done = with_input(&["chat", "-m", &tiny(), "-n", "8", "--seed", "1"], "Hello\n\nAnd the world?\n");
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert_eq!(done.stderr.matches("reply ").count(), 2, "{}", done.stderr);
    assert!(done.stderr.contains(" cached)"), "the second turn feeds only what is new: {}", done.stderr);
}

#[test]
fn a_conversation_is_cleared_and_ended() {
    let model = tiny();
    let args = [&["chat", "-m", &model, "-n", "8"], &GREEDY[..]].concat();
    let done = with_input(&args, "Hello\n/clear\nHello\n/exit\nHello\n");
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert_eq!(done.stderr.matches("reply ").count(), 2, "{}", done.stderr);
    assert!(!done.stderr.contains("cached"), "nothing is kept: {}", done.stderr);
    let (first, second) = done.stdout.split_at(done.stdout.len() / 2);
    assert_eq!(first, second);
}

#[test]
fn a_full_conversation_goes_on_when_cleared() {
    const FULL: &str = "the conversation is full (64 tokens): /clear begins a new one, -c gives more room";
    let model = tiny();
    let args = [&["chat", "-m", &model, "-c", "64"], &GREEDY[..]].concat();
    let done = with_input(&args, "Hello\nHello\n/clear\nHello\n");
    assert_eq!(done.code, Some(1), "{}", done.stderr);
    assert_eq!(done.stderr.matches(FULL).count(), 3, "{}", done.stderr);
    assert_eq!(done.stderr.matches(" tok/s; reply ").count(), 2, "{}", done.stderr);
    assert!(done.stderr.ends_with("1 message without a reply: the conversation was full\n"), "{}", done.stderr);
    // A first message that does not fit is an error: there is nothing to clear.
    let done = with_input(&["chat", "-m", &tiny(), "-c", "4"], "Hello\n");
    assert!(done.code == Some(1) && done.stderr.contains("the context holds 4"), "{}", done.stderr);
}

/// A reply that takes seconds, after its first byte has come.
fn long_reply() -> Child {
    // With this seed the first character has one byte.
    let args = ["run", "-m", &tiny(), "-p", "Hello", "--seed", "1", "--ignore-eos", "-c", "8000", "--device", "ref"];
    let mut child = pronk(&args).spawn().expect("the program starts");
    child.stdout.as_mut().expect("piped").read_exact(&mut [0]).expect("a byte of text");
    child
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let mut child = long_reply();
    drop(child.stdout.take());
    let done = finish(child);
    assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""));
}

/// Sends Ctrl-C and waits for the end. The whole output must be UTF-8.
#[cfg(unix)]
fn interrupt(child: Child) -> crate::common::program::Done {
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(kill.is_ok_and(|status| status.success()));
    let done = finish(child);
    assert_eq!(done.code, Some(130));
    assert!(done.stderr.contains("interrupted") && done.stderr.contains("tok/s"), "{}", done.stderr);
    done
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_the_reply_and_the_timings_come() {
    interrupt(long_reply());
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_piped_conversation() {
    use std::io::Write;
    use std::process::Stdio;
    let args = ["chat", "-m", &tiny(), "--seed", "1", "--ignore-eos", "-c", "8000"];
    let mut child = pronk(&args).stdin(Stdio::piped()).spawn().expect("the program starts");
    child.stdin.as_mut().expect("piped").write_all(b"Hello\nHello\nHello\n").expect("it reads");
    child.stdout.as_mut().expect("piped").read_exact(&mut [0]).expect("a byte of text");
    let done = interrupt(child);
    assert_eq!(done.stderr.matches("reply ").count(), 1, "{}", done.stderr);
}
