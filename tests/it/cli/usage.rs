//! Wrong command lines, and what the program says of them.

use super::tiny;
use crate::common::program::{done, run, usage_error};

#[test]
fn usage_errors_name_the_limit() {
    let with = |more: &[&str], part: &str| usage_error(&[&["run", "-m", "x", "-p", "x"], more].concat(), part);
    with(&["--temp", "-1"], "at least 0");
    with(&["--temp", "nan"], "at least 0");
    with(&["--top-p", "1.5"], "0 to 1");
    with(&["--min-p", "-0.5"], "0 to 1");
    with(&["--repeat-penalty", "0"], "above 0");
    with(&["--presence-penalty", "inf"], "finite");
    with(&["--repeat-last-n", "-2"], "-1");
    with(&["-n", "-3"], "'-3' for '--n-predict <N>': expected a whole number, at least -2");
    with(&["-t", "-2"], "expected a whole number from -1 to 1024");
    with(&["-t", "1025"], "from -1 to 1024");
    with(&["-s", "-2"], "-1");
    with(&["--kv", "q8"], "f16");
    with(&["--device", "gpu"], "wgpu");
    with(&["--stop", ""], "--stop");
    usage_error(&["perplexity", "-m", "x"], "--prompt");
    usage_error(&["run", "-m", "x", "-p", "a", "-f", "b"], "cannot be used with");
    for ids in ["1,x", "-1", "", ","] {
        usage_error(&["logits", "-m", "x", "--tokens", ids, "--out", "y"], "expected token ids such as 1,2,3");
    }
    usage_error(&["bench", "-m", "x", "-p", "0", "-n", "0"], "nothing to measure");
    usage_error(&["bench", "-m", "x", "-p", "0", "-n", "0"], "Usage: pronk bench");
    usage_error(&["bench", "-m", "x", "-r", "0"], "'0' for '--repetitions <N>': expected a whole number, at least 1");
    usage_error(&["leap"], "leap");
}

/// A number below zero is the value of its option, whose message says what is wrong in words that are not Rust's.
#[test]
fn numbers_reach_the_message_of_their_option() {
    let run: &[&str] = &["run", "-m", "x", "-p", "x"];
    for (command, more, part) in [
        (run, ["-c", "-5"], "'-5' for '--ctx-size <TOKENS>': expected a whole number from 0 to 4294967295"),
        (run, ["-c", "5000000000"], "from 0 to 4294967295"),
        (run, ["-n", "99999999999999999999"], "is too large"),
        (run, ["-n", "1.5"], "expected a whole number"),
        (run, ["--top-k", "x"], "'x' for '--top-k <K>': expected a whole number, at least -1"),
        (run, ["--top-k", "-2"], "at least -1"),
        (run, ["--keep", "-2"], "'-2' for '--keep <N>'"),
        (run, ["--yarn-orig-ctx", "-1"], "'-1' for '--yarn-orig-ctx <TOKENS>'"),
        (&["bench", "-m", "x"], ["-p", "-1"], "'-1' for '--n-prompt <N>': expected a whole number, at least 0"),
        (&["bench", "-m", "x"], ["-d", "1,x"], "expected a whole number"),
        (&["synth", "--out", "x"], ["--layers", "-1"], "'-1' for '--layers <N>'"),
        (&["ops", "perf"], ["-n", "-1"], "'-1' for '--tokens <N>': expected a whole number from 1 to 4096"),
        (&["gpu-report", "--out", "x"], ["--minutes", "-1"], "from 1 to 600"),
    ] {
        let args = [command, &more].concat();
        usage_error(&args, part);
        let shown = done(&args).stderr;
        for word in ["..", "digit", "target type", "integer"] {
            assert!(!shown.split("Usage:").next().expect("a message").contains(word), "{args:?}: {shown}");
        }
    }
}

