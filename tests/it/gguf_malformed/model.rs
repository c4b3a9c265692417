//! Well-formed files whose hyperparameters, tensors or vocabulary make no sense.

use pronk::gguf::{GgmlType, Gguf};
use pronk::model::{Model, PlanOptions, check_tensors};
use pronk::plan::KvType;
use pronk::quant::{self, Random};
use pronk::text::Tokenizer;

use super::builder;
use crate::common::gguf_builder::{GgufBuilder, id, string};

/// A model of one layer: width 4, 2 query heads and 1 KV head of 2 elements, feed-forward width 6, 3 tokens.
pub(super) fn llama() -> GgufBuilder {
    let numbers = [
        ("block_count", 1),
        ("context_length", 8),
        ("embedding_length", 4),
        ("feed_forward_length", 6),
        ("attention.head_count", 2),
        ("attention.head_count_kv", 1),
    ];
    let keys = builder().str("general.architecture", "llama").f32("llama.attention.layer_norm_rms_epsilon", 1e-5);
    let keys = numbers.iter().fold(keys, |keys, (name, n)| keys.u32(&format!("llama.{name}"), *n));
    let tensors: [(&str, &[u64]); 12] = [
        ("token_embd", &[4, 3]),
        ("output_norm", &[4]),
        ("blk.0.attn_norm", &[4]),
        ("blk.0.attn_q", &[4, 4]),
        ("blk.0.attn_k", &[4, 2]),
        ("blk.0.attn_v", &[4, 2]),
        ("blk.0.attn_output", &[4, 4]),
        ("blk.0.ffn_norm", &[4]),
        ("blk.0.ffn_gate", &[4, 6]),
        ("blk.0.ffn_up", &[4, 6]),
        ("blk.0.ffn_down", &[6, 4]),
        ("rope_freqs", &[1]),
    ];
    tensors.iter().fold(keys, |file, (name, shape)| vectors(file, &format!("{name}.weight"), shape))
}

fn vectors(file: GgufBuilder, name: &str, shape: &[u64]) -> GgufBuilder {
    file.tensor_f32(name, shape, &vec![0.5; shape.iter().product::<u64>() as usize])
}

/// Takes the place of a tensor.
pub(super) fn reshaped(name: &str, shape: &[u64]) -> GgufBuilder {
    vectors(lacking(name), name, shape)
}

fn lacking(name: &str) -> GgufBuilder {
    let mut file = llama();
    file.tensors.retain(|tensor| tensor.name != name.as_bytes());
    file
}

pub(super) fn with(key: &str, n: u32) -> GgufBuilder {
    let key = format!("llama.{key}");
    llama().without(&key).u32(&key, n)
}

fn with_f32(key: &str, v: f32) -> GgufBuilder {
    let key = format!("llama.{key}");
    llama().without(&key).f32(&key, v)
}

/// The error of loading a file.
fn problem(file: &GgufBuilder) -> Option<String> {
    let gguf = Gguf::parse("m.gguf", file.build().into()).expect("a well-formed file");
    let load = |gguf| -> Result<(), pronk::model::Error> {
        let model = Model::new(gguf)?;
        let plan = model.plan(&PlanOptions { n_ctx: 8, max_tokens: 8, max_outputs: 8, kv: KvType::F16 })?;
        model.weights(&plan).map(drop)
    };
    load(gguf).err().map(|e| e.to_string())
}

