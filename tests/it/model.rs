//! Hyperparameters from metadata, with odd and hostile values.

use crate::common::gguf_builder::GgufBuilder;
use pronk::gguf::Gguf;
use pronk::model::{ARCHITECTURES, Model, RopeScaling, Yarn};
use pronk::plan::{KvDecl, KvType};

/// Hyperparameters and the embedding.
fn keys() -> GgufBuilder {
    let numbers = [("block_count", 1), ("context_length", 8), ("embedding_length", 2), ("feed_forward_length", 2)];
    let keys = GgufBuilder::default().str("general.architecture", "llama").u32("llama.attention.head_count", 1);
    let keys = numbers.iter().fold(keys, |keys, (name, n)| keys.u32(&format!("llama.{name}"), *n));
    keys.f32("llama.attention.layer_norm_rms_epsilon", 1e-5).tensor_f32("token_embd.weight", &[2, 3], &[0.5; 6])
}

fn model(file: GgufBuilder) -> Result<Model, String> {
    let gguf = Gguf::parse("m.gguf", file.build().into()).expect("a well-formed file");
    Model::new(gguf).map_err(|e| e.to_string())
}

/// Keys of another architecture are ignored; a window is read only in families that have one.
#[test]
fn keys_begin_with_the_architecture() {
    let numbers = [("block_count", 1), ("context_length", 8), ("embedding_length", 2), ("feed_forward_length", 2)];
    let of = |arch: &str, prefix: &str| {
        let key = |name: &str| format!("{prefix}.{name}");
        let keys = GgufBuilder::default().str("general.architecture", arch).u32(&key("attention.head_count"), 1);
        let keys = numbers.iter().fold(keys, |keys, (name, n)| keys.u32(&key(name), *n));
        let keys = keys.u32(&key("attention.sliding_window"), 4).f32(&key("rope.freq_base"), 1e6);
        let keys = keys.f32(&key("attention.layer_norm_rms_epsilon"), 1e-6);
        model(keys.tensor_f32("token_embd.weight", &[2, 3], &[0.5; 6]))
    };
    for arch in ARCHITECTURES {
        let model = of(arch.key, arch.key).expect("a model");
        assert_eq!((model.arch.key, model.config.n_ctx_train, model.config.rope_base), (arch.key, 8, 1e6));
        assert_eq!(model.config.window, (arch.key == "llama").then_some(4));
        let missing = of(arch.key, "other").expect_err("no keys");
        assert_eq!(missing, format!("m.gguf: key {}.block_count: is missing", arch.key));
    }
    let unknown = of("gpt2", "gpt2").expect_err("not in the table");
    let (begin, end) = ("m.gguf: key general.architecture: gpt2, only llama, ", " can be run");
    assert!(unknown.starts_with(begin) && unknown.ends_with(end), "{unknown}");
}

#[test]
fn the_readme_lists_the_architectures() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("README.md");
    let table = readme.split("| `general.architecture` |").nth(1).and_then(|rest| rest.split("\n\n").next());
    let rows = table.expect("a table of architectures").lines().skip(2);
    let listed: Vec<&str> = rows.filter_map(|row| row.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(listed, ARCHITECTURES.map(|arch| arch.key));
}

#[test]
fn rope_scaling_is_linear_unless_the_file_says_otherwise() {
    const FACTOR: &str = "llama.rope.scaling.factor";
    const LINEAR: &str = "llama.rope.scale_linear";
    const TYPE: &str = "llama.rope.scaling.type";
    let scale = |file: GgufBuilder| model(file).map(|model| model.config.rope_scaling.factor);
    let cases = [
        (keys(), 1.0),
        (keys().f32(FACTOR, 8.0), 8.0),
        (keys().f32(LINEAR, 4.0), 4.0),
        (keys().f32(LINEAR, 4.0).f32(FACTOR, 8.0), 8.0),
        (keys().f32(FACTOR, 0.0), 1.0),
        (keys().f32(FACTOR, 0.0).f32(LINEAR, 4.0), 1.0),
        (keys().str(TYPE, "linear"), 1.0),
        (keys().str(TYPE, "linear").f32(FACTOR, 8.0), 8.0),
        (keys().str(TYPE, "linear").f32(LINEAR, 4.0), 4.0),
        (keys().str(TYPE, "none").f32(FACTOR, 8.0), 1.0),
    ];
    for (i, (file, expected)) in cases.into_iter().enumerate() {
        assert_eq!(scale(file), Ok(expected), "case {i}");
    }
    let refused = "m.gguf: key llama.rope.scaling.factor: -1, expected a positive number";
    assert_eq!(scale(keys().f32(FACTOR, -1.0)), Err(refused.to_string()));
    let refused = "m.gguf: key llama.rope.scaling.type: longrope, expected none, linear or yarn";
    assert_eq!(scale(keys().str(TYPE, "longrope")), Err(refused.to_string()));
}

