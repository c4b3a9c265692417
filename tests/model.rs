//! What a model makes of the metadata, odd and hostile values included.

#[path = "common/gguf_builder.rs"]
mod gguf_builder;

use gguf_builder::GgufBuilder;
use pronk::gguf::Gguf;
use pronk::model::Model;
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

#[test]
fn rope_scaling_is_linear_unless_the_file_says_otherwise() {
    const FACTOR: &str = "llama.rope.scaling.factor";
    const LINEAR: &str = "llama.rope.scale_linear";
    const TYPE: &str = "llama.rope.scaling.type";
    let scale = |file: GgufBuilder| model(file).map(|model| model.config.rope_scale);
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
    let refused = "m.gguf: key llama.rope.scaling.type: yarn, only none and linear can be run";
    assert_eq!(scale(keys().str(TYPE, "yarn")), Err(refused.to_string()));
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
}