/// Hyperparameters that no model has.
fn hyperparameters() -> Vec<(GgufBuilder, &'static str)> {
    let eps = "attention.layer_norm_rms_epsilon";
    vec![
        (llama().without("general.architecture"), "key general.architecture: is missing"),
        (
            llama().without("general.architecture").u32("general.architecture", 1),
            "key general.architecture: expected string, found u32 1",
        ),
        (
            llama().without("general.architecture").kv("general.architecture", id::STRING, &string([0xff])),
            "key general.architecture: expected UTF-8 text: invalid utf-8 sequence of 1 bytes from index 0",
        ),
        (llama().without("llama.block_count"), "key llama.block_count: is missing"),
        (with("attention.key_length", 3), "key llama.attention.key_length: 3, expected an even number"),
        (with("block_count", 0), "key llama.block_count: 0, expected 1 to 4096"),
        (with("block_count", 4097), "key llama.block_count: 4097, expected 1 to 4096"),
        (with("block_count", u32::MAX), "key llama.block_count: 4294967295, expected 1 to 4096"),
        (with("block_count", 2), "key llama.block_count: 2, but the file has tensors of 1 layers"),
        (
            llama().without("llama.block_count").kv("llama.block_count", id::U64, &[0xff; 8]),
            "key llama.block_count: expected u32, found u64 18446744073709551615",
        ),
        (
            llama().without("llama.block_count").kv("llama.block_count", id::I32, &(-1i32).to_le_bytes()),
            "key llama.block_count: expected u32, found i32 -1",
        ),
        (with_f32("block_count", 1.0), "key llama.block_count: expected u32, found f32 1.0"),
        (
            llama().without("llama.block_count").i32s("llama.block_count", &[1, 2]),
            "key llama.block_count: expected u32, found array of 2 i32 [1, 2]",
        ),
        (llama().without("llama.context_length"), "key llama.context_length: is missing"),
        (with("context_length", 0), "key llama.context_length: 0, expected 1 to 4294967295"),
        (with("embedding_length", 0), "key llama.embedding_length: 0, expected 1 to 16777216"),
        (with("embedding_length", 1 << 25), "key llama.embedding_length: 33554432, expected 1 to 16777216"),
        (with("embedding_length", 5), "key llama.attention.head_count: 2, does not divide llama.embedding_length 5"),
        (with("feed_forward_length", 0), "key llama.feed_forward_length: 0, expected 1 to 16777216"),
        (with("attention.head_count", 0), "key llama.attention.head_count: 0, expected 1 to 16777216"),
        (with("attention.head_count_kv", 0), "key llama.attention.head_count_kv: 0, expected 1 to 16777216"),
        (
            with("attention.head_count_kv", 3),
            "key llama.attention.head_count_kv: 3, does not divide llama.attention.head_count 2",
        ),
        (
            with("attention.head_count_kv", 4),
            "key llama.attention.head_count_kv: 4, does not divide llama.attention.head_count 2",
        ),
        (with("attention.key_length", 0), "key llama.attention.key_length: 0, expected 1 to 256"),
        (with("attention.key_length", 257), "key llama.attention.key_length: 257, expected 1 to 256"),
        (with("attention.value_length", 1), "key llama.attention.value_length: 1, expected the key length 2"),
        (
            with("attention.head_count", 1 << 24).u32("llama.attention.key_length", 2),
            "key llama.attention.head_count: 16777216 heads of 2 elements, at most 16777216 in all",
        ),
        (with("rope.dimension_count", 1), "key llama.rope.dimension_count: 1, expected an even number"),
        (with("rope.dimension_count", 0), "key llama.rope.dimension_count: 0, expected 1 to 2"),
        (with("rope.dimension_count", 4), "key llama.rope.dimension_count: 4, expected 1 to 2"),
        (with_f32("rope.freq_base", 0.0), "key llama.rope.freq_base: 0, expected a positive number"),
        (with_f32("rope.freq_base", -1e4), "key llama.rope.freq_base: -10000, expected a positive number"),
        (with_f32("rope.freq_base", f32::NAN), "key llama.rope.freq_base: NaN, expected a positive number"),
        (with_f32("rope.freq_base", f32::INFINITY), "key llama.rope.freq_base: inf, expected a positive number"),
        (with_f32("rope.scaling.factor", f32::NAN), "key llama.rope.scaling.factor: NaN, expected a positive number"),
        (
            with_f32("rope.scaling.attn_factor", f32::MAX).f32("llama.rope.scaling.yarn_attn_factor", 2.0),
            "key llama.rope.scaling.attn_factor: with yarn_attn_factor and the factor it makes inf, expected a finite number",
        ),
        (llama().without(&format!("llama.{eps}")), "key llama.attention.layer_norm_rms_epsilon: is missing"),
        (with_f32(eps, 0.0), "key llama.attention.layer_norm_rms_epsilon: 0, expected a positive number"),
        (with_f32(eps, -1e-5), "key llama.attention.layer_norm_rms_epsilon: -0.00001, expected a positive number"),
        (with_f32(eps, f32::NAN), "key llama.attention.layer_norm_rms_epsilon: NaN, expected a positive number"),
        (with(eps, 1), "key llama.attention.layer_norm_rms_epsilon: expected f32, found u32 1"),
        (with("expert_count", 8), "key llama.expert_count: 8, mixtures of experts are not supported"),
        (
            llama().str("llama.rope.scaling.type", "su"),
            "key llama.rope.scaling.type: su, expected none, linear or yarn",
        ),
    ]
}

