//! The builder of the families' plans. It turns tensor names into weights, and checks their shapes against the
//! hyperparameters.

use super::{Error, Model, PlanOptions, ROPE_TABLE};
use crate::gguf::GgmlType;
use crate::plan::*;
use std::collections::BTreeSet;

pub(super) const TOKEN_EMBD: &str = "token_embd.weight";
pub(super) const ROPE_FREQS: &str = "rope_freqs.weight";
const OUTPUT: &str = "output.weight";

/// The buffers of a decoder.
pub(super) struct Bufs {
    /// (tokens, n_embd): the residual stream.
    pub x: Buf,
    /// (tokens, n_embd): the normalized input of attention and feed-forward network, then their output.
    pub h: Buf,
    /// (tokens, n_heads * head_dim)
    pub q: Buf,
    /// (tokens, n_kv_heads * head_dim)
    pub k: Buf,
    /// (tokens, n_kv_heads * head_dim)
    pub v: Buf,
    /// (tokens, n_heads * head_dim): the result of attention.
    pub attn: Buf,
    /// (tokens, n_ff)
    pub gate: Buf,
    /// (tokens, n_ff)
    pub up: Buf,
    /// (outputs, n_embd): the rows of the residual stream whose logits are wanted.
    pub last: Buf,
    /// (outputs, n_embd): `last`, normalized.
    pub last_h: Buf,
    /// (outputs, n_vocab)
    pub logits: Buf,
    /// (outputs): the likeliest token.
    pub next: Buf,
}

/// A plan that is being built.
pub(super) struct Planner<'a> {
    model: &'a Model,
    plan: Plan,
    used: BTreeSet<String>,
}

