//! Hyperparameters of a model, read from the metadata and checked.

use super::planner::TOKEN_EMBD;
use super::{Architecture, Error, RopeScaling};
use crate::gguf::{FromValue, Gguf, Value};
use std::borrow::Cow;
use std::fmt::Display;

/// The checked hyperparameters of a model: all are positive, and divisions have no remainder.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// The name in the file, or its path.
    pub name: String,
    /// Decoder layers.
    pub n_layers: u32,
    /// Number of positions that the model was trained for.
    pub n_ctx_train: u32,
    /// Width of the residual stream.
    pub n_embd: u32,
    /// Width of the feed-forward network.
    pub n_ff: u32,
    /// Number of query heads.
    pub n_heads: u32,
    /// Number of KV heads: a divisor of `n_heads`.
    pub n_kv_heads: u32,
    /// Elements per head. `n_heads * head_dim` may differ from `n_embd`.
    pub head_dim: u32,
    /// Number of first elements of a head that are rotated.
    pub rope_dim: u32,
    /// Base of the rotation frequencies: pair `i` turns by `base^(-2i / rope_dim)` per position.
    pub rope_base: f32,
    /// How rotations reach beyond the trained context.
    pub rope_scaling: RopeScaling,
    /// Number of positions that a token attends to, its own included; None: all before it.
    pub window: Option<u32>,
    /// Added to the mean square in RMSNorm.
    pub rms_eps: f32,
    /// Tokens of the vocabulary: rows of the embedding table.
    pub n_vocab: u32,
}

/// Limits of layers, heads and columns: more than any model has. Products of two are far below 2^63.
pub(super) const MAX_LAYERS: u32 = 4096;
pub(super) const MAX_WIDTH: u32 = 1 << 24;
/// Limit of a head: attention kernels keep its query in registers or workgroup memory.
pub(super) use crate::plan::MAX_HEAD_DIM;
/// Limit of the vocabulary: token ids below it are exact in f32.
pub(super) const MAX_VOCAB: u64 = 1 << 24;

impl Config {
    /// Reads the keys that all families share. The window is None: families with a window set it.
    pub(super) fn read(read: &Reader) -> Result<Config, Error> {
        let gguf = read.gguf;
        const EXPERTS: &str = "expert_count";
        let experts = read.or(EXPERTS, 0u32)?;
        if experts > 0 {
            return Err(read.error(EXPERTS, format!("{experts}, mixtures of experts are not supported")));
        }
        const HEADS: &str = "attention.head_count";
        const KV_HEADS: &str = "attention.head_count_kv";
        const KEY_DIM: &str = "attention.key_length";
        const VALUE_DIM: &str = "attention.value_length";
        const WIDTH: &str = "embedding_length";
        const ROPE_DIM: &str = "rope.dimension_count";
        let n_layers = read.count("block_count", None, MAX_LAYERS)?;
        let n_embd = read.count(WIDTH, None, MAX_WIDTH)?;
        let n_heads = read.count_of_layers(HEADS, None, n_layers)?;
        let n_kv_heads = read.count_of_layers(KV_HEADS, Some(n_heads), n_layers)?;
        if !n_heads.is_multiple_of(n_kv_heads) {
            let what = format!("{n_kv_heads}, does not divide {} {n_heads}", read.key(HEADS));
            return Err(read.error(KV_HEADS, what));
        }
        let by_width = n_embd.is_multiple_of(n_heads).then_some(n_embd / n_heads);
        if by_width.is_none() && !read.has(KEY_DIM) {
            let what = format!("{n_heads}, does not divide {} {n_embd}", read.key(WIDTH));
            return Err(read.error(HEADS, what));
        }
        let head_dim = read.count(KEY_DIM, by_width, MAX_HEAD_DIM)?;
        let value_dim = read.count(VALUE_DIM, Some(head_dim), MAX_HEAD_DIM)?;
        if value_dim != head_dim {
            let what = format!("{value_dim}, expected the key length {head_dim}");
            return Err(read.error(VALUE_DIM, what));
        }
        if n_heads as u64 * head_dim as u64 > MAX_WIDTH as u64 {
            let what = format!("{n_heads} heads of {head_dim} elements, at most {MAX_WIDTH} in all");
            return Err(read.error(HEADS, what));
        }
        let rope_dim = read.count(ROPE_DIM, Some(head_dim), head_dim)?;
        if !rope_dim.is_multiple_of(2) {
            // The key that says so: where the rotated part is the whole head, that of the head.
            let key = [ROPE_DIM, KEY_DIM].into_iter().find(|key| read.has(key)).unwrap_or(HEADS);
            if key == HEADS {
                let what = format!("{n_heads}, makes heads of {head_dim} elements, expected an even number");
                return Err(read.error(HEADS, what));
            }
            return Err(read.error(key, format!("{rope_dim}, expected an even number")));
        }
        if rope_dim != head_dim && !read.arch.partial_rope {
            return Err(read.error(ROPE_DIM, format!("{rope_dim}, expected the head size {head_dim}")));
        }
        let embedding = gguf.tensor(TOKEN_EMBD).ok_or_else(|| gguf.tensor_error(TOKEN_EMBD, "is missing"))?;
        let n_vocab = embedding.shape.get(1).copied().unwrap_or(1);
        if n_vocab > MAX_VOCAB {
            return Err(gguf.tensor_error(TOKEN_EMBD, format!("{n_vocab} rows, at most {MAX_VOCAB}")).into());
        }
        let n_ctx_train = read.count("context_length", None, u32::MAX)?;
        const BASE: &str = "rope.freq_base";
        let rope_base = read.positive(BASE, Some(1e4))?;
        let rope_scaling = RopeScaling::read(read, n_ctx_train)?;
        if rope_scaling.yarn.is_some() && rope_base <= 1.0 {
            return Err(read.error(BASE, format!("{rope_base}, expected more than 1 with YaRN")));
        }
        Ok(Config {
            name: gguf.text("general.name")?.map_or(gguf.name().to_string(), Cow::into_owned),
            n_layers,
            n_ctx_train,
            n_embd,
            n_ff: read.count_of_layers("feed_forward_length", None, n_layers)?,
            n_heads,
            n_kv_heads,
            head_dim,
            rope_dim,
            rope_base,
            rope_scaling,
            window: None,
            rms_eps: read.positive("attention.layer_norm_rms_epsilon", None)?,
            n_vocab: n_vocab as u32,
        })
    }
}

