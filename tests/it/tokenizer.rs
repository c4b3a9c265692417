//! Vocabularies of real models: the ids of 47 texts from llama.cpp, refusals of broken vocabularies, streams of text.

use std::io::Read;
use std::path::Path;
use std::sync::LazyLock;

use flate2::read::GzDecoder;
use pronk::gguf::Gguf;
use pronk::text::{Detokenizer, EncodeOptions, Error, StopMatcher, TokenType, Tokenizer, Vocab};
use proptest::prelude::*;

const PLAIN: EncodeOptions = EncodeOptions { add_bos: false, parse_special: false };
const SPECIAL: EncodeOptions = EncodeOptions { add_bos: false, parse_special: true };

static LLAMA3: LazyLock<Vocab> = LazyLock::new(|| vocab("llama-bpe"));
static LLAMA2: LazyLock<Vocab> = LazyLock::new(|| vocab("llama-spm"));
static SMOLLM2: LazyLock<Vocab> = LazyLock::new(|| vocab("smollm2"));
static LLAMA3_TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| Tokenizer::new(&LLAMA3).unwrap());
static LLAMA2_TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| Tokenizer::new(&LLAMA2).unwrap());
static SMOLLM2_TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| Tokenizer::new(&SMOLLM2).unwrap());

fn data(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tokenizer").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A vocabulary-only GGUF file.
fn vocab(name: &str) -> Vocab {
    let mut bytes = Vec::new();
    GzDecoder::new(&data(&format!("{name}.gguf.gz"))[..]).read_to_end(&mut bytes).unwrap();
    Vocab::from_gguf(&Gguf::parse(name, bytes.into()).unwrap()).unwrap()
}

/// The texts and ids that llama.cpp gives: no BOS, nothing special parsed.
fn golden(name: &str) -> Vec<(String, Vec<u32>)> {
    #[derive(serde::Deserialize)]
    struct Case {
        text: String,
        ids: Vec<u32>,
    }
    let cases: Vec<Case> = serde_json::from_slice(&data(&format!("{name}.json"))).unwrap();
    cases.into_iter().map(|case| (case.text, case.ids)).collect()
}

fn matches_llama_cpp(name: &str, tokenizer: &Tokenizer) {
    let cases = golden(name);
    assert_eq!(cases.len(), 47, "{name}");
    for (text, ids) in cases {
        assert_eq!(tokenizer.encode(&text, PLAIN).unwrap(), ids, "{name}: {text:?}");
        assert_eq!(String::from_utf8(tokenizer.decode(&ids, false)).unwrap(), text, "{name}: {ids:?}");
    }
}

#[test]
fn llama3_matches_llama_cpp() {
    matches_llama_cpp("llama-bpe", &LLAMA3_TOKENIZER);
}

#[test]
fn llama2_matches_llama_cpp() {
    matches_llama_cpp("llama-spm", &LLAMA2_TOKENIZER);
}

#[test]
fn smollm2_matches_llama_cpp() {
    matches_llama_cpp("smollm2", &SMOLLM2_TOKENIZER);
}

/// The vocabulary of a tiny model: the bytes, and the first merges.
#[test]
fn qwen2_matches_llama_cpp() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/models/tiny-qwen2-tied.q4_0.gguf");
    let vocab = Vocab::from_gguf(&Gguf::open(&path).unwrap()).unwrap();
    let tokenizer = Tokenizer::new(&vocab).unwrap();
    matches_llama_cpp("qwen2-tiny", &tokenizer);
    assert!(!tokenizer.add_bos());
}

#[test]
fn special_tokens_are_parsed_only_on_request() {
    let (llama3, text) = (&*LLAMA3_TOKENIZER, "<|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>");
    let ids = llama3.encode(text, SPECIAL).unwrap();
    assert_eq!(ids, [128006, 882, 128007, 271, 6151, 128009]);
    assert_eq!(llama3.decode(&ids, true), text.as_bytes());
    assert_eq!(llama3.decode(&ids, false), b"user\n\nhi");
    let plain = llama3.encode(text, PLAIN).unwrap();
    assert!(plain.iter().all(|&id| id < 128000), "{plain:?}");
    assert_eq!(llama3.decode(&plain, false), text.as_bytes());

    // SentencePiece: a space goes in front of text at the start and after a special token.
    let ids = LLAMA2_TOKENIZER.encode("<s>Hello world</s>Hello", SPECIAL).unwrap();
    assert_eq!(ids, [1, 15043, 3186, 2, 15043]);
}

