//! Files that do not say it right and can be run all the same: what is assumed about them.

use pronk::generate::{LoadOptions, load_model};
use pronk::gguf::Gguf;
use pronk::model::{Model, PlanOptions};
use pronk::plan::KvType;
use pronk::text::{EncodeOptions, Tokenizer, Vocab, VocabNotice};

use super::builder;
use super::model::{llama, pieces, reshaped, with, words};
use crate::common::gguf_builder::{GgufBuilder, array, id, string};

fn parsed(file: &GgufBuilder) -> Gguf {
    Gguf::parse("m.gguf", file.build().into()).expect("a well-formed file")
}

/// The file's model, if its tensors fit as well.
fn model(file: &GgufBuilder) -> Result<Model, String> {
    let model = Model::new(parsed(file)).map_err(|e| e.to_string())?;
    let options = PlanOptions { n_ctx: 4, max_tokens: 2, max_outputs: 1, kv: KvType::F32 };
    model.plan(&options).map_err(|e| e.to_string())?;
    Ok(model)
}

fn notices(file: &GgufBuilder) -> Vec<String> {
    VocabNotice::of(&parsed(file)).iter().map(VocabNotice::to_string).collect()
}

const OUTSIDE: &str = "is outside of the 3 tokens, the model is run without this token";
const NO_PRE: &str =
    "key tokenizer.ggml.pre is missing: words are split by the default pre-tokenizer, quality may suffer";

#[test]
fn special_ids_outside_of_the_vocabulary_count_as_missing() {
    let named = || words().str("tokenizer.ggml.pre", "gpt-2");
    assert_eq!(notices(&named()), [""; 0]);
    for name in ["bos_token_id", "eos_token_id", "eot_token_id", "eom_token_id", "unknown_token_id"] {
        let key = format!("tokenizer.ggml.{name}");
        for file in [named().u32(&key, 3), named().u32(&key, u32::MAX), named().kv(&key, 5, &(-1i32).to_le_bytes())] {
            let vocab = Vocab::from_gguf(&parsed(&file)).expect("it loads");
            assert_eq!([vocab.bos, vocab.eos, vocab.eot, vocab.eom, vocab.unk], [None; 5], "{key}");
            let notices = notices(&file);
            assert!(notices.len() == 1 && notices[0].starts_with(&format!("key {key}: ")), "{notices:?}");
            assert!(notices[0].ends_with(OUTSIDE), "{notices:?}");
        }
        let wrong = Vocab::from_gguf(&parsed(&named().str(&key, "x"))).map_err(|e| e.to_string());
        assert_eq!(wrong, Err(format!("m.gguf: key {key}: expected u32, found string \"x\"")));
    }
    // No BOS to put in front; SentencePiece has a default.
    let file = named().u32("tokenizer.ggml.bos_token_id", 3).bool("tokenizer.ggml.add_bos_token", true);
    assert!(!Tokenizer::from_gguf(&parsed(&file)).expect("it loads").add_bos());
    let file = pieces().u32("tokenizer.ggml.bos_token_id", 6).bool("tokenizer.ggml.add_bos_token", true);
    let tokenizer = Tokenizer::from_gguf(&parsed(&file)).expect("it loads");
    assert_eq!((tokenizer.bos(), tokenizer.add_bos()), (Some(1), true));
}

#[test]
fn a_missing_pre_tokenizer_is_a_notice() {
    assert_eq!(notices(&words()), [NO_PRE]);
    assert_eq!(notices(&words().str("tokenizer.ggml.pre", "")), [NO_PRE]);
    assert!(Tokenizer::from_gguf(&parsed(&words().str("tokenizer.ggml.pre", ""))).is_ok());
    assert_eq!(notices(&pieces()), [""; 0]);
}

#[test]
fn tokens_that_are_not_utf8_are_bytes() {
    let tokens = "tokenizer.ggml.tokens";
    for file in [pieces(), words().u32("tokenizer.ggml.bos_token_id", 0)] {
        let vocab = Vocab::from_gguf(&parsed(&file)).expect("a vocabulary");
        let n = vocab.tokens.len();
        let mut texts: Vec<Vec<u8>> = vocab.tokens.iter().map(|text| text.clone().into_bytes()).collect();
        texts.push(vec![0xff, b'a']);
        texts.push("\u{fffd}a".into());
        let types: Vec<i32> = vocab.types.iter().map(|ty| *ty as i32).chain([4, 4]).collect();
        let scores: Vec<f32> = if vocab.scores.is_empty() { vec![] } else { [&vocab.scores[..], &[0.0; 2]].concat() };
        let list = array(id::STRING, texts.len() as u64, &texts.iter().flat_map(string).collect::<Vec<u8>>());
        let mut file = file.without(tokens).kv(tokens, id::ARRAY, &list);
        file = file.without("tokenizer.ggml.token_type").i32s("tokenizer.ggml.token_type", &types);
        file = file.without("tokenizer.ggml.scores");
        if !scores.is_empty() {
            file = file.f32s("tokenizer.ggml.scores", &scores);
        }
        let tokenizer = Tokenizer::from_gguf(&parsed(&file)).expect("it loads");
        assert_eq!(tokenizer.token_bytes(n as u32, false), [0xff, b'a']);
        let ids = tokenizer.encode("\u{fffd}a", EncodeOptions::default()).expect("it is encoded");
        assert_eq!(ids, [n as u32 + 1], "the token whose text that is");
    }
}