#[test]
fn yarn_is_what_its_keys_say() {
    let scaling = |file: GgufBuilder| model(file).map(|model| model.config.rope_scaling);
    let key = |name: &str| format!("llama.rope.scaling.{name}");
    let yarn = || keys().str(&key("type"), "yarn").f32(&key("factor"), 16.0);
    let paper = Yarn { extrapolation: 1.0, beta_fast: 32.0, beta_slow: 1.0, original_context: 8 };
    let found = scaling(yarn()).expect("YaRN");
    assert_eq!((found.factor, found.yarn), (16.0, Some(paper)));
    assert!((found.magnitude - 1.277_258_9).abs() < 1e-6, "{}", found.magnitude);

    let all = yarn().u32(&key("original_context_length"), 4).f32(&key("yarn_beta_fast"), 16.0);
    let all = all.f32(&key("yarn_beta_slow"), 2.0).f32(&key("yarn_ext_factor"), 0.5);
    let found = scaling(all.f32(&key("attn_factor"), 2.0).f32(&key("yarn_attn_factor"), 0.25)).expect("YaRN");
    let given = Yarn { extrapolation: 0.5, beta_fast: 16.0, beta_slow: 2.0, original_context: 4 };
    assert_eq!(found.yarn, Some(given));
    assert!((found.magnitude - 0.5 * 1.277_258_9).abs() < 1e-6, "{}", found.magnitude);

    // Without the type key, YaRN is used only if a share is given; with it, a share of 0 turns YaRN off.
    let share = |file: GgufBuilder, share: f32| scaling(file.f32(&key("yarn_ext_factor"), share)).expect("a model");
    assert_eq!(share(keys().f32(&key("factor"), 16.0), 1.0).yarn, Some(paper));
    assert_eq!(share(yarn(), 0.0), RopeScaling { factor: 16.0, ..RopeScaling::NONE });
    assert_eq!(share(yarn(), -1.0).yarn, Some(paper));
    assert_eq!(share(keys(), -1.0), RopeScaling::NONE);

    let refused = |file: GgufBuilder, what: &str| {
        assert_eq!(scaling(file), Err(format!("m.gguf: key llama.rope.{what}")));
    };
    refused(yarn().f32(&key("yarn_ext_factor"), 1.5), "scaling.yarn_ext_factor: 1.5, expected at most 1");
    refused(yarn().f32(&key("yarn_ext_factor"), f32::NAN), "scaling.yarn_ext_factor: NaN, expected at most 1");
    refused(yarn().f32(&key("yarn_beta_fast"), 0.0), "scaling.yarn_beta_fast: 0, expected a positive number");
    refused(yarn().f32(&key("attn_factor"), -1.0), "scaling.attn_factor: -1, expected a positive number");
    refused(yarn().f32("llama.rope.freq_base", 1.0), "freq_base: 1, expected more than 1 with YaRN");
}

#[test]
fn errors_repeat_a_short_escaped_part_of_what_the_file_says() {
    let long = "a\n\u{1b}[31m".repeat(1000);
    let architecture = model(GgufBuilder::default().str("general.architecture", &long)).unwrap_err();
    let scaling = model(keys().str("llama.rope.scaling.type", &long)).unwrap_err();
    for error in [architecture, scaling] {
        assert!(error.len() < 600 && !error.contains(char::is_control), "{error}");
    }
}

#[test]
fn a_kv_cache_of_absurd_size_does_not_wrap() {
    let kv = KvDecl { layers: 4096, slots: u32::MAX, heads: 1 << 20, head_dim: 16, ty: KvType::F32 };
    assert_eq!(kv.bytes(), u64::MAX);
    assert_eq!(KvDecl { layers: 2, slots: 3, heads: 4, head_dim: 5, ty: KvType::F16 }.bytes(), 2 * 2 * 3 * 4 * 5 * 2);
    let q8_0 = KvDecl { layers: 2, slots: 3, heads: 5, head_dim: 96, ty: KvType::Q8_0 };
    assert_eq!(q8_0.bytes(), 2 * 2 * 3 * 5 * 3 * 34);
    assert_eq!(q8_0.check(), Ok(()));
    let error = KvDecl { head_dim: 80, ..q8_0 }.check().expect_err("80 is not a multiple of 32");
    assert!(error.contains("q8_0") && error.contains("head_dim is 80"), "{error}");
}
