//! The two kinds of BPE, as models of the `tokenizers` crate.

use std::collections::HashSet;
use std::sync::LazyLock;

use tokenizers::Model;
use tokenizers::models::bpe::{BPE, Merges, Vocab as Ids};

use super::pretokenizer::{Alphabet, Row};
use super::vocab::{self, TokenType, byte_of};
use super::{Error, Vocab, quoted};

/// SentencePiece's space, U+2581.
pub(super) const SPACE: &str = "▁";

/// Maximum number of bytes of the splits of all SentencePiece pieces, merges or not. A piece of n characters has n - 1
/// splits, each with all bytes of the piece. Those of Llama 2 have 1.0 MiB.
const MAX_SPLIT_BYTES: usize = 64 << 20;

/// BPE whose merges are in the file, for words that a pre-tokenizer of this row has cut.
///
/// Errors: no merges; a merge that is not two tokens with a space between, or whose result is not a token.
pub(super) fn byte_level(vocab: &Vocab, row: &Row) -> Result<BPE, Error> {
    if vocab.merges.is_empty() {
        return Err(Error::key(vocab::MERGES, "no merges, byte-level BPE needs them"));
    }
    let ids = ids(vocab);
    let mut seen = HashSet::with_capacity(vocab.merges.len());
    let mut merges = Merges::with_capacity(vocab.merges.len());
    for (i, merge) in vocab.merges.iter().enumerate() {
        let refuse = |what: &str| Error::key(vocab::MERGES, format!("merge {i}, {}, {what}", quoted(merge)));
        let parts = merge.split_once(' ').filter(|(a, b)| !a.is_empty() && !b.is_empty() && !b.contains(' '));
        let (left, right) = parts.ok_or_else(|| refuse("is not two tokens with a space between"))?;
        for token in [left, right, &format!("{left}{right}")] {
            if !ids.contains_key(token) {
                return Err(refuse(&format!("needs {}, which is not a token", quoted(token))));
            }
        }
        // If a merge is repeated, the first one counts.
        if seen.insert((left, right)) {
            merges.push((left.to_string(), right.to_string()));
        }
    }
    let byte_fallback = row.alphabet != Alphabet::Bytes;
    let builder = BPE::builder().vocab_and_merges(ids, merges).ignore_merges(row.ignore_merges);
    builder.byte_fallback(byte_fallback).build().map_err(|e| Error::key(vocab::MERGES, e.to_string()))
}

/// SentencePiece BPE: the file has scores instead of merges. Two neighbours merge if together they are a piece; the
/// piece with the best score merges first. So every split of a piece into two pieces is a merge, ranked by the score of
/// the piece. Characters that are not pieces become byte tokens, or `unk` if those are missing.
///
/// Errors: there are no scores; the pieces are so long that their splits would fill memory.
pub(super) fn sentence_piece(vocab: &Vocab) -> Result<BPE, Error> {
    if vocab.scores.is_empty() {
        return Err(Error::key(vocab::SCORES, "no scores, SentencePiece needs them"));
    }
    let pieces = vocab.tokens.iter().zip(&vocab.types).filter(|(_, ty)| **ty == TokenType::Normal);
    let work: usize = pieces.map(|(piece, _)| piece.chars().count().saturating_sub(1) * piece.len()).sum();
    if work > MAX_SPLIT_BYTES {
        let problem = format!("the splits of all pieces have {work} bytes, at most {MAX_SPLIT_BYTES}");
        return Err(Error::key(vocab::TOKENS, problem));
    }
    let mut ids = ids(vocab);
    let mut splits = Vec::new(); // (piece, left, right), ids
    for (id, (token, ty)) in (0..).zip(vocab.tokens.iter().zip(&vocab.types)) {
        match (ty, byte_of(token)) {
            // The library looks bytes up in upper case.
            (TokenType::Byte, Some(byte)) => drop(ids.insert(format!("<0x{byte:02X}>"), id)),
            (TokenType::Normal, _) => {
                let middles = token.char_indices().map(|(i, _)| i).skip(1);
                splits.extend(middles.filter_map(|i| Some((id, *ids.get(&token[..i])?, *ids.get(&token[i..])?))));
            }
            _ => {}
        }
    }
    let score = |id: u32| vocab.scores[id as usize];
    splits.sort_by(|a, b| score(b.0).total_cmp(&score(a.0)).then_with(|| a.cmp(b)));
    let text = |id: u32| vocab.tokens[id as usize].clone();
    let merges = splits.into_iter().map(|(_, left, right)| (text(left), text(right))).collect();
    let mut builder = BPE::builder().vocab_and_merges(ids, merges).byte_fallback(true).fuse_unk(true);
    if let Some(unk) = vocab.unk {
        builder = builder.unk_token(text(unk));
    }
    builder.build().map_err(|e| Error::key(vocab::TOKENS, e.to_string()))
}

/// Token text to id. Of tokens with the same text the first is produced; all can be decoded. Tokens that are not UTF-8 are in no text.
fn ids(vocab: &Vocab) -> Ids {
    let mut ids = Ids::with_capacity(vocab.tokens.len());
    for (id, token) in
        (0..).zip(&vocab.tokens).filter(|(id, token)| !token.is_empty() && !vocab.not_utf8.contains_key(id))
    {
        ids.entry(token.clone()).or_insert(id);
    }
    ids
}

/// Appends the ids of a word to `out`, which is spelled in the text's own characters: those that have no tokens are left out, and
/// what stands around them does not merge.
pub(super) fn encode_text_word(model: &BPE, word: &str, out: &mut Vec<u32>) -> Result<(), Error> {
    let has_token = |c: char| {
        let mut utf8 = [0; 4];
        let text = c.encode_utf8(&mut utf8);
        let has_byte = |byte| model.token_to_id(&format!("<0x{byte:02X}>")).is_some();
        model.token_to_id(text).is_some() || text.bytes().all(has_byte)
    };
    word.split(|c| !has_token(c)).try_for_each(|part| encode_word(model, part, out))
}

/// Appends the ids of a word to `out`.
pub(super) fn encode_word(model: &BPE, word: &str, out: &mut Vec<u32>) -> Result<(), Error> {
    let tokens = model.tokenize(word).map_err(|e| Error::Encode(e.to_string()))?;
    out.extend(tokens.iter().map(|token| token.id));
    Ok(())
}

/// The alphabet of byte-level BPE (`bytes_to_unicode` of GPT-2's encoder.py): printable Latin-1 bytes are themselves,
/// the other bytes are U+0100 and up, in order. The index is the byte.
pub(super) static BYTE_ALPHABET: LazyLock<[char; 256]> = LazyLock::new(|| {
    let mut others = '\u{100}'..;
    std::array::from_fn(|byte| match byte as u8 {
        b @ (b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF) => char::from(b),
        _ => others.next().unwrap_or_default(),
    })
});
