//! Commands that describe a file and rate its model: hashes, JSON, divergence from another model, logits.

use crate::common;
use crate::common::program::{fails, run, usage_error};
use pronk::gguf::Gguf;
use serde_json::Value;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

fn model(name: &str) -> String {
    common::data(&format!("models/tiny-llama3.{name}.gguf")).display().to_string()
}

fn tiny() -> String {
    model("q4_0")
}

fn folder() -> TempDir {
    TempDir::new().expect("a temporary folder")
}

#[test]
fn hashes_are_those_of_the_bytes() {
    use sha2::{Digest, Sha256};
    let hex = |bytes: &[u8]| format!("{:x}", Sha256::digest(bytes));
    let gguf = Gguf::open(tiny().as_ref()).expect("the model");
    let file = fs::read(tiny()).expect("the file");
    let mut lines: Vec<String> = gguf.tensors().iter().map(|t| format!("{}  {}", hex(&t.data), t.name)).collect();
    lines.push(format!("{}  {}", hex(&file), tiny()));
    assert!(run(&["hash", "-m", &tiny()]).stdout.lines().eq(lines.iter().map(String::as_str)));
    let json: Value = serde_json::from_str(&run(&["hash", "-m", &tiny(), "--json"]).stdout).expect("JSON");
    let whole = &json["files"][0];
    assert_eq!((&whole["bytes"], &whole["sha256"]), (&file.len().into(), &hex(&file).into()));
    let tensors = json["tensors"].as_array().expect("an array");
    assert_eq!(tensors.len(), gguf.tensors().len());
    for (json, tensor) in tensors.iter().zip(gguf.tensors()) {
        assert_eq!((&json["name"], &json["sha256"]), (&tensor.name.as_str().into(), &hex(&tensor.data).into()));
        assert_eq!((&json["type"], &json["bytes"]), (&tensor.ty.name().into(), &tensor.data.len().into()));
    }
}

/// A name that is not UTF-8 is shown with replacement characters.
#[cfg(target_os = "linux")]
#[test]
fn files_are_hashed_whatever_their_names() {
    use std::os::unix::ffi::OsStrExt;
    let folder = folder();
    let path = folder.path().join(std::ffi::OsStr::from_bytes(b"m\xff.gguf"));
    fs::copy(tiny(), &path).expect("a writable folder");
    let child = common::program::pronk(&["hash", "-m"]).arg(&path).spawn().expect("the program starts");
    let done = common::program::finish(child);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let hash = |shown: &str| shown.lines().last().and_then(|line| line.split(' ').next()).map(String::from);
    assert_eq!(hash(&done.stdout), hash(&run(&["hash", "-m", &tiny()]).stdout));
    assert!(done.stdout.ends_with("/m\u{fffd}.gguf\n"), "{}", done.stdout);
}

const TEXT: &str = "the world is with the man and there is nothing that he has not seen in all the days of it";

/// Logits of the text's tokens, and the tokens.
fn logits(model: &str, out: &Path) -> (Vec<f32>, usize, Vec<usize>) {
    run(&["logits", "-m", model, "--device", "cpu", "-p", TEXT, "--out", &out.display().to_string()]);
    let (logits, n_vocab) = common::npy(out);
    let ids = run(&["tokenize", "-m", model, "-p", TEXT, "--ids"]).stdout;
    (logits, n_vocab, ids.split_whitespace().map(|id| id.parse().expect("an id")).collect())
}

/// The number after `name` in a report.
fn figure(report: &str, name: &str) -> f64 {
    let rest = report.split(name).nth(1).unwrap_or_else(|| panic!("{name} in {report}"));
    let number = rest.trim_start_matches([' ', '=', ':']).split([' ', '%', ',', '\n']).next();
    number.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("a number after {name} in {report}"))
}

