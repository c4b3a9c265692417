//! Models with a given shape and seeded random weights, in memory or for a file, generated in pieces of constant size.

use super::llama::LLAMA;
use super::planner::{ROPE_FREQS, TOKEN_EMBD};
use super::{Catalog, Config, Model, RopeScaling, Shape, Source};
use crate::gguf::{GgmlType, Header};
use crate::quant::{Random, random_weights};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::f64::consts::TAU;

/// A model with random weights. Matrices have the type `ty` if their rows are whole blocks, else [`BLOCK_32`] or F16;
/// norms are F32.
///
/// Rows of n weights have variance 1 / n, and norms are within 0.1 of 1, so that activations and logits stay near 1 for
/// any number of layers. The same seed gives the same weights on every machine.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Synth {
    /// The sizes.
    pub shape: Shape,
    /// The type of matrices whose rows are whole blocks of it.
    pub ty: GgmlType,
    /// Of the random weights.
    pub seed: u64,
}

/// A tensor of a [`Synth`].
#[derive(Clone, PartialEq, Debug)]
pub struct SynthTensor {
    /// As files call it: `blk.0.attn_q.weight`.
    pub name: String,
    /// The type of its elements.
    pub ty: GgmlType,
    /// Contiguous dimension first.
    pub shape: Vec<u64>,
    /// Index in the file: the tensor's part of the seed.
    index: u64,
}

/// The type of rows whose length is a multiple of 32, but not of the block size, as in llama.cpp's quantizer.
const BLOCK_32: GgmlType = GgmlType::Q8_0;
/// Elements per piece: whole blocks of every type, 1 MiB in F32.
const PIECE: u64 = 1 << 18;
/// Maximum difference of a norm's weights from 1.
const NORM_SPREAD: f32 = 0.1;
const RMS_EPS: f32 = 1e-5;

/// `ty` if rows of `cols` elements are whole blocks of it, else [`BLOCK_32`] or F16.
pub fn matrix_type(ty: GgmlType, cols: u64) -> GgmlType {
    let fits = |ty: &GgmlType| cols.is_multiple_of(ty.block_size());
    [ty, BLOCK_32].into_iter().find(fits).unwrap_or(GgmlType::F16)
}

impl SynthTensor {
    /// Product of the dimensions.
    pub fn n_elements(&self) -> u64 {
        self.shape.iter().product()
    }

    /// Pieces of [`Synth::piece`].
    pub fn n_pieces(&self) -> u64 {
        self.n_elements().div_ceil(PIECE)
    }
}

impl Synth {
    /// All tensors, in the order of the file.
    pub fn tensors(&self) -> Vec<SynthTensor> {
        let s = &self.shape;
        let (embd, ff) = (s.n_embd as u64, s.n_ff as u64);
        let (q_dim, kv_dim) = ((s.n_heads * s.head_dim) as u64, (s.n_kv_heads * s.head_dim) as u64);
        let mut tensors = vec![];
        let mut add = |name: String, ty, shape: &[u64]| {
            let index = tensors.len() as u64;
            tensors.push(SynthTensor { name, ty, shape: shape.to_vec(), index });
        };
        let matrix = |cols| matrix_type(self.ty, cols);
        add(TOKEN_EMBD.to_string(), matrix(embd), &[embd, s.n_vocab as u64]);
        for layer in 0..s.n_layers {
            let mut part = |part: &str, ty, shape: &[u64]| add(format!("blk.{layer}.{part}.weight"), ty, shape);
            part("attn_norm", GgmlType::F32, &[embd]);
            part("attn_q", matrix(embd), &[embd, q_dim]);
            part("attn_k", matrix(embd), &[embd, kv_dim]);
            part("attn_v", matrix(embd), &[embd, kv_dim]);
            part("attn_output", matrix(q_dim), &[q_dim, embd]);
            part("ffn_norm", GgmlType::F32, &[embd]);
            part("ffn_gate", matrix(embd), &[embd, ff]);
            part("ffn_up", matrix(embd), &[embd, ff]);
            part("ffn_down", matrix(ff), &[ff, embd]);
        }
        add("output_norm.weight".to_string(), GgmlType::F32, &[embd]);
        if !s.tied {
            add("output.weight".to_string(), matrix(embd), &[embd, s.n_vocab as u64]);
        }
        if s.rope_factor != 1.0 {
            add(ROPE_FREQS.to_string(), GgmlType::F32, &[s.head_dim as u64 / 2]);
        }
        tensors
    }

