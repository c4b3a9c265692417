//! Models with random weights: valid files of every type, and the shapes of well-known models on devices.

use crate::common;
use crate::common::program::{fails, run, usage_error};
use pronk::backend::DeviceChoice;
use pronk::conformance::nmse;
use pronk::generate::{LoadOptions, Outputs, load_model};
use pronk::gguf::{Gguf, Header, Value};
use pronk::model::{Model, SHAPES, Shape, Synth};
use pronk::plan::KvType;
use pronk::quant::{self, FORMATS, GgmlType, Random, random_weights};
use pronk::text::{EncodeOptions, Tokenizer, Vocab};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// A shape with rows of whole blocks of every type.
const SMALL: [&str; 12] =
    ["--layers", "1", "--embd", "256", "--ff", "512", "--heads", "4", "--kv-heads", "2", "--vocab", "600"];

fn synth(out: &Path, more: &[&str]) -> String {
    let out = out.display().to_string();
    run(&[&["synth", "--out", &out], more].concat());
    out
}

#[test]
fn a_file_of_every_type_runs() {
    let folder = TempDir::new().expect("a folder");
    for format in &FORMATS {
        let ty = format.ty.name();
        let file = synth(&folder.path().join(ty), &[&SMALL[..], &["--type", ty, "--rope-factor", "8"]].concat());
        let shown = run(&["info", "-m", &file, "--tensors"]).stdout;
        assert!(shown.contains("runs on: cpu") && shown.contains("rope_freqs.weight"), "{shown}");
        let args = ["run", "-m", &file, "--device", "cpu", "--check-tensors", "-p", "a llama leaps", "-n", "4"];
        assert!(!run(&[&args[..], &["--ignore-eos"]].concat()).stdout.is_empty(), "{ty}");
        let gguf = Gguf::open(file.as_ref()).expect("a file");
        assert!(gguf.tensors().iter().any(|t| t.ty == format.ty));
        let tokenizer = Tokenizer::from_gguf(&gguf).expect("a tokenizer");
        let text = "Pronk: the leap\n\n of a llama, 4 feet off the ground \u{1f999}";
        let ids = tokenizer.encode(text, EncodeOptions::default()).expect("tokens");
        assert_eq!(tokenizer.decode(&ids, false), text.as_bytes());
        // The same weights without a file.
        let shape = Shape {
            name: "synth",
            n_layers: 1,
            n_embd: 256,
            n_ff: 512,
            n_heads: 4,
            n_kv_heads: 2,
            head_dim: 64,
            n_vocab: 600,
            n_ctx: 8192,
            rope_base: 5e5,
            rope_factor: 8.0,
            tied: false,
        };
        let memory = Synth { shape, ty: format.ty, seed: 1 };
        for (tensor, found) in memory.tensors().iter().zip(gguf.tensors()) {
            assert_eq!((&tensor.name, tensor.ty, &tensor.shape), (&found.name, found.ty, &found.shape));
            assert_eq!(memory.data(tensor), found.data, "{ty}: {}", tensor.name);
        }
    }
}

#[test]
fn a_chat_with_noise_ends() {
    let folder = TempDir::new().expect("a folder");
    let file = synth(&folder.path().join("m.gguf"), &SMALL);
    run(&["chat", "-m", &file, "--device", "cpu", "-p", "hello", "-n", "3", "--seed", "1"]);
}

#[test]
fn rows_that_are_no_whole_blocks_get_another_type() {
    let shape = Shape { n_embd: 96, n_ff: 90, n_heads: 4, n_kv_heads: 4, head_dim: 64, ..SHAPES[0] };
    let tensors = Synth { shape, ty: GgmlType::Q4_K, seed: 1 }.tensors();
    let ty = |name: &str| tensors.iter().find(|t| t.name == name).map(|t| t.ty);
    assert_eq!(ty("blk.0.attn_output.weight"), Some(GgmlType::Q4_K));
    assert_eq!(ty("blk.0.attn_q.weight"), Some(GgmlType::Q8_0));
    assert_eq!(ty("blk.0.ffn_down.weight"), Some(GgmlType::F16));
    assert_eq!(ty("output_norm.weight"), Some(GgmlType::F32));
    assert_eq!(ty("output.weight"), None, "SmolLM2's is the embedding");
}

