//! Pronk: a minimal, hand-written GPU kernel runtime for Llama models in GGUF files.
//!
//! Start at [`plan`]: a model is a list of operations over named buffers. [`model`] writes that list from a file's metadata
//! ([`gguf`]), a [`backend`] executes it, [`generate`] drives it token by token.

#![warn(clippy::print_stdout, clippy::print_stderr)] // the library prints nothing

pub mod backend;
pub mod conformance;
pub mod generate;
pub mod gguf;
pub mod model;
pub mod plan;
pub mod quant;
pub mod text;
