//! What commands take of memory.

use crate::common::gguf_builder::GgufBuilder;
use crate::common::program::finish;
use std::process::{Command, Stdio};

/// Control tokens of 10 MB in all. An automaton that finds them took 500 MB.
#[test]
fn control_tokens_take_memory_in_proportion_to_the_file() {
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>", "a", "b", "c"].map(String::from).into();
    let mut types = vec![2, 3, 3, 1, 1, 1];
    for i in 0..10_000 {
        tokens.push(format!("{i:05}{}", "q".repeat(1010)));
        types.push(3);
    }
    let scores = vec![0.0; tokens.len()];
    let file = GgufBuilder::default().str("tokenizer.ggml.model", "llama").strings("tokenizer.ggml.tokens", &tokens);
    let file = file.f32s("tokenizer.ggml.scores", &scores).i32s("tokenizer.ggml.token_type", &types);
    let folder = tempfile::TempDir::new().expect("a folder");
    let path = folder.path().join("controls.gguf");
    std::fs::write(&path, file.build()).expect("a file");
    // 300 MB of address space, libraries and stacks included; with a small file the program takes less than 60 MB.
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -v 300000 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_pronk"), "tokenize", "-m"]);
    limited.arg(&path).args(["-p", "abc", "--ids", "--no-bos"]);
    let child = limited.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let done = finish(child.expect("the program starts"));
    assert_eq!((done.code, done.stdout.as_str()), (Some(0), "0 3 4 5\n"), "{}", done.stderr);
}
