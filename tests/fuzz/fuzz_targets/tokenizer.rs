//! Fuzz target: see `src/targets/tokenizer.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pronk_fuzz::targets::tokenizer::run(data));
