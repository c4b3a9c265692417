//! Which tokens end a reply.

use std::collections::BTreeSet;

use super::Vocab;

/// Texts of tokens that end a reply, for files that do not name all of them. The list is llama.cpp's
/// (`llama-vocab.cpp`, its end-of-generation set), fill-in-the-middle's document boundaries included.
#[rustfmt::skip]
const END_TEXTS: [&str; 28] = [
    "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>",          // Llama 3
    "<|im_end|>", "<|endoftext|>",                          // SmolLM2, Qwen
    "<|end|>", "<end_of_turn>", "<end_of_utterance>", "</s>", "<eos>",
    "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<｜end▁of▁sentence｜>",
    "<|return|>", "<|call|>",
    "<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]",
    "<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>", "<|file_sep|>",
];

/// The ids that the file names as end of text, turn or message, and those of [`END_TEXTS`].
pub(super) fn ends(vocab: &Vocab) -> BTreeSet<u32> {
    let by_text = (0..).zip(&vocab.tokens).filter(|(_, text)| is_end_text(text)).map(|(id, _)| id);
    [vocab.eos, vocab.eot, vocab.eom].into_iter().flatten().chain(by_text).collect()
}

/// Whether a token with this text ends a reply in every vocabulary.
pub(super) fn is_end_text(text: &str) -> bool {
    END_TEXTS.contains(&text)
}