#[test]
fn user_defined_tokens_are_always_parsed_the_longest_first() {
    let mut vocab = SMOLLM2.clone();
    for (id, text) in [(3, "<tool>"), (4, "<tool><tool>")] {
        vocab.tokens[id] = text.to_string();
        vocab.types[id] = TokenType::UserDefined;
    }
    let tokenizer = Tokenizer::new(&vocab).unwrap();
    assert_eq!(tokenizer.encode("<tool><tool><tool>", PLAIN).unwrap(), [4, 3]);
    assert_eq!(tokenizer.decode(&[4, 3], false), b"<tool><tool><tool>");
}

/// SmolLM2's vocabulary with these user-defined tokens after it, from id 49152 on.
fn with_user_defined(texts: &[String]) -> Tokenizer {
    let mut vocab = SMOLLM2.clone();
    vocab.tokens.extend_from_slice(texts);
    vocab.types.resize(vocab.tokens.len(), TokenType::UserDefined);
    Tokenizer::new(&vocab).unwrap()
}

#[test]
fn where_special_tokens_overlap_the_longer_counts_then_the_smaller_id() {
    let tokenizer = with_user_defined(&["<ab", "ab>c", "c<", "<a"].map(String::from));
    let pieces = |text: &str| {
        let ids = tokenizer.encode(text, PLAIN).unwrap();
        ids.into_iter().map(|id| tokenizer.piece(id).to_string()).collect::<Vec<_>>()
    };
    assert_eq!(pieces("<ab>c<"), ["<", "ab>c", "<"]); // the first and the third overlap the longest
    assert_eq!(pieces("c<ab"), ["c", "<ab"]);
    assert_eq!(pieces("c<a"), ["c<", "a"]); // as long as the fourth
    assert_eq!(pieces("<a<ab<"), ["<a", "<ab", "<"]);
}

