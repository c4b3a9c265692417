//! Text to token ids and back.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

use tokenizers::Model;
use tokenizers::models::bpe::BPE;

use super::pretokenizer::Alphabet;
use super::vocab::{TokenType, byte_of};
use super::{Error, Vocab, bpe, ends, pretokenizer, quoted, vocab};
use crate::gguf::{self, Gguf};

/// Options of encoding. The default is plain text: no beginning-of-text token, no control tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EncodeOptions {
    /// Whether to put the beginning-of-text token first. [`Tokenizer::add_bos`] says whether the model expects it.
    pub add_bos: bool,
    /// Whether to parse control tokens in the text, as in a rendered chat template. Never set it for text of a user.
    pub parse_special: bool,
}

/// The algorithm for text between special tokens.
enum Algorithm {
    /// Words, then merges within each over an alphabet of bytes.
    ByteLevel { splitter: pretokenizer::Splitter, model: BPE, alphabet: Alphabet },
    /// Merges over the whole text, in which "▁" stands for a space.
    SentencePiece { model: BPE, add_space_prefix: bool },
}

/// Tokens that are found in text as a whole.
struct Specials {
    /// By text, then by id.
    ids: Vec<u32>,
    /// Whether one of them begins with this byte.
    begins: [bool; 256],
}

impl Specials {
    /// `pieces`: (n_vocab), the texts of all tokens; none of `ids` is empty.
    fn new(mut ids: Vec<u32>, pieces: &[String]) -> Specials {
        let text = |id: &u32| pieces[*id as usize].as_str();
        ids.sort_by_key(|id| (text(id), *id));
        let mut begins = [false; 256];
        ids.iter().for_each(|id| begins[usize::from(text(id).as_bytes()[0])] = true);
        Specials { ids, begins }
    }

    /// The longest of them that `text` begins with and that `may` lie there, of equal ones that of the smallest id: its bytes and its
    /// id. `may` gets both.
    fn longest(&self, text: &[u8], pieces: &[String], may: impl Fn(usize, u32) -> bool) -> Option<(usize, u32)> {
        if !text.first().is_some_and(|byte| self.begins[usize::from(*byte)]) {
            return None;
        }
        let piece = |id: &u32| pieces[*id as usize].as_bytes();
        let mut longest = None;
        // Those that share their first `len` bytes with the text; those that end there come first.
        let mut candidates = &self.ids[..];
        for len in 0.. {
            let (ended, longer) = candidates.split_at(candidates.partition_point(|id| piece(id).len() == len));
            if let Some(id) = ended.iter().find(|id| may(len, **id)) {
                longest = Some((len, *id));
            }
            candidates = longer;
            let (Some(byte), [first, .., last] | [first @ last]) = (text.get(len), candidates) else { break };
            if piece(first)[len] != *byte || piece(last)[len] != *byte {
                candidates = &candidates[candidates.partition_point(|id| piece(id)[len] < *byte)..];
                candidates = &candidates[..candidates.partition_point(|id| piece(id)[len] == *byte)];
            }
        }
        longest
    }

    /// Whether one of them begins with `text` and `is_wanted`, which gets its length and its id.
    fn continues(&self, text: &str, pieces: &[String], is_wanted: impl Fn(usize, u32) -> bool) -> bool {
        if !self.begins[usize::from(text.as_bytes()[0])] {
            return false;
        }
        let piece = |id: &u32| pieces[*id as usize].as_str();
        let after = &self.ids[self.ids.partition_point(|id| piece(id) < text)..];
        let mut those = after.iter().take_while(|id| piece(id).starts_with(text));
        those.any(|id| is_wanted(piece(id).len(), *id))
    }