/// Well-known shapes give hyperparameters and tensors that fit together, and a vocabulary of their length.
#[test]
fn every_shape_makes_a_model() {
    for n_vocab in SHAPES.map(|shape| shape.n_vocab).into_iter().collect::<BTreeSet<u32>>() {
        let vocab = Vocab::synthetic(n_vocab).expect("a vocabulary");
        assert_eq!(vocab.tokens.len(), n_vocab as usize);
        assert!(Tokenizer::new(&vocab).is_ok(), "{n_vocab} tokens");
    }
    for shape in SHAPES {
        assert_eq!(shape.check(), Ok(()));
        let vocab = Vocab::synthetic(shape.n_vocab).expect("a vocabulary");
        // The data is a hole in the file.
        let synth = Synth { shape, ty: GgmlType::Q2_K, seed: 1 };
        let mut header = synth.header();
        vocab.write(&mut header);
        let begin = header.encode();
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), &begin).expect("writes");
        file.as_file().set_len(begin.len() as u64 + header.data_bytes()).expect("a hole");
        let gguf = Gguf::open(file.path()).expect("a file");
        assert_eq!(Vocab::from_gguf(&gguf), Ok(vocab));
        let model = Model::new(gguf).expect("a model");
        let memory = synth.model();
        assert_eq!((&model.config, &model.catalog), (&memory.config, &memory.catalog));
        let options = pronk::model::PlanOptions { n_ctx: 16, max_tokens: 8, max_outputs: 1, kv: KvType::F16 };
        assert_eq!(model.plan(&options).expect("a plan"), memory.plan(&options).expect("a plan"));
    }
}

#[test]
fn random_weights_have_the_magnitude_asked_for() {
    for format in &FORMATS {
        for rms in [1.0, 1.0 / 128.0, 1.0 / 231.0] {
            let n = 1 << 18;
            let mut values = vec![0.0f32; n];
            quant::decode(format.ty, &random_weights(format.ty, n as u64, rms, &mut Random::new(7)), &mut values);
            let squares: f64 = values.iter().map(|v| (*v as f64).powi(2)).sum();
            let ratio = (squares / n as f64).sqrt() / rms as f64;
            // Scales that are powers of two are coarse.
            let within = if format.ty == GgmlType::MXFP4 { 0.8..1.25 } else { 0.9..1.1 };
            assert!(within.contains(&ratio), "{}: {ratio} of {rms}", format.ty);
        }
    }
}

/// With the number of layers of the largest Llama, logits are still about 1.
#[test]
fn activations_stay_in_range_through_126_layers() {
    let shape =
        Shape { n_layers: 126, n_embd: 256, n_ff: 256, n_vocab: 512, n_ctx: 64, ..head_geometry("llama3.2-1b") };
    for ty in [GgmlType::Q4_0, GgmlType::Q2_K] {
        let logits = logits(shape, ty, DeviceChoice::REFERENCE, 4);
        let rms = (logits.iter().map(|v| v * v).sum::<f32>() / logits.len() as f32).sqrt();
        assert!((0.5..2.0).contains(&rms), "{ty}: logits of {rms}");
    }
}

/// A small model with the heads of a well-known one.
fn head_geometry(name: &str) -> Shape {
    let shape = Shape::find(name).expect("a known shape");
    Shape { n_layers: 1, n_embd: 64, n_ff: 64, n_vocab: 288, n_ctx: 64, ..shape }
}

/// Logits after each of 12 tokens, fed `chunk` at a time.
fn logits(shape: Shape, ty: GgmlType, device: DeviceChoice, chunk: u32) -> Vec<f32> {
    let options =
        LoadOptions { device, n_ctx: Some(32), kv: KvType::F32, chunk, max_outputs: 12, ..LoadOptions::default() };
    let loaded = load_model(Synth { shape, ty, seed: 3 }.model(), &options, &mut |_| {});
    let mut session = loaded.unwrap_or_else(|e| panic!("{e}")).session;
    let mut logits = vec![];
    let tokens: Vec<u32> = (0..12).map(|i| i * 37 % shape.n_vocab).collect();
    let fed = session.feed(&tokens, Outputs::All, |_, rows| {
        logits.extend_from_slice(rows);
        true
    });
    fed.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(logits.len(), tokens.len() * shape.n_vocab as usize);
    logits
}

/// Llama 3.1 405B has 128 query heads over 8 KV heads, with Llama 3.1's rotations; Llama 3.2 1B has 32 over 8. A GPU
/// kernel that has too little room for the queries of a group, or miscounts them, fails here.
fn agrees_with_the_reference(device: DeviceChoice) {
    for (name, ty) in [("llama3.1-405b", GgmlType::Q4_0), ("llama3.2-1b", GgmlType::Q8_0)] {
        let shape = head_geometry(name);
        let want = logits(shape, ty, DeviceChoice::REFERENCE, 12);
        // Prefill may multiply in f16, decode does not.
        for (chunk, limit) in [(12, 1e-5), (7, 1e-9)] {
            let error = nmse(&logits(shape, ty, device, chunk), &want);
            println!("{name} {device:?} chunk {chunk}: {error:.1e}");
            assert!(error < limit, "{name} on {device:?}, chunk {chunk}: {error:.1e}, limit {limit:.0e}");
        }
    }
}

#[test]
fn sim_runs_the_heads_of_large_models() {
    agrees_with_the_reference(common::device("sim"));
}

#[test]
fn cuda_runs_the_heads_of_large_models() {
    if common::is_here("cuda", pronk::backend::open(common::device("cuda"))).is_some() {
        agrees_with_the_reference(common::device("cuda"));
    }
}