/// Tensors that do not match the hyperparameters.
fn tensors() -> Vec<(GgufBuilder, &'static str)> {
    let freqs =
        |values: &[f32]| lacking("rope_freqs.weight").tensor_f32("rope_freqs.weight", &[values.len() as u64], values);
    vec![
        (lacking("token_embd.weight"), "tensor token_embd.weight: is missing"),
        (lacking("output_norm.weight"), "tensor output_norm.weight: is missing"),
        (lacking("blk.0.ffn_down.weight"), "tensor blk.0.ffn_down.weight: is missing"),
        (
            reshaped("token_embd.weight", &[3, 4]),
            "tensor token_embd.weight: shape [4, 4] expected from the metadata, [3, 4] found",
        ),
        (
            reshaped("token_embd.weight", &[12]),
            "tensor token_embd.weight: shape [4, 1] expected from the metadata, [12] found",
        ),
        (
            reshaped("token_embd.weight", &[4, 3, 2]),
            "tensor token_embd.weight: shape [4, 3] expected from the metadata, [4, 3, 2] found",
        ),
        (
            lacking("token_embd.weight").tensor(
                "token_embd.weight",
                GgmlType::I8,
                &[1, (1 << 24) + 1],
                &[0; (1 << 24) + 1],
            ),
            "tensor token_embd.weight: 16777217 rows, at most 16777216",
        ),
        (
            reshaped("blk.0.attn_k.weight", &[4, 4]),
            "tensor blk.0.attn_k.weight: shape [4, 2] expected from the metadata, [4, 4] found",
        ),
        (
            reshaped("blk.0.ffn_down.weight", &[4, 6]),
            "tensor blk.0.ffn_down.weight: shape [6, 4] expected from the metadata, [4, 6] found",
        ),
        (
            reshaped("output_norm.weight", &[1, 4]),
            "tensor output_norm.weight: shape [4] expected from the metadata, [1, 4] found",
        ),
        (
            reshaped("blk.0.attn_norm.weight", &[8]),
            "tensor blk.0.attn_norm.weight: shape [4] expected from the metadata, [8] found",
        ),
        (
            vectors(llama(), "output.weight", &[4, 4]),
            "tensor output.weight: shape [4, 3] expected from the metadata, [4, 4] found",
        ),
        (
            vectors(llama(), "blk.1.attn_q.weight", &[4, 4]),
            "key llama.block_count: 1, but the file has tensors of 2 layers",
        ),
        (
            vectors(llama(), "blk.0.ffn_gate_inp.weight", &[4, 4]),
            "tensor blk.0.ffn_gate_inp.weight: has no place in the Llama architecture, leaving it out would give wrong answers",
        ),
        (freqs(&[1.0, 1.0]), "tensor rope_freqs.weight: F32 of shape [1] expected from the metadata, F32 of [2] found"),
        (
            lacking("rope_freqs.weight").tensor("rope_freqs.weight", GgmlType::F16, &[1], &[0, 0x3c]),
            "tensor rope_freqs.weight: F32 of shape [1] expected from the metadata, F16 of [1] found",
        ),
        (freqs(&[0.0]), "tensor rope_freqs.weight: holds 0, expected positive numbers"),
        (freqs(&[-1.0]), "tensor rope_freqs.weight: holds -1, expected positive numbers"),
        (freqs(&[f32::NAN]), "tensor rope_freqs.weight: holds NaN, expected positive numbers"),
        (freqs(&[f32::INFINITY]), "tensor rope_freqs.weight: holds inf, expected positive numbers"),
    ]
}

/// A SentencePiece vocabulary of six tokens.
pub(super) fn pieces() -> GgufBuilder {
    builder()
        .str("tokenizer.ggml.model", "llama")
        .strings("tokenizer.ggml.tokens", &["<unk>", "<s>", "</s>", "<0x0A>", "▁a", "b"])
        .f32s("tokenizer.ggml.scores", &[0.0, 0.0, 0.0, 0.0, -1.0, -2.0])
        .i32s("tokenizer.ggml.token_type", &[2, 3, 3, 6, 1, 1])
}

/// A byte-level vocabulary of three tokens.
pub(super) fn words() -> GgufBuilder {
    let file = builder().str("tokenizer.ggml.model", "gpt2").strings("tokenizer.ggml.tokens", &["a", "b", "ab"]);
    file.strings("tokenizer.ggml.merges", &["a b"])
}