    /// Piece `i` of a tensor's data. The data is all pieces in order.
    pub fn piece(&self, tensor: &SynthTensor, i: u64) -> Vec<u8> {
        let n = PIECE.min(tensor.n_elements() - i * PIECE);
        let mut random = Random::stream(self.seed, tensor.index << 32 | i);
        match tensor.shape[..] {
            [_] if tensor.name == ROPE_FREQS => self.rope_divisors().into_iter().flat_map(f32::to_le_bytes).collect(),
            [_] => (0..n).flat_map(|_| (1.0 + random.uniform(NORM_SPREAD)).to_le_bytes()).collect(),
            _ => random_weights(tensor.ty, n, (tensor.shape[0] as f32).powf(-0.5), &mut random),
        }
    }

    /// The data of a tensor.
    pub fn data(&self, tensor: &SynthTensor) -> Vec<u8> {
        let pieces: Vec<Vec<u8>> = (0..tensor.n_pieces()).into_par_iter().map(|i| self.piece(tensor, i)).collect();
        pieces.concat()
    }

    /// Llama 3.1's divisors of the rotation frequencies (head_dim / 2), after `apply_scaling` of Meta's llama-models: 1
    /// for wavelengths of at most a quarter of the original context, the factor for wavelengths longer than the
    /// context; between them the inverse is interpolated.
    fn rope_divisors(&self) -> Vec<f32> {
        const ORIGINAL_CONTEXT: f64 = 8192.0;
        const MANY_TURNS: f64 = 4.0;
        let (base, dim) = (self.shape.rope_base as f64, self.shape.head_dim as f64);
        let divisor = |pair: u32| {
            let turns = ORIGINAL_CONTEXT / (TAU * base.powf(2.0 * pair as f64 / dim));
            let smooth = ((turns - 1.0) / (MANY_TURNS - 1.0)).clamp(0.0, 1.0);
            (1.0 / ((1.0 - smooth) / self.shape.rope_factor as f64 + smooth)) as f32
        };
        (0..self.shape.head_dim / 2).map(divisor).collect()
    }

    /// `llama3-8b:Q4_0`
    pub fn name(&self) -> String {
        format!("{}:{}", self.shape.name, self.ty.name())
    }

    /// The header of the file without the vocabulary: hyperparameters and tensors.
    pub fn header(&self) -> Header {
        let s = &self.shape;
        let mut header = Header::default();
        header.key("general.architecture", LLAMA.key);
        header.key("general.name", &*self.name());
        let key = |name: &str| format!("{}.{name}", LLAMA.key);
        let numbers = [
            ("block_count", s.n_layers),
            ("context_length", s.n_ctx),
            ("embedding_length", s.n_embd),
            ("feed_forward_length", s.n_ff),
            ("attention.head_count", s.n_heads),
            ("attention.head_count_kv", s.n_kv_heads),
            ("attention.key_length", s.head_dim),
            ("attention.value_length", s.head_dim),
            ("rope.dimension_count", s.head_dim),
            ("vocab_size", s.n_vocab),
        ];
        numbers.into_iter().for_each(|(name, n)| header.key(&key(name), n));
        header.key(&key("rope.freq_base"), s.rope_base);
        header.key(&key("attention.layer_norm_rms_epsilon"), RMS_EPS);
        self.tensors().iter().for_each(|t| header.tensor(&t.name, t.ty, &t.shape));
        header
    }

    /// The model without a file.
    pub fn model(self) -> Model {
        let s = &self.shape;
        let config = Config {
            name: self.name(),
            n_layers: s.n_layers,
            n_ctx_train: s.n_ctx,
            n_embd: s.n_embd,
            n_ff: s.n_ff,
            n_heads: s.n_heads,
            n_kv_heads: s.n_kv_heads,
            head_dim: s.head_dim,
            rope_dim: s.head_dim,
            rope_base: s.rope_base,
            rope_scaling: RopeScaling::NONE,
            window: None,
            rms_eps: RMS_EPS,
            n_vocab: s.n_vocab,
        };
        let tensors: BTreeMap<String, SynthTensor> = self.tensors().into_iter().map(|t| (t.name.clone(), t)).collect();
        let catalog: Catalog = tensors.iter().map(|(name, t)| (name.clone(), (t.ty, t.shape.clone()))).collect();
        Model { arch: &LLAMA, config, catalog, other_vocab_size: None, source: Source::Random { synth: self, tensors } }
    }
}