impl<'a> Planner<'a> {
    /// Errors: the type of the KV cache does not fit the heads.
    pub fn new(model: &'a Model, options: &PlanOptions) -> Result<Planner<'a>, Error> {
        let c = &model.config;
        let (slots, ty) = (options.n_ctx, options.kv);
        let kv = KvDecl { layers: c.n_layers, slots, heads: c.n_kv_heads, head_dim: c.head_dim, ty };
        kv.check().map_err(|what| Error::Kv { name: model.name().to_string(), what })?;
        let mut plan = Plan::new(kv, options.max_tokens, options.max_outputs);
        plan.window = c.window;
        Ok(Planner { model, plan, used: BTreeSet::new() })
    }

    pub fn bufs(&mut self) -> Bufs {
        let c = &self.model.config;
        let (q_dim, kv_dim) = (c.n_heads * c.head_dim, c.n_kv_heads * c.head_dim);
        let plan = &mut self.plan;
        let bufs = Bufs {
            x: plan.buf("x", Rows::Tokens, c.n_embd),
            h: plan.buf("h", Rows::Tokens, c.n_embd),
            q: plan.buf("q", Rows::Tokens, q_dim),
            k: plan.buf("k", Rows::Tokens, kv_dim),
            v: plan.buf("v", Rows::Tokens, kv_dim),
            attn: plan.buf("attn", Rows::Tokens, q_dim),
            gate: plan.buf("gate", Rows::Tokens, c.n_ff),
            up: plan.buf("up", Rows::Tokens, c.n_ff),
            last: plan.buf("last", Rows::Outputs, c.n_embd),
            last_h: plan.buf("last h", Rows::Outputs, c.n_embd),
            logits: plan.buf("logits", Rows::Outputs, c.n_vocab),
            next: plan.token_buf("next token"),
        };
        plan.head = Some(Head { logits: bufs.logits, next: bufs.next });
        bufs
    }

    pub fn push(&mut self, op: impl Into<Op>) -> Result<(), Error> {
        self.plan.push(op).map_err(|error| Error::Plan { name: self.model.name().to_string(), error })
    }

    /// `out = RMSNorm(x)` of whole rows, with the weights `name.weight`.
    pub fn rms_norm(&mut self, out: Buf, x: Buf, name: &str) -> Result<(), Error> {
        let w = self.vector(&format!("{name}.weight"), self.plan[x].cols)?;
        self.push(RmsNorm { out, x, w, eps: self.model.config.rms_eps })
    }

    /// The product of x with the matrix `name.weight`, (out.cols, x.cols), plus `name.bias`, (out.cols), if the file
    /// has it.
    pub fn mat_mul(&mut self, out: Buf, x: Buf, name: &str) -> Result<(), Error> {
        let (rows, cols) = (self.plan[out].cols, self.plan[x].cols);
        let w = self.matrix(&format!("{name}.weight"), rows, cols)?;
        self.push(MatMul { out, x, w, first_row: 0 })?;
        self.bias(out, &format!("{name}.bias"))
    }

    /// Adds the tensor `name`, (x.cols), if the file has it.
    pub fn bias(&mut self, x: Buf, name: &str) -> Result<(), Error> {
        if !self.has(name) {
            return Ok(());
        }
        let b = self.vector(name, self.plan[x].cols)?;
        self.push(AddBias { x, b })
    }

    /// Errors: the file has some of these tensors, and not all of them in every layer.
    pub fn all_or_none<const N: usize>(&self, n_layers: u32, parts: [&str; N]) -> Result<(), Error> {
        let names = (0..n_layers).flat_map(|layer| parts.map(|part| format!("blk.{layer}.{part}")));
        let (present, missing): (Vec<String>, Vec<String>) = names.partition(|name| self.has(name));
        match (present.first(), missing.first()) {
            (Some(present), Some(missing)) => {
                Err(self.model.tensor_error(missing, format!("is missing, but the file has {present}")))
            }
            _ => Ok(()),
        }
    }

    /// The vector `name`, (cols).
    pub fn vector(&mut self, name: &str, cols: u32) -> Result<Weight, Error> {
        self.tensor(name, &[cols.into()], 1, cols)
    }

    /// The embedding table, (n_vocab, n_embd).
    pub fn embedding(&mut self) -> Result<Weight, Error> {
        self.matrix(TOKEN_EMBD, self.model.config.n_vocab, self.model.config.n_embd)
    }

    /// The product of x with the output matrix, (n_vocab, n_embd): the embedding table if the file has no
    /// `output.weight`.
    pub fn head(&mut self, logits: Buf, x: Buf, embedding: Weight) -> Result<(), Error> {
        let own = self.has(OUTPUT);
        let w = if own { self.matrix(OUTPUT, self.plan[logits].cols, self.plan[x].cols)? } else { embedding };
        self.push(MatMul { out: logits, x, w, first_row: 0 })
    }

    /// The rotation table for all positions, with the divisors of the file if it has them.
    pub fn rope_table(&mut self, positions: u32) -> Weight {
        let (name, cols) = (ROPE_TABLE.to_string(), self.model.config.rope_dim.into());
        self.plan.weight(WeightDecl { name, ty: GgmlType::F32, rows: positions.into(), cols })
    }

    /// Accepts divisors of the rotation frequencies in the file, (rope_dim / 2).
    pub fn rope_freqs(&mut self) -> Result<(), Error> {
        let half = self.model.config.rope_dim as u64 / 2;
        let Some((ty, shape)) = self.model.catalog.get(ROPE_FREQS) else {
            return Ok(());
        };
        if !is_shape(shape, &[half]) || *ty != GgmlType::F32 {
            let what = format!("F32 of shape [{half}] expected from the metadata, {} of {shape:?} found", ty.name());
            return Err(self.model.tensor_error(ROPE_FREQS, what));
        }
        self.used.insert(ROPE_FREQS.to_string());
        Ok(())
    }

    /// The finished plan. Errors: a tensor of the file has no place in it.
    pub fn finish(self) -> Result<Plan, Error> {
        match self.model.catalog.keys().find(|name| !self.used.contains(*name)) {
            Some(name) => {
                let arch = self.model.arch.name;
                let what = format!("has no place in the {arch} architecture, leaving it out would give wrong answers");
                Err(self.model.tensor_error(name, what))
            }
            None => Ok(self.plan),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.model.catalog.contains_key(name)
    }

    fn matrix(&mut self, name: &str, rows: u32, cols: u32) -> Result<Weight, Error> {
        self.tensor(name, &[cols.into(), rows.into()], rows, cols)
    }

    fn tensor(&mut self, name: &str, shape: &[u64], rows: u32, cols: u32) -> Result<Weight, Error> {
        let found = self.model.catalog.get(name).ok_or_else(|| self.model.tensor_error(name, "is missing"))?;
        if !is_shape(&found.1, shape) {
            let what = format!("shape {shape:?} expected from the metadata, {:?} found", found.1);
            return Err(self.model.tensor_error(name, what));
        }
        self.used.insert(name.to_string());
        let (name, rows, cols) = (name.to_string(), rows.into(), cols.into());
        Ok(self.plan.weight(WeightDecl { name, ty: found.0, rows, cols }))
    }
}

/// Whether two shapes are the same, whatever dimensions of 1 follow the others.
pub(super) fn is_shape(found: &[u64], expected: &[u64]) -> bool {
    fn trimmed(mut shape: &[u64]) -> &[u64] {
        while let [rest @ .., 1] = shape {
            shape = rest;
        }
        shape
    }
    trimmed(found) == trimmed(expected)
}
