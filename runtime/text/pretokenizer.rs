//! Pre-tokenizers: they cut text into words; byte-level BPE then merges within each word.

mod table;

use regex_automata::meta::Regex;

use super::{Error, quoted, vocab};
use table::TABLE;
pub(super) use table::{Alphabet, Row};

/// How a piece of text is cut. No pattern looks ahead, so the time is linear in the length of the text.
#[derive(Debug, Clone, Copy)]
enum Cut {
    /// Into the matches of a pattern and the gaps between them.
    Matches(&'static str),
    /// Into the matches of `PATTERN|\s+(?!\S)|\s+`: of white space that nothing in `PATTERN` takes, the last character stays
    /// with what follows.
    Words(&'static str),
    /// Like `Words`, with white space in runs of 512, 256, 128, 64, 32, 16, 8, 4, 2 and 1 characters, as many as fit.
    WordsAndPowersOfTwo(&'static str),
    /// Into the matches of a pattern, each from its end in groups of three characters, and the gaps between.
    Threes(&'static str),
}

/// The row of this name. Errors: an unknown name, listing the known ones.
pub(super) fn row(name: &str) -> Result<&'static Row, Error> {
    TABLE.iter().find(|row| row.names.contains(&name)).ok_or_else(|| {
        let known: Vec<&str> = TABLE.iter().flat_map(|row| row.names).copied().collect();
        let problem = format!("unknown pre-tokenizer {}, known are {}", quoted(name), known.join(", "));
        Error::key(vocab::PRE, problem)
    })
}

/// Cuts text into words.
pub(super) struct Splitter {
    cuts: Vec<(Cut, Regex)>,
}

/// The longest run of white space that [`Cut::WordsAndPowersOfTwo`] keeps together, in characters.
const LONGEST_SPACES: usize = 512;

impl Splitter {
    pub(super) fn new(row: &Row) -> Result<Splitter, Error> {
        let compile = |cut: &Cut| {
            let regex = match cut {
                Cut::Matches(pattern) | Cut::Threes(pattern) => Regex::new(pattern),
                Cut::Words(pattern) | Cut::WordsAndPowersOfTwo(pattern) => Regex::new_many(&[pattern, r"\s+"]),
            };
            let failed = |e| Error::key(vocab::PRE, format!("{}: bad pattern: {e}", row.names[0]));
            Ok((*cut, regex.map_err(failed)?))
        };
        Ok(Splitter { cuts: row.cuts.iter().map(compile).collect::<Result<_, _>>()? })
    }

    /// The words of a text, in order, none empty; joined they are the text.
    pub(super) fn split<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let mut words = vec![text];
        for (cut, regex) in &self.cuts {
            let mut finer = Vec::with_capacity(words.len());
            for word in words {
                apply(*cut, regex, word, &mut finer);
            }
            words = finer;
            words.retain(|word| !word.is_empty());
        }
        words
    }
}

/// Appends the pieces of a word to `pieces`, empty ones too.
fn apply<'t>(cut: Cut, regex: &Regex, word: &'t str, pieces: &mut Vec<&'t str>) {
    let mut pos = 0;
    while let Some(found) = regex.search(&regex_automata::Input::new(word).range(pos..)) {
        let match_ = &word[found.range()];
        pieces.push(&word[pos..found.start()]);
        pos = found.end();
        let is_spaces = found.pattern().as_usize() == 1;
        match cut {
            Cut::Words(_) | Cut::WordsAndPowersOfTwo(_) if is_spaces => {
                let last = match_.char_indices().next_back().map_or(0, |(at, _)| at);
                // A single character, or white space at the end, is a word of its own.
                let spaces = if pos == word.len() || last == 0 { match_ } else { &match_[..last] };
                pos = found.start() + spaces.len();
                if let Cut::Words(_) = cut { pieces.push(spaces) } else { powers_of_two(spaces, pieces) }
            }
            Cut::Threes(_) => threes(match_, pieces),
            _ => pieces.push(match_),
        }
    }
    pieces.push(&word[pos..]);
}

/// Cuts into groups of three characters, counted from the end.
fn threes<'t>(digits: &'t str, pieces: &mut Vec<&'t str>) {
    let (mut rest, mut size) = (digits, (digits.chars().count() + 2) % 3 + 1);
    while !rest.is_empty() {
        let (group, tail) = rest.split_at(rest.char_indices().nth(size).map_or(rest.len(), |(at, _)| at));
        pieces.push(group);
        (rest, size) = (tail, 3);
    }
}

