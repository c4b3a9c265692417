//! Pronk
pub mod gguf;
pub mod quant;
pub mod text;
