//! Options of llama.cpp, as its users type them.

use super::tiny;
use crate::common::program::{run, usage_error};

fn short(more: &[&str]) -> Vec<String> {
    let base = ["run", "-m", &tiny(), "-p", "Hello", "-n", "3", "-c", "64", "--temp", "0", "--device", "cpu", "-q"];
    base.iter().chain(more).map(|arg| (*arg).to_string()).collect()
}

fn text(args: &[String]) -> String {
    run(&args.iter().map(String::as_str).collect::<Vec<_>>()).stdout
}

#[test]
fn what_changes_nothing_is_taken() {
    let plain = text(&short(&[]));
    for more in [
        &["-ngl", "99"][..],
        &["--n-gpu-layers=33"],
        &["-fa"],
        &["-fa", "on"],
        &["-b", "512", "-ub", "128"],
        &["-no-cnv"],
        &["--no-warmup"],
        &["-ctk", "f16", "-ctv", "f16"],
        &["-ngl", "0"], // beside --device cpu
        &["-ngl", "-1"],
        &["-ngl=99"],
        &["-ngl99"],
        &["-b512"],
        &["-st", "--no-display-prompt", "--jinja"],
        &["--no-mmap", "--mlock", "-nkvo", "-v", "--log-disable", "--prio", "2", "--numa", "isolate"],
    ] {
        assert_eq!(text(&short(more)), plain, "{more:?}");
    }
}

#[test]
fn what_has_an_equal_here_is_that() {
    let model = tiny();
    let plain = text(&short(&[]));
    let others = ["run", &model, "-p", "Hello", "--predict", "3", "-c", "64", "--temperature", "0", "-ngl", "0", "-q"];
    assert_eq!(run(&others).stdout, plain);
    usage_error(&[&others[..], &["-ctk", "q4_0"]].concat(), "'q4_0' for '--kv <TYPE>'");
    usage_error(
        &[&others[..], &["-ctk", "f16", "-ctv", "q8_0"]].concat(),
        "-ctv: keys and values have one format, --kv",
    );
}

#[test]
fn what_is_not_there_is_refused_by_its_name() {
    for (args, parts) in [
        (&["run", "-hf", "someone/model", "-p", "x"][..], "-hf: an option of llama.cpp; nothing is downloaded"),
        (&["bench", "-hf", "x"], "-hf: "),
        (&["run", "-m", "x", "-md", "y"], "-md: "),
        (&["run", "-m", "x", "-p", "x", "-ngl"], "-ngl: a value is missing"),
        (&["run", "-m", "x", "-sys", "hello"], "-sys: that is --system, which this command does not have"),
        (&["run", "-m", "x", "-dev", "CUDA0"], "-dev: an option of llama.cpp; --device takes"),
        (&["run", "-m", "x", "-p", "x", "-b", "-q"], "-b: a value is missing"),
        (&["chat", "-m", "x", "-no-cnv"], "-no-cnv: `pronk run` continues a text"),
        (&["hash", "-m", "x", "-ngl", "99"], "-ngl: an option of llama.cpp; `pronk hash` runs no model"),
        (&["info", "-m", "x", "-fa"], "-fa: an option of llama.cpp; `pronk info` runs no model"),
        (
            &["perplexity", "-m", "x", "-f", "x", "-cnv"],
            "-cnv: an option of llama.cpp; `pronk perplexity` writes no text",
        ),
        (&["run", "-m", "x", "--mirostat", "2"], "--mirostat: an option of llama.cpp; the samplers are --temp"),
        (&["run", "-m", "x", "--prompt-cache", "f"], "--prompt-cache: "),
        (&["run", "-m", "x", "-mli"], "-mli: "),
        (&["run", "-m", "x", "--port", "80"], "--port: an option of llama.cpp; there is no server"),
        (&["bench", "-m", "x", "-pg", "1,2"], "-pg: "),
        (&["perplexity", "-m", "x", "-f", "x", "--hellaswag"], "--hellaswag: "),
    ] {
        usage_error(args, parts);
    }
}

/// Words that are values of other options stay what they are.
#[test]
fn values_are_not_options() {
    let model = tiny();
    let done = run(&["tokenize", "-m", &model, "-p", "-ngl", "--ids"]);
    assert!(done.stdout.split_whitespace().count() > 1, "{}", done.stdout);
}
