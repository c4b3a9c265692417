//! The shapes of well-known models.

use super::config::{MAX_HEAD_DIM, MAX_LAYERS, MAX_VOCAB, MAX_WIDTH};

/// The shape of a model: the numbers that [`super::Synth`] needs.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Shape {
    /// `llama3-8b`
    pub name: &'static str,
    /// Decoder layers.
    pub n_layers: u32,
    /// Width of the residual stream.
    pub n_embd: u32,
    /// Width of the feed-forward network.
    pub n_ff: u32,
    /// Query heads.
    pub n_heads: u32,
    /// KV heads.
    pub n_kv_heads: u32,
    /// Elements of a head.
    pub head_dim: u32,
    /// Tokens of the vocabulary.
    pub n_vocab: u32,
    /// Positions that the model was trained for.
    pub n_ctx: u32,
    /// Base of the rotation frequencies.
    pub rope_base: f32,
    /// The factor of Llama 3.1's RoPE scaling; 1: no scaling.
    pub rope_factor: f32,
    /// Whether the output matrix is the embedding table.
    pub tied: bool,
}

/// Well-known shapes, from their published configurations.
#[rustfmt::skip]
pub const SHAPES: [Shape; 7] = [
    //    name                layers  embd   ff     heads kv head  vocab   ctx     base factor tied
    shape("smollm2-135m",   [ 30,   576,   1536,    9,  3,  64,  49152,   8192], 1e5,  1.0, true),
    shape("llama3.2-1b",    [ 16,  2048,   8192,   32,  8,  64, 128256, 131072], 5e5, 32.0, true),
    shape("llama3.2-3b",    [ 28,  3072,   8192,   24,  8, 128, 128256, 131072], 5e5, 32.0, true),
    shape("llama2-7b",      [ 32,  4096,  11008,   32, 32, 128,  32000,   4096], 1e4,  1.0, false),
    shape("llama3-8b",      [ 32,  4096,  14336,   32,  8, 128, 128256,   8192], 5e5,  1.0, false),
    shape("llama3-70b",     [ 80,  8192,  28672,   64,  8, 128, 128256,   8192], 5e5,  1.0, false),
    shape("llama3.1-405b",  [126, 16384,  53248,  128,  8, 128, 128256, 131072], 5e5,  8.0, false),
];

const fn shape(name: &'static str, n: [u32; 8], rope_base: f32, rope_factor: f32, tied: bool) -> Shape {
    let [n_layers, n_embd, n_ff, n_heads, n_kv_heads, head_dim, n_vocab, n_ctx] = n;
    Shape { name, n_layers, n_embd, n_ff, n_heads, n_kv_heads, head_dim, n_vocab, n_ctx, rope_base, rope_factor, tied }
}

impl Shape {
    /// The shape of this name.
    pub fn find(name: &str) -> Option<Shape> {
        SHAPES.into_iter().find(|s| s.name == name)
    }

    /// Applies the checks of [`super::Config`]. Errors: one line with the number and its limit.
    pub fn check(&self) -> Result<(), String> {
        let numbers = [
            ("layers", self.n_layers, MAX_LAYERS),
            ("embd", self.n_embd, MAX_WIDTH),
            ("ff", self.n_ff, MAX_WIDTH),
            ("heads", self.n_heads, MAX_WIDTH),
            ("kv-heads", self.n_kv_heads, self.n_heads),
            ("head-dim", self.head_dim, MAX_HEAD_DIM),
            ("vocab", self.n_vocab, MAX_VOCAB as u32),
            ("ctx", self.n_ctx, u32::MAX),
        ];
        for (name, n, most) in numbers {
            if n == 0 || n > most {
                return Err(format!("{name} {n}, expected 1 to {most}"));
            }
        }
        if !self.n_heads.is_multiple_of(self.n_kv_heads) {
            return Err(format!("kv-heads {}, does not divide heads {}", self.n_kv_heads, self.n_heads));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(format!("head-dim {}, expected an even number", self.head_dim));
        }
        if self.n_heads as u64 * self.head_dim as u64 > MAX_WIDTH as u64 {
            let (heads, dim) = (self.n_heads, self.head_dim);
            return Err(format!("{heads} heads of {dim} elements, at most {MAX_WIDTH} in all"));
        }
        for (name, v) in [("rope-base", self.rope_base), ("rope-factor", self.rope_factor)] {
            if !(v.is_finite() && v > 0.0) {
                return Err(format!("{name} {v}, expected a positive number"));
            }
        }
        Ok(())
    }
}