/// Numbers that stand for "all" or "as it likes" in llama.cpp.
#[test]
fn numbers_below_zero_mean_what_they_mean_in_llama_cpp() {
    let model = tiny();
    let base = ["run", "-m", &model, "-p", "Hello", "-c", "16", "--device", "cpu", "--ignore-eos", "-q", "--temp", "0"];
    let with = |more: &[&str]| run(&[&base[..], more].concat()).stdout;
    let plain = with(&["-n", "3"]);
    assert_eq!(with(&["-n", "3", "-t", "-1"]), plain);
    assert_eq!(with(&["-n", "3", "-t", "0"]), plain);
    let sampled = ["-n", "3", "--temp", "1", "-s", "5", "--top-p", "1", "--min-p", "0", "--top-k"];
    let sampled = |k| run(&[&base[..base.len() - 2], &sampled, &[k]].concat()).stdout;
    assert_eq!(sampled("-1"), sampled("0"));
    // The context ends the text, also where it could shift.
    let full = with(&[]);
    assert_eq!(with(&["-n", "-2"]), full);
    assert_eq!(with(&["-n", "-2", "--context-end", "shift"]), full);
}

#[test]
fn an_address_is_no_model_file() {
    for model in ["https://example.org/m.gguf", "http://x/y", "hf://a/b", "hf.co/a/b", "huggingface.co/a/b", "s3://a/b"]
    {
        for command in ["run", "chat", "info", "tokenize", "hash", "bench"] {
            usage_error(
                &[command, "-m", model],
                "nothing is downloaded: fetch the GGUF file first, then name it with -m",
            );
        }
        usage_error(&["run", model, "-p", "x"], "nothing is downloaded");
    }
    usage_error(&["run", "-m", "file:///tmp/m.gguf", "-p", "x"], "name the file by its path: /tmp/m.gguf");
    // A path may have such letters.
    assert!(done(&["run", "-m", "a:b/c", "-p", "x"]).stderr.contains("a:b/c: cannot read"));
}

#[test]
fn names_of_other_programs_devices_have_a_hint() {
    for (name, part) in [
        ("metal", "wgpu runs on Vulkan, Metal, DirectX 12 and OpenGL"),
        ("Vulkan0", "wgpu runs on Vulkan, Metal"),
        ("gpu", "auto takes the first GPU"),
        ("CUDA0", "cuda:0 is that device"),
        ("CUDA", "cuda is written in small letters"),
        ("rocm", "wgpu runs on GPUs of AMD and Intel"),
        ("none", "cpu runs without a GPU"),
        ("abacus", "abacus: not a device, expected auto, or one of cpu, cuda, cuda:N, wgpu"),
    ] {
        for command in
            [&["run", "-m", "x", "-p", "x"][..], &["ops", "test"], &["compare"], &["gpu-report", "--out", "x"]]
        {
            let args = [command, &["--device", name]].concat();
            usage_error(&args, part);
            usage_error(&args, "not a device, expected auto, or one of ");
        }
    }
}

#[test]
fn a_command_comes_first() {
    let model = tiny();
    for first in [&["-m", "x", "-p", "y"][..], &["-p", "x"], &[&model], &["m.gguf", "-p", "x"], &["--model=x"]] {
        usage_error(first, "expected a command first, such as pronk run -m FILE -p TEXT, or pronk chat -m FILE");
    }
    usage_error(&["rum", "-m", "x"], "'run'");
}

/// Tips name options that are spelled alike, and no others.
#[test]
fn tips_are_near_what_was_typed() {
    usage_error(&["run", "-m", "x", "--pormpt", "x"], "'--prompt'");
    for option in ["--no-such", "--rpe-scle-x", "--sweep"] {
        let done = done(&["run", "-m", "x", "-p", "x", option]);
        assert_eq!(done.code, Some(2));
        assert!(done.stderr.contains(option) && !done.stderr.contains("tip: a similar"), "{}", done.stderr);
    }
}

/// An error begins its own line, also after estimates.
#[test]
fn an_error_of_perplexity_ends_the_line_before_it() {
    let folder = super::folder();
    let text = super::file(&folder, "text", "Hello the world ".repeat(40).as_bytes());
    let copy = super::file(&folder, "m.gguf", &std::fs::read(tiny()).expect("the model"));
    let mut child = crate::common::program::pronk(&["perplexity", "-m", &copy, "-f", &text, "-c", "8", "-t", "1"])
        .spawn()
        .expect("the program starts");
    std::io::Read::read_exact(child.stdout.as_mut().expect("piped"), &mut [0]).expect("an estimate");
    let touched = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
    let file = std::fs::File::options().write(true).open(&copy).expect("the model");
    file.set_modified(touched).expect("a writable file");
    let done = crate::common::program::finish(child);
    assert_eq!(done.code, Some(1), "{}", done.stdout);
    assert!(done.stdout.ends_with(",\n") && done.stderr.contains("changed while in use"), "{}", done.stdout);
}
