//! Which pre-tokenizer each name means.

use super::Cut::{self, Matches, Threes, Words, WordsAndPowersOfTwo};

/// One family of pre-tokenizers: a row of [`TABLE`].
pub(in crate::text) struct Row {
    /// The values of `tokenizer.ggml.pre` that mean this row.
    pub(super) names: &'static [&'static str],
    /// Applied in order, each to every piece that the one before has left.
    pub(super) cuts: &'static [Cut],
    /// How the vocabulary spells a word.
    pub(in crate::text) alphabet: Alphabet,
    /// A word that is a token by itself is taken whole, even where the merges would lead elsewhere.
    pub(in crate::text) ignore_merges: bool,
    /// Whether prompts start with BOS when the file does not say.
    pub(in crate::text) add_bos: bool,
}

/// How a vocabulary of byte-pair encoding spells text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::text) enum Alphabet {
    /// A character for each byte: GPT-2's.
    Bytes,
    /// The text itself; characters without a token fall back to byte tokens.
    Text,
    /// Like `Text`, with "▁" (U+2581) for a space.
    MarkedSpaces,
}

/// English contractions in any case. Not `(?i:...)`: that would fold the long s (U+017F) into s as well.
macro_rules! contractions {
    () => {
        "'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]"
    };
}

/// Words with a capital only at the beginning, or all in capitals; `$suffix` may follow.
macro_rules! cased_words {
    ($suffix:expr) => {
        concat!(
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
            $suffix,
            r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
            $suffix
        )
    };
}

