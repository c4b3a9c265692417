//! The program as a user runs it, on tiny models.

mod conversation;
#[cfg(target_os = "linux")]
mod dialog;
mod foreign;
mod manual;
#[cfg(target_os = "linux")]
mod memory;
mod overrides;
mod replies;
mod text;
mod trial;
mod usage;

use crate::common;
use crate::common::gguf_builder::GgufBuilder;
use crate::common::program::{fails, run, usage_error};
use pronk::conformance::nmse;
use serde_json::Value;
use std::fs;
use tempfile::TempDir;

fn tiny() -> String {
    common::data("models/tiny-llama3.q4_0.gguf").display().to_string()
}

fn folder() -> TempDir {
    TempDir::new().expect("a temporary folder")
}

fn file(folder: &TempDir, name: &str, bytes: &[u8]) -> String {
    let path = folder.path().join(name);
    fs::write(&path, bytes).expect("a writable folder");
    path.display().to_string()
}

#[test]
fn info_shows_keys_tensors_and_memory() {
    let shown = run(&["info", "-m", &tiny()]).stdout;
    for part in [
        "llama.context_length",
        "8192",
        "Q4_0",
        "KV cache f16",
        "RoPE table",
        "2 layers",
        "architecture Llama",
        "\nruns on: cpu",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert!(!shown.contains("blk.0.attn_q.weight"), "{shown}");
    let all = run(&["info", "-m", &tiny(), "--tensors"]).stdout;
    let gguf = pronk::gguf::Gguf::open(tiny().as_ref()).expect("the model");
    let listed: Vec<&str> = all.lines().rev().map_while(|line| line.split_whitespace().next()).collect();
    let listed = listed.into_iter().rev().skip(2); // the title and the header
    assert!(listed.eq(gguf.tensors().iter().map(|t| t.name.as_str())), "{all}");
    let bytes: u64 = gguf.tensors().iter().map(|t| t.data.len() as u64).sum();
    let size = pronk::backend::gib(bytes);
    let sizes = shown.lines().filter(|line| !line.starts_with("weights: ")).map(|line| line.matches(&size).count());
    assert_eq!(sizes.sum::<usize>(), 3, "the file's and the weights' of two contexts are {size}: {shown}");
    let folder = folder();
    let other = GgufBuilder::default().str("general.architecture", "gpt2").tensor_f32("wte", &[2, 3], &[0.5; 6]);
    let other = file(&folder, "other.gguf", &other.build());
    let shown = run(&["info", "-m", &other, "--tensors"]).stdout;
    assert!(shown.contains("cannot be run") && shown.contains("wte") && shown.contains("2 x 3"), "{shown}");
    fails(
        &["run", "-m", &other, "-p", "x"],
        &["other.gguf", "general.architecture", "gpt2, only llama, ", " can be run"],
    );
}

/// Heads of 16 elements are not whole blocks of a q8_0 cache.
#[test]
fn info_leaves_out_caches_that_heads_do_not_fit() {
    let folder = folder();
    let path = file(&folder, "plain.gguf", &common::tiny_llama::PLAIN.file().build());
    let shown = run(&["info", "-m", &path]).stdout;
    let line = |start: &str| shown.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{shown}"));
    let column = line("context ").find("KV cache q8_0").expect("its column");
    assert!(line("131072 ")[column..].starts_with("- "), "{shown}");
    let json: Value = serde_json::from_str(&run(&["info", "-m", &path, "--json"]).stdout).expect("JSON");
    let kv = json["model"]["memory"][0]["kv"].as_object().expect("an object");
    assert!(kv.keys().eq(["f16", "f32"]), "{json}");
}

#[test]
fn info_prints_a_value_in_full() {
    let value = |key: &str| run(&["info", "-m", &tiny(), "--key", key]).stdout;
    assert_eq!(value("general.architecture"), "llama\n");
    assert_eq!(value("llama.context_length"), "8192\n");
    assert_eq!(value("tokenizer.ggml.tokens").lines().count(), 512);
    assert!(value("tokenizer.ggml.tokens").contains("\"<|eot_id|>\"\n"));
    fails(&["info", "-m", &tiny(), "--key", "no.such"], &["key no.such", "is missing"]);
}

#[test]
fn devices_lists_the_cpu() {
    let shown = run(&["devices"]).stdout;
    assert!(shown.lines().any(|line| line.starts_with("cpu ")), "{shown}");
}

#[test]
fn tokenize_prints_ids_and_pieces() {
    let args = ["tokenize", "-m", &tiny(), "-p", "Hello<|eot_id|>"];
    let ids = |more: &[&str]| run(&[&args[..], &["--ids"], more].concat()).stdout;
    let plain = ids(&["--no-bos"]);
    assert_eq!(ids(&[]), format!("504 {plain}"));
    assert_eq!(ids(&["--special", "--no-bos"]), "39 301 385 508\n");
    assert!(plain.starts_with("39 301 385 ") && !plain.contains("508"), "{plain}");
    let table = run(&args).stdout;
    assert!(table.lines().any(|line| line.split_whitespace().eq(["301", "\"el\""])), "{table}");
}

/// The golden tokens and logits of the tiny model, and their number of columns.
fn golden() -> (Vec<u32>, Vec<f32>, usize) {
    let index = fs::read(common::data("models/index.json")).expect("an index");
    let index: Value = serde_json::from_slice(&index).expect("JSON");
    let tokens = serde_json::from_value(index["tiny-llama3.q4_0.gguf"]["tokens"].clone()).expect("tokens");
    let (logits, n_vocab) = common::npy(&common::data("models/tiny-llama3.q4_0.logits.npy"));
    (tokens, logits, n_vocab)
}

fn comma_separated(tokens: &[u32]) -> String {
    tokens.iter().map(u32::to_string).collect::<Vec<String>>().join(",")
}

#[test]
fn logits_are_the_golden_ones() {
    let (tokens, want, n_vocab) = golden();
    let folder = folder();
    let out = folder.path().join("logits.npy");
    let write = |kv| {
        let (tokens, path) = (comma_separated(&tokens), out.display().to_string());
        run(&["logits", "-m", &tiny(), "--device", "ref", "--kv", kv, "--tokens", &tokens, "--out", &path]);
        common::npy(&out)
    };
    for (kv, limit) in [("f16", 1e-5), ("f32", 1e-6)] {
        let (got, cols) = write(kv);
        assert_eq!((got.len(), cols), (want.len(), n_vocab));
        assert!(nmse(&got, &want) < limit, "{kv}: {:.1e}", nmse(&got, &want));
    }
}

#[test]
fn nothing_is_left_of_a_file_that_failed() {
    let folder = folder();
    let out = folder.path().join("logits.npy").display().to_string();
    let with = |model: &str, tokens: &str, more: &[&str], parts: &[&str]| {
        fails(&[&["logits", "-m", model, "--tokens", tokens, "--out", &out], more].concat(), parts);
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 0, "{tokens}");
    };
    with(&tiny(), "1,2,512", &[], &["--tokens", "512", "below 512"]);
    with(&tiny(), "1,2,3", &["-c", "2"], &["3 tokens", "holds 2"]);
    with("nowhere.gguf", "1", &[], &["nowhere.gguf", "cannot read"]);
    let missing = folder.path().join("no/such.npy").display().to_string();
    fails(&["logits", "-m", &tiny(), "--tokens", "1", "--out", &missing], &["no/such.npy", "cannot write"]);
    let this = folder.path().display().to_string();
    fails(&["logits", "-m", &tiny(), "--tokens", "1", "--out", &this], &["not a regular file"]);
}