/// Cuts into groups of at most [`LONGEST_SPACES`] characters, the largest power of two first.
fn powers_of_two<'t>(spaces: &'t str, pieces: &mut Vec<&'t str>) {
    let (mut rest, mut left) = (spaces, spaces.chars().count());
    while left > 0 {
        let size = LONGEST_SPACES.min(1 << left.ilog2());
        let (group, tail) = rest.split_at(rest.char_indices().nth(size).map_or(rest.len(), |(at, _)| at));
        pieces.push(group);
        (rest, left) = (tail, left - size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_compiles_and_loses_nothing() {
        let text = "I'LL pay ₹1234.50, don't\r\n\r\n  you?\t\u{3000}x\u{85}y ÀéΣς 中文ไทย 🦙 'ſ   ";
        for row in TABLE {
            let splitter = Splitter::new(row).unwrap();
            assert_eq!(splitter.split(text).concat(), text, "{}", row.names[0]);
            assert!(splitter.split("").is_empty());
        }
    }

    #[test]
    fn names_are_unique() {
        let names: Vec<&str> = TABLE.iter().flat_map(|row| row.names).copied().collect();
        for (i, name) in names.iter().enumerate() {
            assert!(!names[..i].contains(name), "{name} is in two rows");
        }
    }

    #[test]
    fn words_of_some_families() {
        let cases: [(&str, &str, &[&str]); 16] = [
            (
                "llama-bpe",
                "I'LL have 12345  x\n\n y",
                &["I", "'LL", " have", " ", "123", "45", " ", " x", "\n\n", " y"],
            ),
            ("qwen2", "v12 a", &["v", "1", "2", " a"]),
            ("smollm", "I'LL 12  x", &["I", "'", "LL", " ", "1", "2", " ", " x"]),
            ("gpt-2", "it's 12  x", &["it", "'s", " 12", " ", " x"]),
            ("tekken", "helloWorld 12/\n", &["hello", "World", " ", "1", "2", "/\n"]),
            ("superbpe", "I am 1234567.", &["I am ", "1", "234", "567", "."]),
            ("tiny_aya", "aB 1234 x", &["a", "B", " ", "1", "234", " x"]),
            ("afmoe", "ab 12345 ไทย中文!", &["ab", " ", "12", "345", " ", "ไ", "ทย", "中文", "!"]),
            ("deepseek-v3", "a.b 1234 中文x", &["a", ".b", " ", "123", "4", " ", "中文", "x"]),
            ("deepseek-llm", "ab  12\n中a  ", &["ab", "  ", "12", "\n", "中", "a", "  "]),
            ("kimi-k2", "abC中文 1234's", &["ab", "C", "中文", " ", "123", "4", "'s"]),
            ("youtu", "한국a！b", &["한국", "a", "！", "b"]),
            ("qwen35", "e\u{301}a 12", &["e\u{301}a", " ", "1", "2"]),
            ("seed-coder", "x;\n\ny", &["x", ";", "\n\n", "y"]),
            ("exaone-moe", "한 국 a\n\n1", &["한 국 a", "\n\n", "1"]),
            ("gemma4", "a b\n\nc", &["a b", "\n\n", "c"]),
        ];
        for (name, text, words) in cases {
            assert_eq!(Splitter::new(row(name).unwrap()).unwrap().split(text), words, "{name}");
        }
    }

    #[test]
    fn long_words_are_split_like_short_ones() {
        let splitter = Splitter::new(row("llama-bpe").unwrap()).unwrap();
        for n in [900_000, 2_500_000] {
            let text = format!("{}x", " ".repeat(n));
            let words = splitter.split(&text);
            assert_eq!(words.iter().map(|w| w.len()).collect::<Vec<_>>(), [n - 1, 2]);
        }
    }

    /// Each takes some milliseconds where the time is linear, and minutes where it is quadratic.
    #[test]
    fn a_million_equal_characters_are_split_by_every_row() {
        for row in TABLE {
            let splitter = Splitter::new(row).unwrap();
            for unit in ["a", "A", " ", "7", "\n", "'", "é", "中", " \t"] {
                let text = unit.repeat(1 << 20) + "x";
                assert_eq!(splitter.split(&text).concat(), text, "{} {unit:?}", row.names[0]);
            }
        }
    }

    #[test]
    fn white_space_in_powers_of_two() {
        let splitter = Splitter::new(row("jais-2").unwrap()).unwrap();
        let sizes = |text: &str| splitter.split(text).iter().map(|word| word.len()).collect::<Vec<_>>();
        assert_eq!(sizes(&" ".repeat(1031)), [512, 512, 4, 2, 1]);
        assert_eq!(sizes(&(" ".repeat(8) + "x")), [4, 2, 1, 2]);
        assert_eq!(sizes("\t1"), [1, 1]);
    }
}