/// An ASCII punctuation mark with the ASCII letters behind it.
macro_rules! marked_letters {
    () => {
        r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"##
    };
}

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+";
const LLAMA3: &str =
    concat!(contractions!(), r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+");
const MINICPM5: &str =
    concat!(contractions!(), r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+");
const QWEN2: &str = concat!(contractions!(), r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+");
const UFAKZEKA: &str = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+";
const QWEN35: &str =
    concat!(contractions!(), r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+");
const BAILING: &str = concat!(contractions!(), r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]");
const SEED_CODER: &str = concat!(contractions!(), r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+");
const EXAONE_MOE: &str = concat!(
    contractions!(),
    r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]"
);
const TEKKEN: &str = concat!(cased_words!(""), r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+");
const YOUTU: &str =
    concat!(cased_words!(concat!("(?:", contractions!(), ")?")), r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+");
const GPT4O: &str =
    concat!(cased_words!(concat!("(?:", contractions!(), ")?")), r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+");
const KIMI_K2: &str = concat!(
    r"\p{Han}+",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?:",
    contractions!(),
    r")?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?:",
    contractions!(),
    r")?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
);
const DEEPSEEK3: &str =
    concat!(marked_letters!(), r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+");
const SPARK: &str = concat!(marked_letters!(), r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+|[\r\n]");
const BLOOM: &str = r" ?[^(\s|.,!?…。，、।۔،)]+";
/// Chinese and Japanese.
const CHINESE: &str = r"[\u{4E00}-\u{9FA5}\u{3040}-\u{309F}\u{30A0}-\u{30FF}]+";
/// DeepSeek's own range of scripts without cases.
const UNCASED: &str = r"[\u{4E00}-\u{9FA5}\u{800}-\u{4E00}\u{AC00}-\u{D7FF}]+";
/// Korean, punctuation of East Asia, Bopomofo, Chinese and Japanese.
const EAST_ASIA: &str = concat!(
    r"[\u{AC00}-\u{D7A3}\u{3131}-\u{318E}]+",
    r"|[\u{FF01}\u{2026}\u{201C}\u{201D}\u{2018}\u{2019}\u{2014}\u{FF1A}\u{FF1B}\u{FF0C}\u{3001}-\u{303F}\u{FE30}-\u{FE4F}]+",
    r"|[\u{3105}-\u{312F}]+|[\u{4E00}-\u{9FA5}\u{3040}-\u{309F}\u{30A0}-\u{30FF}]+"
);
/// Scripts of East and South-East Asia.
const ASIA: &str = concat!(
    r"[\u{4E00}-\u{9FFF}\u{3400}-\u{4DBF}\u{8C48}-\u{FAFF}\u{3040}-\u{309F}\u{30A0}-\u{30FF}\u{FF65}-\u{FF9F}",
    r"\u{2F00}-\u{2FDF}\u{E40}-\u{E7F}\u{E80}-\u{EFF}\u{1780}-\u{17FF}\u{1000}-\u{109F}\u{AA60}-\u{AA7F}",
    r"\u{A9E0}-\u{A9FF}\u{AC00}-\u{D7AF}\u{1100}-\u{11FF}]+"
);
/// Letters with a case, as DeepSeek's tokenizer lists them.
#[rustfmt::skip]
const CASED: &str = concat!(
    r"\s?[",
    r"A-Za-z\u{B5}\u{C0}-\u{D6}\u{D8}-\u{F6}\u{F8}-\u{1BA}\u{1BC}-\u{1BF}\u{1C4}-\u{293}\u{295}-\u{2AF}\u{370}-\u{373}",
    r"\u{376}\u{377}\u{37B}-\u{37D}\u{37F}\u{386}\u{388}-\u{38A}\u{38C}\u{38E}-\u{3A1}\u{3A3}-\u{3F5}\u{3F7}-\u{481}",
    r"\u{48A}-\u{52F}\u{531}-\u{556}\u{10A0}-\u{10C5}\u{13A0}-\u{13F5}\u{13F8}-\u{13FD}\u{1C90}-\u{1CBA}",
    r"\u{1CBD}-\u{1CBF}\u{1D00}-\u{1D2B}\u{1D6B}-\u{1D77}\u{1D79}-\u{1D9A}\u{1E00}-\u{1F15}\u{1F18}-\u{1F1D}",
    r"\u{1F20}-\u{1F45}\u{1F48}-\u{1F4D}\u{1F50}-\u{1F57}\u{1F59}\u{1F5B}\u{1F5D}\u{1F5F}-\u{1F7D}\u{1F80}-\u{1FB4}",
    r"\u{1FB6}-\u{1FBC}\u{1FBE}\u{1FC2}-\u{1FC4}\u{1FC6}-\u{1FCC}\u{1FD0}-\u{1FD3}\u{1FD6}-\u{1FDB}\u{1FE0}-\u{1FEC}",
    r"\u{1FF2}-\u{1FF4}\u{1FF6}-\u{1FFC}\u{2102}\u{2107}\u{210A}-\u{2113}\u{2115}\u{2119}-\u{211D}\u{2124}\u{2126}",
    r"\u{2128}\u{212A}-\u{212D}\u{212F}-\u{2134}\u{2139}\u{213C}-\u{213F}\u{2145}-\u{2149}\u{214E}\u{2183}\u{2184}",
    r"\u{2C00}-\u{2C7B}\u{2C7E}-\u{2CE4}\u{2CEB}-\u{2CEE}\u{2CF2}\u{2CF3}\u{A640}-\u{A66D}\u{A680}-\u{A69B}",
    r"\u{A722}-\u{A76F}\u{A771}-\u{A787}\u{A78B}-\u{A78E}\u{AB70}-\u{ABBF}\u{FB00}-\u{FB06}\u{FB13}-\u{FB17}",
    r"\u{FF21}-\u{FF3A}\u{FF41}-\u{FF5A}\u{10400}-\u{1044F}\u{104B0}-\u{104D3}\u{104D8}-\u{104FB}\u{10C80}-\u{10CB2}",
    r"\u{10CC0}-\u{10CF2}\u{118A0}-\u{118DF}\u{1E900}-\u{1E943}",
    r"]+",
);

/// A row of GPT-2's alphabet that takes no word whole and does not ask for BOS: what most are.
const PLAIN: Row = Row { names: &[], cuts: &[], alphabet: Alphabet::Bytes, ignore_merges: false, add_bos: false };

/// What the names mean, after llama.cpp's table (`llama-vocab.cpp`). Where llama.cpp approximates a class of characters that its
/// engine does not know, or a pattern as a whole (`kimi-k2`), the pattern is the one of the model's own tokenizer.
#[rustfmt::skip]
pub(super) const TABLE: &[Row] = &[
    Row {
        names: &["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"],
        cuts: &[Words(LLAMA3)], ignore_merges: true, add_bos: true, ..PLAIN
    },
    Row { names: &["dbrx", "smaug-bpe", "chatglm-bpe"], cuts: &[Words(LLAMA3)], ..PLAIN },
    Row { names: &["glm4", "glm5"], cuts: &[Words(LLAMA3)], ignore_merges: true, ..PLAIN },
    Row { names: &["jais-2"], cuts: &[WordsAndPowersOfTwo(LLAMA3)], ..PLAIN },
    Row { names: &["minicpm5"], cuts: &[Matches(r"\p{N}{1,3}"), Words(MINICPM5)], ignore_merges: true, ..PLAIN },
    Row {
        names: &["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"],
        cuts: &[Matches(r"\p{N}"), Words(GPT2)], ..PLAIN
    },
    Row {
        names: &[
            "gpt-2", "phi-2", "mpt", "olmo", "jais", "gigachat", "a.x-4.0", "mellum", "exaone4", "trillion", "granite-docling",
            "modern-bert", "jina-es", "jina-de", "jina-v1-en", "jina-v2-es", "jina-v2-de", "jina-v2-code", "roberta-bpe",
        ],
        cuts: &[Words(GPT2)], ..PLAIN
    },
    Row {
        names: &[
            "qwen2", "deepseek-r1-qwen", "stablelm2", "megrez", "hunyuan", "kormo", "solar-open", "grok-2", "f2llmv2",
        ],
        cuts: &[Words(QWEN2)], ..PLAIN
    },
    Row { names: &["qwen35"], cuts: &[Words(QWEN35)], ..PLAIN },
    Row { names: &["ufakzeka"], cuts: &[Words(UFAKZEKA)], ..PLAIN },
    Row { names: &["bailingmoe", "bailingmoe2", "llada-moe"], cuts: &[Words(BAILING)], ..PLAIN },
    Row { names: &["seed-coder"], cuts: &[Words(SEED_CODER)], ..PLAIN },
    Row { names: &["exaone-moe"], cuts: &[Words(EXAONE_MOE)], ..PLAIN },
    Row { names: &["laguna"], cuts: &[Matches(r"[^\n]+|\n+"), Words(QWEN2)], ..PLAIN },
    Row { names: &["tekken"], cuts: &[Words(TEKKEN)], ignore_merges: true, add_bos: true, ..PLAIN },
    Row { names: &["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"], cuts: &[Words(GPT4O)], ..PLAIN },
    Row { names: &["granite-embed-multi-97m"], cuts: &[Words(GPT4O)], ignore_merges: true, ..PLAIN },
    Row { names: &["tiny_aya", "cohere2moe"], cuts: &[Threes(r"\p{N}+"), Words(GPT4O)], ..PLAIN },
    Row { names: &["youtu"], cuts: &[Matches(EAST_ASIA), Words(YOUTU)], ignore_merges: true, ..PLAIN },
    Row { names: &["kimi-k2"], cuts: &[Words(KIMI_K2)], ..PLAIN },
    Row {
        names: &["deepseek-llm"],
        cuts: &[
            Matches(r"[\r\n]"), Matches(CASED),
            Matches(r"\s?[!-/:-~\u{FF01}-\u{FF0F}\u{FF1A}-\u{FF5E}\u{2018}-\u{201F}\u{3000}-\u{3002}]+"),
            Matches(r"\s+$"), Matches(UNCASED), Matches(r"\p{N}+"),
        ],
        ..PLAIN
    },
    Row {
        names: &["deepseek-coder"],
        cuts: &[Matches(r"[\r\n]"), Matches(r"\s?\p{L}+"), Matches(r"\s?\p{P}+"), Matches(UNCASED), Matches(r"\p{N}")],
        ..PLAIN
    },
    Row {
        names: &["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"],
        cuts: &[Matches(r"\p{N}{1,3}"), Matches(CHINESE), Words(DEEPSEEK3)], ..PLAIN
    },
    Row {
        names: &["spark2_5"],
        cuts: &[Matches(r"\p{N}{1,3}"), Matches(CHINESE), Words(SPARK), Matches(r"\p{N}")], ..PLAIN
    },
    Row { names: &["afmoe"], cuts: &[Threes(r"\p{N}+"), Matches(ASIA), Words(DEEPSEEK3)], ..PLAIN },
    Row {
        names: &["falcon"],
        cuts: &[Matches(r"[\p{P}\$\+<=>\^~\|`]+"), Words(GPT2), Matches("[0-9][0-9][0-9]")], ..PLAIN
    },
    Row { names: &["poro-chat", "bloom", "gpt3-finnish"], cuts: &[Matches(BLOOM)], ..PLAIN },
    Row { names: &["viking"], cuts: &[Matches(BLOOM), Matches(r"\p{N}")], ..PLAIN },
    Row { names: &["superbpe"], cuts: &[Matches(r"\p{N}+"), Threes("[0-9]+")], ..PLAIN },
    Row {
        names: &["chameleon"],
        cuts: &[
            Matches("<sentinel:[0-9]+>"), Matches("IMGIMG[A-I]{1,4}Z"), Matches(r"[\t\n]|    |  "), Matches(r"\p{N}"),
            Matches(r"[\p{P}!-/:-@\[-`{-~]"), Words(GPT2),
        ],
        add_bos: true, ..PLAIN
    },
    Row {
        names: &["gemma4", "granite-embed-multi-311m", "sarvam-moe"],
        cuts: &[Matches(r"[^\n]+|\n+")], alphabet: Alphabet::MarkedSpaces, ..PLAIN
    },
    Row { names: &["whitespace"], cuts: &[Matches(r"\S+")], alphabet: Alphabet::Text, ..PLAIN },
    Row {
        names: &["default"],
        cuts: &[Matches(r"[\p{P}\$\+<=>\^~\|]+"), Words(GPT2), Matches(r"\p{N}+"), Matches("[0-9][0-9][0-9]")], ..PLAIN
    },
];