#[test]
fn perplexity_is_that_of_the_logits() {
    const TEXT: &str = "the world is with the man and there is nothing";
    let args = ["perplexity", "-m", &tiny(), "-p", TEXT, "--device", "cpu"];
    let shown = run(&args).stdout;
    let ids = run(&["tokenize", "-m", &tiny(), "-p", TEXT, "--ids"]).stdout;
    let tokens: Vec<u32> = ids.split_whitespace().map(|id| id.parse().expect("an id")).collect();
    let folder = folder();
    let out = folder.path().join("logits.npy");
    run(&["logits", "-m", &tiny(), "--tokens", &comma_separated(&tokens), "--out", &out.display().to_string()]);
    let (logits, n_vocab) = common::npy(&out);
    let nll = |(row, token): (&[f32], &u32)| {
        let sum: f64 = row.iter().map(|l| (*l as f64).exp()).sum();
        sum.ln() - row[*token as usize] as f64
    };
    let total: f64 = logits.chunks(n_vocab).zip(&tokens[1..]).map(nll).sum();
    let want = (total / (tokens.len() - 1) as f64).exp();
    let got = common::program::perplexity(&shown);
    assert!((got / want - 1.0).abs() < 1e-3, "{got}, {want} from the logits");
    // Windows of 7 tokens and the beginning-of-text token.
    let windows = run(&[&args[..], &["-c", "8"]].concat());
    let n = (tokens.len() - 1).div_ceil(7);
    assert_eq!(windows.stdout.matches('[').count(), n, "{}", windows.stdout);
    let notice = format!("perplexity: {n} windows of 8 tokens, every token but the first scored");
    assert!(windows.stderr.contains(&notice), "{}", windows.stderr);
    let long = run(&["perplexity", "-m", &tiny(), "-p", &TEXT.repeat(40)]).stderr;
    assert!(long.contains(" windows of 512 tokens"), "{long}");
}

