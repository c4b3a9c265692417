//! A tiny model that says what a test wants: after a token always the same next one.

use super::gguf_builder::GgufBuilder;
use pronk::gguf::GgmlType;
use std::path::{Path, PathBuf};

const LLAMA3: &str = "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' \
                      + m.content + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}\
                      {{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}";
const LLAMA2: &str = "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}\
                      {% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}";

/// Control tokens of the byte-level vocabulary.
pub const CONTROL: [&str; 7] =
    ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|user|>", "[THINK]", "[/THINK]"];

/// A vocabulary, and the pieces that the model says, in order, after any text. The last ends the reply.
pub struct Chain {
    keys: GgufBuilder,
    tokens: Vec<String>,
    says: Vec<String>,
}

/// The letter that stands for a byte in byte-level BPE: that of the same number if it is visible, else one from 256 on.
fn letter(byte: u8) -> char {
    let is_visible = |b: u8| matches!(b, 33..=126 | 161..=172 | 174..=255);
    if is_visible(byte) {
        return byte.into();
    }
    let before = (0..byte).filter(|b| !is_visible(*b)).count();
    char::from_u32(256 + before as u32).expect("a letter")
}

fn letters(text: &str) -> String {
    text.bytes().map(letter).collect()
}

impl Chain {
    /// Byte-level BPE with [`CONTROL`] and a token for each piece.
    pub fn byte_level(pieces: &[&str]) -> Chain {
        let mut tokens: Vec<String> = (0..=255).map(|byte| letter(byte).to_string()).collect();
        let mut merges = vec![];
        for word in pieces.iter().filter(|piece| !CONTROL.contains(piece)) {
            let letters: Vec<char> = letters(word).chars().collect();
            for n in 2..=letters.len() {
                let token: String = letters[..n].iter().collect();
                if !tokens.contains(&token) {
                    merges.push(format!("{} {}", letters[..n - 1].iter().collect::<String>(), letters[n - 1]));
                    tokens.push(token);
                }
            }
        }
        let mut types = vec![1; tokens.len()];
        types.extend([3; CONTROL.len()]);
        let first = tokens.len() as u32;
        tokens.extend(CONTROL.map(String::from));
        let keys = GgufBuilder::default()
            .str("tokenizer.ggml.model", "gpt2")
            .str("tokenizer.ggml.pre", "llama-bpe")
            .strings("tokenizer.ggml.merges", &merges)
            .i32s("tokenizer.ggml.token_type", &types)
            .u32("tokenizer.ggml.bos_token_id", first)
            .u32("tokenizer.ggml.eos_token_id", first + 3)
            .bool("tokenizer.ggml.add_bos_token", true)
            .str("tokenizer.chat_template", LLAMA3);
        let says = pieces.iter().map(|piece| if CONTROL.contains(piece) { piece.to_string() } else { letters(piece) });
        Chain { says: says.chain(["<|eot_id|>".to_string()]).collect(), keys, tokens }
    }

    /// SentencePiece with the control tokens `[INST]` and `[/INST]`, and a token for each piece: "▁" is a space.
    pub fn sentence_piece(pieces: &[&str]) -> Chain {
        let mut tokens = ["<unk>", "<s>", "</s>"].map(String::from).to_vec();
        tokens.extend((0..=255).map(|byte| format!("<0x{byte:02X}>")));
        let mut types = [&[2, 3, 3][..], &[6; 256]].concat();
        let controls = ["[INST]", "[/INST]"];
        for word in pieces.iter().filter(|piece| !controls.contains(piece)) {
            let beginnings = word.char_indices().skip(1).map(|(end, _)| &word[..end]).chain([*word]);
            let characters = word.char_indices().map(|(at, c)| &word[at..at + c.len_utf8()]);
            for part in beginnings.chain(characters).map(String::from) {
                if !tokens.contains(&part) {
                    tokens.push(part);
                }
            }
        }
        types.resize(tokens.len(), 1);
        tokens.extend(controls.map(String::from));
        types.extend([3, 3]);
        let scores: Vec<f32> = (0..tokens.len()).map(|i| -(i as f32)).collect();
        let keys = GgufBuilder::default()
            .str("tokenizer.ggml.model", "llama")
            .f32s("tokenizer.ggml.scores", &scores)
            .i32s("tokenizer.ggml.token_type", &types)
            .str("tokenizer.chat_template", LLAMA2);
        let says = pieces.iter().map(|piece| piece.to_string()).chain(["</s>".to_string()]);
        Chain { says: says.collect(), keys, tokens }
    }

