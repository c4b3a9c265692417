//! Variants of Llama, in metadata and tensors, on every backend, against a float64 forward pass.

use crate::common;
use crate::common::gguf_builder::GgufBuilder;
use crate::common::tiny_llama::{PLAIN, Tiny, logits, rotation};
use pronk::backend::DeviceChoice;
use pronk::conformance::nmse;
use pronk::generate::{LoadOptions, Outputs, load_model};
use pronk::gguf::{GgmlType, Gguf};
use pronk::model::Model;
use pronk::plan::KvType;
use pronk::quant::{Random, random_blocks};

fn parse(file: &GgufBuilder) -> Gguf {
    Gguf::parse("m.gguf", file.build().into()).unwrap_or_else(|e| panic!("{e}"))
}

/// Number of tokens of a test: more than a prefill step, and more than the sliding windows below.
const N_TOKENS: u32 = 40;

/// The products Q, K and V.
const ATTENTION: [&str; 3] = ["attn_q", "attn_k", "attn_v"];

/// A model, and its logits.
type Known = (Gguf, Vec<f32>);

fn known(file: &GgufBuilder) -> Known {
    let gguf = parse(file);
    let logits = logits(&gguf, &PLAIN.tokens(N_TOKENS));
    (gguf, logits)
}

/// Feeds tokens in steps of `chunk` and compares every logit.
fn compare(name: &str, (gguf, want): &Known, device: DeviceChoice, kv: KvType, chunk: u32, limit: f64) {
    let tokens = PLAIN.tokens(N_TOKENS);
    let options = LoadOptions { device, n_ctx: Some(64), kv, chunk, max_outputs: 64, ..LoadOptions::default() };
    let model = Model::new(gguf.clone()).unwrap_or_else(|e| panic!("{name}: {e}"));
    let mut session = load_model(model, &options, &mut |_| {}).unwrap_or_else(|e| panic!("{name}: {e}")).session;
    let mut got = vec![];
    let fed = session.feed(&tokens, Outputs::All, |_, rows| {
        got.extend_from_slice(rows);
        true
    });
    fed.unwrap_or_else(|e| panic!("{name}: {e}"));
    let error = nmse(&got, want);
    println!("{name} {device:?} {kv:?} chunk {chunk}: {error:.1e}");
    assert!(error <= limit, "{name} on {device:?}, {kv:?} cache, chunk {chunk}: {error:.2e}, limit {limit:.0e}");
}

/// Prefill and decode on the reference. The limits are tighter than those of golden.rs: the models are smaller.
fn compare_on_reference(name: &str, known: &Known) {
    compare(name, known, DeviceChoice::REFERENCE, KvType::F32, 64, 1e-10);
    compare(name, known, DeviceChoice::REFERENCE, KvType::F32, 1, 1e-10);
    compare(name, known, DeviceChoice::REFERENCE, KvType::F16, 16, 1e-5);
}

/// On the reference and on other available devices: one type of cache in prefill, the other in decode.
fn compare_everywhere(name: &str, file: &GgufBuilder) {
    let known = known(file);
    compare_on_reference(name, &known);
    let wgpu = common::device("wgpu");
    if common::is_here("wgpu", pronk::backend::open(wgpu)).is_some() {
        compare(name, &known, wgpu, KvType::F32, 64, 1e-6);
        compare(name, &known, wgpu, KvType::F16, 7, 1e-5);
    }
    compare(name, &known, common::device("sim"), KvType::F32, 7, 1e-6);
    compare(name, &known, common::device("sim"), KvType::F16, 64, 1e-5);
}

/// Three query heads per KV head as in SmolLM2, seven as in Yi; heads that are not n_embd / n_heads wide, or partly
/// rotated.
#[test]
fn odd_head_shapes() {
    compare_everywhere("9 heads, 3 KV heads", &Tiny { n_heads: 9, n_kv_heads: 3, ..PLAIN }.file());
    compare_everywhere("7 heads, 1 KV head", &Tiny { n_heads: 7, n_kv_heads: 1, ..PLAIN }.file());
    compare_everywhere("wide heads", &Tiny { head_dim: 32, rope_dim: 32, ..PLAIN }.file());
    compare_everywhere("partly rotated", &Tiny { head_dim: 32, rope_dim: 24, n_kv_heads: 1, ..PLAIN }.file());
}

