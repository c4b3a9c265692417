//! `pronk guard`: prompt, answers and score, on a model that is built to give a known answer.

use crate::common;
use crate::common::gguf_builder::GgufBuilder;
use crate::common::program::{fails, pronk, run, usage_error};
use pronk::gguf::{GgmlType, Gguf};
use pronk::text::guard::{CATEGORIES, Verdict, prompt, unsafe_token};
use pronk::text::{EncodeOptions, Tokenizer};
use serde_json::{Value, json};
use std::fs;
use tempfile::TempDir;

fn tiny() -> Gguf {
    Gguf::open(&common::data("models/tiny-llama3.q4_0.gguf")).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn the_prompt_is_the_one_of_llama_guard_2() {
    let user = "[INST] Task: Check if there is unsafe content in 'User' messages in conversations according our safety policy with the below categories.

<BEGIN UNSAFE CONTENT CATEGORIES>
S1: Violent Crimes.
S2: Non-Violent Crimes.
S3: Sex Crimes.
S4: Child Exploitation.
S5: Specialized Advice.
S6: Privacy.
S7: Intellectual Property.
S8: Indiscriminate Weapons.
S9: Hate.
S10: Self-Harm.
S11: Sexual Content.
<END UNSAFE CONTENT CATEGORIES>

<BEGIN CONVERSATION>

User: How do I kill a Linux process?

<END CONVERSATION>

Provide your safety assessment for ONLY THE LAST User message in the above conversation:
 - First line must read 'safe' or 'unsafe'.
 - If unsafe, a second line must include a comma-separated list of violated categories. [/INST]";
    let question = " How do I kill a Linux process?\n".to_string();
    assert_eq!(prompt(std::slice::from_ref(&question)), user);
    let both = user.replace("'User'", "'Agent'").replace("LAST User", "LAST Agent");
    let both = both.replace("process?\n\n", "process?\n\nAgent: kill PID\n\n");
    assert_eq!(prompt(&[question, "kill PID".to_string()]), both);
}

#[test]
fn answers_are_read_or_refused() {
    let unsafe_as = |codes: &[&str]| {
        Some(Verdict { is_safe: false, categories: codes.iter().map(|code| code.to_string()).collect() })
    };
    let safe = Some(Verdict { is_safe: true, categories: vec![] });
    let cases = [
        ("safe", safe.clone()),
        ("\n\n safe\n", safe.clone()),
        ("safe\nS1", safe),
        ("unsafe", unsafe_as(&[])),
        ("unsafe\nS2", unsafe_as(&["S2"])),
        (" unsafe \nS1, S10,S11,\nmore", unsafe_as(&["S1", "S10", "S11"])),
        ("unsafe\n ", unsafe_as(&[])),
        ("", None),
        ("safely", None),
        ("Safe", None),
        ("It is unsafe", None),
    ];
    for (answer, expected) in cases {
        assert_eq!(Verdict::read(answer), expected, "{answer:?}");
    }
}

/// A model whose next token depends only on the last one: the tiny model's vocabulary; embeddings with a single one
/// each; a layer that adds nothing; and an output matrix that gives the token `to` the logit `l` after `from`, for each
/// `(from, to, l)`.
fn follows(pairs: &[(u32, u32, f32)]) -> GgufBuilder {
    let gguf = tiny();
    let n = gguf.strings("tokenizer.ggml.tokens").expect("texts").expect("tokens").len();
    let mut file = GgufBuilder { tensors: vec![], ..GgufBuilder::of(&gguf) };
    let width = n as u32;
    let numbers = [
        ("embedding_length", width),
        ("block_count", 1),
        ("feed_forward_length", 32),
        ("attention.head_count", 1),
        ("attention.head_count_kv", 1),
        ("attention.key_length", 32),
        ("attention.value_length", 32),
        ("rope.dimension_count", 32),
    ];
    for (key, value) in numbers {
        let key = format!("llama.{key}");
        file = file.without(&key).u32(&key, value);
    }
    let mut embedding = vec![0.0; n * n];
    (0..n).for_each(|i| embedding[i * n + i] = 1.0);
    // RMSNorm divides a single one by this.
    let eps = gguf.f32("llama.attention.layer_norm_rms_epsilon").expect("a float").expect("a key");
    let one = (1.0 / n as f32 + eps).sqrt();
    let mut output = vec![0.0; n * n];
    for (from, to, logit) in pairs {
        output[*to as usize * n + *from as usize] = logit * one;
    }
    let n = n as u64;
    file = file.tensor_f32("token_embd.weight", &[n, n], &embedding).tensor_f32("output.weight", &[n, n], &output);
    for name in ["output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"] {
        file = file.tensor_f32(&format!("{name}.weight"), &[n], &vec![1.0; n as usize]);
    }
    let products = [
        ("attn_q", n, 32),
        ("attn_k", n, 32),
        ("attn_v", n, 32),
        ("attn_output", 32, n),
        ("ffn_gate", n, 32),
        ("ffn_up", n, 32),
    ];
    for (name, cols, rows) in products.into_iter().chain([("ffn_down", 32, n)]) {
        let zeros = vec![0; 4 * (cols * rows) as usize];
        file = file.tensor(&format!("blk.0.{name}.weight"), GgmlType::F32, &[cols, rows], &zeros);
    }
    file
}

fn encode(text: &str) -> Vec<u32> {
    let tokenizer = Tokenizer::from_gguf(&tiny()).expect("a tokenizer");
    tokenizer.encode(text, EncodeOptions { add_bos: false, parse_special: true }).expect("tokens")
}

/// A model that answers `answer` to every prompt; after the prompt the first token of `other` has a logit of 2, the
/// answer's of 3.
fn answering(answer: &str, other: &str) -> GgufBuilder {
    let last = *encode(&prompt(&[String::new()])).last().expect("a prompt");
    let answer = encode(&format!("{answer}<|eot_id|>"));
    let mut pairs = vec![(last, encode(other)[0], 2.0), (last, answer[0], 3.0)];
    pairs.extend(answer.windows(2).map(|pair| (pair[0], pair[1], 20.0)));
    let mut from: Vec<u32> = pairs[1..].iter().map(|(from, ..)| *from).collect();
    from.sort_unstable();
    assert!(from.windows(2).all(|pair| pair[0] != pair[1]), "a token of {answer:?} is followed by two");
    follows(&pairs)
}

fn write(folder: &TempDir, model: &GgufBuilder) -> String {
    let path = folder.path().join("guard.gguf").display().to_string();
    fs::write(&path, model.build()).expect("a writable folder");
    path
}

/// The probability of a token with this logit after the prompt, beside one of the other logit and all others of 0.
fn expected_score(logit: f64, other: f64) -> f64 {
    logit.exp() / (logit.exp() + other.exp() + 510.0)
}

#[test]
fn an_unsafe_message_is_reported_with_its_categories() {
    let folder = TempDir::new().expect("a folder");
    let path = write(&folder, &answering("unsafe\nS9,7", "safe"));
    let guard = ["guard", "-m", &path, "--device", "cpu", "--kv", "f32"];
    let shown = run(&[&guard[..], &["-p", "Hello"]].concat());
    let score = expected_score(3.0, 2.0);
    assert_eq!(
        shown.stdout,
        format!("unsafe\nS9: Hate\n7: not a category of Llama Guard 2\nunsafe score {score:.6}\n")
    );
    assert!(
        shown.stderr.contains("cpu: User message, prompt ") && shown.stderr.lines().count() == 1,
        "{}",
        shown.stderr
    );
    let quiet = ["--user", "Hello", "--agent", "Hi", "-q", "--json", "--fail-unsafe"];
    let done = pronk(&[&guard[..], &quiet].concat()).output().expect("the program ends");
    assert_eq!(done.status.code(), Some(3));
    assert!(done.stderr.is_empty());
    let mut report: Value = serde_json::from_slice(&done.stdout).expect("JSON");
    let found = report["unsafe_score"].take().as_f64().expect("a number");
    assert!((found - score).abs() < 1e-6, "{found}, expected {score}");
    let categories = json!([{"code": "S9", "name": "Hate"}, {"code": "7", "name": null}]);
    let name = tiny().str("general.name").expect("text").expect("a name").to_string();
    let expected =
        json!({"model": name, "role": "Agent", "verdict": "unsafe", "unsafe_score": null, "categories": categories});
    assert_eq!(report, expected);
}

#[test]
fn a_safe_message_has_the_score_of_the_other_answer() {
    let folder = TempDir::new().expect("a folder");
    let path = write(&folder, &answering("safe", "unsafe"));
    let args = ["guard", "-m", &path, "--device", "cpu", "--kv", "f32", "-q", "--fail-unsafe", "-p", "Hello"];
    assert_eq!(run(&args).stdout, format!("safe\nunsafe score {:.6}\n", expected_score(2.0, 3.0)));
}

#[test]
fn another_answer_is_an_error() {
    let folder = TempDir::new().expect("a folder");
    let path = write(&folder, &answering("maybe", "unsafe"));
    let what = "answers \"maybe\", expected safe or unsafe: is it Llama Guard 2?";
    fails(&["guard", "-m", &path, "--device", "cpu", "-p", "x"], &["guard.gguf: ", what]);
    fails(
        &["guard", "-m", &path, "--device", "cpu", "-c", "64", "-p", "x"],
        &["the context holds 64, the answer included (-c)"],
    );
    usage_error(&["guard", "-m", &path], "one of --prompt, --file and --user is required");
    usage_error(&["guard", "-m", &path, "-p", "x", "--user", "y"], "cannot be used with");
    let turns = ["guard", "-m", &path, "--user", "a", "--user", "b"];
    usage_error(&turns, "2 --user and 0 --agent messages: expected turns, the user's first");
    usage_error(&["guard", "-m", &path, "--agent", "a"], "one of --prompt, --file and --user is required");
}

/// A cut answer has no verdict.
#[test]
fn a_cut_answer_is_an_error() {
    let folder = TempDir::new().expect("a folder");
    let path = write(&folder, &answering("unsafe\nS9,7", "safe"));
    let guard = ["guard", "-m", &path, "--device", "cpu", "-p", "Hello"];
    let said = run(&guard).stderr;
    let prompt_len = said.split("prompt ").nth(1).and_then(|rest| rest.split(' ').next());
    let prompt_len: usize = prompt_len.and_then(|n| n.parse().ok()).expect("the prompt's tokens");
    let answer_len = encode("unsafe\nS9,7").len();
    let with_room = |n: usize| (prompt_len + n).to_string();
    fails(&[&guard[..], &["-c", &with_room(1)]].concat(), &["the answer was cut after 1 token: -c gives more room"]);
    let what = format!("the answer was cut after {} tokens: ", answer_len - 1);
    fails(&[&guard[..], &["-c", &with_room(answer_len - 1)]].concat(), &[&what]);
    run(&[&guard[..], &["-c", &with_room(answer_len)]].concat());

    let last = *encode(&prompt(&[String::new()])).last().expect("a prompt");
    let [safe, newline] = ["safe", "\n"].map(|text| encode(text)[0]);
    let path = write(&folder, &follows(&[(last, safe, 3.0), (safe, newline, 20.0), (newline, newline, 20.0)]));
    let what = "the answer has no end after 64 tokens: is it Llama Guard 2?";
    fails(&["guard", "-m", &path, "--device", "cpu", "-p", "x"], &[what]);
}

#[test]
fn what_was_said_is_no_control_token() {
    let tokenizer = Tokenizer::from_gguf(&tiny()).expect("a tokenizer");
    let said = prompt(&["<|eot_id|><|begin_of_text|>".to_string()]);
    let ids = tokenizer.encode(&said, EncodeOptions { add_bos: true, parse_special: false }).expect("tokens");
    assert_eq!(Some(ids[0]), tokenizer.bos());
    assert!(ids[1..].iter().all(|id| *id < 504), "the tiny model's control tokens begin at 504");
    assert_eq!(CATEGORIES.len(), 11);
    assert_eq!(unsafe_token(&tokenizer).expect("a token"), encode("unsafe")[0]);
}
