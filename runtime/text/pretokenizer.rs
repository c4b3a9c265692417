//! Pre-tokenizers: they cut text into words; byte-level BPE then merges within each word.

use fancy_regex::Regex;

use super::{Error, quoted, vocab};

/// One family of pre-tokenizers: a row of [`TABLE`].
pub(super) struct Row {
    /// The values of `tokenizer.ggml.pre` that select this row.
    names: &'static [&'static str],
    /// Applied in order. Each cuts every piece left by the one before into its matches and the gaps between them.
    patterns: &'static [&'static str],
    /// Whether a word that is a token is not split, even if the merges give other tokens.
    pub(super) ignore_merges: bool,
    /// Whether prompts start with the beginning-of-text token if the file does not say.
    pub(super) add_bos: bool,
}

/// English contractions in any case. Not `(?i:...)`: that would fold the long s (U+017F) into s as well.
macro_rules! contractions {
    () => {
        "'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]"
    };
}

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)";
const LLAMA3: &str = concat!(
    contractions!(),
    r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
const QWEN2: &str =
    concat!(contractions!(), r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+");
const TEKKEN: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|",
    r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
const GPT4O: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?:",
    contractions!(),
    r")?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?:",
    contractions!(),
    r")?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// The known pre-tokenizers, after llama.cpp's table (`llama-vocab.cpp`). For `tekken` and `gpt-4o` the patterns are
/// those of the models' own tokenizers, which llama.cpp approximates.
const TABLE: &[Row] = &[
    Row {
        names: &["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"],
        patterns: &[LLAMA3],
        ignore_merges: true,
        add_bos: true,
    },
    Row {
        names: &["dbrx", "smaug-bpe", "chatglm-bpe", "glm4"],
        patterns: &[LLAMA3],
        ignore_merges: false,
        add_bos: false,
    },
    Row {
        names: &["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"],
        patterns: &[r"\p{N}", GPT2],
        ignore_merges: false,
        add_bos: false,
    },
    Row {
        names: &["gpt-2", "phi-2", "mpt", "olmo", "jais", "gigachat", "a.x-4.0", "mellum", "exaone4", "trillion"],
        patterns: &[GPT2],
        ignore_merges: false,
        add_bos: false,
    },
    Row {
        names: &["qwen2", "deepseek-r1-qwen", "stablelm2", "megrez", "hunyuan", "kormo", "solar-open"],
        patterns: &[QWEN2],
        ignore_merges: false,
        add_bos: false,
    },
    Row { names: &["tekken"], patterns: &[TEKKEN], ignore_merges: true, add_bos: true },
    Row { names: &["gpt-4o", "llama4", "kanana2"], patterns: &[GPT4O], ignore_merges: false, add_bos: false },
    Row {
        names: &["deepseek-coder"],
        patterns: &[r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", r"\p{N}"],
        ignore_merges: false,
        add_bos: false,
    },
    Row {
        names: &["falcon"],
        patterns: &[r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"],
        ignore_merges: false,
        add_bos: false,
    },
    Row {
        names: &["poro-chat", "bloom", "gpt3-finnish"],
        patterns: &[r" ?[^(\s|.,!?…。，、।۔،)]+"],
        ignore_merges: false,
        add_bos: false,
    },
    Row {
        names: &["viking"],
        patterns: &[r" ?[^(\s|.,!?…。，、।۔،)]+", r"\p{N}"],
        ignore_merges: false,
        add_bos: false,
    },
    Row {
        names: &["default"],
        patterns: &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
        ignore_merges: false,
        add_bos: false,
    },
];

/// The row of this name. Errors: the name is unknown; the message lists the known ones.
pub(super) fn row(name: &str) -> Result<&'static Row, Error> {
    TABLE.iter().find(|row| row.names.contains(&name)).ok_or_else(|| {
        let known: Vec<&str> = TABLE.iter().flat_map(|row| row.names).copied().collect();
        let problem = format!("unknown pre-tokenizer {}, known are {}", quoted(name), known.join(", "));
        Error::key(vocab::PRE, problem)
    })
}

/// Cuts text into words.
pub(super) struct Splitter {
    patterns: Vec<Regex>,
}

impl Splitter {
    pub(super) fn new(row: &Row) -> Result<Splitter, Error> {
        let compile = |p: &&str| {
            let failed = |e| Error::key(vocab::PRE, format!("{}: bad pattern: {e}", row.names[0]));
            Regex::new(p).map_err(failed)
        };
        Ok(Splitter { patterns: row.patterns.iter().map(compile).collect::<Result<_, _>>()? })
    }

    /// The words of a text, in order. None is empty; together they are the text.
    ///
    /// Errors: a run of whitespace too long for the regex engine, about a million characters.
    pub(super) fn split<'t>(&self, text: &'t str) -> Result<Vec<&'t str>, Error> {
        let mut words = vec![text];
        for pattern in &self.patterns {
            let mut finer = Vec::with_capacity(words.len());
            for word in words {
                let mut pos = 0;
                for found in pattern.find_iter(word) {
                    let found = found.map_err(|e| Error::Encode(format!("word too long: {e}")))?;
                    finer.extend([&word[pos..found.start()], found.as_str()]);
                    pos = found.end();
                }
                finer.push(&word[pos..]);
            }
            words = finer;
            words.retain(|word| !word.is_empty());
        }
        Ok(words)
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
            assert_eq!(splitter.split(text).unwrap().concat(), text, "{}", row.names[0]);
            assert!(splitter.split("").unwrap().is_empty());
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
        let cases: [(&str, &str, &[&str]); 5] = [
            (
                "llama-bpe",
                "I'LL have 12345  x\n\n y",
                &["I", "'LL", " have", " ", "123", "45", " ", " x", "\n\n", " y"],
            ),
            ("qwen2", "v12 a", &["v", "1", "2", " a"]),
            ("smollm", "I'LL 12  x", &["I", "'", "LL", " ", "1", "2", " ", " x"]),
            ("gpt-2", "it's 12  x", &["it", "'s", " 12", " ", " x"]),
            ("tekken", "helloWorld 12/\n", &["hello", "World", " ", "1", "2", "/\n"]),
        ];
        for (name, text, words) in cases {
            assert_eq!(Splitter::new(row(name).unwrap()).unwrap().split(text).unwrap(), words, "{name}");
        }
    }

    #[test]
    fn long_runs_of_spaces_are_split_like_short_ones_or_refused() {
        let splitter = Splitter::new(row("llama-bpe").unwrap()).unwrap();
        let text = format!("{}x", " ".repeat(900_000));
        let words = splitter.split(&text).unwrap();
        assert_eq!(words.iter().map(|w| w.len()).collect::<Vec<_>>(), [899_999, 2]);
        let error = splitter.split(&" ".repeat(1_500_000)).unwrap_err().to_string();
        assert!(error.starts_with("cannot tokenize: word too long: "), "{error}");
    }
}