    /// Another chat template.
    pub fn template(mut self, source: &str) -> Chain {
        self.keys = self.keys.without("tokenizer.chat_template").str("tokenizer.chat_template", source);
        self
    }

    /// Whether a text begins with the beginning-of-text token.
    pub fn add_bos(mut self, value: bool) -> Chain {
        self.keys = self.keys.without("tokenizer.ggml.add_bos_token").bool("tokenizer.ggml.add_bos_token", value);
        self
    }

    /// The model: the embedding of a token is a unit vector, which all layers leave as it is.
    pub fn build(&self) -> Vec<u8> {
        const HEAD: usize = 32;
        const LEN: usize = 32;
        let n = self.tokens.len();
        let d = n.next_multiple_of(2 * HEAD);
        let id = |piece: &String| self.tokens.iter().position(|token| token == piece).expect("a token");
        let says: Vec<usize> = self.says.iter().map(id).collect();
        let mut next = vec![says[0]; n];
        says.windows(2).for_each(|pair| next[pair[0]] = pair[1]);
        let (mut embedding, mut output) = (vec![0.0; n * d], vec![0.0; n * d]);
        for (token, next) in next.into_iter().enumerate() {
            embedding[token * d + token] = 1.0;
            output[next * d + token] = 8.0;
        }
        let numbers = [
            ("context_length", 512),
            ("block_count", 1),
            ("embedding_length", d),
            ("feed_forward_length", LEN),
            ("attention.head_count", d / HEAD),
            ("attention.head_count_kv", d / HEAD / 2),
            ("rope.dimension_count", HEAD),
        ];
        let file = self.keys.clone().str("general.architecture", "llama").str("general.name", "chain");
        let file = file.strings("tokenizer.ggml.tokens", &self.tokens);
        let file = numbers.iter().fold(file, |file, (key, n)| file.u32(&format!("llama.{key}"), *n as u32));
        let file = file.f32("llama.attention.layer_norm_rms_epsilon", 1e-5);
        let shape = |cols: usize, rows: usize| [cols as u64, rows as u64];
        let norm = |file: GgufBuilder, name: &str| file.tensor_f32(name, &[d as u64], &vec![1.0; d]);
        let zeros = |file: GgufBuilder, name: &str, rows: usize, cols: usize| {
            // Blocks of 32 elements, a scale and a byte for each.
            file.tensor(name, GgmlType::Q8_0, &shape(cols, rows), &vec![0; rows * cols / 32 * 34])
        };
        let file = file.tensor_f32("token_embd.weight", &shape(d, n), &embedding);
        let file = norm(file.tensor_f32("output.weight", &shape(d, n), &output), "output_norm.weight");
        let file = norm(norm(file, "blk.0.attn_norm.weight"), "blk.0.ffn_norm.weight");
        let products = [
            ("attn_q", d, d),
            ("attn_k", d / 2, d),
            ("attn_v", d / 2, d),
            ("attn_output", d, d),
            ("ffn_gate", LEN, d),
            ("ffn_up", LEN, d),
            ("ffn_down", d, LEN),
        ];
        let add = |file, (name, rows, cols): &(&str, _, _)| zeros(file, &format!("blk.0.{name}.weight"), *rows, *cols);
        products.iter().fold(file, add).build()
    }

    /// The model in a file of this folder.
    pub fn save(&self, folder: &Path) -> PathBuf {
        let path = folder.join("chain.gguf");
        std::fs::write(&path, self.build()).expect("a writable folder");
        path
    }
}
