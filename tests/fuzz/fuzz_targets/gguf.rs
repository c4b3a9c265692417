#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pronk_fuzz::targets::gguf::run(data));