#[test]
fn divergence_is_that_of_the_logits() {
    let folder = folder();
    let base = folder.path().join("base").display().to_string();
    let args = ["perplexity", "--device", "cpu", "-p", TEXT];
    run(&[&args[..], &["-m", &model("q5_1"), "--kl-base-out", &base]].concat());
    let report = run(&[&args[..], &["-m", &tiny(), "--kl-base", &base]].concat()).stdout;

    let (p, n_vocab, tokens) = logits(&model("q5_1"), &folder.path().join("p.npy"));
    let (q, ..) = logits(&tiny(), &folder.path().join("q.npy"));
    let log_softmax = |row: &[f32]| -> Vec<f64> {
        let sum: f64 = row.iter().map(|v| (*v as f64).exp()).sum();
        row.iter().map(|v| *v as f64 - sum.ln()).collect()
    };
    let rows = |logits: &[f32]| -> Vec<Vec<f64>> { logits.chunks(n_vocab).map(log_softmax).collect() };
    let n = tokens.len() - 1;
    let (mut kl, mut ratio, mut same) = (vec![], 0.0, 0.0);
    for (i, (p, q)) in rows(&p).iter().zip(rows(&q)).take(n).enumerate() {
        kl.push(p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>());
        ratio += (p[tokens[i + 1]] - q[tokens[i + 1]]) / n as f64;
        let top = |row: &[f64]| (0..n_vocab).max_by(|a, b| row[*a].total_cmp(&row[*b]));
        same += f64::from(top(p) == top(&q)) / n as f64;
    }
    kl.sort_by(f64::total_cmp);
    let mean = kl.iter().sum::<f64>() / n as f64;
    assert!(mean > 1e-4, "models that differ: {mean}");
    let close = |name: &str, want: f64, limit: f64| {
        let got = figure(&report, name);
        assert!((got - want).abs() < limit, "{name}: {got}, expected {want}\n{report}");
    };
    close("Mean KL divergence", mean, 5e-5); // the file rounds log-probabilities to 2e-4
    close("maximum", kl[n - 1], 2e-4);
    close("median", kl[((n - 1) as f64 / 2.0).round() as usize], 2e-4);
    close("PPL / base PPL", ratio.exp(), 2e-4);
    close("Same top token", 100.0 * same, 1e-3);
    let alone = run(&[&args[..], &["-m", &model("q5_1")]].concat()).stdout;
    close("Base: PPL", common::program::perplexity(&alone), 1.0);
}

#[test]
fn a_model_does_not_differ_from_itself() {
    let folder = folder();
    let base = folder.path().join("base").display().to_string();
    // Several windows; the last one is shorter.
    let args = ["perplexity", "--device", "cpu", "-p", TEXT, "-c", "9", "-m", &tiny()];
    run(&[&args[..], &["--kl-base-out", &base]].concat());
    let report = run(&[&args[..], &["--kl-base", &base]].concat()).stdout;
    assert!(figure(&report, "maximum") < 1e-7, "{report}");
    assert_eq!(figure(&report, "Same top token"), 100.0, "{report}");
    assert!((figure(&report, "PPL / base PPL") - 1.0).abs() < 1e-4, "{report}");
}

/// The file is written even if nothing reads stdout.
#[test]
fn a_base_is_written_after_stdout_is_closed() {
    let folder = folder();
    let base = |name: &str| folder.path().join(name).display().to_string();
    let args = ["perplexity", "--device", "cpu", "-q", "-p", TEXT, "-c", "9", "-m", &tiny(), "--kl-base-out"];
    assert_eq!(run(&[&args[..], &[&base("read")]].concat()).stderr, "");
    let mut child = common::program::pronk(&args).arg(base("unread")).spawn().expect("the program starts");
    drop(child.stdout.take());
    let done = common::program::finish(child);
    assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""));
    assert!(fs::read(base("unread")).expect("a file") == fs::read(base("read")).expect("a file"));
    fails(&[&args[..], &[&base("no/such")]].concat(), &["no/such: cannot write"]);
}

