//! A real model against an independent float64 forward pass: SmolLM2-135M-Instruct in Q4_1.

use crate::common;
use crate::common::program::{fails, perplexity, run};
use pronk::conformance::nmse;
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};

/// The model file, as `make model` fetches it.
fn model() -> String {
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/SmolLM2-135M-Instruct.Q4_1.gguf");
    let path = std::env::var_os("PRONK_SMOLLM2").map_or(fetched, PathBuf::from);
    assert!(path.is_file(), "{}: no such file: run `make model`, or set PRONK_SMOLLM2", path.display());
    path.display().to_string()
}

/// The devices of the tests: the reference, the CPU, and the first wgpu adapter if there is one.
fn devices() -> Vec<&'static str> {
    let wgpu = "wgpu".parse().expect("a device's name");
    let wgpu = common::is_here("wgpu", pronk::backend::open(wgpu)).map(|_| "wgpu");
    ["ref", "cpu"].into_iter().chain(wgpu).collect()
}

#[derive(Deserialize)]
struct Golden {
    passage: Passage,
    completion: Continuation,
    chat: Continuation,
}

#[derive(Deserialize)]
struct Passage {
    text: String,
    tokens: Vec<u32>,
    /// Rows of passage.logits.npy: the logits after these tokens.
    logit_positions: Vec<usize>,
    ppl: f64,
    argmax: Vec<usize>,
}

#[derive(Deserialize)]
struct Continuation {
    prompt: String,
    prompt_tokens: Vec<u32>,
    greedy_tokens: Vec<u32>,
    text: String,
    /// Difference of the two largest logits at each step.
    margins: Vec<f32>,
}

fn golden() -> Golden {
    let json = fs::read(common::data("smollm2/golden.json")).expect("golden data");
    serde_json::from_slice(&json).expect("golden data of this form")
}

fn ids(text: &str, more: &[&str]) -> Vec<u32> {
    let shown = run(&[&["tokenize", "-m", &model(), "--ids", "-p", text], more].concat()).stdout;
    shown.split_whitespace().map(|id| id.parse().expect("an id")).collect()
}

#[test]
fn tokens() {
    let golden = golden();
    assert_eq!(ids(&golden.passage.text, &[]), golden.passage.tokens);
    assert_eq!(ids(&golden.completion.prompt, &[]), golden.completion.prompt_tokens);
    assert_eq!(ids(&golden.chat.prompt, &["--special"]), golden.chat.prompt_tokens);
}

#[test]
fn passage_logits() {
    let best = logits_of_passage("ref", 1e-5);
    assert_eq!(best, golden().passage.argmax);
    // llama.cpp's logits, whose activations have 8 bits as well, are off by 2.5e-3.
    let of_cpu = logits_of_passage("cpu", 1.2 * 2.5e-3);
    let differ = best.iter().zip(&of_cpu).filter(|(a, b)| a != b).count();
    assert!(differ * 50 <= best.len(), "{differ} of {} choices differ", best.len());
    logits_of_passage("cpu --precise", 1e-5);
}

/// Compares the logits of the passage on a device. Returns the likeliest tokens.
fn logits_of_passage(device: &str, limit: f64) -> Vec<usize> {
    let golden = golden().passage;
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let out = folder.path().join("logits.npy");
    let tokens: Vec<String> = golden.tokens.iter().map(u32::to_string).collect();
    let (tokens, path) = (tokens.join(","), out.display().to_string());
    let args = ["logits", "-m", &model(), "--tokens", &tokens, "--out", &path, "--device"];
    run(&args.into_iter().chain(device.split(' ')).collect::<Vec<_>>());
    let (got, n_vocab) = common::npy(&out);
    let (want, columns) = common::npy(&common::data("smollm2/passage.logits.npy"));
    assert_eq!((got.len(), n_vocab), (golden.tokens.len() * columns, columns));
    for (position, want) in golden.logit_positions.iter().zip(want.chunks(n_vocab)) {
        let error = nmse(&got[position * n_vocab..][..n_vocab], want);
        assert!(error < limit, "{device}: position {position}: {error:.1e}");
    }
    got.chunks(n_vocab).map(pronk::backend::reference::argmax).collect()
}