    /// Where in a text they are, in order: (start, end, id). Where two overlap, the longer one counts; of equally long ones that
    /// of the smaller id, then the earlier. `may`: whether the token of this id may lie from one byte to another.
    fn find(&self, text: &str, pieces: &[String], may: impl Fn(usize, usize, u32) -> bool) -> Vec<(usize, usize, u32)> {
        let longest = |start: usize, end: usize| {
            let found = self.longest(&text.as_bytes()[start..end], pieces, |len, id| may(start, start + len, id));
            found.map(|(len, id)| (len, Reverse(id), Reverse(start)))
        };
        let mut candidates: BinaryHeap<_> = (0..text.len()).filter_map(|start| longest(start, text.len())).collect();
        if candidates.is_empty() {
            return vec![];
        }
        let mut taken = vec![false; text.len()];
        let mut found = vec![];
        while let Some((len, Reverse(id), Reverse(start))) = candidates.pop() {
            match taken[start..start + len].iter().position(|taken| *taken) {
                Some(0) => {}
                Some(free) => candidates.extend(longest(start, start + free)),
                None => {
                    taken[start..start + len].fill(true);
                    found.push((start, start + len, id));
                }
            }
        }
        found.sort_unstable();
        found
    }
}

/// A piece of a text that is being encoded.
#[derive(Clone, Copy)]
enum Fragment<'t> {
    Text(&'t str),
    Token(u32),
}

/// Encodes and decodes with the vocabulary of a model.
pub struct Tokenizer {
    algorithm: Algorithm,
    /// (n_vocab). The texts in the file.
    pieces: Vec<String>,
    /// The bytes of all tokens, one after the other.
    bytes: Vec<u8>,
    /// (n_vocab). Where each token's bytes end in `bytes`.
    byte_ends: Vec<usize>,
    /// (n_vocab). Whether the token is hidden in output unless requested.
    hidden: Vec<bool>,
    /// Special tokens that are found in every text.
    user_defined: Specials,
    /// Special tokens that are found on request: user-defined tokens and control tokens.
    specials: Specials,
    ends: BTreeSet<u32>,
    bos: Option<u32>,
    add_bos: bool,
}

impl Tokenizer {
    /// The tokenizer of a file.
    pub fn from_gguf(gguf: &Gguf) -> Result<Tokenizer, gguf::Error> {
        Tokenizer::new(&Vocab::from_gguf(gguf)?).map_err(|e| e.in_file(gguf))
    }

    /// Builds the tokenizer.
    ///
    /// Errors: those of [`Vocab::check`]; the algorithm or pre-tokenizer is unknown; merges or scores are missing or do
    /// not fit the tokens.
    pub fn new(vocab: &Vocab) -> Result<Tokenizer, Error> {
        vocab.check()?;
        let (algorithm, add_bos) = match vocab.model.as_str() {
            "gpt2" => {
                let row = pretokenizer::row(vocab.pre.as_deref().unwrap_or("default"))?;
                let algorithm = Algorithm::ByteLevel {
                    splitter: pretokenizer::Splitter::new(row)?,
                    model: bpe::byte_level(vocab, row)?,
                    alphabet: row.alphabet,
                };
                (algorithm, row.add_bos)
            }
            "llama" => {
                let algorithm = Algorithm::SentencePiece {
                    model: bpe::sentence_piece(vocab)?,
                    add_space_prefix: vocab.add_space_prefix.unwrap_or(true),
                };
                (algorithm, true)
            }
            other => {
                let problem = format!("unknown tokenizer {}, known are gpt2, llama", quoted(other));
                return Err(Error::key(vocab::MODEL, problem));
            }
        };
        // Well-known end tokens are control tokens, even if the file has them as normal tokens.
        let is_hidden = |(text, ty): (&String, &TokenType)| {
            matches!(ty, TokenType::Control | TokenType::Unknown) || ends::is_end_text(text)
        };
        let hidden: Vec<bool> = vocab.tokens.iter().zip(&vocab.types).map(is_hidden).collect();
        let special_ids = |with_hidden: bool| {
            let special = |i: &usize| if hidden[*i] { with_hidden } else { vocab.types[*i] == TokenType::UserDefined };
            let ids = (0..hidden.len()).filter(|i| !vocab.tokens[*i].is_empty()).filter(special);
            let ids = ids.map(|i| i as u32); // fits, checked above
            ids.filter(|id| !vocab.not_utf8.contains_key(id)).collect::<Vec<u32>>()
        };
        let mut tokenizer = Tokenizer {
            algorithm,
            pieces: vocab.tokens.clone(),
            bytes: Vec::new(),
            byte_ends: Vec::with_capacity(vocab.tokens.len()),
            user_defined: Specials::new(special_ids(false), &vocab.tokens),
            specials: Specials::new(special_ids(true), &vocab.tokens),
            hidden,
            ends: ends::ends(vocab),
            bos: vocab.bos,
            add_bos: vocab.add_bos.unwrap_or(add_bos) && vocab.bos.is_some(),
        };
        tokenizer.read_tokens(vocab);
        Ok(tokenizer)
    }

