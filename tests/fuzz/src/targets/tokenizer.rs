//! A vocabulary and texts, built from the input. A valid GGUF file of them is written and read back.

use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use pronk::gguf::Gguf;
use pronk::text::{Detokenizer, EncodeOptions, StopMatcher, Tokenizer};

use super::check_error;
use crate::common::gguf_builder::GgufBuilder;

/// Pieces of text where tokenizers differ: spaces, digits, capitals, marks, other alphabets, control tokens, bytes.
const PIECES: [&str; 40] = [
    "a",
    "b",
    "e",
    "t",
    "x",
    "T",
    "ab",
    "he",
    "the",
    "'s",
    "'LL",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t",
    "1",
    "23",
    "4567",
    ".",
    "...",
    "ü",
    "中",
    "🦙",
    "\u{301}",
    "\u{85}",
    "\u{3000}",
    "▁",
    "▁▁",
    "Ġ",
    "Ċ",
    "Ġthe",
    "<0x0A>",
    "<0xff>",
    "<s>",
    "</s>",
    "<|eot_id|>",
    "<|",
    "\u{0}",
    "ſ",
];
/// Names of pre-tokenizers, one of each family, and one that does not exist.
const PRE: [&str; 13] = [
    "llama-bpe",
    "dbrx",
    "smollm",
    "gpt-2",
    "qwen2",
    "tekken",
    "gpt-4o",
    "deepseek-coder",
    "falcon",
    "poro-chat",
    "viking",
    "default",
    "no such",
];

pub fn run(data: &[u8]) {
    // Input that ends early reads as zeros: never an error.
    let _ = tokenize(&mut Unstructured::new(data));
}

fn tokenize(u: &mut Unstructured) -> Result<()> {
    let byte_level = u.arbitrary()?;
    let complete = u.ratio(1, 2)?;
    let file = vocabulary(u, byte_level, complete)?.build();
    let gguf = Gguf::parse("m.gguf", Bytes::from(file)).expect("a well-formed file");
    let tokenizer = match Tokenizer::from_gguf(&gguf) {
        Ok(tokenizer) => tokenizer,
        Err(e) => {
            check_error(e);
            return Ok(());
        }
    };
    for _ in 0..u.int_in_range(1..=4)? {
        let text = text(u, 200)?;
        let options = EncodeOptions { add_bos: u.arbitrary()?, parse_special: u.arbitrary()? };
        let ids = match tokenizer.encode(&text, options) {
            Ok(ids) => ids,
            Err(e) => {
                check_error(e);
                continue;
            }
        };
        assert!(ids.iter().all(|id| (*id as usize) < tokenizer.n_vocab()), "{ids:?}");
        decode(&tokenizer, &ids);
        if byte_level && complete && !options.add_bos {
            assert_eq!(String::from_utf8_lossy(&tokenizer.decode(&ids, true)), text, "{ids:?}");
        }
    }
    let any: Vec<u32> = u.arbitrary()?; // also ids that no text encodes to
    decode(&tokenizer, &any);
    Ok(())
}

/// Decodes at once, and as a stream up to a stop string.
fn decode(tokenizer: &Tokenizer, ids: &[u32]) {
    let whole = tokenizer.decode(ids, false);
    assert!(whole.len() <= tokenizer.decode(ids, true).len());
    let mut stream = Detokenizer::new();
    let mut stop = StopMatcher::new(["ab", "\n\n"]).expect("stop strings");
    let (mut streamed, mut shown) = (String::new(), String::new());
    for id in ids {
        assert!(tokenizer.piece(*id).len() <= 1024);
        let text = stream.push(tokenizer.token_bytes(*id, true));
        shown += &stop.push(&text);
        streamed += &text;
        let _ = tokenizer.is_end(*id);
    }
    streamed += &stream.finish();
    let all: Vec<u8> = ids.iter().flat_map(|id| tokenizer.token_bytes(*id, true)).copied().collect();
    assert_eq!(streamed, String::from_utf8_lossy(&all));
    assert!(streamed.starts_with(&shown));
}