#[test]
fn wgpu_runs_the_heads_of_large_models() {
    if common::is_here("wgpu", pronk::backend::open(common::device("wgpu"))).is_some() {
        agrees_with_the_reference(common::device("wgpu"));
    }
}

#[test]
fn refusals_leave_nothing_behind() {
    let folder = TempDir::new().expect("a folder");
    let out = folder.path().join("m.gguf").display().to_string();
    let with = |more: &[&str], parts: &[&str]| {
        fails(&[&["synth", "--shape", "smollm2-135m", "--out", &out], more].concat(), parts);
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 0, "{more:?}");
    };
    with(&["--kv-heads", "2"], &["--kv-heads 2, does not divide heads 9"]);
    with(&["--head-dim", "257"], &["--head-dim 257, expected 1 to 256"]);
    with(&["--head-dim", "31"], &["--head-dim 31", "even"]);
    with(&["--ctx", "0"], &["--ctx 0, expected 1 to"]);
    with(&["--rope-base", "0"], &["--rope-base 0, expected a positive number"]);
    let large = ["--shape", "llama3.1-405b", "--type", "F32", "--layers", "4096", "--embd", "16777216"];
    let larger = ["--ff", "16777216", "--heads", "16777216", "--kv-heads", "16777216", "--head-dim", "1"];
    fails(&[&["synth", "--out", &out], &large[..], &larger].concat(), &["--head-dim 1, expected an even number"]);
    let larger = ["--ff", "16777216", "--heads", "8388608", "--kv-heads", "8388608", "--head-dim", "2"];
    fails(
        &[&["synth", "--out", &out], &large[..], &larger].concat(),
        &["m.gguf: needs 17179869184.0 GiB, its disk has"],
    );
    fails(&["synth", "--out", &out, "--shape", "llama3-8b", "--vocab", "261"], &["--vocab 261", "at least 262"]);
    assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 0);
    usage_error(&["synth", "--out", &out, "--layers", "1"], "--embd");
    usage_error(&["synth", "--out", &out, "--shape", "llama5"], "llama3-8b");
    usage_error(&["synth", "--shape", "llama3-8b"], "--out");
    fs::write(&out, "precious").expect("writes");
    fails(&[&["synth", "--out", &out], &SMALL[..]].concat(), &["m.gguf: exists", "--force"]);
    assert_eq!(fs::read(&out).expect("it is there"), b"precious");
    run(&[&["synth", "--out", &out, "--force"], &SMALL[..]].concat());
    assert!(Gguf::open(out.as_ref()).is_ok());
}

/// The same seed gives the same file, another seed another one.
#[test]
fn the_seed_decides() {
    let folder = TempDir::new().expect("a folder");
    let file = |name: &str, more: &[&str]| {
        let more = [&SMALL[..], more].concat();
        fs::read(synth(&folder.path().join(name), &more)).expect("a file")
    };
    let first = file("a", &[]);
    assert_eq!(first, file("b", &["--seed", "1"]));
    assert_ne!(first, file("c", &["--seed", "2"]));
}

#[test]
fn what_is_written_is_read() {
    let mut header = Header::default();
    let values: [(&str, Value); 6] = [
        ("u32", 7.into()),
        ("f32", 0.5.into()),
        ("bool", true.into()),
        ("str", "\u{1f999}".into()),
        ("i32s", (&[-1, 2][..]).into()),
        ("strings", ["", "two"].iter().collect()),
    ];
    values.iter().for_each(|(key, value)| header.key(key, value.clone()));
    header.tensor("a", GgmlType::F32, &[3]);
    header.tensor("b", GgmlType::Q8_0, &[32, 2]);
    let mut file = header.encode();
    assert_eq!((file.len() % 32, header.data_bytes()), (0, 32 + 96));
    let a: Vec<u8> = [1.0f32, 2.0, 3.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    file.extend([&a[..], pronk::gguf::padding(12), &[9; 68], pronk::gguf::padding(68)].concat());
    let gguf = Gguf::parse("m", file.into()).expect("a file");
    assert!(gguf.metadata().eq(values.iter().map(|(key, value)| (*key, value))));
    assert_eq!(gguf.tensor("a").expect("a").data, a);
    assert_eq!(gguf.tensor("b").expect("b").data, [9; 68][..]);
}

/// `bench` takes every type, also at shapes whose rows are not whole blocks of it.
#[test]
fn bench_takes_types_with_blocks_longer_than_rows() {
    for ty in ["MXFP4", "IQ3_S"] {
        let model = format!("smollm2-135m:{ty}");
        let test = ["bench", "--synth", &model, "--layers", "1", "-p", "2", "-n", "0", "-r", "1", "--device", "cpu"];
        assert!(run(&test).stdout.contains("pp2"), "{model}");
    }
    let rows = ["ops", "perf", "--device", "cpu", "--shape", "smollm2-135m", "--type", "Q4_K", "-o", "mat_mul"];
    let shown = run(&rows).stdout;
    assert!(shown.contains("ffn_down 576x1536 Q4_K") && shown.contains("attn_q 576x576 Q8_0"), "{shown}");
}