fn yarn(file: GgufBuilder) -> GgufBuilder {
    file.str("llama.rope.scaling.type", "yarn")
        .f32("llama.rope.scaling.factor", 4.0)
        .u32("llama.rope.scaling.original_context_length", 32768)
}

#[test]
fn scaled_rotations() {
    let linear = PLAIN.file().f32("llama.rope.scaling.factor", 4.0);
    compare_everywhere("linear", &linear.str("llama.rope.scaling.type", "linear"));
    compare_everywhere("YaRN", &yarn(PLAIN.file()).f32("llama.rope.scaling.attn_factor", 1.25));
}

/// Every entry of the rotation table at some positions, up to the last one of a long context.
fn check_table(file: &GgufBuilder) {
    let gguf = parse(file);
    let model = Model::new(gguf.clone()).unwrap_or_else(|e| panic!("{e}"));
    let n_ctx = PLAIN.n_ctx;
    let options = pronk::model::PlanOptions { n_ctx, max_tokens: 1, max_outputs: 1, kv: KvType::F16 };
    let plan = model.plan(&options).expect("a plan");
    let weights = model.weights(&plan).expect("weights");
    let table = plan.rope_table().expect("a rotation");
    assert_eq!((plan[table].ty, plan[table].rows), (GgmlType::F32, n_ctx.into()));
    let row_bytes = plan[table].row_bytes() as usize;
    for position in [0, 1, 4095, 4096, 65537, 131_071] {
        let row = &weights[table][position as usize * row_bytes..][..row_bytes];
        let got: Vec<f32> =
            row.chunks_exact(4).map(|b| f32::from_le_bytes(*b.first_chunk().expect("4 bytes"))).collect();
        let want: Vec<f64> = rotation(&gguf, position).into_iter().flat_map(|(cos, sin)| [cos, sin]).collect();
        assert_eq!(got.len(), want.len());
        for (i, (got, want)) in got.iter().zip(want).enumerate() {
            // f32 rounding of numbers up to 2, and f64 rounding of an angle of 131071.
            assert!((*got as f64 - want).abs() < 2e-7, "position {position}, element {i}: {got}, expected {want}");
        }
    }
}

#[test]
fn rotations_are_exact_at_long_positions() {
    let wide = Tiny { head_dim: 128, rope_dim: 128, n_layers: 1, ..PLAIN };
    let freqs: Vec<f32> = (0..64).map(|i| 1.0 + i as f32 / 9.0).collect();
    let with_freqs = |file: GgufBuilder| file.tensor_f32("rope_freqs.weight", &[64], &freqs);
    check_table(&wide.file());
    check_table(&with_freqs(wide.file()));
    check_table(&wide.file().f32("llama.rope.scaling.factor", 8.0));
    check_table(&yarn(wide.file()));
    check_table(&yarn(with_freqs(wide.file())));
    let own_betas = yarn(wide.file()).f32("llama.rope.scaling.yarn_beta_fast", 20.0);
    check_table(&own_betas.f32("llama.rope.scaling.yarn_beta_slow", 2.0).f32("llama.rope.scaling.attn_factor", 0.5));
    check_table(&yarn(Tiny { rope_dim: 96, ..wide }.file()));
}

/// Biases of Q, K and V; and all biases that a layer can have.
#[test]
fn biases() {
    compare_everywhere("q, k and v", &PLAIN.biased(PLAIN.file(), &ATTENTION));
    let all = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];
    compare_everywhere("all biases", &PLAIN.biased(PLAIN.file(), &all));
}

#[test]
fn sliding_windows() {
    let within = |window: u32| PLAIN.file().u32("llama.attention.sliding_window", window);
    for window in [1, 33, 40, 4096] {
        compare_on_reference(&format!("window {window}"), &known(&within(window)));
    }
    compare_everywhere("window 6", &within(6));
}

