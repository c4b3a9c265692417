use super::{Error, RopeScaling};
use crate::gguf::{FromValue, Gguf, excerpt};

/// Hyperparameters of a Llama model, checked: nothing is zero, every division is even.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// What the file calls itself, or its path.
    pub name: String,
    pub n_layers: u32,
    /// Positions that the model was trained for.
    pub n_ctx_train: u32,
    /// Width of the residual stream.
    pub n_embd: u32,
    /// Width of the feed-forward network.
    pub n_ff: u32,
    /// Query heads.
    pub n_heads: u32,
    /// KV heads: a divisor of `n_heads`.
    pub n_kv_heads: u32,
    /// Elements of a head. `n_heads * head_dim` need not be `n_embd`.
    pub head_dim: u32,
    /// Elements of a head that are rotated: the first ones.
    pub rope_dim: u32,
    pub rope_base: f32,
    pub rope_scaling: RopeScaling,
    /// Positions that a token attends to, its own included; None: all before it.
    pub window: Option<u32>,
    /// Added to the mean square in RMSNorm.
    pub rms_eps: f32,
    pub n_vocab: u32,
}

/// More layers, heads or columns than any model has; products of two stay far below 2^63.
pub(super) const MAX_LAYERS: u32 = 4096;
pub(super) const MAX_WIDTH: u32 = 1 << 24;
/// Attention kernels keep a head's query in registers or workgroup memory.
pub(super) use crate::plan::MAX_HEAD_DIM;
/// Token ids are exact as f32 below this.
pub(super) const MAX_VOCAB: u64 = 1 << 24;

impl Config {
    pub fn from_gguf(gguf: &Gguf) -> Result<Config, Error> {
        let arch: &str = gguf.required("general.architecture")?;
        if arch != "llama" {
            let what = format!("{}, only llama can be run", excerpt(arch));
            return Err(gguf.key_error("general.architecture", what).into());
        }
        let read = Reader { gguf };
        let experts = read.or("llama.expert_count", 0u32)?;
        if experts > 0 {
            return Err(gguf
                .key_error("llama.expert_count", format!("{experts}, mixtures of experts cannot be run"))
                .into());
        }
        let n_layers = read.count("llama.block_count", None, MAX_LAYERS)?;
        let n_embd = read.count("llama.embedding_length", None, MAX_WIDTH)?;
        let n_heads = read.count("llama.attention.head_count", None, MAX_WIDTH)?;
        let n_kv_heads = read.count("llama.attention.head_count_kv", Some(n_heads), MAX_WIDTH)?;
        if !n_heads.is_multiple_of(n_kv_heads) {
            let what = format!("{n_kv_heads}, does not divide llama.attention.head_count {n_heads}");
            return Err(gguf.key_error("llama.attention.head_count_kv", what).into());
        }
        let by_width = n_embd.is_multiple_of(n_heads).then_some(n_embd / n_heads);
        if by_width.is_none() && gguf.get("llama.attention.key_length").is_none() {
            let what = format!("{n_heads}, does not divide llama.embedding_length {n_embd}");
            return Err(gguf.key_error("llama.attention.head_count", what).into());
        }
        let head_dim = read.count("llama.attention.key_length", by_width, MAX_HEAD_DIM)?;
        let value_dim = read.count("llama.attention.value_length", Some(head_dim), MAX_HEAD_DIM)?;
        if value_dim != head_dim {
            let what = format!("{value_dim}, only the key length ({head_dim}) can be run");
            return Err(gguf.key_error("llama.attention.value_length", what).into());
        }
        if n_heads as u64 * head_dim as u64 > MAX_WIDTH as u64 {
            let what = format!("{n_heads} heads of {head_dim} elements, at most {MAX_WIDTH} in all");
            return Err(gguf.key_error("llama.attention.head_count", what).into());
        }
        let rope_dim = read.count("llama.rope.dimension_count", Some(head_dim), head_dim)?;
        if !rope_dim.is_multiple_of(2) {
            let what = format!("{rope_dim}, expected an even number");
            return Err(gguf.key_error("llama.rope.dimension_count", what).into());
        }
        let embedding = gguf
            .tensor(super::llama::TOKEN_EMBD)
            .ok_or_else(|| gguf.tensor_error(super::llama::TOKEN_EMBD, "is missing"))?;
        let n_vocab = embedding.shape.get(1).copied().unwrap_or(1);
        if n_vocab > MAX_VOCAB {
            let what = format!("{n_vocab} rows, at most {MAX_VOCAB}");
            return Err(gguf.tensor_error(super::llama::TOKEN_EMBD, what).into());
        }
        if let Some(n) = gguf.u64("llama.vocab_size")?.filter(|n| *n != n_vocab) {
            let what = format!("{n}, but token_embd.weight has {n_vocab} rows");
            return Err(gguf.key_error("llama.vocab_size", what).into());
        }
        let n_ctx_train = read.count("llama.context_length", None, u32::MAX)?;
        const BASE: &str = "llama.rope.freq_base";
        let rope_base = read.positive(BASE, Some(1e4))?;
        let rope_scaling = RopeScaling::read(&read, n_ctx_train)?;
        if rope_scaling.yarn.is_some() && rope_base <= 1.0 {
            return Err(gguf.key_error(BASE, format!("{rope_base}, expected more than 1 with YaRN")).into());
        }
        Ok(Config {
            name: read.or("general.name", gguf.name())?.to_string(),
            n_layers,
            n_ctx_train,
            n_embd,
            n_ff: read.count("llama.feed_forward_length", None, MAX_WIDTH)?,
            n_heads,
            n_kv_heads,
            head_dim,
            rope_dim,
            rope_base,
            rope_scaling,
            // llama.cpp does not read this key of Llama files; here what a file asks for is done.
            window: Some(read.or("llama.attention.sliding_window", 0)?).filter(|window| *window > 0),
            rms_eps: read.positive("llama.attention.layer_norm_rms_epsilon", None)?,
            n_vocab: n_vocab as u32,
        })
    }
}

/// Reads keys that have defaults and limits.
pub(super) struct Reader<'a> {
    pub(super) gguf: &'a Gguf,
}

impl<'a> Reader<'a> {
    pub(super) fn or<T: FromValue<'a>>(&self, key: &str, default: T) -> Result<T, Error> {
        Ok(self.gguf.optional(key)?.unwrap_or(default))
    }

    /// A number in 1..=most; `default` where the key is missing, if there is one.
    fn count(&self, key: &str, default: Option<u32>, most: u32) -> Result<u32, Error> {
        let n = match default {
            Some(default) => self.or(key, default)?,
            None => self.gguf.required(key)?,
        };
        if n == 0 || n > most {
            return Err(self.gguf.key_error(key, format!("{n}, expected 1 to {most}")).into());
        }
        Ok(n)
    }

    pub(super) fn positive(&self, key: &str, default: Option<f32>) -> Result<f32, Error> {
        let v = match default {
            Some(default) => self.or(key, default)?,
            None => self.gguf.required(key)?,
        };
        if !(v.is_finite() && v > 0.0) {
            return Err(self.gguf.key_error(key, format!("{v}, expected a positive number")).into());
        }
        Ok(v)
    }
}
