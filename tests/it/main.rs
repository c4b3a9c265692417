//! The tests of the library and the program, a module for each subject. They are one executable, since every executable
//! links the whole library with its kernels. `cargo test --test it golden` runs one module.

mod ahead;
mod arrows;
mod cancel;
mod cli;
mod common;
mod conformance;
mod context;
mod cpu;
mod cuda;
mod decode_attention;
mod decode_products;
#[cfg(target_os = "linux")]
mod environment;
mod examples;
mod family;
mod faults;
mod generate;
mod gguf;
mod gguf_fuzz;
mod gguf_malformed;
mod golden;
mod grids;
mod guard;
mod hostile;
#[cfg(target_os = "linux")]
mod libcuda;
mod long_context;
mod model;
mod mutation;
mod plain_text;
mod ptx;
mod quality;
mod quant;
mod reference;
#[cfg(feature = "wgpu")]
mod shaders;
mod smollm2;
mod split;
mod synth;
mod templates;
mod tokenizer;
mod top_k;
mod types;
#[cfg(feature = "wgpu")]
mod wgpu;
mod with_reference;