#[test]
fn passage_perplexity() {
    let text = common::data("smollm2/passage.txt").display().to_string();
    let want = golden().passage.ppl;
    for device in devices() {
        let got = perplexity(&run(&["perplexity", "-m", &model(), "--device", device, "-f", &text]).stdout);
        println!("{device}: perplexity {got}, wanted {want}");
        let limit = if device == "cpu" { 5e-3 } else { 1e-3 };
        assert!((got / want - 1.0).abs() < limit, "{device}: {got}, wanted {want}");
    }
}

/// Below this margin, activations in 8 bits may change the choice.
const CLEAR_MARGIN: f32 = 0.05;

/// The same on the CPU, which has such activations.
const CLEAR_MARGIN_OF_CPU: f32 = 0.1;

#[test]
fn greedy_continuation() {
    let golden = golden().completion;
    assert!(golden.margins.iter().all(|margin| *margin > CLEAR_MARGIN), "every step of this continuation is clear");
    let n = golden.greedy_tokens.len().to_string();
    for device in devices() {
        let args = ["run", "-m", &model(), "--device", device, "-p", &golden.prompt, "-n", &n, "--temp", "0"];
        assert_eq!(run(&args).stdout, golden.text.clone() + "\n", "{device}");
        // With a tiny penalty, the host chooses from the logits instead of the device.
        let sampled = run(&[&args[..], &["--repeat-penalty", "1.0000001"]].concat()).stdout;
        assert_eq!(sampled, golden.text.clone() + "\n", "{device}");
    }
}

/// The golden conversation goes on after the model's end token, where `chat` stops: each next token from those before
/// it.
#[test]
fn continuations_token_by_token() {
    let golden = golden();
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    for device in devices() {
        for (name, text) in [("completion", &golden.completion), ("chat", &golden.chat)] {
            let out = folder.path().join(format!("{device}-{name}.npy"));
            let all = text.prompt_tokens.iter().chain(&text.greedy_tokens);
            let tokens: Vec<String> = all.map(u32::to_string).collect();
            run(&[
                "logits",
                "-m",
                &model(),
                "--device",
                device,
                "--tokens",
                &tokens.join(","),
                "--out",
                &out.display().to_string(),
            ]);
            let (logits, n_vocab) = common::npy(&out);
            let best = logits
                .chunks(n_vocab)
                .skip(text.prompt_tokens.len() - 1)
                .map(|row| pronk::backend::reference::argmax(row) as u32);
            for (i, (best, (want, margin))) in best.zip(text.greedy_tokens.iter().zip(&text.margins)).enumerate() {
                let clear = if device == "cpu" { CLEAR_MARGIN_OF_CPU } else { CLEAR_MARGIN };
                assert!(best == *want || *margin <= clear, "{device} {name}: step {i}: {best}, wanted {want}");
            }
        }
    }
}

#[test]
fn chat_knows_the_capital() {
    let prompt = "What is the capital of France?";
    // The margin of the first token is 0.08: activations in 8 bits change the choice.
    let precise = |device| if device == "cpu" { "cpu --precise" } else { device };
    for device in devices().into_iter().map(precise) {
        let args = ["chat", "-m", &model(), "--temp", "0", "-p", prompt, "--device"];
        let done = run(&args.into_iter().chain(device.split(' ')).collect::<Vec<_>>());
        assert_eq!(done.stdout, "The capital of France is Paris.\n", "{device}");
        assert!(done.stderr.contains("prompt 37 tokens"), "the template adds its own system message: {}", done.stderr);
    }
}

#[test]
fn a_context_that_does_not_fit_is_one_line() {
    let parts = ["a context of 16777216 tokens needs ", "KV cache", "free; the most that fits is -c "];
    fails(&["run", "-m", &model(), "-p", "x", "--kv", "f32", "-c", "16777216", "--device", "cpu"], &parts);
}
