//! Logits of the tiny models, against an independent float64 forward pass.

mod common;

use pronk::backend::{DeviceChoice, Error};
use pronk::conformance::nmse;
use pronk::generate::{LoadError, LoadOptions, Outputs, load};
use pronk::plan::KvType;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(Deserialize)]
struct Golden {
    tokens: Vec<u32>,
    logits: String,
}

/// Largest normalized squared error with float activations: an f32 cache leaves only f32 rounding (measured: below 1e-10),
/// an f16 cache adds its own rounding of keys and values (2^-11 relative, measured: below 1e-6).
fn limit(kv: KvType) -> f64 {
    match kv {
        KvType::F32 => 1e-6,
        KvType::F16 => 1e-5,
    }
}

/// The folder of golden models: the ones in the repository, or a larger set of the same form.
fn folder() -> PathBuf {
    std::env::var_os("PRONK_GOLDEN_MODELS").map_or_else(|| common::data("models"), PathBuf::from)
}

/// Every golden model on `device`, fed in chunks of `chunk` tokens. Returns how many were compared.
fn compare_all(device: DeviceChoice, kv: KvType, chunk: u32, limit: f64) -> usize {
    let index = std::fs::read(folder().join("index.json")).expect("an index.json in the folder of golden models");
    let models: BTreeMap<String, Golden> = serde_json::from_slice(&index).expect("the index is JSON");
    let mut compared = 0;
    for (name, golden) in &models {
        let options = LoadOptions { device, n_ctx: Some(64), kv, chunk, max_outputs: 64 };
        let path = folder().join(name);
        // A refusal that another device would not repeat is about the same thing.
        let loaded = load(&path, &options, &mut |_, _| {}).map_err(|e| match e {
            LoadError::Refused(e) => *e,
            e => e,
        });
        let mut loaded = match loaded {
            Ok(loaded) => loaded,
            Err(LoadError::Backend(Error::Unsupported { device, op, what })) => {
                println!("unsupported: {name}: {device}: {op} {what}");
                continue;
            }
            Err(e) => panic!("{e}"),
        };
        let mut logits: Vec<f32> = vec![];
        let fed = loaded.session.feed(&golden.tokens, Outputs::All, |_, rows| {
            logits.extend_from_slice(rows);
            true
        });
        fed.unwrap_or_else(|e| panic!("{name}: {e}"));
        let (want, n_vocab) = common::npy(&folder().join(&golden.logits));
        assert_eq!(logits.len(), golden.tokens.len() * n_vocab, "{name}");
        let error = nmse(&logits, &want);
        println!("{name} {device:?} {kv:?} chunk {chunk}: {error:.1e}");
        assert!(error <= limit, "{name} on {device:?}, {kv:?} cache, chunk {chunk}: {error:.2e}, limit {limit:.0e}");
        assert_eq!(loaded.session.argmax().expect("the device's choice"), {
            let last = &logits[logits.len() - n_vocab..];
            pronk::backend::cpu::argmax(last) as u32
        });
        compared += 1;
    }
    compared
}

#[test]
fn cpu_f32_cache() {
    assert!(compare_all(DeviceChoice::Cpu, KvType::F32, 64, limit(KvType::F32)) >= 7);
}

#[test]
fn cpu_f16_cache() {
    assert!(compare_all(DeviceChoice::Cpu, KvType::F16, 64, limit(KvType::F16)) >= 7);
}

/// Token by token: the decode list of operations.
#[test]
fn cpu_one_at_a_time() {
    assert!(compare_all(DeviceChoice::Cpu, KvType::F32, 1, limit(KvType::F32)) >= 7);
}

/// The WGSL kernels in both phases: prefill in one step of all tokens, decode token by token.
#[cfg(feature = "wgpu")]
#[test]
fn wgpu() {
    let device = DeviceChoice::Wgpu(None);
    if common::is_here("wgpu", pronk::backend::open(device)).is_some() {
        for (kv, chunk) in [(KvType::F32, 64), (KvType::F16, 64), (KvType::F16, 1), (KvType::F16, 7)] {
            assert!(compare_all(device, kv, chunk, 1e-5) >= 4);
        }
    }
}

/// The CUDA kernels: prefill on tensor cores, which take f16, and decode in f32, one token or as many as count as decode.
#[cfg(feature = "cuda")]
fn compare_cuda(device: DeviceChoice) {
    for kv in [KvType::F32, KvType::F16] {
        assert!(compare_all(device, kv, 64, 1e-5) >= 4);
        assert!(compare_all(device, kv, if kv == KvType::F32 { 1 } else { 7 }, limit(kv)) >= 4);
    }
}

#[cfg(feature = "cuda")]
#[test]
fn sim() {
    compare_cuda(DeviceChoice::Sim);
}

#[cfg(feature = "cuda")]
#[test]
fn cuda() {
    if common::is_here("cuda", pronk::backend::open(DeviceChoice::Cuda(None))).is_some() {
        compare_cuda(DeviceChoice::Cuda(None));
    }
}

/// Greedy text is the same whether each token passes through the host or the device hands it on.
#[test]
fn tokens_may_stay_on_the_device() {
    let wgpu =
        common::is_here("wgpu", pronk::backend::open(DeviceChoice::Wgpu(None))).map(|_| DeviceChoice::Wgpu(None));
    let devices = [DeviceChoice::Cpu, DeviceChoice::Sim];
    for device in devices.into_iter().chain(wgpu) {
        let options = LoadOptions { device, n_ctx: Some(64), kv: KvType::F32, chunk: 8, max_outputs: 1 };
        let path = common::data("models/tiny-llama3.q4_0.gguf");
        let mut session = load(&path, &options, &mut |_, _| {}).unwrap_or_else(|e| panic!("{e}")).session;
        let mut text = |through_host: bool| -> Vec<u32> {
            session.truncate(0);
            session.feed(&[405, 42, 89], Outputs::Last, |_, _| true).expect("a prompt");
            let step = |_| {
                let token = session.argmax().expect("a choice");
                if through_host { session.decode(token) } else { session.decode_next() }.expect("a step");
                token
            };
            (0..6).map(step).collect()
        };
        assert_eq!(text(true), text(false), "{device:?}");
    }
}