#[test]
fn other_texts_that_are_not_utf8_are_shown_with_marks() {
    let bytes = string([b'a', 0xff]);
    let file = llama().kv("general.name", id::STRING, &bytes);
    assert_eq!(model(&file).expect("it loads").config.name, "a\u{fffd}");
    let template = words().kv("tokenizer.chat_template", id::STRING, &bytes);
    assert_eq!(Vocab::from_gguf(&parsed(&template)).expect("it loads").chat_template.as_deref(), Some("a\u{fffd}"));
    let list = array(id::STRING, 2, &[string("a b"), string([b'a', b' ', 0xff])].concat());
    let merges = words().without("tokenizer.ggml.merges").kv("tokenizer.ggml.merges", id::ARRAY, &list);
    assert_eq!(Vocab::from_gguf(&parsed(&merges)).expect("it loads").merges, ["a b"]);
}

#[test]
fn the_embedding_counts_the_tokens() {
    assert_eq!(model(&with("vocab_size", 3)).expect("it loads").other_vocab_size, None);
    let other = model(&with("vocab_size", 4)).expect("it loads");
    assert_eq!((other.other_vocab_size, other.config.n_vocab), (Some(4), 3));
    let options = LoadOptions { device: "cpu".parse().expect("a device"), ..LoadOptions::default() };
    let loaded = load_model(other, &options, &mut |_| {}).expect("it loads");
    let notices: Vec<String> = loaded.notices.iter().map(ToString::to_string).collect();
    let expected = "key vocab_size: 4, but the embedding has 3 rows, which is taken for the vocabulary";
    assert_eq!(notices, [expected]);
}

#[test]
fn dimensions_of_1_at_the_end_change_nothing() {
    for (name, shape) in [
        ("output_norm.weight", &[4, 1][..]),
        ("rope_freqs.weight", &[1, 1]),
        ("blk.0.attn_q.weight", &[4, 4, 1]),
        ("token_embd.weight", &[4, 3, 1, 1]),
    ] {
        assert_eq!(model(&reshaped(name, shape)).err(), None, "{name}");
    }
    for (name, shape) in [("output_norm.weight", &[1, 4][..]), ("blk.0.attn_q.weight", &[4, 1, 4])] {
        assert!(model(&reshaped(name, shape)).is_err(), "{name}");
    }
}

#[test]
fn layers_may_be_counted_one_by_one() {
    let two =
        |key: &str, values: &[i32]| with(key, 1).without(&format!("llama.{key}")).i32s(&format!("llama.{key}"), values);
    for (key, n) in [("attention.head_count", 2), ("attention.head_count_kv", 1), ("feed_forward_length", 6)] {
        assert_eq!(model(&two(key, &[n])).err(), None, "{key}");
        let refused = |values: &[i32]| model(&two(key, values)).expect_err("it is refused");
        let what = format!("m.gguf: key llama.{key}: ");
        assert_eq!(refused(&[n, n]), format!("{what}array of 2, expected one number for each of 1 layers"));
        assert_eq!(refused(&[-1]), format!("{what}expected array of u32, element 0 is i32 -1"));
        assert_eq!(refused(&[0]), format!("{what}0, expected 1 to 16777216"));
        let layers = two(key, &[n, n + 1]).without("llama.block_count").u32("llama.block_count", 2);
        let error = model(&layers).expect_err("it is refused");
        assert_eq!(error, format!("{what}{n} in layer 0, {} in layer 1: layers that differ cannot be run", n + 1));
    }
}

#[test]
fn files_that_belong_to_a_model_are_named() {
    let problem = |file: GgufBuilder| {
        let file = parsed(&file);
        let error = Model::new(file.clone()).expect_err("it is refused").to_string();
        assert_eq!(Tokenizer::from_gguf(&file).err().expect("it is refused").to_string(), error);
        error
    };
    let lora = builder().str("general.type", "adapter").str("general.architecture", "llama");
    assert_eq!(problem(lora), "m.gguf: not a model: the file is a LoRA adapter, which changes a model");
    let projector =
        "m.gguf: not a model: the file is a projector (mmproj), which turns images or sound into input of a model";
    assert_eq!(problem(builder().str("general.type", "mmproj")), projector);
    assert_eq!(problem(builder().str("general.architecture", "clip")), projector);
    let imatrix = "m.gguf: not a model: the file is an importance matrix, which helps to quantize a model";
    assert_eq!(problem(builder().str("general.type", "imatrix")), imatrix);
    let control = "m.gguf: not a model: the file is a control vector, which steers a model";
    assert_eq!(problem(builder().str("general.architecture", "controlvector")), control);
}