    /// Computes the bytes of all tokens.
    fn read_tokens(&mut self, vocab: &Vocab) {
        let byte_of_char: HashMap<char, u8> = bpe::BYTE_ALPHABET.into_iter().zip(0..=255).collect();
        for (id, (text, ty)) in (0..).zip(vocab.tokens.iter().zip(&vocab.types)) {
            let special = self.hidden[id as usize] || *ty == TokenType::UserDefined;
            let spelled = || text.chars().map(|c| byte_of_char.get(&c).copied()).collect::<Option<Vec<u8>>>();
            match (byte_of(text), &self.algorithm) {
                _ if vocab.not_utf8.contains_key(&id) => self.bytes.extend(&vocab.not_utf8[&id]),
                (Some(byte), _) if *ty == TokenType::Byte => self.bytes.push(byte),
                (_, Algorithm::ByteLevel { alphabet: Alphabet::Bytes, .. }) if !special => {
                    self.bytes.extend(spelled().unwrap_or_else(|| text.as_bytes().to_vec()));
                }
                (
                    _,
                    Algorithm::SentencePiece { .. } | Algorithm::ByteLevel { alphabet: Alphabet::MarkedSpaces, .. },
                ) if !special => {
                    self.bytes.extend(text.replace(bpe::SPACE, " ").into_bytes());
                }
                _ => self.bytes.extend(text.as_bytes()),
            }
            self.byte_ends.push(self.bytes.len());
        }
    }

    /// The ids of a text.
    ///
    /// Byte-level BPE drops bytes without a token, as llama.cpp does. Llama 3's vocabulary has tokens for all 256
    /// bytes.
    ///
    /// Errors: `add_bos` without a beginning-of-text token.
    pub fn encode(&self, text: &str, options: EncodeOptions) -> Result<Vec<u32>, Error> {
        self.encode_around(text, options, &[])
    }

    /// [`Tokenizer::encode`], without control tokens that lie at one of the bytes `plain_at`, which are in order.
    pub(super) fn encode_around(
        &self,
        text: &str,
        options: EncodeOptions,
        plain_at: &[usize],
    ) -> Result<Vec<u32>, Error> {
        let mut ids = Vec::new();
        if options.add_bos {
            let missing = || Error::Encode("the vocabulary has no beginning-of-text token".to_string());
            ids.push(self.bos.ok_or_else(missing)?);
        }
        let mut after_token = true; // also at the start
        for fragment in self.fragments(text, options.parse_special, plain_at) {
            match fragment {
                Fragment::Token(id) => ids.push(id),
                Fragment::Text(text) => self.encode_text(text, after_token, &mut ids)?,
            }
            after_token = matches!(fragment, Fragment::Token(_));
        }
        Ok(ids)
    }

    fn encode_text(&self, text: &str, after_token: bool, ids: &mut Vec<u32>) -> Result<(), Error> {
        match &self.algorithm {
            Algorithm::ByteLevel { splitter, model, alphabet } => {
                let marked = (*alphabet == Alphabet::MarkedSpaces).then(|| text.replace(' ', bpe::SPACE));
                for word in splitter.split(marked.as_deref().unwrap_or(text)) {
                    match (alphabet, model.token_to_id(word)) {
                        (Alphabet::Bytes, _) => {
                            let word: String = word.bytes().map(|b| bpe::BYTE_ALPHABET[usize::from(b)]).collect();
                            bpe::encode_word(model, &word, ids)?;
                        }
                        // Of newlines there are tokens, and no merges.
                        (Alphabet::MarkedSpaces, Some(id)) if word.starts_with('\n') => ids.push(id),
                        _ => bpe::encode_text_word(model, word, ids)?,
                    }
                }
                Ok(())
            }
            Algorithm::SentencePiece { model, add_space_prefix } => {
                let prefix = if *add_space_prefix && after_token { bpe::SPACE } else { "" };
                let text = prefix.to_string() + &text.replace(' ', bpe::SPACE);
                bpe::encode_word(model, &text, ids)
            }
        }
    }

