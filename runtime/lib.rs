//! Pronk
pub mod gguf;
