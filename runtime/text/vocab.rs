//! The vocabulary in a GGUF file.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use super::{Error, quoted};
use crate::gguf::{self, FromValue, Gguf, Header, Value};

/// Limit of a token in bytes. The longest tokens of real vocabularies are runs of some hundred spaces.
const MAX_TOKEN_BYTES: usize = 1024;

pub(super) const MODEL: &str = "tokenizer.ggml.model";
pub(super) const PRE: &str = "tokenizer.ggml.pre";
pub(super) const TOKENS: &str = "tokenizer.ggml.tokens";
pub(super) const SCORES: &str = "tokenizer.ggml.scores";
pub(super) const TYPES: &str = "tokenizer.ggml.token_type";
pub(super) const MERGES: &str = "tokenizer.ggml.merges";
const BOS: &str = "tokenizer.ggml.bos_token_id";
const EOS: &str = "tokenizer.ggml.eos_token_id";
const EOT: &str = "tokenizer.ggml.eot_token_id";
const EOM: &str = "tokenizer.ggml.eom_token_id";
const UNK: &str = "tokenizer.ggml.unknown_token_id";
const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
const ADD_SPACE_PREFIX: &str = "tokenizer.ggml.add_space_prefix";
pub(super) const CHAT_TEMPLATE: &str = "tokenizer.chat_template";

/// The type of a token; `ty as i32` is its id in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum TokenType {
    /// The file does not say.
    Undefined = 0,
    /// A piece of text.
    Normal = 1,
    /// Replaces text that no other token covers.
    Unknown = 2,
    /// Control token (`<|eot_id|>`): found in text only on request, hidden in output unless requested.
    Control = 3,
    /// User-defined token: found in text before all other tokens.
    UserDefined = 4,
    /// Unused.
    Unused = 5,
    /// One byte, written `<0x0A>`.
    Byte = 6,
}

/// The index is the id.
const TOKEN_TYPES: [TokenType; 7] = [
    TokenType::Undefined,
    TokenType::Normal,
    TokenType::Unknown,
    TokenType::Control,
    TokenType::UserDefined,
    TokenType::Unused,
    TokenType::Byte,
];

/// The `tokenizer.*` keys of a GGUF file. A token's id is its index in `tokens`.
#[derive(Debug, Clone, PartialEq)]
pub struct Vocab {
    /// The algorithm: `gpt2` is byte-level BPE, `llama` is SentencePiece BPE.
    pub model: String,
    /// Name of the pre-tokenizer; only byte-level BPE has one.
    pub pre: Option<String>,
    /// (n_vocab). Text of each token, in the alphabet of the algorithm.
    pub tokens: Vec<String>,
    /// The bytes of tokens that are not UTF-8, by id; `tokens` has U+FFFD for what cannot be read. No text contains them.
    pub not_utf8: BTreeMap<u32, Vec<u8>>,
    /// (n_vocab), or empty. SentencePiece's log-probabilities: the best piece is merged first.
    pub scores: Vec<f32>,
    /// (n_vocab).
    pub types: Vec<TokenType>,
    /// Byte-level BPE's merges, best first: two tokens with a space between.
    pub merges: Vec<String>,
    /// Beginning of text.
    pub bos: Option<u32>,
    /// End of text.
    pub eos: Option<u32>,
    /// End of turn.
    pub eot: Option<u32>,
    /// End of message: a tool is to be called.
    pub eom: Option<u32>,
    /// Unknown text.
    pub unk: Option<u32>,
    /// Whether prompts start with `bos`; None: the algorithm decides.
    pub add_bos: Option<bool>,
    /// Whether SentencePiece puts a space in front of text.
    pub add_space_prefix: Option<bool>,
    /// The chat template's source.
    pub chat_template: Option<String>,
}