    /// Where in a text a control token begins, in order; also one of which only the beginning is there, at the end of the text
    /// without its white space.
    pub(super) fn control_starts(&self, text: &str) -> Vec<usize> {
        let is_control = |_, id: u32| self.hidden[id as usize];
        let end = text.trim_end().len();
        let begins = |at: &usize| {
            let rest = &text.as_bytes()[*at..];
            self.specials.longest(rest, &self.pieces, is_control).is_some()
                || (*at < end && self.specials.continues(&text[*at..end], &self.pieces, is_control))
        };
        (0..text.len()).filter(|at| text.is_char_boundary(*at)).filter(begins).collect()
    }

    /// Cuts a text at its special tokens.
    fn fragments<'t>(&self, text: &'t str, parse_special: bool, plain_at: &[usize]) -> Vec<Fragment<'t>> {
        let specials = if parse_special { &self.specials } else { &self.user_defined };
        let is_plain = |start: usize, end: usize| {
            let next = plain_at[plain_at.partition_point(|at| *at < start)..].first();
            next.is_some_and(|at| *at < end)
        };
        let may = |start, end, id: u32| !(self.hidden[id as usize] && is_plain(start, end));
        let mut fragments = vec![];
        let mut rest = 0;
        for (start, end, id) in specials.find(text, &self.pieces, may) {
            fragments.extend([Fragment::Text(&text[rest..start]), Fragment::Token(id)]);
            rest = end;
        }
        fragments.push(Fragment::Text(&text[rest..]));
        fragments.retain(|f| !matches!(f, Fragment::Text("")));
        fragments
    }

    /// The bytes of a token, which may be part of a UTF-8 character. Empty for ids outside the vocabulary and, without
    /// `special`, for control tokens.
    pub fn token_bytes(&self, id: u32, special: bool) -> &[u8] {
        let i = id as usize;
        match self.byte_ends.get(i) {
            Some(&end) if special || !self.hidden[i] => {
                let start = if i == 0 { 0 } else { self.byte_ends[i - 1] };
                &self.bytes[start..end]
            }
            _ => &[],
        }
    }

    /// The bytes of a whole text: [`Tokenizer::token_bytes`] of each token, without the space that SentencePiece puts
    /// in front of a text. These are bytes because models can generate broken UTF-8.
    pub fn decode(&self, ids: &[u32], special: bool) -> Vec<u8> {
        let mut bytes: Vec<u8> = ids.iter().flat_map(|&id| self.token_bytes(id, special)).copied().collect();
        if self.has_space_prefix() {
            let lead: usize =
                ids.iter().take_while(|&&id| self.is_control(id)).map(|&id| self.token_bytes(id, special).len()).sum();
            if bytes.get(lead) == Some(&b' ') {
                bytes.remove(lead);
            }
        }
        bytes
    }

    /// The text of a token in the file; empty for ids outside the vocabulary.
    pub fn piece(&self, id: u32) -> &str {
        self.pieces.get(id as usize).map_or("", |piece| piece)
    }

    /// Number of tokens. Ids are below it.
    pub fn n_vocab(&self) -> usize {
        self.pieces.len()
    }

    /// The beginning-of-text token.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// Whether the model expects prompts to start with [`Tokenizer::bos`]. Most chat templates write that token themselves.
    pub fn add_bos(&self) -> bool {
        self.add_bos
    }

    /// Whether the token is hidden in output unless requested: a control token, or one for unknown text.
    pub fn is_control(&self, id: u32) -> bool {
        self.hidden.get(id as usize).is_some_and(|hidden| *hidden)
    }

    /// Whether a space is put in front of a text, as SentencePiece does, which is not part of it.
    pub fn has_space_prefix(&self) -> bool {
        matches!(self.algorithm, Algorithm::SentencePiece { add_space_prefix: true, .. })
    }

    /// Whether this token ends a reply.
    pub fn is_end(&self, id: u32) -> bool {
        self.ends.contains(&id)
    }

    /// The tokens that end a reply: end of text, of turn, of message.
    pub fn ends(&self) -> &BTreeSet<u32> {
        &self.ends
    }
}
