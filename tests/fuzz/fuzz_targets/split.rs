//! Fuzz target: see `src/targets/split.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pronk_fuzz::targets::split::run(data));
