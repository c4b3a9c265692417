//! Models without a file: well-known shapes with seeded random weights, for benchmarks and tests.

use super::{Catalog, Config, Model, RopeScaling, Source, llama};
use crate::gguf::GgmlType;

/// The numbers of a well-known model, from its published configuration.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Shape {
    pub name: &'static str,
    pub n_layers: u32,
    pub n_embd: u32,
    pub n_ff: u32,
    pub n_heads: u32,
    pub n_kv_heads: u32,
    pub head_dim: u32,
    pub n_vocab: u32,
    pub n_ctx: u32,
    pub rope_base: f32,
    /// Whether the output matrix is the embedding table.
    pub tied: bool,
}

#[rustfmt::skip]
pub const SHAPES: [Shape; 7] = [
    //    name                layers  embd   ff     heads kv head  vocab   ctx     base    tied
    shape("smollm2-135m",   [ 30,   576,   1536,    9,  3,  64,  49152,   8192], 1e5, true),
    shape("llama3.2-1b",    [ 16,  2048,   8192,   32,  8,  64, 128256, 131072], 5e5, true),
    shape("llama3.2-3b",    [ 28,  3072,   8192,   24,  8, 128, 128256, 131072], 5e5, true),
    shape("llama2-7b",      [ 32,  4096,  11008,   32, 32, 128,  32000,   4096], 1e4, false),
    shape("llama3-8b",      [ 32,  4096,  14336,   32,  8, 128, 128256,   8192], 5e5, false),
    shape("llama3-70b",     [ 80,  8192,  28672,   64,  8, 128, 128256,   8192], 5e5, false),
    shape("llama3.1-405b",  [126, 16384,  53248,  128,  8, 128, 128256, 131072], 5e5, false),
];

const fn shape(name: &'static str, n: [u32; 8], rope_base: f32, tied: bool) -> Shape {
    let [n_layers, n_embd, n_ff, n_heads, n_kv_heads, head_dim, n_vocab, n_ctx] = n;
    Shape { name, n_layers, n_embd, n_ff, n_heads, n_kv_heads, head_dim, n_vocab, n_ctx, rope_base, tied }
}

impl Shape {
    /// The shape of this name.
    pub fn find(name: &str) -> Option<Shape> {
        SHAPES.into_iter().find(|s| s.name == name)
    }

    /// A model of this shape, all its matrices of type `ty` (norms are F32), its weights random.
    pub fn model(&self, ty: GgmlType, seed: u64) -> Model {
        let config = Config {
            name: format!("{}:{}", self.name, ty.name()),
            n_layers: self.n_layers,
            n_ctx_train: self.n_ctx,
            n_embd: self.n_embd,
            n_ff: self.n_ff,
            n_heads: self.n_heads,
            n_kv_heads: self.n_kv_heads,
            head_dim: self.head_dim,
            rope_dim: self.head_dim,
            rope_base: self.rope_base,
            rope_scaling: RopeScaling::NONE,
            rms_eps: 1e-5,
            n_vocab: self.n_vocab,
        };
        let mut catalog = Catalog::new();
        let (q_dim, kv_dim) = (self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim);
        let mut matrix = |name: &str, rows: u32, cols: u32| {
            catalog.insert(name.to_string(), (ty, vec![cols as u64, rows as u64]));
        };
        matrix(llama::TOKEN_EMBD, self.n_vocab, self.n_embd);
        if !self.tied {
            matrix("output.weight", self.n_vocab, self.n_embd);
        }
        for layer in 0..self.n_layers {
            let mut part = |part: &str, rows, cols| matrix(&format!("blk.{layer}.{part}.weight"), rows, cols);
            part("attn_q", q_dim, self.n_embd);
            part("attn_k", kv_dim, self.n_embd);
            part("attn_v", kv_dim, self.n_embd);
            part("attn_output", self.n_embd, q_dim);
            part("ffn_gate", self.n_ff, self.n_embd);
            part("ffn_up", self.n_ff, self.n_embd);
            part("ffn_down", self.n_embd, self.n_ff);
        }
        let mut norm = |name: String| catalog.insert(name, (GgmlType::F32, vec![self.n_embd as u64]));
        norm("output_norm.weight".to_string());
        for layer in 0..self.n_layers {
            norm(format!("blk.{layer}.attn_norm.weight"));
            norm(format!("blk.{layer}.ffn_norm.weight"));
        }
        Model { config, catalog, source: Source::Random { seed } }
    }
}