/// Q, K and V in one tensor; biases in one, in three, or none.
#[test]
fn q_k_and_v_in_one_tensor() {
    let whole = |file: GgufBuilder, ending: &str| PLAIN.with_one_qkv(file, ending);
    compare_everywhere("one matrix", &whole(PLAIN.file(), "weight"));
    let three = whole(PLAIN.biased(PLAIN.file(), &ATTENTION), "weight");
    compare_on_reference("one matrix, three biases", &known(&three));
    compare_everywhere("one matrix, one bias", &whole(three, "bias"));
    let quantized = (0..PLAIN.n_layers).fold(whole(PLAIN.file(), "weight"), |mut file, layer| {
        let name = format!("blk.{layer}.attn_qkv.weight");
        file.tensors.retain(|t| t.name != name.as_bytes());
        let blocks = random_blocks(GgmlType::Q4_0, 64 * 128, &mut Random::new(layer.into()));
        file.tensor(&name, GgmlType::Q4_0, &[64, 128], &blocks)
    });
    compare_on_reference("one matrix of blocks", &known(&quantized));
}

fn refusal(file: &GgufBuilder) -> String {
    let plan = |model: Model| {
        let options = pronk::model::PlanOptions { n_ctx: 1, max_tokens: 1, max_outputs: 1, kv: KvType::F16 };
        model.plan(&options).map(drop)
    };
    let error = Model::new(parse(file)).and_then(plan).expect_err("a refusal").to_string();
    error.strip_prefix("m.gguf: ").expect("the file's name").to_string()
}

#[test]
fn q_k_and_v_in_one_tensor_of_a_wrong_shape_are_refused() {
    let whole = || PLAIN.with_one_qkv(PLAIN.file(), "weight");
    let mut short = whole();
    short.tensors.retain(|t| t.name != b"blk.1.attn_qkv.weight");
    let short = short.tensor_f32("blk.1.attn_qkv.weight", &[64, 127], &[0.0; 64 * 127]);
    let what = "shape [64, 128] expected from the metadata, [64, 127] found";
    assert_eq!(refusal(&short), format!("tensor blk.1.attn_qkv.weight: {what}"));
    let both = whole().tensor_f32("blk.1.attn_k.weight", &[64, 32], &[0.0; 64 * 32]);
    assert_eq!(refusal(&both), "tensor blk.1.attn_k.weight: has no place beside blk.1.attn_qkv.weight");
    let bias = PLAIN.file().tensor_f32("blk.0.attn_qkv.bias", &[128], &[0.0; 128]);
    assert!(refusal(&bias).starts_with("tensor blk.0.attn_qkv.bias: has no place in the Llama architecture"));
    // Blocks of 32 elements do not end at the ends of Q and K.
    let odd = Tiny { n_heads: 6, n_kv_heads: 1, head_dim: 8, rope_dim: 8, ..PLAIN };
    let file = odd.with_one_qkv(odd.file(), "weight");
    let blocks = file.tensor("blk.0.attn_qkv.bias", GgmlType::Q8_0, &[64], &[0; 2 * 34]);
    let what = "type Q8_0: a block has elements of two of Q, K and V";
    assert_eq!(refusal(&blocks), format!("tensor blk.0.attn_qkv.bias: {what}"));
}

#[test]
fn biases_of_a_wrong_length_and_others_are_refused() {
    let short = PLAIN.file().tensor_f32("blk.1.attn_k.bias", &[31], &[0.0; 31]);
    let what = "shape [32] expected from the metadata, [31] found";
    assert_eq!(refusal(&short), format!("tensor blk.1.attn_k.bias: {what}"));
    let unknown = PLAIN.file().tensor_f32("blk.1.attn_norm.bias", &[64], &[0.0; 64]);
    assert!(refusal(&unknown).starts_with("tensor blk.1.attn_norm.bias: has no place"));
}

const QWEN2: Tiny = Tiny { arch: "qwen2", ..PLAIN };
/// Heads that are wider than n_embd / n_heads, as in Qwen3 0.6B.
const QWEN3: Tiny = Tiny { arch: "qwen3", head_dim: 24, rope_dim: 24, ..PLAIN };

fn without_tensor(mut file: GgufBuilder, name: &str) -> GgufBuilder {
    file.tensors.retain(|t| t.name != name.as_bytes());
    file
}