#[test]
fn bench_reports_in_four_forms() {
    let args = ["bench", "-m", &tiny(), "-p", "12", "-n", "3", "-d", "0,5", "-r", "2", "-q"];
    let form = |form| run(&[&args[..], &["-o", form]].concat()).stdout;
    let table = form("md");
    for part in ["t/s", "GB/s", "% of memory", "backend", "pp12 ", "tg3 @ d5", "±"] {
        assert!(table.contains(part), "{part} in {table}");
    }
    let rows: Vec<Value> = serde_json::from_str(&form("json")).expect("JSON");
    assert_eq!(rows.len(), 4);
    for row in &rows {
        assert!(row["avg_ts"].as_f64().is_some_and(|v| v > 0.0), "{row}");
        assert!(row["bytes"].as_u64().is_some_and(|v| v > 100_000), "{row}");
        assert_eq!(row["samples_ns"].as_array().map(|all| all.iter().filter(|v| v.is_u64()).count()), Some(2));
        assert!(row["avg_ns"].is_u64() && row["stddev_ns"].is_u64(), "{row}");
    }
    assert_eq!(rows[3]["n_depth"], 5);
    let lines = form("jsonl");
    assert!(lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()) && lines.lines().count() == 4);
    let csv = form("csv");
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    assert!(reader.headers().expect("a header").iter().any(|name| name == "avg_ts"));
    assert_eq!(reader.records().filter(Result::is_ok).count(), 4);
}

#[test]
fn bench_fits_into_the_context_asked_for() {
    let args = ["bench", "-m", &tiny(), "-p", "300", "-n", "5", "-d", "0,200", "-c", "400"];
    fails(&args, &["pp300 @ d200", "needs 500 tokens", "-c is 400"]);
}

#[test]
fn errors_are_one_line() {
    let folder = folder();
    let whole = fs::read(tiny()).expect("the model");
    let cut = file(&folder, "cut.gguf", &whole[..whole.len() / 2]);
    fails(&["run", "-m", &cut, "-p", "x"], &["cut.gguf", "ends at byte", "truncated download?"]);
    let text = file(&folder, "text.gguf", b"not a model");
    fails(&["run", "-m", &text, "-p", "x"], &["text.gguf", "not a GGUF file"]);
    let this = folder.path().display().to_string();
    fails(&["run", "-m", &this, "-p", "x"], &["is a directory"]);
    let bytes = file(&folder, "bytes.txt", b"ab\xff");
    fails(&["run", "-m", &tiny(), "-f", &bytes], &["bytes.txt", "not UTF-8"]);
    fails(&["run", "-m", &tiny(), "-f", &this], &[&this, "cannot read"]);
    fails(&["run", "-m", &tiny(), "-p", "x", "-c", "16777217"], &["a context of 16777217 tokens", "16777216"]);
    fails(&["run", "-m", &tiny(), "-p", "Hello the world", "-c", "4"], &["prompt has 9 tokens", "holds 4"]);
    fails(&["perplexity", "-m", &tiny(), "-p", ""], &["the text has 0 tokens, nothing to predict"]);
    fails(&["perplexity", "-m", &tiny(), "-p", "x", "-c", "1"], &["windows of 1 (-c): expected at least 2"]);
    fails(&["run", "-m", &tiny(), "-p", "x", "--device", "wgpu:99"], &["wgpu", "--device cpu can run it"]);
    let missing = folder.path().join("no/such.gguf");
    for subcommand in [&["run", "-p", "x"][..], &["chat", "-p", "x"], &["info"], &["tokenize", "-p", "x"], &["bench"]] {
        fails(&[subcommand, &["-m", &missing.display().to_string()]].concat(), &["no/such.gguf", "cannot read"]);
    }
}