#[test]
fn a_base_of_something_else_is_refused() {
    let folder = folder();
    let path = folder.path().join("base");
    let base = path.display().to_string();
    let args = |model: &str, text: &str, more: &[&str]| {
        let args = ["perplexity", "-q", "--device", "cpu", "-m", model, "-p", text].map(String::from);
        args.into_iter().chain(more.iter().map(|arg| arg.to_string())).collect::<Vec<String>>()
    };
    let run = |args: Vec<String>| run(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let refused = |args: Vec<String>, parts: &[&str]| {
        let args: Vec<&str> = args.iter().map(String::as_str).chain(["--kl-base", &base]).collect();
        fails(&args, &[&["base: "], parts].concat());
    };
    run(args(&tiny(), TEXT, &["--kl-base-out", &base]));
    refused(args(&tiny(), &format!("{TEXT} night"), &["-c", "64"]), &["has another text: tokens", "expected"]);
    run(args(&tiny(), TEXT, &["--kl-base-out", &base, "--override-kv", "tokenizer.ggml.add_bos_token=bool:false"]));
    refused(args(&tiny(), TEXT, &[]), &["has the beginning-of-text token none, expected 504"]);
    run(args(&tiny(), TEXT, &["--kl-base-out", &base, "-c", "16"]));
    refused(args(&tiny(), TEXT, &["-c", "8"]), &["windows (-c) of 16, this run has 8"]);
    refused(args(&tiny(), "short", &["-c", "16"]), &["another text"]);
    refused(args(&tiny(), &TEXT.replace("seen", "been"), &["-c", "16"]), &["another text: token"]);
    let other = folder.path().join("other.gguf").display().to_string();
    let numbers = ["--layers", "1", "--embd", "32", "--ff", "32", "--heads", "1", "--vocab", "300"];
    common::program::run(&[&["synth", "--out", &other], &numbers[..]].concat());
    refused(args(&other, TEXT, &["-c", "16"]), &["has a vocabulary of 512, expected 300"]);
    let whole = fs::read(&path).expect("a file");
    fs::write(&path, &whole[..whole.len() - 1]).expect("writes");
    refused(args(&tiny(), TEXT, &["-c", "16"]), &["(truncated?)"]);
    fs::write(&path, &whole[..10]).expect("writes");
    refused(args(&tiny(), TEXT, &["-c", "16"]), &["not a file of predictions"]);
    fs::write(&path, [0; 100]).expect("writes");
    refused(args(&tiny(), TEXT, &["-c", "16"]), &["not a file of predictions"]);
    fs::remove_file(&path).expect("removes");
    refused(args(&tiny(), TEXT, &["-c", "16"]), &["cannot read"]);
    usage_error(&["perplexity", "-m", "x", "-p", "y", "--kl-base", "a", "--kl-base-out", "b"], "cannot be used with");
}

#[test]
fn logits_are_those_of_a_text_or_of_its_end() {
    let folder = folder();
    let path = folder.path().join("logits.npy");
    let out = path.display().to_string();
    let (all, n_vocab, tokens) = logits(&tiny(), &path);
    assert_eq!(all.len(), tokens.len() * n_vocab);
    let args = ["logits", "-m", &tiny(), "--device", "cpu", "-p", TEXT, "--last", "--out", &out];
    run(&args);
    let (last, cols) = common::npy(&path);
    assert_eq!((last.len(), cols), (n_vocab, n_vocab));
    assert!(pronk::conformance::nmse(&last, &all[all.len() - n_vocab..]) < 1e-10);
    let args = ["logits", "-m", &tiny(), "--device", "sim", "-p", "the world", "--last", "--out", &out];
    run(&args);
    assert_eq!(common::npy(&path).0.len(), n_vocab);
    usage_error(&["logits", "-m", "x", "--out", "y"], "--tokens");
    usage_error(&["logits", "-m", "x", "--out", "y", "-p", "a", "--tokens", "1"], "cannot be used with");
}

#[test]
fn info_is_there_as_json() {
    let json =
        |path: &str| -> Value { serde_json::from_str(&run(&["info", "-m", path, "--json"]).stdout).expect("JSON") };
    let info = json(&tiny());
    let gguf = Gguf::open(tiny().as_ref()).expect("the model");
    assert_eq!(info["files"], serde_json::json!([tiny()]));
    let metadata = info["metadata"].as_object().expect("an object");
    assert!(metadata.keys().eq(gguf.metadata().map(|(key, _)| key)));
    assert_eq!(metadata["llama.context_length"], serde_json::json!({"type": "u32", "value": 8192}));
    let tokens = &metadata["tokenizer.ggml.tokens"];
    assert_eq!((&tokens["element"], &tokens["length"]), (&"string".into(), &512.into()));
    assert!((1..100).contains(&tokens["first"].as_array().expect("some").len()), "{tokens}");
    let tensors = info["tensors"].as_array().expect("an array");
    for (json, tensor) in tensors.iter().zip(gguf.tensors()) {
        assert_eq!((&json["name"], &json["type"]), (&tensor.name.as_str().into(), &tensor.ty.name().into()));
        assert_eq!((&json["offset"], &json["bytes"]), (&tensor.offset.into(), &tensor.data.len().into()));
    }
    assert_eq!(tensors.len(), gguf.tensors().len());
    let model = &info["model"];
    assert_eq!((&model["n_layers"], &model["n_ctx"]), (&2.into(), &8192.into()));
    assert!(model["runs_on"].as_array().expect("an array").contains(&"cpu".into()), "{model}");
    for memory in model["memory"].as_array().expect("an array") {
        let (cpu, number) = (&memory["devices"]["cpu"], |v: &Value| v.as_u64().expect("a number"));
        let reference = &memory["devices"]["ref"];
        assert_eq!(memory["weights"], info["bytes"], "all tensors are used, none is a table of divisors");
        assert_eq!(cpu["kv"], memory["kv"]["f16"]);
        assert_eq!(number(&memory["kv"]["f32"]), 2 * number(&memory["kv"]["f16"]));
        assert_eq!(reference["weights"], memory["rope_table"], "the reference leaves the others in the file");
        let copied = number(&cpu["weights"]) - number(&memory["rope_table"]);
        let (weights, mapped) = (number(&memory["weights"]), number(&cpu["mapped"]));
        assert!(
            copied > weights / 2 && copied < weights && mapped + copied >= weights,
            "{cpu}: repacked, but for embeddings"
        );
        let parts = number(&cpu["weights"]) + number(&cpu["kv"]) + number(&cpu["buffers"]);
        assert_eq!(number(&cpu["total"]), parts);
    }
    let folder = folder();
    let other = folder.path().join("other.gguf");
    let mut header = pronk::gguf::Header::default();
    header.key("general.architecture", "gpt2");
    fs::write(&other, header.encode()).expect("writes");
    let info = json(&other.display().to_string());
    assert!(info["model"].is_null() && info["cannot_be_run"].as_str().is_some_and(|why| why.contains("only llama")));
    usage_error(&["info", "-m", "x", "--json", "--tensors"], "cannot be used with");
}
