//! Byte-pair encoding (Sennrich, Haddow and Birch, 2016): of all neighbours that merge, those of the lowest rank merge first, the
//! leftmost of equal ones. Both kinds end up as the same table of merges.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::LazyLock;

use super::vocab::{self, TokenType, byte_of};
use super::{Error, Vocab, quoted};

/// SentencePiece's space, U+2581.
pub(super) const SPACE: &str = "▁";

/// The most bytes that the splits of all SentencePiece pieces may have, merges or not: a piece of n characters has n - 1, each of
/// all its bytes. Llama 2's have 1.0 MiB.
const MAX_SPLIT_BYTES: usize = 64 << 20;

/// A table of merges, ready to encode words.
pub(super) struct Bpe {
    /// Token text to id. Of tokens with the same text the first is produced; all can be decoded.
    ids: HashMap<String, u32>,
    /// Two neighbours, and what they become: (rank, token).
    merges: HashMap<(u32, u32), (u32, u32)>,
    /// A word that is a token is taken whole.
    ignore_merges: bool,
    /// The token of each byte, for characters that are no token.
    bytes: [Option<u32>; 256],
    /// Stands for a run of characters that neither `ids` nor `bytes` has; they are dropped without it.
    unk: Option<u32>,
}

/// Byte-level BPE: the merges are in the file. `ignore_merges`: a word that is a token is taken whole.
///
/// Errors: no merges; a merge that is not two tokens with a space between, or whose result is not a token.
pub(super) fn byte_level(vocab: &Vocab, ignore_merges: bool) -> Result<Bpe, Error> {
    if vocab.merges.is_empty() {
        return Err(Error::key(vocab::MERGES, "no merges, byte-level BPE needs them"));
    }
    let ids = ids(vocab);
    let mut merges = HashMap::with_capacity(vocab.merges.len());
    for (rank, merge) in (0..).zip(&vocab.merges) {
        let refuse = |what: &str| Error::key(vocab::MERGES, format!("merge {rank}, {}, {what}", quoted(merge)));
        let parts = merge.split_once(' ').filter(|(a, b)| !a.is_empty() && !b.is_empty() && !b.contains(' '));
        let (left, right) = parts.ok_or_else(|| refuse("is not two tokens with a space between"))?;
        let id = |token: &str| {
            ids.get(token).copied().ok_or_else(|| refuse(&format!("needs {}, which is not a token", quoted(token))))
        };
        let (pair, token) = ((id(left)?, id(right)?), id(&format!("{left}{right}"))?);
        // Of a repeated merge the first counts.
        merges.entry(pair).or_insert((rank, token));
    }
    Ok(Bpe { ids, merges, ignore_merges, bytes: [None; 256], unk: None })
}

/// SentencePiece BPE: the file has scores instead of merges. Two neighbours merge if together they are a piece, the
/// piece of the best score first; so every split of a piece into two pieces is a merge, ranked by the piece's score.
/// Characters that are not pieces fall back to byte tokens, or to `unk` where those are missing.
///
/// Errors: no scores; pieces so long that their splits would fill memory.
pub(super) fn sentence_piece(vocab: &Vocab) -> Result<Bpe, Error> {
    if vocab.scores.is_empty() {
        return Err(Error::key(vocab::SCORES, "no scores, SentencePiece needs them"));
    }
    let pieces = vocab.tokens.iter().zip(&vocab.types).filter(|(_, ty)| **ty == TokenType::Normal);
    let work: usize = pieces.map(|(piece, _)| piece.chars().count().saturating_sub(1) * piece.len()).sum();
    if work > MAX_SPLIT_BYTES {
        let problem = format!("the splits of all pieces have {work} bytes, at most {MAX_SPLIT_BYTES}");
        return Err(Error::key(vocab::TOKENS, problem));
    }
    let ids = ids(vocab);
    let mut bytes = [None; 256];
    let mut splits = Vec::new(); // (piece, left, right), ids
    for (id, (token, ty)) in (0..).zip(vocab.tokens.iter().zip(&vocab.types)) {
        match (ty, byte_of(token)) {
            (TokenType::Byte, Some(byte)) => bytes[usize::from(byte)] = Some(id),
            (TokenType::Normal, _) => {
                let middles = token.char_indices().map(|(i, _)| i).skip(1);
                splits.extend(middles.filter_map(|i| Some((id, *ids.get(&token[..i])?, *ids.get(&token[i..])?))));
            }
            _ => {}
        }
    }
    let score = |id: u32| vocab.scores[id as usize];
    splits.sort_by(|a, b| score(b.0).total_cmp(&score(a.0)).then_with(|| a.cmp(b)));
    let mut merges = HashMap::with_capacity(splits.len());
    for (rank, (piece, left, right)) in (0..).zip(splits) {
        merges.entry((left, right)).or_insert((rank, ids[&vocab.tokens[piece as usize]]));
    }
    Ok(Bpe { ids, merges, ignore_merges: false, bytes, unk: vocab.unk })
}