#[test]
fn token_ids_are_separated_by_commas_or_white_space() {
    let folder = folder();
    let write = |ids: &str| {
        let out = folder.path().join("logits.npy");
        let done = run(&["logits", "-m", &tiny(), "--tokens", ids, "--out", &out.display().to_string()]);
        let wrote = format!("pronk: wrote {}: float32 (3, 512)\n", out.display());
        assert!(done.stderr.ends_with(&wrote), "{}", done.stderr);
        common::npy(&out)
    };
    let want = write("1,2,3");
    assert_eq!(write("1 2\n3\n"), want);
    assert_eq!(write(" 1, 2, 3"), want);
}

#[cfg(target_os = "linux")]
#[test]
fn write_errors_name_what_is_written() {
    use std::process::Command;
    let full = fs::File::options().write(true).open("/dev/full").expect("a full device");
    let mut command = common::program::pronk(&["info", "-m", &tiny()]);
    let done = common::program::finish(command.stdout(full).spawn().expect("the program starts"));
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.starts_with("pronk: stdout: cannot write: No space left"), "{}", done.stderr);

    // The size limit of files is one block. Its signal is ignored, so that writes fail with an error.
    let folder = folder();
    let out = folder.path().join("logits.npy").display().to_string();
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_pronk")]);
    command.args(["logits", "-m", &tiny(), "--tokens", "1,2,3,4,5,6", "--out", &out]);
    let limited = command.output().expect("a shell");
    let stderr = String::from_utf8_lossy(&limited.stderr);
    assert_eq!(limited.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("logits.npy: cannot write: File too large") && !stderr.contains(".pronk-"), "{stderr}");
    assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 0);
}

/// A dangling link fails for a superuser too, unlike permissions.
#[cfg(unix)]
#[test]
fn a_dangling_link_is_one_line() {
    let folder = folder();
    let link = folder.path().join("link.gguf");
    std::os::unix::fs::symlink(folder.path().join("nowhere"), &link).expect("a link");
    fails(&["run", "-m", &link.display().to_string(), "-p", "x"], &["link.gguf", "cannot read"]);
}

#[test]
fn check_tensors_finds_a_bad_scale() {
    run(&["run", "-m", &tiny(), "-p", "x", "-n", "1", "--check-tensors"]);
    let gguf = pronk::gguf::Gguf::open(tiny().as_ref()).expect("the model");
    let tensor = gguf.tensor("blk.1.ffn_up.weight").expect("a tensor");
    let mut bytes = fs::read(tiny()).expect("the model");
    let block = tensor.offset as usize + 18 * (tensor.shape[0] as usize / 32); // the first of the second row
    bytes[block..block + 2].copy_from_slice(&0x7e00u16.to_le_bytes()); // its scale: NaN in f16
    let folder = folder();
    let bad = file(&folder, "nan.gguf", &bytes);
    let parts = ["tensor blk.1.ffn_up.weight: row 1, column 0: NaN"];
    fails(&["run", "-m", &bad, "-p", "x", "--check-tensors"], &parts);
}

#[test]
fn check_tensors_refuses_unknown_tensors_first() {
    let folder = folder();
    let values = [&[0.0; 5000][..], &[f32::NAN]].concat();
    let bad = file(&folder, "bad.gguf", &small(1.0).tensor_f32("extra", &[5001], &values).build());
    fails(&["run", "-m", &bad, "-p", "x", "--check-tensors"], &["tensor extra: has no place"]);
}

/// A model of one layer that runs, its last norm `norm`.
fn small(norm: f32) -> GgufBuilder {
    let vector = |file: GgufBuilder, name: &str, v| file.tensor_f32(&format!("{name}.weight"), &[2], &[v; 2]);
    let file = vector(vocabulary_of(3), "output_norm", norm);
    let file = ["attn_norm", "ffn_norm"].iter().fold(file, |file, name| vector(file, &format!("blk.0.{name}"), 1.0));
    let matrices = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];
    matrices.iter().fold(file, |file, name| file.tensor_f32(&format!("blk.0.{name}.weight"), &[2, 2], &[0.5; 4]))
}