#[test]
fn many_special_tokens_are_no_slower_than_few() {
    let texts: Vec<String> = (0..40000).map(|i| format!("<special token {i}>")).collect();
    let tokenizer = with_user_defined(&texts);
    let text = texts.concat();
    let begin = std::time::Instant::now();
    let ids = tokenizer.encode(&text, PLAIN).unwrap();
    assert_eq!(ids, (49152..89152).collect::<Vec<u32>>());
    assert!(begin.elapsed() < std::time::Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[test]
fn bos_is_added_on_request() {
    let expected = [(&*LLAMA3_TOKENIZER, 128000, true), (&*LLAMA2_TOKENIZER, 1, true), (&*SMOLLM2_TOKENIZER, 1, false)];
    for (tokenizer, bos, add_bos) in expected {
        assert_eq!((tokenizer.bos(), tokenizer.add_bos()), (Some(bos), add_bos));
        let options = EncodeOptions { add_bos: true, parse_special: false };
        let with = tokenizer.encode("Hello world", options).unwrap();
        assert_eq!(with[0], bos);
        assert_eq!(with[1..], tokenizer.encode("Hello world", PLAIN).unwrap());
        assert_eq!(tokenizer.decode(&with, false), b"Hello world");
    }
    let tokenizer = Tokenizer::new(&Vocab { bos: None, ..SMOLLM2.clone() }).unwrap();
    let error = tokenizer.encode("x", EncodeOptions { add_bos: true, ..PLAIN }).unwrap_err();
    assert_eq!(error.to_string(), "cannot tokenize: the vocabulary has no beginning-of-text token");
}

#[test]
fn ends_are_the_named_ones_and_the_well_known_ones() {
    let ends = |tokenizer: &Tokenizer| tokenizer.ends().iter().copied().collect::<Vec<_>>();
    assert_eq!(ends(&LLAMA3_TOKENIZER), [128001, 128009]); // <|end_of_text|>, <|eot_id|>
    assert_eq!(ends(&LLAMA2_TOKENIZER), [2]); // </s>
    assert_eq!(ends(&SMOLLM2_TOKENIZER), [0, 2, 4]); // <|endoftext|>, <|im_end|>, <reponame>
    let vocab = Vocab { eot: Some(17), eom: Some(18), ..SMOLLM2.clone() };
    let tokenizer = Tokenizer::new(&vocab).unwrap();
    assert!([0, 2, 4, 17, 18].iter().all(|&id| tokenizer.is_end(id)));
    assert!(!tokenizer.is_end(1));
}

#[test]
fn well_known_ends_are_hidden_even_if_the_file_calls_them_normal() {
    let mut vocab = SMOLLM2.clone();
    vocab.types[2] = TokenType::Normal;
    let tokenizer = Tokenizer::new(&vocab).unwrap();
    assert_eq!(tokenizer.token_bytes(2, false), b"");
    assert_eq!(tokenizer.encode("<|im_end|>", SPECIAL).unwrap(), [2]);
}

#[test]
fn tokens_have_bytes_and_pieces() {
    let (llama3, llama2) = (&*LLAMA3_TOKENIZER, &*LLAMA2_TOKENIZER);
    assert_eq!(llama3.n_vocab(), 128256);
    assert_eq!((llama3.piece(22691), llama3.token_bytes(22691, false)), ("ĠHello", &b" Hello"[..]));
    assert_eq!(llama3.token_bytes(11410, false), [b' ', 0xf0, 0x9f]); // part of a character
    assert_eq!(llama2.token_bytes(13, false), b"\n"); // <0x0A>
    assert_eq!((llama2.piece(15043), llama2.token_bytes(15043, false)), ("▁Hello", &b" Hello"[..]));
    assert_eq!((llama3.piece(128256), llama3.token_bytes(128256, true)), ("", &b""[..]));
    assert_eq!(llama3.decode(&[u32::MAX], true), b"");
}

#[test]
fn of_tokens_with_the_same_text_the_first_is_produced() {
    let mut vocab = SMOLLM2.clone();
    let id = SMOLLM2_TOKENIZER.encode(" Hello", PLAIN).unwrap()[0] as usize;
    vocab.tokens[16] = vocab.tokens[id].clone();
    vocab.types[16] = TokenType::Normal;
    let tokenizer = Tokenizer::new(&vocab).unwrap();
    assert_eq!(tokenizer.encode(" Hello", PLAIN).unwrap(), [16]);
    assert_eq!(tokenizer.decode(&[16, id as u32], false), b" Hello Hello");
}

/// The error of [`Tokenizer::new`] for SmolLM2's or Llama 2's vocabulary with one defect.
fn refusal(vocab: &Vocab, spoil: impl FnOnce(&mut Vocab)) -> String {
    let mut vocab = vocab.clone();
    spoil(&mut vocab);
    let error = Tokenizer::new(&vocab).err().expect("the vocabulary is broken");
    assert!(matches!(error, Error::Key { .. }));
    error.to_string()
}

#[test]
fn broken_vocabularies_are_refused() {
    let smol = |spoil: fn(&mut Vocab)| refusal(&SMOLLM2, spoil);
    let spm = |spoil: fn(&mut Vocab)| refusal(&LLAMA2, spoil);
    let pre = smol(|v| v.pre = Some("smolm".into()));
    assert!(pre.starts_with("key tokenizer.ggml.pre: unknown pre-tokenizer \"smolm\", known are llama-bpe, "), "{pre}");
    assert!(pre.contains("smollm, ") && pre.ends_with("default"), "{pre}");
    let cases = [
        (
            smol(|v| v.model = "bert".into()),
            "key tokenizer.ggml.model: unknown tokenizer \"bert\", known are gpt2, llama",
        ),
        (smol(|v| v.tokens.clear()), "key tokenizer.ggml.tokens: 0 tokens, expected 1 to 4294967295"),
        (
            smol(|v| v.types.truncate(5)),
            "key tokenizer.ggml.token_type: 5 elements, but tokenizer.ggml.tokens has 49152",
        ),
        (smol(|v| v.scores = vec![0.0]), "key tokenizer.ggml.scores: 1 elements, but tokenizer.ggml.tokens has 49152"),
        (smol(|v| v.eot = Some(49152)), "key tokenizer.ggml.eot_token_id: 49152, the last token is 49151"),
        (smol(|v| v.bos = Some(u32::MAX)), "key tokenizer.ggml.bos_token_id: 4294967295, the last token is 49151"),
        (
            smol(|v| (v.bos, v.add_bos) = (None, Some(true))),
            "key tokenizer.ggml.bos_token_id: is missing, tokenizer.ggml.add_bos_token needs it",
        ),
        (
            smol(|v| v.tokens[9] = "x".repeat(5000)),
            "key tokenizer.ggml.tokens: token 9 is 5000 bytes long, at most 1024",
        ),
        (smol(|v| v.merges.clear()), "key tokenizer.ggml.merges: no merges, byte-level BPE needs them"),
        (
            smol(|v| v.merges[7] = "Ġth".into()),
            "key tokenizer.ggml.merges: merge 7, \"Ġth\", is not two tokens with a space between",
        ),
        (
            smol(|v| v.merges[7] = "a b c".into()),
            "key tokenizer.ggml.merges: merge 7, \"a b c\", is not two tokens with a space between",
        ),
        (
            smol(|v| v.merges[7] = " b".into()),
            "key tokenizer.ggml.merges: merge 7, \" b\", is not two tokens with a space between",
        ),
        (
            smol(|v| v.merges[7] = "q Ġzzq".into()),
            "key tokenizer.ggml.merges: merge 7, \"q Ġzzq\", needs \"Ġzzq\", which is not a token",
        ),
        (
            smol(|v| v.merges[7] = "q Ġthe".into()),
            "key tokenizer.ggml.merges: merge 7, \"q Ġthe\", needs \"qĠthe\", which is not a token",
        ),
        (spm(|v| v.scores.clear()), "key tokenizer.ggml.scores: no scores, SentencePiece needs them"),
        (
            spm(|v| v.tokens[300..700].iter_mut().enumerate().for_each(|(i, t)| *t = "x".repeat(i + 600))),
            "key tokenizer.ggml.tokens: the splits of all pieces have 261766223 bytes, at most 67108864",
        ),
        (spm(|v| v.scores[5] = f32::NAN), "key tokenizer.ggml.scores: token 5 has NaN"),
        (
            spm(|v| v.tokens[13] = "<0x0G>".into()),
            "key tokenizer.ggml.tokens: token 13 is a byte written \"<0x0G>\", expected <0x00> to <0xFF>",
        ),
        (
            spm(|v| v.tokens[13] = "<0x+A>".into()),
            "key tokenizer.ggml.tokens: token 13 is a byte written \"<0x+A>\", expected <0x00> to <0xFF>",
        ),
    ];
    for (found, expected) in cases {
        assert_eq!(found, expected);
    }
}

/// A metadata-only GGUF file: keys with their type ids and values in the file's encoding.
fn gguf(entries: &[(&str, u32, Vec<u8>)]) -> Gguf {
    let string = |s: &str| [&(s.len() as u64).to_le_bytes()[..], s.as_bytes()].concat();
    let mut bytes =
        [b"GGUF", &3u32.to_le_bytes()[..], &0u64.to_le_bytes(), &(entries.len() as u64).to_le_bytes()].concat();
    for (key, ty, value) in entries {
        bytes.extend([string(key), ty.to_le_bytes().to_vec(), value.clone()].concat());
    }
    Gguf::parse("broken.gguf", bytes.into()).unwrap()
}

#[test]
fn refusals_name_the_file() {
    let (string, array) = (8u32, 9u32);
    let text = |s: &str| [&(s.len() as u64).to_le_bytes()[..], s.as_bytes()].concat();
    let list = |ty: u32, values: &[Vec<u8>]| {
        [ty.to_le_bytes().to_vec(), (values.len() as u64).to_le_bytes().to_vec(), values.concat()].concat()
    };
    let tokens = ("tokenizer.ggml.tokens", array, list(string, &[text("a"), text("b")]));
    let types =
        |id: i32| ("tokenizer.ggml.token_type", array, list(5, &[1i32.to_le_bytes().into(), id.to_le_bytes().into()]));
    let model = ("tokenizer.ggml.model", string, text("gpt2"));
    let error = |entries: &[(&str, u32, Vec<u8>)]| Tokenizer::from_gguf(&gguf(entries)).err().unwrap().to_string();
    assert_eq!(error(std::slice::from_ref(&model)), "broken.gguf: key tokenizer.ggml.tokens: is missing");
    assert_eq!(error(std::slice::from_ref(&tokens)), "broken.gguf: key tokenizer.ggml.model: is missing");
    assert_eq!(
        error(&[model.clone(), tokens.clone(), types(7)]),
        "broken.gguf: key tokenizer.ggml.token_type: token 1 is of type 7, the last known is 6 (byte)"
    );
    assert_eq!(
        error(&[model, tokens, types(1)]),
        "broken.gguf: key tokenizer.ggml.merges: no merges, byte-level BPE needs them"
    );
}

/// llama.cpp gives one token for each letter too.
#[test]
fn words_of_a_million_characters_are_encoded() {
    let n = 1_000_000;
    for (tokenizer, letter) in [(&*LLAMA3_TOKENIZER, "\u{1}"), (&*LLAMA2_TOKENIZER, "\u{1}"), (&*LLAMA3_TOKENIZER, " ")]
    {
        let ids = tokenizer.encode(&letter.repeat(n), EncodeOptions::default()).unwrap();
        let text = tokenizer.decode(&ids, false);
        assert!(text == letter.repeat(n).as_bytes(), "{letter:?}: {} bytes", text.len());
    }
}

/// Tokens that begin alike: the longest that is there counts, where the text goes on like a longer one too.
#[test]
fn tokens_that_begin_alike_are_told_apart() {
    let names = ["<a", "<ab", "<abcd", "<b", "<abce", "<a"];
    let mut vocab = SMOLLM2.clone();
    let first = vocab.tokens.len() as u32;
    for name in names {
        vocab.tokens.push(name.to_string());
        vocab.types.push(TokenType::UserDefined);
    }
    let tokenizer = Tokenizer::new(&vocab).unwrap();
    let found = |text: &str| {
        let ids = tokenizer.encode(text, EncodeOptions::default()).unwrap();
        ids.into_iter().filter(|id| *id >= first).map(|id| id - first).collect::<Vec<_>>()
    };
    assert_eq!(found("<abc<abcd<abce<abcf<a<b<"), [1, 2, 4, 1, 0, 3]);
    assert_eq!(found("<<aa"), [0]);
}

/// Vocabularies whose words are text: what has no token falls back to bytes, newlines are tokens without merges.
#[test]
fn words_without_an_alphabet_of_bytes() {
    let tokens = ["▁", "a", "b", "▁a", "\n", "\n\n", "<0xC3>", "<0xA9>", "x y"];
    let ty = |text: &&str| if text.starts_with("<0x") { TokenType::Byte } else { TokenType::Normal };
    let vocab = |pre: &str| Vocab {
        pre: Some(pre.to_string()),
        types: tokens.iter().map(ty).collect(),
        tokens: tokens.map(String::from).into(),
        merges: vec!["▁ a".to_string()],
        chat_template: None,
        ..Vocab { bos: None, eos: None, eot: None, eom: None, unk: None, add_bos: None, ..SMOLLM2.clone() }
    };
    let marked = Tokenizer::new(&vocab("gemma4")).unwrap();
    let ids = marked.encode("b a\n\né", EncodeOptions::default()).unwrap();
    assert_eq!(ids, [2, 3, 5, 6, 7]);
    assert_eq!(marked.decode(&ids, false), "b a\n\né".as_bytes());
    assert_eq!(marked.encode("▁?a", EncodeOptions::default()).unwrap(), [0, 1], "no token for the mark between");
    let plain = Tokenizer::new(&vocab("whitespace")).unwrap();
    assert_eq!(plain.encode("▁ab\n", EncodeOptions::default()).unwrap(), [3, 2, 4]);
    assert_eq!(plain.token_bytes(3, false), "▁a".as_bytes());
}

/// All that a stream makes of the pieces.
fn detokenize<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> String {
    let mut stream = Detokenizer::new();
    let mut text: String = pieces.map(|piece| stream.push(piece)).collect();
    text += &stream.finish();
    assert_eq!(stream.finish(), "");
    text
}

#[test]
fn detokenizer_keeps_incomplete_characters_back() {
    let mut stream = Detokenizer::new();
    assert_eq!(stream.push(b"a\xf0\x9f"), "a");
    assert_eq!(stream.push(b"\xa6"), "");
    assert_eq!(stream.push(b"\x99b"), "🦙b");
    assert_eq!(stream.push(b"\xff\xe2\x82"), "\u{fffd}");
    assert_eq!(stream.push(b"x"), "\u{fffd}x");
    assert_eq!(stream.push(b"\xe2"), "");
    assert_eq!(stream.finish(), "\u{fffd}");
}

#[test]
fn stop_strings_must_not_be_empty() {
    assert_eq!(StopMatcher::new(["a", ""]).unwrap_err().to_string(), "stop string 1 is empty");
    let mut none = StopMatcher::new(Vec::<String>::new()).unwrap();
    assert_eq!((none.push("abc"), none.finish()), ("abc".to_string(), String::new()));
}

#[test]
fn stop_matcher_withholds_what_may_become_a_stop_string() {
    let mut stop = StopMatcher::new(["\nUser:", "###"]).unwrap();
    assert_eq!(stop.push("Hi ##"), "Hi ");
    assert_eq!(stop.push("x\nUs"), "##x");
    assert_eq!(stop.push("e"), "");
    assert_eq!(stop.stopped(), None);
    assert_eq!(stop.push("r: more"), "");
    assert_eq!(stop.stopped(), Some("\nUser:"));
    assert_eq!((stop.push("more"), stop.finish()), (String::new(), String::new()));
}

/// The definition: the text before the stop string that ends first, the longest of those that end there.
fn stopped_text<'t>(text: &'t str, stops: &[String]) -> (&'t str, bool) {
    for end in (0..=text.len()).filter(|&end| text.is_char_boundary(end)) {
        let ending = stops.iter().filter(|stop| text[..end].ends_with(stop.as_str())).map(String::len).max();
        if let Some(len) = ending {
            return (&text[..end - len], true);
        }
    }
    (text, false)
}

/// Cuts at the given places, in bytes.
fn cut<'t>(bytes: &'t [u8], places: &[usize]) -> Vec<&'t [u8]> {
    let mut places: Vec<usize> = places.iter().map(|p| p % (bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|w| &bytes[w[0]..w[1]]).collect()
}

