//! What each fuzz target does with its input. `tests/it/hostile.rs` includes this module and does the same with the seeds and with
//! past findings, so that it is compiled and run where there is no fuzzer.

pub mod gguf;
pub mod seeds;
pub mod split;
pub mod template;
pub mod tokenizer;

/// Fails unless `error` is what a user may get to see: one line of limited length.
fn check_error(error: impl std::fmt::Display) {
    let line = error.to_string();
    assert!(!line.contains(char::is_control), "not one line: {line:?}");
    assert!(line.len() < 2000, "{} bytes: {line}", line.len());
}