#[test]
fn logits_that_are_not_finite_are_an_error() {
    let folder = folder();
    let good = file(&folder, "good.gguf", &small(1.0).build());
    run(&["run", "-m", &good, "-p", "x", "-n", "1", "--device", "cpu"]);
    let bad = file(&folder, "bad.gguf", &small(f32::NAN).build());
    let problem = ["the model's logits are not finite (--check-tensors looks for the cause; --kv f32 helps"];
    for more in [&["--temp", "0"][..], &["--temp", "1"], &["--ignore-eos", "--temp", "0"]] {
        fails(&[&["run", "-m", &bad, "-p", "x", "--device", "cpu"], more].concat(), &problem);
    }
    fails(&["perplexity", "-m", &bad, "-p", "xyxy", "--device", "cpu", "-q"], &problem);
    let out = folder.path().join("o.npy").display().to_string();
    let done = run(&["logits", "-m", &bad, "--tokens", "0,1", "--out", &out, "--device", "cpu"]);
    assert!(done.stderr.contains("6 logits not finite (--check-tensors"), "{}", done.stderr);
}

#[cfg(unix)]
#[test]
fn a_termination_signal_leaves_no_file_behind() {
    let folder = folder();
    let out = folder.path().join("o.npy").display().to_string();
    let ids = vec!["1"; 8000].join(",");
    let args = ["logits", "-m", &tiny(), "--tokens", &ids, "--out", &out, "--device", "cpu"];
    let child = common::program::pronk(&args).spawn().expect("the program starts");
    // The first file only checks that the folder is writable; the second one has the logits.
    let grows = || {
        let files = fs::read_dir(folder.path()).expect("readable").filter_map(|file| file.ok()?.metadata().ok());
        files.map(|file| file.len()).sum::<u64>() > 0
    };
    let begin = std::time::Instant::now();
    while !grows() {
        assert!(begin.elapsed().as_secs() < 60, "no file appears");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let kill = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(kill.is_ok_and(|status| status.success()));
    let done = common::program::finish(child);
    assert_eq!((done.code, done.stderr.as_str()), (Some(143), "pronk: interrupted\n"));
    assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 0);
}

#[test]
fn info_shows_hostile_files_on_short_lines() {
    let folder = folder();
    let (key, name) = ("k".repeat(60_000), "a\n\x1b[31mred");
    let hostile = small(1.0).u32(&key, 1).str("general.name", name).tensor_f32(name, &[1], &[0.0]);
    let hostile = file(&folder, "hostile.gguf", &hostile.build());
    let shown = run(&["info", "-m", &hostile, "--tensors"]).stdout;
    assert!(shown.lines().all(|line| line.len() < 400 && !line.contains(char::is_control)), "{shown}");
    assert!(shown.contains("a\\n\\u{1b}[31mred"), "{shown}");
    let parts = ["tensor a\\n\\u{1b}[31mred: has no place"];
    fails(&["run", "-m", &hostile, "-p", "x"], &parts);
}

/// A model of one layer without the layer, and a vocabulary of `tokens` tokens, at most 4.
fn vocabulary_of(tokens: usize) -> GgufBuilder {
    let counts = [("block_count", 1), ("context_length", 8), ("embedding_length", 2), ("feed_forward_length", 2)];
    let keys = GgufBuilder::default().str("general.architecture", "llama").u32("llama.attention.head_count", 1);
    let keys = counts.iter().fold(keys, |keys, (name, n)| keys.u32(&format!("llama.{name}"), *n));
    keys.f32("llama.attention.layer_norm_rms_epsilon", 1e-5)
        .str("tokenizer.ggml.model", "gpt2")
        .str("tokenizer.ggml.pre", "llama-bpe")
        .strings("tokenizer.ggml.tokens", &["x", "y", "xy", "z"][..tokens])
        .i32s("tokenizer.ggml.token_type", &vec![1; tokens])
        .strings("tokenizer.ggml.merges", &["x y"])
        .tensor_f32("token_embd.weight", &[2, 3], &[0.5; 6])
}

