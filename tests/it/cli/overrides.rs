//! Overrides of metadata on the command line.

use super::{GgufBuilder, comma_separated, file, folder, tiny};
use crate::common::program::{fails, run, usage_error};
use crate::common::tiny_llama::{PLAIN, Tiny};
use std::fs;

#[test]
fn overrides_that_are_no_values_are_usage_errors() {
    let wrong = [
        ("no-equals", "expected KEY=TYPE:VALUE"),
        ("key=3", "expected KEY=TYPE:VALUE"),
        ("=int:3", "expected KEY=TYPE:VALUE"),
        ("key=u32:3", "expected KEY=TYPE:VALUE with TYPE int, float, bool or str"),
        ("key=int:3.5", "expected a whole number of 64 bits"),
        ("key=float:nan", "expected a finite number"),
        ("key=bool:1", "expected true or false"),
    ];
    for (value, what) in wrong {
        let args = ["info", "-m", &tiny(), "--override-kv", value];
        usage_error(&args, &format!("invalid value '{value}' for '--override-kv"));
        usage_error(&args, what);
    }
    for args in [["--rope-scale", "0"], ["--rope-freq-base", "-1"], ["--rope-scaling", "longrope"]] {
        usage_error(&[&["info", "-m", &tiny()], &args[..]].concat(), args[0]);
    }
    usage_error(&["info", "-m", &tiny(), "--rope-scale", "2", "--rope-freq-scale", "0.5"], "cannot be used with");
    usage_error(&["bench", "--synth", "smollm2-135m:Q4_0", "--rope-scale", "2"], "cannot be used with");
}

#[test]
fn help_lists_the_overrides_apart() {
    let help = run(&["run", "-h"]).stdout;
    let (common, apart) = help.split_once("Overrides of the file's metadata:").expect("a heading");
    assert!(common.contains("--device") && common.contains("--temp") && !common.contains("--rope-scale"), "{help}");
    assert!(apart.contains("--override-kv") && apart.contains("--yarn-beta-slow"), "{help}");
}

#[test]
fn overrides_take_the_place_of_the_file_s_values() {
    let shown = run(&["info", "-m", &tiny(), "--override-kv", "llama.context_length=int:77"]).stdout;
    assert!(shown.contains(" 77 in the context") && !shown.contains("8192"), "{shown}");
    let name = ["info", "-m", &tiny(), "--override-kv", "general.name=str:a=b:c"];
    assert!(run(&name).stdout.contains("\na=b:c: 2 layers"));
    let bos = [
        "--override-kv",
        "tokenizer.ggml.add_bos_token=bool:false",
        "--override-kv",
        "tokenizer.ggml.bos_token_id=int:3",
    ];
    let ids = |more: &[&str]| run(&[&["tokenize", "-m", &tiny(), "-p", "Hello", "--ids"], more].concat()).stdout;
    assert_eq!(ids(&bos), ids(&["--no-bos"]));
    assert!(ids(&bos[2..]).starts_with("3 39 "), "{}", ids(&bos[2..]));

    let wrong = ["info", "-m", &tiny(), "--override-kv", "llama.block_count=str:two"];
    assert!(run(&wrong).stdout.contains("key llama.block_count: expected u32, found string \"two\""));
    let wrong =
        ["logits", "-m", &tiny(), "--tokens", "1", "--out", "x.npy", "--override-kv", "llama.rope.freq_base=float:-1"];
    fails(&wrong, &["key llama.rope.freq_base: -1", "expected a positive number"]);
}

/// The file that `pronk logits` writes, and its notices.
fn logits(path: &str, more: &[&str]) -> (Vec<u8>, String) {
    let folder = folder();
    let out = folder.path().join("logits.npy").display().to_string();
    let tokens = comma_separated(&PLAIN.tokens(12));
    let args = ["logits", "-m", path, "--device", "cpu", "--kv", "f32", "--tokens", &tokens, "--out", &out];
    let done = run(&[&args, more].concat());
    (fs::read(&out).expect("logits"), done.stderr)
}

