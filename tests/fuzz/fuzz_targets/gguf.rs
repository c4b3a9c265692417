//! Fuzz target: see `src/targets/gguf.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pronk_fuzz::targets::gguf::run(data));