#[test]
fn the_vocabulary_is_as_long_as_the_embedding() {
    let folder = folder();
    let long = file(&folder, "long.gguf", &vocabulary_of(4).build());
    fails(&["run", "-m", &long, "-p", "x"], &["tokenizer.ggml.tokens", "4 tokens", "token_embd.weight has 3 rows"]);
    let silent = file(&folder, "silent.gguf", &vocabulary_of(3).build());
    let advice = ["tokenizer.chat_template", "is missing", "--chat-template takes a file or one of chatml, ", "llama3"];
    fails(&["chat", "-m", &silent, "-p", "x"], &advice);
    fails(&["run", "-m", &silent, "-p", "x"], &["silent.gguf: tensor ", "is missing"]);
}

#[test]
fn a_chat_template_can_be_given() {
    let folder = folder();
    let chat = |template: &str| {
        ["chat", "-q", "-m", &tiny(), "-p", "x", "-n", "1", "--chat-template", template].map(String::from)
    };
    let refused = |template: &str, parts: &[&str]| fails(&chat(template).each_ref().map(String::as_str), parts);
    run(&chat("chatml").each_ref().map(String::as_str));
    let seen = file(&folder, "seen.jinja", b"{{ raise_exception('seen: ' ~ messages[0].content) }}");
    refused(&seen, &["chat template: ", "seen: x"]);
    let broken = file(&folder, "broken.jinja", b"{% if %}");
    refused(&broken, &["--chat-template", "broken.jinja", "line 1: syntax error"]);
    refused("lama3", &["--chat-template lama3: no such file, and no template of that name", "chatml, command-r"]);
}

#[test]
fn help_is_there_for_every_subcommand() {
    let subcommands = "run chat info devices tokenize hash synth logits perplexity bench guard ops compare gpu-report \
        completions man";
    for subcommand in subcommands.split(' ') {
        let usage = format!("Usage: pronk {subcommand}");
        assert!(run(&[subcommand, "--help"]).stdout.contains(&usage), "{subcommand}");
    }
}

#[test]
fn ops_counters_has_a_row_for_each_kernel() {
    let args = ["ops", "counters", "-n", "3", "-o"];
    let table = run(&[&args[..], &["rms_norm"]].concat()).stdout;
    let row = table.lines().find(|line| line.contains(" rms_norm ")).expect("its row");
    assert!(row.contains("attn_norm 576") && row.contains("DRAM") && row.contains('%'), "{row}");
    let json = |more: &[&str]| -> Value {
        serde_json::from_str(&run(&[&args[..], more, &["--json"]].concat()).stdout).expect("JSON")
    };
    let norm = &json(&["rms_norm"])[0];
    assert_eq!((&norm["entry"], &norm["launches"]), (&"rms_norm".into(), &1.into()));
    assert!(norm["lane_instructions_per_weight"].is_null());
    let classes = norm["by_class"].as_object().expect("counts by class");
    assert!(classes["LoadGlobal"].as_u64() > Some(0) && !classes.contains_key("Matrix"), "{norm}");
    assert_eq!(Some(classes.values().filter_map(Value::as_u64).sum()), norm["warp_instructions"].as_u64());
    assert!(norm["dram_bytes"].as_u64().expect("a count") >= 4 * 576 * 7, "3 rows in and out, and the weights: {norm}");
    let all = json(&["mat_mul_add", "--type", "q8_0", "--gpu", "a100"]);
    let product = &all[0];
    assert_eq!((&product["entry"], &product["gpu"]), (&"mat_mul_q8_0_rows".into(), &"A100".into()));
    assert!(product["lane_instructions_per_weight"].as_f64().expect("a number") > 1.0, "{product}");
    usage_error(&["ops", "counters", "--gpu", "abacus"], "RTX 4090");
}

#[test]
fn the_version_says_which_build_it_is() {
    let shown = run(&["--version"]).stdout;
    let build = shown.trim().strip_prefix(concat!("pronk ", env!("CARGO_PKG_VERSION"))).expect("the version");
    if cfg!(debug_assertions) {
        assert_eq!(build, " (debug build)");
    } else {
        // Without a repository there is no commit.
        let commit = build.strip_prefix(" (").and_then(|rest| rest.strip_suffix(')'));
        let (hash, date) = commit.and_then(|commit| commit.split_once(", ")).unwrap_or(("0000000", "2026-11-25"));
        assert!(build.is_empty() == commit.is_none() && hash.len() >= 7 && date.len() == 10, "{shown}");
    }
}