/// Reads keys with the prefix of the architecture, with defaults and limits.
pub(super) struct Reader<'a> {
    gguf: &'a Gguf,
    arch: &'static Architecture,
}

impl<'a> Reader<'a> {
    pub(super) fn new(gguf: &'a Gguf, arch: &'static Architecture) -> Reader<'a> {
        Reader { gguf, arch }
    }

    /// The key of this name in the file.
    pub(super) fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.arch.key)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.gguf.get(&self.key(name)).is_some()
    }

    pub(super) fn error(&self, name: &str, problem: impl Display) -> Error {
        self.gguf.key_error(&self.key(name), problem).into()
    }

    fn required<T: FromValue<'a>>(&self, name: &str) -> Result<T, Error> {
        Ok(self.gguf.required(&self.key(name))?)
    }

    pub(super) fn or<T: FromValue<'a>>(&self, name: &str, default: T) -> Result<T, Error> {
        Ok(self.gguf.optional(&self.key(name))?.unwrap_or(default))
    }

    /// A number in 1..=most; `default`, if there is one, where the key is missing.
    fn count(&self, name: &str, default: Option<u32>, most: u32) -> Result<u32, Error> {
        let n = default.map_or_else(|| self.required(name), |default| self.or(name, default))?;
        self.in_range(name, n, most)
    }

    fn in_range(&self, name: &str, n: u32, most: u32) -> Result<u32, Error> {
        if n == 0 || n > most {
            return Err(self.error(name, format!("{n}, expected 1 to {most}")));
        }
        Ok(n)
    }

    /// A width that the file may give for all layers at once or for each, as long as they are equal: a number in 1..=MAX_WIDTH.
    fn count_of_layers(&self, name: &str, default: Option<u32>, n_layers: u32) -> Result<u32, Error> {
        let Some(Value::Array(_)) = self.gguf.get(&self.key(name)) else {
            return self.count(name, default, MAX_WIDTH);
        };
        let layers: Vec<u32> = self.required(name)?;
        if layers.len() != n_layers as usize {
            let what = format!("array of {}, expected one number for each of {n_layers} layers", layers.len());
            return Err(self.error(name, what));
        }
        let n = layers[0]; // n_layers is not 0
        if let Some(layer) = layers.iter().position(|other| *other != n) {
            let what = format!("{n} in layer 0, {} in layer {layer}: layers that differ cannot be run", layers[layer]);
            return Err(self.error(name, what));
        }
        self.in_range(name, n, MAX_WIDTH)
    }

    pub(super) fn positive(&self, name: &str, default: Option<f32>) -> Result<f32, Error> {
        let v: f32 = default.map_or_else(|| self.required(name), |default| self.or(name, default))?;
        if !(v.is_finite() && v > 0.0) {
            return Err(self.error(name, format!("{v}, expected a positive number")));
        }
        Ok(v)
    }
}