/// With biases as in its files, and without: then a fused kernel that rotates neighbours must not be chosen.
#[test]
fn qwen2() {
    let bias: Vec<f32> = (0..QWEN2.n_vocab).map(|i| (i as f32 - 20.0) / 10.0).collect();
    let biased = QWEN2.biased(QWEN2.file(), &ATTENTION);
    compare_everywhere("Qwen2", &biased);
    compare_everywhere("Qwen2 without biases", &QWEN2.file());
    let tied = without_tensor(biased.clone(), "output.weight");
    let tied = tied.tensor_f32("output.bias", &[QWEN2.n_vocab.into()], &bias);
    compare_everywhere("Qwen2, tied, with a bias of the logits", &tied);
    let one = QWEN2.with_one_qkv(QWEN2.with_one_qkv(biased.clone(), "weight"), "bias");
    compare_everywhere("Qwen2 with Q, K and V in one tensor", &one);
    let yarn = biased.str("qwen2.rope.scaling.type", "yarn").f32("qwen2.rope.scaling.factor", 4.0);
    let yarn = yarn.u32("qwen2.rope.scaling.original_context_length", 32768);
    compare_on_reference("Qwen2 with YaRN", &known(&yarn));
}

#[test]
fn qwen3() {
    compare_everywhere("Qwen3", &QWEN3.file());
    let tied = without_tensor(QWEN3.biased(QWEN3.file(), &ATTENTION), "output.weight");
    compare_everywhere("Qwen3, tied, with biases", &tied);
    compare_on_reference("Qwen3 with Q, K and V in one tensor", &known(&QWEN3.with_one_qkv(QWEN3.file(), "weight")));
    let narrow = Tiny { n_heads: 6, n_kv_heads: 3, head_dim: 8, rope_dim: 8, ..QWEN3 };
    compare_everywhere("Qwen3 with narrow heads", &narrow.file());
}

/// Features of files of another family.
#[test]
fn what_is_not_the_familys_is_refused() {
    let partly = Tiny { rope_dim: 8, ..QWEN2 };
    assert_eq!(refusal(&partly.file()), "key qwen2.rope.dimension_count: 8, expected the head size 16");
    let partly = Tiny { rope_dim: 16, ..QWEN3 };
    assert_eq!(refusal(&partly.file()), "key qwen3.rope.dimension_count: 16, expected the head size 24");
    let wide = Tiny { head_dim: 32, rope_dim: 32, ..QWEN2 };
    let what = "4 heads of 32 elements, expected qwen2.embedding_length 64 in all";
    assert_eq!(refusal(&wide.file()), format!("key qwen2.attention.head_count: {what}"));
    let experts = QWEN3.file().u32("qwen3.expert_count", 8);
    assert_eq!(refusal(&experts), "key qwen3.expert_count: 8, mixtures of experts are not supported");
    let lacking = without_tensor(QWEN3.file(), "blk.1.attn_k_norm.weight");
    assert_eq!(refusal(&lacking), "tensor blk.1.attn_k_norm.weight: is missing");
    let whole_row = without_tensor(QWEN3.file(), "blk.1.attn_q_norm.weight");
    let whole_row = whole_row.tensor_f32("blk.1.attn_q_norm.weight", &[96], &[1.0; 96]);
    let what = "shape [24] expected from the metadata, [96] found";
    assert_eq!(refusal(&whole_row), format!("tensor blk.1.attn_q_norm.weight: {what}"));
    for (tiny, arch) in [(QWEN2, "Qwen2"), (QWEN3, "Qwen3")] {
        let freqs = tiny.file().tensor_f32("rope_freqs.weight", &[8], &[1.0; 8]);
        let refused = refusal(&freqs);
        assert!(refused.starts_with(&format!("tensor rope_freqs.weight: has no place in the {arch} ")), "{refused}");
    }
    let biased = |tiny: Tiny| refusal(&tiny.file().tensor_f32("output.bias", &[40], &[0.0; 40]));
    for tiny in [PLAIN, QWEN3] {
        assert!(biased(tiny).starts_with("tensor output.bias: has no place"));
    }
}

/// llama.cpp needs all of them; without some the answers would be wrong.
#[test]
fn qwen2_files_with_some_of_the_biases_are_refused() {
    let some = without_tensor(QWEN2.biased(QWEN2.file(), &ATTENTION), "blk.1.attn_k.bias");
    assert_eq!(refusal(&some), "tensor blk.1.attn_k.bias: is missing, but the file has blk.0.attn_q.bias");
}
