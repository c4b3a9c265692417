//! Runs the program.

use std::io::Write;
use std::process::{Child, Command, Stdio};

pub struct Done {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// The program with these arguments, both outputs piped, no input.
pub fn pronk(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pronk"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Waits for the end. Fails if an output is not UTF-8.
pub fn finish(child: Child) -> Done {
    let output = child.wait_with_output().expect("the program ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Done { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Runs it.
pub fn done(args: &[&str]) -> Done {
    finish(pronk(args).spawn().expect("the program starts"))
}

/// Runs it with `input` on stdin.
pub fn with_input(args: &[&str], input: &str) -> Done {
    let mut child = pronk(args).stdin(Stdio::piped()).spawn().expect("the program starts");
    // It may end before it has read everything.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    finish(child)
}

/// Runs it. Fails unless it succeeds.
pub fn run(args: &[&str]) -> Done {
    let done = done(args);
    assert_eq!(done.code, Some(0), "{args:?}: {}", done.stderr);
    done
}

/// Runs it. Fails unless it ends with code 1 and one line on stderr that has all of `parts`.
pub fn fails(args: &[&str], parts: &[&str]) {
    let done = done(args);
    assert_eq!(done.code, Some(1), "{args:?}: {}", done.stderr);
    assert!(done.stderr.starts_with("pronk: ") && done.stderr.lines().count() == 1, "{args:?}: {}", done.stderr);
    assert!(parts.iter().all(|part| done.stderr.contains(part)), "{args:?}: {parts:?} in {}", done.stderr);
    assert_eq!(done.stdout, "", "{args:?}");
}

/// Runs it. Fails unless it ends with code 2 and an explanation that has `part`.
pub fn usage_error(args: &[&str], part: &str) {
    let done = done(args);
    assert_eq!(done.code, Some(2), "{args:?}: {}", done.stderr);
    assert!(done.stderr.contains(part), "{args:?}: {part} in {}", done.stderr);
}

/// The final figure of `pronk perplexity`.
pub fn perplexity(shown: &str) -> f64 {
    let figure = shown.split("PPL = ").nth(1).and_then(|rest| rest.split_whitespace().next());
    figure.and_then(|figure| figure.parse().ok()).unwrap_or_else(|| panic!("a figure in {shown}"))
}
