//! Fuzz target: see `src/targets/template.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pronk_fuzz::targets::template::run(data));
