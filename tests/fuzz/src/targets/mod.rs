//! The bodies of the fuzz targets. `tests/it/hostile.rs` includes this module and runs it on the seeds and on past
//! findings, so that it is compiled and run without a fuzzer.

pub mod gguf;
pub mod seeds;
pub mod split;
pub mod template;
pub mod tokenizer;

/// Fails unless `error` is fit for a user: one line of limited length.
fn check_error(error: impl std::fmt::Display) {
    let line = error.to_string();
    assert!(!line.contains(char::is_control), "not one line: {line:?}");
    assert!(line.len() < 2000, "{} bytes: {line}", line.len());
}
