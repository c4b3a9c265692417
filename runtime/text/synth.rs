//! Vocabularies of any size, for models with random weights.

use super::bpe::BYTE_ALPHABET;
use super::{Error, TokenType, Vocab, vocab};
use std::collections::{BTreeMap, VecDeque};

/// Control tokens, in this order at the end of the vocabulary.
const CONTROL: [&str; 5] =
    ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"];
const BYTES: u32 = 256;
/// The smallest vocabulary: a token for each byte, one merge (byte-level BPE needs one) and the control tokens.
const SMALLEST: u32 = BYTES + 1 + CONTROL.len() as u32;

/// Role headers and an end token after each message, as in Llama 3.
const TEMPLATE: &str = "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message.role }}<|end_header_id|>\n\n\
    {{ message.content | trim }}<|eot_id|>{% endfor %}\
    {% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}";

impl Vocab {
    /// A byte-level BPE vocabulary of `n` tokens with a chat template. Besides 256 bytes and five control tokens it has
    /// strings of lower-case letters, with and without a leading space, the shortest first. Each is merged from the
    /// string without its last letter, and that letter.
    ///
    /// Errors: `n` is too small.
    pub fn synthetic(n: u32) -> Result<Vocab, Error> {
        if n < SMALLEST {
            let problem = format!("{n} tokens, expected at least {SMALLEST}: bytes, a merge and control tokens");
            return Err(Error::key(vocab::TOKENS, problem));
        }
        let mut tokens: Vec<String> = BYTE_ALPHABET.iter().map(char::to_string).collect();
        let mut merges = vec![];
        let letters = || ('a'..='z').map(String::from);
        let space = BYTE_ALPHABET[usize::from(b' ')].to_string();
        let mut shorter: VecDeque<String> = [space].into_iter().chain(letters()).collect();
        let n_merges = (n - SMALLEST + 1) as usize;
        while let Some(left) = shorter.pop_front().filter(|_| merges.len() < n_merges) {
            for letter in letters().take(n_merges - merges.len()) {
                let token = format!("{left}{letter}");
                merges.push(format!("{left} {letter}"));
                tokens.push(token.clone());
                shorter.push_back(token);
            }
        }
        tokens.extend(CONTROL.map(String::from));
        let id = |text: &str| CONTROL.iter().position(|t| *t == text).map(|i| n - CONTROL.len() as u32 + i as u32);
        let types = (0..n).map(|i| if i < n - CONTROL.len() as u32 { TokenType::Normal } else { TokenType::Control });
        Ok(Vocab {
            model: "gpt2".to_string(),
            pre: Some("llama-bpe".to_string()),
            types: types.collect(),
            tokens,
            not_utf8: BTreeMap::new(),
            scores: vec![],
            merges,
            bos: id("<|begin_of_text|>"),
            eos: id("<|end_of_text|>"),
            eot: id("<|eot_id|>"),
            eom: None,
            unk: None,
            add_bos: Some(true),
            add_space_prefix: None,
            chat_template: Some(TEMPLATE.to_string()),
        })
    }
}