/// Keys of a vocabulary. A `complete` one has a normal token for every byte and no other kind of token.
fn vocabulary(u: &mut Unstructured, byte_level: bool, complete: bool) -> Result<GgufBuilder> {
    let mut tokens: Vec<String> = vec![];
    if complete {
        tokens.extend(
            (0..=255).map(|byte| if byte_level { alphabet(byte).to_string() } else { format!("<0x{byte:02X}>") }),
        );
    }
    for _ in 0..u.int_in_range(0..=60)? {
        let token = text(u, 8)?;
        tokens.push(if byte_level && u.ratio(3, 4)? { token.bytes().map(alphabet).collect() } else { token });
    }
    let mut merges = vec![];
    for _ in 0..u.int_in_range(0..=60)? {
        if tokens.is_empty() || u.ratio(1, 50)? {
            merges.push(text(u, 8)?);
            continue;
        }
        let (a, b) = (u.choose(&tokens)?.clone(), u.choose(&tokens)?.clone());
        if u.ratio(3, 4)? && a.len() + b.len() <= 1024 {
            tokens.push(format!("{a}{b}"));
        }
        merges.push(format!("{a} {b}"));
    }
    let n = tokens.len();
    let mut types = vec![];
    for i in 0..n {
        let usual = if complete && !byte_level && i < 256 { 6 } else { 1 };
        let other = !(complete && byte_level) && u.ratio(1, 4)?;
        types.push(if other { u.int_in_range(-1..=7)? } else { usual });
    }
    let mut scores = vec![];
    for _ in 0..n {
        scores.push(if u.ratio(1, 50)? { u.arbitrary()? } else { f32::from(u.arbitrary::<i8>()?) });
    }
    let model = if u.ratio(1, 50)? {
        "other"
    } else if byte_level {
        "gpt2"
    } else {
        "llama"
    };
    let mut file = GgufBuilder::default().str("tokenizer.ggml.model", model).strings("tokenizer.ggml.tokens", &tokens);
    if u.ratio(19, 20)? {
        file = file.i32s("tokenizer.ggml.token_type", &types);
    }
    if u.ratio(19, 20)? {
        file = file.f32s("tokenizer.ggml.scores", &scores);
    }
    if u.ratio(19, 20)? {
        file = file.strings("tokenizer.ggml.merges", &merges);
    }
    if u.ratio(9, 10)? {
        file = file.str("tokenizer.ggml.pre", u.choose(&PRE)?);
    }
    for key in ["bos_token_id", "eos_token_id", "eot_token_id", "eom_token_id", "unknown_token_id"] {
        if u.arbitrary()? {
            file = file.u32(&format!("tokenizer.ggml.{key}"), u.int_in_range(0..=n as u32)?);
        }
    }
    for key in ["add_bos_token", "add_space_prefix"] {
        if u.arbitrary()? {
            file = file.bool(&format!("tokenizer.ggml.{key}"), u.arbitrary()?);
        }
    }
    Ok(file)
}

/// The character that stands for a byte in byte-level BPE.
fn alphabet(byte: u8) -> char {
    let printable = |b: &u8| matches!(b, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let others = (0..byte).filter(|b| !printable(b)).count() as u32;
    if printable(&byte) { char::from(byte) } else { char::from_u32(0x100 + others).expect("a character") }
}

/// Up to `most` pieces of text, or any text.
fn text(u: &mut Unstructured, most: usize) -> Result<String> {
    if u.ratio(1, 8)? {
        return Ok(u.arbitrary::<&str>()?.to_string());
    }
    let mut text = String::new();
    for _ in 0..u.int_in_range(0..=most)? {
        if u.is_empty() {
            break;
        }
        text += u.choose(&PIECES)?;
    }
    Ok(text)
}
