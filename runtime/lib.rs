//! Pronk
pub mod gguf;
pub mod text;
