//! Llama as a plan: the whole forward pass on one screen.

use super::{Error, Model, PlanOptions, ROPE_TABLE};
use crate::gguf::GgmlType;
use crate::plan::*;
use std::collections::BTreeSet;

pub const TOKEN_EMBD: &str = "token_embd.weight";
pub const ROPE_FREQS: &str = "rope_freqs.weight";

pub fn plan(model: &Model, options: &PlanOptions) -> Result<Plan, Error> {
    let c = &model.config;
    let kv =
        KvDecl { layers: c.n_layers, slots: options.n_ctx, heads: c.n_kv_heads, head_dim: c.head_dim, ty: options.kv };
    kv.check().map_err(|what| Error::Kv { name: model.name().to_string(), what })?;
    let mut p = Planner { model, plan: Plan::new(kv, options.max_tokens, options.max_outputs), used: BTreeSet::new() };
    p.plan.window = c.window;
    let (embd, ff) = (c.n_embd as u64, c.n_ff as u64);
    let (q_dim, kv_dim) = (c.n_heads * c.head_dim, c.n_kv_heads * c.head_dim);
    let eps = c.rms_eps;
    let scale = 1.0 / (c.head_dim as f32).sqrt();

    let x = p.plan.buf("x", Rows::Tokens, c.n_embd);
    let h = p.plan.buf("h", Rows::Tokens, c.n_embd);
    let q = p.plan.buf("q", Rows::Tokens, q_dim);
    let k = p.plan.buf("k", Rows::Tokens, kv_dim);
    let v = p.plan.buf("v", Rows::Tokens, kv_dim);
    let attn = p.plan.buf("attn", Rows::Tokens, q_dim);
    let gate = p.plan.buf("gate", Rows::Tokens, c.n_ff);
    let up = p.plan.buf("up", Rows::Tokens, c.n_ff);
    let last = p.plan.buf("last", Rows::Outputs, c.n_embd);
    let last_h = p.plan.buf("last h", Rows::Outputs, c.n_embd);
    let logits = p.plan.buf("logits", Rows::Outputs, c.n_vocab);
    let next = p.plan.token_buf("next token");
    p.plan.head = Some(Head { logits, next });

    let embedding = p.matrix(TOKEN_EMBD, c.n_vocab as u64, embd)?;
    let table = p.rope_table(options.n_ctx)?;
    p.push(Embed { out: x, table: embedding, next: Some(next) })?;
    for layer in 0..c.n_layers {
        let name = |part: &str| format!("blk.{layer}.{part}");
        let w = p.vector(&name("attn_norm.weight"), embd)?;
        p.push(RmsNorm { out: h, x, w, eps })?;
        p.mat_mul(q, h, &name("attn_q"), q_dim as u64, embd)?;
        p.mat_mul(k, h, &name("attn_k"), kv_dim as u64, embd)?;
        p.mat_mul(v, h, &name("attn_v"), kv_dim as u64, embd)?;
        p.push(Rope { x: q, table, head_dim: c.head_dim, pairing: Pairing::Neighbours })?;
        p.push(Rope { x: k, table, head_dim: c.head_dim, pairing: Pairing::Neighbours })?;
        p.push(KvStore { k, v, layer })?;
        p.push(Attention { out: attn, q, layer, scale })?;
        p.mat_mul(h, attn, &name("attn_output"), embd, q_dim as u64)?;
        p.push(Add { out: x, x, y: h })?;

        let w = p.vector(&name("ffn_norm.weight"), embd)?;
        p.push(RmsNorm { out: h, x, w, eps })?;
        p.mat_mul(gate, h, &name("ffn_gate"), ff, embd)?;
        p.mat_mul(up, h, &name("ffn_up"), ff, embd)?;
        p.push(SwiGlu { out: gate, gate, up })?;
        p.mat_mul(h, gate, &name("ffn_down"), embd, ff)?;
        p.push(Add { out: x, x, y: h })?;
    }
    p.push(Gather { out: last, x })?;
    let w = p.vector("output_norm.weight", embd)?;
    p.push(RmsNorm { out: last_h, x: last, w, eps })?;
    let head = if p.has("output.weight") { p.matrix("output.weight", c.n_vocab as u64, embd)? } else { embedding };
    p.push(MatMul { out: logits, x: last_h, w: head, first_row: 0 })?;
    p.push(Argmax { out: next, x: logits })?;
    p.finish()
}

/// Builds a plan from the tensors of a model, checking each against the shape that the hyperparameters ask for.
struct Planner<'a> {
    model: &'a Model,
    plan: Plan,
    used: BTreeSet<String>,
}

impl Planner<'_> {
    fn has(&self, name: &str) -> bool {
        self.model.catalog.contains_key(name)
    }

    fn push(&mut self, op: impl Into<Op>) -> Result<(), Error> {
        self.plan.push(op).map_err(|error| Error::Plan { name: self.model.name().to_string(), error })
    }

    /// A product of a layer, and its bias where the model has one. `name`: without its ending.
    fn mat_mul(&mut self, out: Buf, x: Buf, name: &str, rows: u64, cols: u64) -> Result<(), Error> {
        let w = self.matrix(&format!("{name}.weight"), rows, cols)?;
        self.push(MatMul { out, x, w, first_row: 0 })?;
        let bias = format!("{name}.bias");
        if self.has(&bias) {
            let b = self.vector(&bias, rows)?;
            self.push(AddBias { x: out, b })?;
        }
        Ok(())
    }

    fn matrix(&mut self, name: &str, rows: u64, cols: u64) -> Result<Weight, Error> {
        self.tensor(name, &[cols, rows], rows, cols)
    }

    fn vector(&mut self, name: &str, cols: u64) -> Result<Weight, Error> {
        self.tensor(name, &[cols], 1, cols)
    }

    fn tensor(&mut self, name: &str, shape: &[u64], rows: u64, cols: u64) -> Result<Weight, Error> {
        let found = self.model.catalog.get(name).ok_or_else(|| self.model.tensor_error(name, "is missing"))?;
        if found.1 != shape {
            let what = format!("shape {shape:?} expected from the metadata, {:?} found", found.1);
            return Err(self.model.tensor_error(name, what));
        }
        self.used.insert(name.to_string());
        Ok(self.plan.weight(WeightDecl { name: name.to_string(), ty: found.0, rows, cols }))
    }

    /// The rotation table for all positions, with the file's divisors if it has them.
    fn rope_table(&mut self, positions: u32) -> Result<Weight, Error> {
        let dim = self.model.config.rope_dim as u64;
        if self.has(ROPE_FREQS) {
            let (ty, shape) = &self.model.catalog[ROPE_FREQS];
            if shape[..] != [dim / 2] || *ty != GgmlType::F32 {
                let what =
                    format!("F32 of shape [{}] expected from the metadata, {} of {shape:?} found", dim / 2, ty.name());
                return Err(self.model.tensor_error(ROPE_FREQS, what));
            }
            self.used.insert(ROPE_FREQS.to_string());
        }
        let decl = WeightDecl { name: ROPE_TABLE.to_string(), ty: GgmlType::F32, rows: positions as u64, cols: dim };
        Ok(self.plan.weight(decl))
    }

    /// The plan, if every tensor of the file has its place in it.
    fn finish(self) -> Result<Plan, Error> {
        match self.model.catalog.keys().find(|name| !self.used.contains(*name)) {
            Some(name) => {
                let what = "has no place in the Llama architecture, leaving it out would give wrong answers";
                Err(self.model.tensor_error(name, what))
            }
            None => Ok(self.plan),
        }
    }
}