impl Vocab {
    /// Reads the vocabulary of a file and checks it. Special ids outside of the vocabulary are left out ([`VocabNotice`]), and so
    /// are merges that are not UTF-8.
    ///
    /// Errors: a file that is no model; a key that is missing or of the wrong type, and whatever [`Vocab::check`] refuses.
    pub fn from_gguf(gguf: &Gguf) -> Result<Vocab, gguf::Error> {
        gguf.require_model()?;
        let raw: Vec<&[u8]> = gguf.required(TOKENS)?;
        let tokens: Vec<Cow<str>> = raw.iter().map(|raw| String::from_utf8_lossy(raw)).collect();
        let types = match list(gguf, TYPES)? {
            None => vec![TokenType::Normal; tokens.len()],
            Some(types) => {
                let ty = |(i, id): (usize, i32)| {
                    let ty = usize::try_from(id).ok().and_then(|id| TOKEN_TYPES.get(id));
                    let problem = format_args!("token {i} is of type {id}, the last known is 6 (byte)");
                    ty.copied().ok_or_else(|| gguf.key_error(TYPES, problem))
                };
                types.into_iter().enumerate().map(ty).collect::<Result<_, _>>()?
            }
        };
        // SentencePiece files may omit these.
        let model = gguf.required::<&str>(MODEL)?.to_string();
        let default = |id: u32| (model == "llama" && (id as usize) < tokens.len()).then_some(id);
        let (unk, bos, eos) = (default(0), default(1), default(2));
        let special = |key| special_id(gguf, key, tokens.len());
        let not_utf8 = (0..).zip(&raw).filter(|(_, raw)| str::from_utf8(raw).is_err());
        let merges: Vec<&[u8]> = list(gguf, MERGES)?.unwrap_or_default();
        let merges = merges.into_iter().filter_map(|merge| str::from_utf8(merge).ok()).map(String::from);
        let is_outside = special(BOS)?.is_some_and(|id| id.is_err());
        let vocab = Vocab {
            model,
            pre: gguf.str(PRE)?.filter(|pre| !pre.is_empty()).map(String::from),
            bos: special(BOS)?.and_then(Result::ok).or(bos),
            eos: special(EOS)?.and_then(Result::ok).or(eos),
            eot: special(EOT)?.and_then(Result::ok),
            eom: special(EOM)?.and_then(Result::ok),
            unk: special(UNK)?.and_then(Result::ok).or(unk),
            not_utf8: not_utf8.map(|(id, raw)| (id, raw.to_vec())).collect(),
            tokens: tokens.iter().map(|token| token.to_string()).collect(),
            scores: list(gguf, SCORES)?.unwrap_or_default(),
            types,
            merges: merges.collect(),
            // Without a default, a BOS that is left out is put before nothing.
            add_bos: gguf.bool(ADD_BOS)?.filter(|_| !is_outside || bos.is_some()),
            add_space_prefix: gguf.bool(ADD_SPACE_PREFIX)?,
            chat_template: gguf.text(CHAT_TEMPLATE)?.map(Cow::into_owned),
        };
        vocab.check().map_err(|e| e.in_file(gguf))?;
        Ok(vocab)
    }

    /// Writes the keys that [`Vocab::from_gguf`] reads.
    pub fn write(&self, to: &mut Header) {
        to.key(MODEL, &*self.model);
        to.key(TOKENS, self.tokens.iter().collect::<Value>());
        to.key(TYPES, &*self.types.iter().map(|ty| *ty as i32).collect::<Vec<i32>>());
        if !self.scores.is_empty() {
            to.key(SCORES, &*self.scores);
        }
        if !self.merges.is_empty() {
            to.key(MERGES, self.merges.iter().collect::<Value>());
        }
        let texts = [(PRE, &self.pre), (CHAT_TEMPLATE, &self.chat_template)];
        texts.into_iter().for_each(|(key, text)| text.iter().for_each(|text| to.key(key, &**text)));
        let ids = [(BOS, self.bos), (EOS, self.eos), (EOT, self.eot), (EOM, self.eom), (UNK, self.unk)];
        ids.into_iter().for_each(|(key, id)| id.iter().for_each(|id| to.key(key, *id)));
        let flags = [(ADD_BOS, self.add_bos), (ADD_SPACE_PREFIX, self.add_space_prefix)];
        flags.into_iter().for_each(|(key, flag)| flag.iter().for_each(|flag| to.key(key, *flag)));
    }