fn ids(vocab: &Vocab) -> HashMap<String, u32> {
    let mut ids = HashMap::with_capacity(vocab.tokens.len());
    for (id, token) in (0..).zip(&vocab.tokens).filter(|(_, token)| !token.is_empty()) {
        ids.entry(token.clone()).or_insert(id);
    }
    ids
}

/// A token of a word that is being merged, and its neighbours by index.
struct Symbol {
    id: u32,
    left: Option<usize>,
    right: Option<usize>,
    /// It has become part of its left neighbour.
    merged: bool,
}

impl Bpe {
    /// Appends the ids of a word to `out`.
    pub(super) fn encode(&self, word: &str, out: &mut Vec<u32>) {
        match self.ids.get(word) {
            Some(id) if self.ignore_merges => out.push(*id),
            _ => {
                let mut symbols = self.symbols(word);
                self.merge(&mut symbols);
                out.extend(symbols.iter().filter(|symbol| !symbol.merged).map(|symbol| symbol.id));
            }
        }
    }

    /// A token for each character, or for each byte of one that is no token.
    fn symbols(&self, word: &str) -> Vec<Symbol> {
        let mut ids = Vec::with_capacity(word.len());
        let mut after_unknown = false;
        for (start, c) in word.char_indices() {
            let text = &word[start..start + c.len_utf8()];
            let known = ids.len();
            match self.ids.get(text) {
                Some(id) => ids.push(*id),
                None => {
                    let bytes: Option<Vec<u32>> = text.bytes().map(|byte| self.bytes[usize::from(byte)]).collect();
                    ids.extend(bytes.into_iter().flatten());
                }
            }
            let unknown = ids.len() == known;
            ids.extend(self.unk.filter(|_| unknown && !after_unknown));
            after_unknown = unknown;
        }
        let n = ids.len();
        let linked = |(i, id): (usize, u32)| Symbol {
            id,
            left: i.checked_sub(1),
            right: Some(i + 1).filter(|right| *right < n),
            merged: false,
        };
        ids.into_iter().enumerate().map(linked).collect()
    }

    /// Merges until no neighbours do. Of n symbols at most n - 1 merge, so the queue gets at most 3 n entries.
    fn merge(&self, symbols: &mut [Symbol]) {
        // The pair of a symbol and its right neighbour, the lowest rank first, then the leftmost: (rank, symbol, token).
        let candidate = |symbols: &[Symbol], at: usize| {
            let pair = (symbols[at].id, symbols[symbols[at].right?].id);
            self.merges.get(&pair).map(|(rank, token)| Reverse((*rank, at, *token)))
        };
        let mut queue: BinaryHeap<_> = (0..symbols.len()).filter_map(|at| candidate(symbols, at)).collect();
        while let Some(Reverse((rank, at, token))) = queue.pop() {
            // Either of the two may have merged with another one since.
            if symbols[at].merged || candidate(symbols, at) != Some(Reverse((rank, at, token))) {
                continue;
            }
            let Some(right) = symbols[at].right else { continue };
            let after = symbols[right].right;
            symbols[right].merged = true;
            symbols[at].id = token;
            symbols[at].right = after;
            if let Some(after) = after {
                symbols[after].left = Some(at);
            }
            queue.extend(symbols[at].left.and_then(|left| candidate(symbols, left)));
            queue.extend(candidate(symbols, at));
        }
    }
}

/// The alphabet of byte-level BPE (`bytes_to_unicode` of GPT-2's encoder.py): printable Latin-1 stands for itself, the
/// other bytes for U+0100 and up, in order. The index is the byte.
pub(super) static BYTE_ALPHABET: LazyLock<[char; 256]> = LazyLock::new(|| {
    let mut others = '\u{100}'..;
    std::array::from_fn(|byte| match byte as u8 {
        b @ (b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF) => char::from(b),
        _ => others.next().unwrap_or_default(),
    })
});
