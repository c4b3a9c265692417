//! The vocabulary in a GGUF file.

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
    /// (n_vocab), or empty. SentencePiece's log-probabilities: the piece with the best score is merged first.
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
    /// Reads the vocabulary of a file and checks it.
    ///
    /// Errors: a key is missing or of the wrong type; those of [`Vocab::check`].
    pub fn from_gguf(gguf: &Gguf) -> Result<Vocab, gguf::Error> {
        let tokens: Vec<&str> = gguf.required(TOKENS)?;
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
        let owned = |strings: Vec<&str>| strings.into_iter().map(String::from).collect::<Vec<_>>();
        let vocab = Vocab {
            model,
            pre: gguf.str(PRE)?.map(String::from),
            tokens: owned(tokens),
            scores: list(gguf, SCORES)?.unwrap_or_default(),
            types,
            merges: owned(list(gguf, MERGES)?.unwrap_or_default()),
            bos: gguf.u32(BOS)?.or(bos),
            eos: gguf.u32(EOS)?.or(eos),
            eot: gguf.u32(EOT)?,
            eom: gguf.u32(EOM)?,
            unk: gguf.u32(UNK)?.or(unk),
            add_bos: gguf.bool(ADD_BOS)?,
            add_space_prefix: gguf.bool(ADD_SPACE_PREFIX)?,
            chat_template: gguf.str(CHAT_TEMPLATE)?.map(String::from),
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