proptest! {
    #[test]
    fn detokenizer_gives_the_whole_text_however_it_is_cut(text in ".*", places in prop::collection::vec(0usize..1000, 0..20)) {
        prop_assert_eq!(detokenize(cut(text.as_bytes(), &places).into_iter()), text);
    }

    #[test]
    fn detokenizer_replaces_what_from_utf8_lossy_replaces(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0x80u8..0xc0, 0xe0u8..0xf8], 0..40),
        places in prop::collection::vec(0usize..40, 0..20),
    ) {
        prop_assert_eq!(detokenize(cut(&bytes, &places).into_iter()), String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn detokenized_tokens_are_the_text(text in ".*") {
        // SentencePiece writes spaces as U+2581, so U+2581 in a text is decoded as a space.
        let spaces = text.replace('▁', " ");
        for (tokenizer, expected) in [(&*LLAMA3_TOKENIZER, &text), (&*LLAMA2_TOKENIZER, &spaces)] {
            let ids = tokenizer.encode(&text, PLAIN).unwrap();
            prop_assert_eq!(&String::from_utf8(tokenizer.decode(&ids, false)).unwrap(), expected);
            let bytes: Vec<&[u8]> = ids.iter().map(|&id| tokenizer.token_bytes(id, false)).collect();
            prop_assert_eq!(detokenize(bytes.iter().copied()), String::from_utf8(bytes.concat()).unwrap());
        }
    }

    #[test]
    fn stop_matcher_follows_its_definition_however_the_text_is_cut(
        text in "[abλ]{0,30}",
        stops in prop::collection::vec("[abλ]{1,4}", 0..4),
        places in prop::collection::vec(0usize..30, 0..10),
    ) {
        let mut matcher = StopMatcher::new(stops.clone()).unwrap();
        let mut stream = Detokenizer::new();
        let mut shown = String::new();
        for piece in cut(text.as_bytes(), &places) {
            shown += &matcher.push(&stream.push(piece));
        }
        shown += &matcher.push(&stream.finish());
        shown += &matcher.finish();
        let (expected, stopped) = stopped_text(&text, &stops);
        prop_assert_eq!(shown, expected);
        prop_assert_eq!(matcher.stopped().is_some(), stopped);
    }
}
