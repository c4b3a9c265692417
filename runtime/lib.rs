//! Pronk: a minimal, hand-written GPU kernel runtime for Llama models in GGUF files.
//!
//! # Text
//!
//! [`LanguageModel`] is a model file on a device. A text comes piece by piece:
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let path = "tests/data/models/tiny-llama3.q4_0.gguf";
//! let mut model = pronk::LanguageModel::open(path)?;
//! for piece in model.generate("Once upon a time")?.take(16) {
//!     print!("{}", piece?.text);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A [`Chat`] keeps a conversation and the KV cache in step. [`LoadOptions`] say what a model runs on, [`GenerateOptions`] how
//! tokens are chosen and where a text ends:
//!
//! ```
//! use pronk::{DeviceChoice, End, GenerateOptions, LanguageModel, LoadOptions};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let path = "tests/data/models/tiny-llama3.q4_0.gguf";
//! let on_cpu = LoadOptions { device: DeviceChoice::CPU, n_ctx: Some(256), ..LoadOptions::default() };
//! let mut model = LanguageModel::load(path, &on_cpu, &mut |_| {})?;
//! let mut chat = model.chat()?;
//! chat.options = GenerateOptions { max_tokens: 16, stops: vec!["\n\n".to_string()], ..GenerateOptions::default() };
//! for question in ["What is the capital of France?", "And of Italy?"] {
//!     let mut reply = chat.say(question)?;
//!     let text = reply.by_ref().map(|piece| Ok(piece?.text)).collect::<Result<String, pronk::Error>>()?;
//!     println!("{text} ({} tokens of the prompt were known)", reply.stats().cached);
//!     assert!(reply.end() != Some(End::Cancelled));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`LanguageModel::score`] says how well a model predicts a text; [`generate::score`] has divergences between models too.
//!
//! # Inside
//!
//! Start at [`plan`]: a model is a list of operations over named buffers. [`model`] writes that list from a file's metadata
//! ([`gguf`]), a [`Backend`] executes it, [`generate`] drives it token by token.

#![warn(missing_docs)]
#![warn(clippy::print_stdout, clippy::print_stderr)] // the library prints nothing

pub mod backend;
pub mod conformance;
pub mod generate;
pub mod gguf;
pub mod model;
pub mod plan;
pub mod quant;
pub mod text;

pub use backend::{Backend, DeviceChoice};
pub use generate::{
    Chat, ContextEnd, End, Error, GenerateEvent, GenerateOptions, Generator, LanguageModel, LoadError, LoadEvent,
    LoadNotice, LoadOptions, Piece, SamplerOptions, Stats, Turn,
};
pub use text::Message;