/// Vocabularies that contradict themselves.
fn vocabularies() -> Vec<(GgufBuilder, String)> {
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    let (tokens, scores, types, merges) = (key("tokens"), key("scores"), key("token_type"), key("merges"));
    vec![
        (pieces().without(&tokens), format!("key {tokens}: is missing")),
        (pieces().without(&key("model")), "key tokenizer.ggml.model: is missing".to_string()),
        (
            pieces().without(&tokens).str(&tokens, "a"),
            format!("key {tokens}: expected array of string, found string \"a\""),
        ),
        (
            pieces().without(&tokens).i32s(&tokens, &[1, 2]),
            format!("key {tokens}: expected array of string, found array of 2 i32 [1, 2]"),
        ),
        (
            pieces().without(&tokens).strings::<&str>(&tokens, &[]),
            format!("key {tokens}: 0 tokens, expected 1 to 4294967295"),
        ),
        (pieces().without(&scores).f32s(&scores, &[0.0; 5]), format!("key {scores}: 5 elements, but {tokens} has 6")),
        (pieces().without(&scores).f32s(&scores, &[0.0; 7]), format!("key {scores}: 7 elements, but {tokens} has 6")),
        (
            pieces().without(&scores).i32s(&scores, &[0; 6]),
            format!("key {scores}: expected array of f32, element 0 is i32 0"),
        ),
        (pieces().without(&scores), format!("key {scores}: no scores, SentencePiece needs them")),
        (pieces().without(&scores).f32s(&scores, &[f32::NAN; 6]), format!("key {scores}: token 0 has NaN")),
        (pieces().without(&types).i32s(&types, &[1; 7]), format!("key {types}: 7 elements, but {tokens} has 6")),
        (
            pieces().without(&types).i32s(&types, &[1, 1, 1, 1, 1, -1]),
            format!("key {types}: token 5 is of type -1, the last known is 6 (byte)"),
        ),
        (
            pieces().without(&types).i32s(&types, &[2, 3, 3, 6, 6, 1]),
            format!("key {tokens}: token 4 is a byte written \"▁a\", expected <0x00> to <0xFF>"),
        ),
        (words().without(&merges), format!("key {merges}: no merges, byte-level BPE needs them")),
        (
            words().without(&merges).strings(&merges, &["ab"]),
            format!("key {merges}: merge 0, \"ab\", is not two tokens with a space between"),
        ),
        (
            words().without(&merges).strings(&merges, &["a b", "a b c"]),
            format!("key {merges}: merge 1, \"a b c\", is not two tokens with a space between"),
        ),
        (
            words().without(&merges).strings(&merges, &["a "]),
            format!("key {merges}: merge 0, \"a \", is not two tokens with a space between"),
        ),
        (
            words().without(&merges).strings(&merges, &["b a"]),
            format!("key {merges}: merge 0, \"b a\", needs \"ba\", which is not a token"),
        ),
        (
            words().bool(&key("add_bos_token"), true),
            "key tokenizer.ggml.bos_token_id: is missing, tokenizer.ggml.add_bos_token needs it".to_string(),
        ),
        (
            words().u32(&key("add_bos_token"), 1),
            "key tokenizer.ggml.add_bos_token: expected bool, found u32 1".to_string(),
        ),
    ]
}

#[test]
fn absurd_hyperparameters_are_refused() {
    assert_eq!(problem(&llama()), None);
    for (file, expected) in hyperparameters() {
        assert_eq!(problem(&file), Some(format!("m.gguf: {expected}")));
    }
}

#[test]
fn tensors_that_do_not_fit_are_refused() {
    for (file, expected) in tensors() {
        assert_eq!(problem(&file), Some(format!("m.gguf: {expected}")));
    }
}

#[test]
fn vocabularies_that_contradict_themselves_are_refused() {
    let problem = |file: &GgufBuilder| {
        let gguf = Gguf::parse("m.gguf", file.build().into()).expect("a well-formed file");
        Tokenizer::from_gguf(&gguf).err().map(|e| e.to_string())
    };
    assert_eq!((problem(&pieces()), problem(&words())), (None, None));
    for (file, expected) in vocabularies() {
        assert_eq!(problem(&file), Some(format!("m.gguf: {expected}")));
    }
}

/// A block of ones only: its scale is NaN in every type that has a float for it, and overflows in others. NVFP4 has
/// only finite values.
#[test]
fn values_that_are_not_finite_are_found_in_every_type() {
    for format in &quant::FORMATS {
        let (block, block_bytes) = (format.ty.block_size(), format.ty.block_bytes() as usize);
        let sound = quant::random_blocks(format.ty, 4 * block, &mut Random::new(1));
        let file = |data: &[u8]| {
            let file = builder().tensor_f32("a", &[1], &[1.0]).tensor("t", format.ty, &[2 * block, 2], data).build();
            check_tensors(&Gguf::parse("m.gguf", file.into()).expect("a well-formed file")).map_err(|e| e.to_string())
        };
        assert_eq!(file(&sound), Ok(()), "{}", format.ty);
        let mut spoilt = sound.clone();
        spoilt[3 * block_bytes..].fill(0xff); // the second block of the second row
        let mut values = vec![0.0; block as usize];
        (format.decode)(&spoilt[3 * block_bytes..], &mut values);
        let Some(first) = values.iter().position(|v| !v.is_finite()) else {
            assert_eq!((format.ty, file(&spoilt)), (GgmlType::NVFP4, Ok(())));
            continue;
        };
        let (column, value) = (block + first as u64, values[first]);
        let what = format!("m.gguf: tensor t: row 1, column {column}: {value}, expected a finite number");
        assert_eq!(file(&spoilt), Err(what), "{}", format.ty);
    }
}
