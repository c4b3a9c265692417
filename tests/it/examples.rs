//! Runs the examples as a user does. `cargo test` builds them; before `cargo test --test it examples` alone,
//! `cargo build --examples` does.

use crate::common;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn tiny() -> String {
    common::data("models/tiny-llama3.q4_0.gguf").display().to_string()
}

/// Runs an example with `input` on stdin.
fn example(name: &str, args: &[&str], input: &str) -> Output {
    let program = Path::new(env!("CARGO_BIN_EXE_pronk")).with_file_name("examples").join(name);
    assert!(program.is_file(), "{}: no such file: run `cargo build --examples`", program.display());
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    // It may end before it has read everything.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

/// The output of an example. Fails unless it succeeds.
fn succeeds(name: &str, args: &[&str], input: &str) -> String {
    let done = example(name, args, input);
    assert!(done.status.success(), "{name}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("UTF-8")
}

#[test]
fn generate_continues_a_text_in_ten_lines() {
    let text = succeeds("generate", &[&tiny(), "Once upon", "a time"], "");
    assert!(text.len() > 32 && text.ends_with('\n'), "{text}");
    let source = fs::read_to_string("examples/generate.rs").expect("its source");
    let lines = source.lines().filter(|line| !(line.is_empty() || line.starts_with("//"))).count();
    assert!(lines <= 10, "{lines} lines");
    assert!(!example("generate", &[], "").status.success());
}

#[test]
fn chat_answers_each_line() {
    let done = example("chat", &[&tiny()], "Hello\nAnd the world?\n");
    let stderr = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && !done.stdout.is_empty(), "{stderr}");
    let turns: Vec<&str> = stderr.lines().filter(|line| line.contains(" written")).collect();
    assert_eq!(turns.len(), 2, "{stderr}");
    assert!(
        turns[0].contains(" 0 known") && !turns[1].contains(" 0 known"),
        "the first turn is not read again: {stderr}"
    );
}

#[test]
fn score_is_what_the_program_says() {
    const TEXT: &str = "the world is with the man and there is nothing";
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = folder.path().join("text");
    fs::write(&file, TEXT).expect("a writable folder");
    let shown = succeeds("score", &[&tiny(), &file.display().to_string()], "");
    let figure = shown.split("perplexity ").nth(1).and_then(|rest| rest.split(' ').next());
    let figure: f64 = figure.and_then(|figure| figure.parse().ok()).unwrap_or_else(|| panic!("a figure in {shown}"));
    let said = common::program::run(&["perplexity", "-m", &tiny(), "-p", TEXT]).stdout;
    let want = common::program::perplexity(&said);
    assert!((figure - want).abs() < 1e-3, "{figure}, the program says {want}");
}

#[test]
fn a_backend_of_ones_own_runs_the_model() {
    let shown = succeeds("backend", &[&tiny(), "Hello"], "");
    let count = |op: &str| -> u64 {
        let line = shown.lines().find_map(|line| line.strip_prefix(op)?.strip_prefix(": "));
        line.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{op} in {shown}"))
    };
    // In each step two layers with two norms each, and one norm at the end.
    assert_eq!((count("rms_norm"), count("attention")), (5 * count("embed"), 2 * count("embed")));
    assert_eq!(count("embed"), 32, "one step for the prompt and the first token, and one for each other");
}
