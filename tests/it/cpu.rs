//! The CPU backend: the same bits whatever divides its work, and its options.

use crate::common;
use pronk::backend::cpu::Cpu;
use pronk::backend::{Backend, BackendOptions, Precision};
use pronk::conformance::{Outcome, cases, nmse};
use pronk::generate::{LoadOptions, Outputs, load_model_on};
use pronk::gguf::Gguf;
use pronk::model::Model;
use pronk::plan::{CoreKind, KvType, Phase};

const FAST: BackendOptions = BackendOptions { repack: true, precise: false };

/// The logits after each of `n` tokens, fed `chunk` at a time to a CPU of `threads` threads, with a context of many parts.
fn logits(threads: usize, chunk: u32, kv: KvType, backend: BackendOptions, n: u32) -> Vec<f32> {
    let gguf = Gguf::open(&common::data("models/tiny-llama31.q4_0.gguf")).expect("the model");
    let model = Model::new(gguf).expect("a model");
    let options = LoadOptions { n_ctx: Some(1024), kv, chunk, max_outputs: 256, backend, ..LoadOptions::default() };
    let device = Box::new(Cpu::with_threads(threads));
    let loaded = load_model_on(device, model, &options, &mut |_| {});
    let mut session = loaded.unwrap_or_else(|e| panic!("{e}")).session;
    let tokens: Vec<u32> = (0..n).map(|i| i * 37 % session.n_vocab()).collect();
    let mut logits = vec![];
    let fed = session.feed(&tokens, Outputs::All, |_, rows| {
        logits.extend_from_slice(rows);
        true
    });
    fed.unwrap_or_else(|e| panic!("{e}"));
    logits
}

#[test]
fn the_bits_depend_neither_on_threads_nor_on_steps() {
    for (kv, n) in [(KvType::F16, 600), (KvType::Q8_0, 300), (KvType::F32, 40)] {
        let want = logits(1, 256, kv, FAST, n);
        for (threads, chunk) in [(2, 256), (3, 100), (5, 9), (2, 8), (2, 1)] {
            assert!(logits(threads, chunk, kv, FAST, n) == want, "{threads} threads, steps of {chunk}, {kv:?} cache");
        }
    }
}

#[test]
fn precise_activations_are_closer_and_unpacked_weights_are_exact() {
    let exact = logits(2, 64, KvType::F32, BackendOptions { repack: false, precise: false }, 64);
    let precise = logits(2, 64, KvType::F32, BackendOptions { repack: true, precise: true }, 64);
    let fast = logits(2, 64, KvType::F32, FAST, 64);
    let [precise, fast] = [precise, fast].map(|logits| nmse(&logits, &exact));
    println!("precise {precise:.1e}, fast {fast:.1e}");
    assert!(precise < 1e-7 && fast > 1e-5, "precise {precise:.1e}, fast {fast:.1e}");
}

/// Products of every type with every option, against the limit of the precision that the option declares.
#[test]
fn products_have_the_precision_that_is_declared() {
    for (options, precision) in [
        (BackendOptions { repack: true, precise: true }, Precision::I16),
        (BackendOptions { repack: false, precise: false }, Precision::F32),
    ] {
        let mut device = Cpu::default();
        device.configure(options);
        let mut passed = 0;
        for case in cases().into_iter().filter(|case| case.op == CoreKind::MatMul.into()) {
            let plan = case.plan();
            let declared = device.precision(&plan, &plan.ops(Phase::Decode)[0], Phase::Decode);
            assert!([Precision::F32, precision].contains(&declared), "{}: {declared:?}", case.name);
            match case.run(&mut device) {
                Ok(Outcome::Passed(_)) => passed += 1,
                other => panic!("{} with {options:?}: {other:?}", case.name),
            }
        }
        assert!(passed > 300, "{passed} cases");
    }
}