#[test]
fn rope_arguments_stand_for_their_keys() {
    let folder = folder();
    let write = |name: &str, model: GgufBuilder| file(&folder, name, &model.build());
    let plain = write("plain.gguf", PLAIN.file());
    let same = |more: &[&str], model: GgufBuilder| {
        let expected = logits(&write("expected.gguf", model), &[]).0;
        assert!(logits(&plain, more).0 == expected, "{more:?}");
        assert!(logits(&plain, &[]).0 != expected, "{more:?} changes nothing");
    };
    let base = |b: f32| PLAIN.file().without("llama.rope.freq_base").f32("llama.rope.freq_base", b);
    same(&["--rope-freq-base", "500000"], base(5e5));
    let factor = |model: GgufBuilder| model.f32("llama.rope.scaling.factor", 4.0);
    same(&["--rope-scale", "4"], factor(PLAIN.file()));
    same(&["--rope-freq-scale", "0.25", "--rope-scaling", "linear"], factor(PLAIN.file()));
    let yarn = factor(PLAIN.file()).str("llama.rope.scaling.type", "yarn");
    let yarn =
        yarn.u32("llama.rope.scaling.original_context_length", 64).f32("llama.rope.scaling.yarn_ext_factor", 0.5);
    let yarn = yarn.f32("llama.rope.scaling.yarn_attn_factor", 1.5).f32("llama.rope.scaling.yarn_beta_fast", 8.0);
    let args = ["--rope-scaling", "yarn", "--rope-scale", "4", "--yarn-orig-ctx", "64", "--yarn-ext-factor", "0.5"];
    let more = ["--yarn-attn-factor", "1.5", "--yarn-beta-fast", "8", "--yarn-beta-slow", "2"];
    same(&[&args[..], &more].concat(), yarn.f32("llama.rope.scaling.yarn_beta_slow", 2.0));

    // The keys of another family begin with its own name.
    let qwen = Tiny { arch: "qwen2", ..PLAIN };
    let with_base = qwen.file().without("qwen2.rope.freq_base").f32("qwen2.rope.freq_base", 5e5);
    let (path, expected) = (write("qwen2.gguf", qwen.file()), logits(&write("expected.gguf", with_base), &[]).0);
    assert!(logits(&path, &["--rope-freq-base", "500000"]).0 == expected && logits(&path, &[]).0 != expected);

    // Arguments that mean the value of the file change nothing.
    let unset = ["--rope-freq-base", "0", "--rope-freq-scale", "0", "--yarn-orig-ctx", "0", "--yarn-ext-factor", "-1"];
    let more =
        ["--yarn-attn-factor", "-1", "--yarn-beta-fast", "-1", "--yarn-beta-slow", "-1", "--rope-scaling", "none"];
    assert!(logits(&plain, &[&unset[..], &more].concat()).0 == logits(&plain, &[]).0);
}

#[test]
fn values_that_nothing_reads_are_said() {
    let unused = |more: &[&str]| {
        let said = logits(&tiny(), more).1;
        said.lines().filter(|line| line.contains("is not used")).map(String::from).collect::<Vec<_>>()
    };
    let typo = ["--override-kv", "llama.rope.freq_bass=float:7"];
    assert_eq!(unused(&typo), ["pronk: the value given for llama.rope.freq_bass is not used"]);
    assert!(unused(&[&typo[..], &["-q"]].concat()).is_empty());
    assert!(unused(&["--override-kv", "llama.rope.freq_base=float:7"]).is_empty());
    let without_yarn = ["--yarn-orig-ctx", "64"];
    assert_eq!(
        unused(&without_yarn),
        ["pronk: the value given for llama.rope.scaling.original_context_length is not used"]
    );
    let info = |key: &str, more: &[&str]| run(&[&["info", "-m", &tiny(), "--override-kv", key], more].concat()).stderr;
    assert_eq!(info("llama.typo=int:1", &[]), "pronk: the value given for llama.typo is not used\n");
    for read in ["llama.context_length=int:77", "tokenizer.ggml.bos_token_id=int:3", "tokenizer.chat_template=str:x"] {
        assert_eq!(info(read, &["--json"]), "", "{read}");
    }
    assert_eq!(info("general.name=str:x", &["--key", "general.name"]), "");
    usage_error(&["hash", "-m", &tiny(), "--rope-scale", "2"], "--rope-scale");
    let tokens = run(&["tokenize", "-m", &tiny(), "-p", "x", "--override-kv", "tokenizer.typo=int:1"]);
    assert_eq!(tokens.stderr, "pronk: the value given for tokenizer.typo is not used\n");
}

#[test]
fn an_override_that_does_not_fit_the_file_is_named() {
    let model = crate::common::data("models/tiny-llama3.q4_0.gguf").display().to_string();
    let cases = [
        ("llama.block_count=int:9", "key llama.block_count: 9, but the file has tensors of "),
        ("llama.feed_forward_length=int:64", "the file's own value was overridden: llama.feed_forward_length"),
    ];
    for (given, part) in cases {
        let args = ["run", "-m", &model, "-p", "Hi", "--device", "cpu", "--override-kv", given];
        fails(&args, &[part]);
    }
    let args = ["run", "-m", &model, "-p", "Hi", "--override-kv", "general.architecture=str:"];
    fails(&args, &["key general.architecture: \"\", only llama, "]);
}