    /// Checks that the fields are consistent.
    ///
    /// Errors: there are no tokens; scores or types have another length; a score is NaN; a token is too long; a byte
    /// token is not `<0xNN>`; a special id is outside the vocabulary; `add_bos` is set without `bos`.
    pub fn check(&self) -> Result<(), Error> {
        let n_vocab = self.tokens.len();
        if n_vocab == 0 || u32::try_from(n_vocab).is_err() {
            let problem = format!("{n_vocab} tokens, expected 1 to {}", u32::MAX);
            return Err(Error::key(TOKENS, problem));
        }
        for (key, len) in [(SCORES, self.scores.len()), (TYPES, self.types.len())] {
            let absent = key == SCORES && len == 0;
            if len != n_vocab && !absent {
                let problem = format!("{len} elements, but {TOKENS} has {n_vocab}");
                return Err(Error::key(key, problem));
            }
        }
        if let Some(i) = self.scores.iter().position(|score| score.is_nan()) {
            return Err(Error::key(SCORES, format!("token {i} has NaN")));
        }
        for (i, (token, ty)) in self.tokens.iter().zip(&self.types).enumerate() {
            if token.len() > MAX_TOKEN_BYTES {
                let problem = format!("token {i} is {} bytes long, at most {MAX_TOKEN_BYTES}", token.len());
                return Err(Error::key(TOKENS, problem));
            }
            if *ty == TokenType::Byte && byte_of(token).is_none() {
                let problem = format!("token {i} is a byte written {}, expected <0x00> to <0xFF>", quoted(token));
                return Err(Error::key(TOKENS, problem));
            }
        }
        let special = [(BOS, self.bos), (EOS, self.eos), (EOT, self.eot), (EOM, self.eom), (UNK, self.unk)];
        for (key, id) in special {
            if let Some(id) = id.filter(|&id| id as usize >= n_vocab) {
                return Err(Error::key(key, format!("{id}, the last token is {}", n_vocab - 1)));
            }
        }
        if self.add_bos == Some(true) && self.bos.is_none() {
            return Err(Error::key(BOS, format!("is missing, {ADD_BOS} needs it")));
        }
        Ok(())
    }
}

/// What was assumed about the vocabulary of a file that does not say it right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VocabNotice {
    /// The id of a special token is outside of the vocabulary: the token counts as missing.
    SpecialId {
        /// The key.
        key: &'static str,
        /// Its value.
        id: i128,
        /// Tokens of the vocabulary.
        n_vocab: usize,
    },
    /// A byte-level BPE that does not name its pre-tokenizer: `default` is used.
    NoPreTokenizer,
}

impl VocabNotice {
    /// What [`Vocab::from_gguf`] assumes about a file; nothing about one whose vocabulary is missing or broken.
    pub fn of(gguf: &Gguf) -> Vec<VocabNotice> {
        let Some(Value::Array(tokens)) = gguf.get(TOKENS) else { return vec![] };
        let outside = |key| special_id(gguf, key, tokens.len()).ok().flatten().and_then(Result::err);
        let mut notices: Vec<VocabNotice> = [BOS, EOS, EOT, EOM, UNK].into_iter().filter_map(outside).collect();
        let text = |key| gguf.str(key).ok().flatten();
        if text(MODEL) == Some("gpt2") && text(PRE).is_none_or(str::is_empty) && gguf.str(PRE).is_ok() {
            notices.push(VocabNotice::NoPreTokenizer);
        }
        notices
    }
}

impl fmt::Display for VocabNotice {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            VocabNotice::SpecialId { key, id, n_vocab } => {
                write!(f, "key {key}: {id} is outside of the {n_vocab} tokens, the model is run without this token")
            }
            VocabNotice::NoPreTokenizer => {
                write!(f, "key {PRE} is missing: words are split by the default pre-tokenizer, quality may suffer")
            }
        }
    }
}

/// The id of a special token, or that it is outside of the vocabulary. None if the file does not have the key.
fn special_id(gguf: &Gguf, key: &'static str, n_vocab: usize) -> Result<Option<Result<u32, VocabNotice>>, gguf::Error> {
    let Some(value) = gguf.get(key) else { return Ok(None) };
    let Some(id) = value.integer() else { return gguf.u32(key).map(|id| id.map(Ok)) };
    let known = u32::try_from(id).ok().filter(|&id| (id as usize) < n_vocab);
    Ok(Some(known.ok_or(VocabNotice::SpecialId { key, id, n_vocab })))
}

fn list<'a, T>(gguf: &'a Gguf, key: &str) -> Result<Option<Vec<T>>, gguf::Error>
where
    Vec<T>: FromValue<'a>,
{
    gguf.optional(key)
}

/// The byte that `<0xNN>` stands for.
pub(super) fn byte_of(token: &str) -> Option<u8> {
    let hex = token.strip_prefix("<0x")?.strip_suffix('>')?;
    let is_hex = hex.len() == 2 && hex.bytes().all(|b| b.is_ascii_hexdigit());
    is_hex.then(|| u8::from_str_radix(hex, 16).ok()).flatten()
}
