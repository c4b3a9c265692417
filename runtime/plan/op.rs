//! The operations of a plan. The core set is what a port must supply; a fused operation is defined by its parts.

use super::{Buf, BufDecl, Elem, Plan, PlanError, Rows, Weight};

/// `out[t, :] = table[token[t], :]`. Where row `t` of the step says [`NEXT_TOKEN`](super::NEXT_TOKEN), the token is `next[t]`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Embed {
    pub out: Buf,
    pub table: Weight,
    /// What an `Argmax` of an earlier step wrote.
    pub next: Option<Buf>,
}

/// `out[i, :] = x[output[i], :]`: the rows whose logits are wanted.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Gather {
    pub out: Buf,
    pub x: Buf,
}

/// `out[t, g, i] = x[t, g, i] / sqrt(mean_j(x[t, g, j]^2) + eps) * w[i]` (Zhang and Sennrich, 2019): each group of `w.cols`
/// elements of a row is normalized by itself. A row of the residual stream is one group; a row of queries or keys has a group per
/// head (Qwen3). `out` may be `x`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RmsNorm {
    pub out: Buf,
    pub x: Buf,
    pub w: Weight,
    /// Added to the mean square.
    pub eps: f32,
}

/// `out[t, r] = sum_c w[first_row + r, c] * x[t, c]` for the `out.cols` rows of `w` from `first_row` on.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct MatMul {
    pub out: Buf,
    pub x: Buf,
    pub w: Weight,
    pub first_row: u32,
}

/// Rotary embedding in place (Su et al., 2021): with `(c, s) = table[position[t], 2i..2i + 2]` and `(a, b)` the elements of pair `i`,
/// `x[t, h, a], x[t, h, b] = x[a] * c - x[b] * s, x[a] * s + x[b] * c` for the `table.cols / 2` pairs of each head.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rope {
    pub x: Buf,
    /// (positions, rope_dim) f32: cosine and sine of each pair's angle. Computed in f64 on the host: f32 angles are
    /// wrong by 0.01 rad at position 131071.
    pub table: Weight,
    pub head_dim: u32,
    pub pairing: Pairing,
}

/// Which elements of a head rotate together. The first `rope_dim` are rotated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pairing {
    /// `2i` and `2i + 1`, as in Su et al. and in Llama's GGUF files.
    Neighbours,
    /// `i` and `i + rope_dim / 2`, as in GPT-NeoX and in Qwen's GGUF files.
    Halves,
}

/// `K[layer, slot[t], :] = k[t, :]`, and the same for V.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct KvStore {
    pub k: Buf,
    pub v: Buf,
    pub layer: u32,
}

/// `out[t, h, :] = sum_s softmax_s(scale * q[t, h, :] . K[layer, s, g, :]) V[layer, s, g, :]` over the slots `s` that
/// row `t` attends to, with the KV head `g = h / (n_heads / kv.heads)` (GQA; Ainslie et al., 2023).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Attention {
    pub out: Buf,
    pub q: Buf,
    pub layer: u32,
    pub scale: f32,
}

/// `out = gate / (1 + exp(-gate)) * up` (Shazeer, 2020). `out` may be `gate`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SwiGlu {
    pub out: Buf,
    pub gate: Buf,
    pub up: Buf,
}

/// `out = x + y`. `out` may be `x`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Add {
    pub out: Buf,
    pub x: Buf,
    pub y: Buf,
}

/// `x[t, :] += b`, in place.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct AddBias {
    pub x: Buf,
    pub b: Weight,
}

/// `out[t] = argmax_i x[t, i]`, the lowest index among equals.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Argmax {
    pub out: Buf,
    pub x: Buf,
}

/// Several operations in one kernel. Its meaning is that of `parts` run in order; only the buffers of
/// [`Op::writes`] hold anything afterwards.
#[derive(Clone, PartialEq, Debug)]
pub struct Fused {
    pub stem: &'static str,
    pub parts: Vec<Op>,
    /// What the parts write and a later operation reads.
    pub kept: Vec<Buf>,
}

#[derive(Clone, PartialEq, Debug)]
pub enum Op {
    Embed(Embed),
    Gather(Gather),
    RmsNorm(RmsNorm),
    MatMul(MatMul),
    Rope(Rope),
    KvStore(KvStore),
    Attention(Attention),
    SwiGlu(SwiGlu),
    Add(Add),
    AddBias(AddBias),
    Argmax(Argmax),
    Fused(Fused),
}

macro_rules! into_op {
    ($($name:ident)*) => {$(
        impl From<$name> for Op {
            fn from(op: $name) -> Op {
                Op::$name(op)
            }
        }
    )*};
}
into_op!(Embed Gather RmsNorm MatMul Rope KvStore Attention SwiGlu Add AddBias Argmax Fused);

/// Stems of the core operations: the names of their kernels, shaders, reference functions, cases and bench rows.
pub const CORE_STEMS: [&str; 11] =
    ["embed", "gather", "rms_norm", "mat_mul", "rope", "kv_store", "attention", "swi_glu", "add", "add_bias", "argmax"];

impl Op {
    /// The one name of the operation.
    pub fn stem(&self) -> &'static str {
        match self {
            Op::Embed(_) => "embed",
            Op::Gather(_) => "gather",
            Op::RmsNorm(_) => "rms_norm",
            Op::MatMul(_) => "mat_mul",
            Op::Rope(_) => "rope",
            Op::KvStore(_) => "kv_store",
            Op::Attention(_) => "attention",
            Op::SwiGlu(_) => "swi_glu",
            Op::Add(_) => "add",
            Op::AddBias(_) => "add_bias",
            Op::Argmax(_) => "argmax",
            Op::Fused(op) => op.stem,
        }
    }

    /// The buffers that the operation reads, in no order, each once or more.
    pub fn reads(&self) -> Vec<Buf> {
        match self {
            Op::Embed(op) => op.next.into_iter().collect(),
            Op::Gather(op) => vec![op.x],
            Op::RmsNorm(op) => vec![op.x],
            Op::MatMul(op) => vec![op.x],
            Op::Rope(op) => vec![op.x],
            Op::KvStore(op) => vec![op.k, op.v],
            Op::Attention(op) => vec![op.q],
            Op::SwiGlu(op) => vec![op.gate, op.up],
            Op::Add(op) => vec![op.x, op.y],
            Op::AddBias(op) => vec![op.x],
            Op::Argmax(op) => vec![op.x],
            Op::Fused(op) => {
                let mut written = vec![];
                let mut reads = vec![];
                for part in &op.parts {
                    reads.extend(part.reads().into_iter().filter(|b| !written.contains(b)));
                    written.extend(part.writes());
                }
                reads
            }
        }
    }

    /// The buffers that hold the operation's results.
    pub fn writes(&self) -> Vec<Buf> {
        match self {
            Op::Embed(op) => vec![op.out],
            Op::Gather(op) => vec![op.out],
            Op::RmsNorm(op) => vec![op.out],
            Op::MatMul(op) => vec![op.out],
            Op::Rope(op) => vec![op.x],
            Op::KvStore(_) => vec![],
            Op::Attention(op) => vec![op.out],
            Op::SwiGlu(op) => vec![op.out],
            Op::Add(op) => vec![op.out],
            Op::AddBias(op) => vec![op.x],
            Op::Argmax(op) => vec![op.out],
            Op::Fused(op) => op.kept.clone(),
        }
    }

    /// The weights that the operation reads.
    pub fn weights(&self) -> Vec<Weight> {
        match self {
            Op::Embed(op) => vec![op.table],
            Op::RmsNorm(op) => vec![op.w],
            Op::MatMul(op) => vec![op.w],
            Op::Rope(op) => vec![op.table],
            Op::AddBias(op) => vec![op.b],
            Op::Fused(op) => op.parts.iter().flat_map(Op::weights).collect(),
            _ => vec![],
        }
    }

    /// The core operations that define this one.
    pub fn expand(&self) -> Vec<Op> {
        match self {
            Op::Fused(op) => op.parts.iter().flat_map(Op::expand).collect(),
            op => vec![op.clone()],
        }
    }

    /// Checks every shape against the plan's declarations.
    pub fn check(&self, plan: &Plan) -> Result<(), PlanError> {
        let fail = |what: String| PlanError { op: self.stem(), what };
        let want = |b: Buf, rows: Rows, cols: u64| expect(plan, b, rows, cols, Elem::F32).map_err(fail);
        let vector = |w: Weight, cols: u32| {
            let d = &plan[w];
            match (d.rows, d.cols) == (1, cols as u64) {
                true => Ok(()),
                false => Err(fail(format!("weight {} is ({}, {}), wanted (1, {cols})", d.name, d.rows, d.cols))),
            }
        };
        let layer = |layer: u32| match layer < plan.kv.layers {
            true => Ok(()),
            false => Err(fail(format!("layer {layer}, the KV cache has {}", plan.kv.layers))),
        };
        match self {
            Op::Embed(op) => {
                if let Some(next) = op.next {
                    expect(plan, next, Rows::Outputs, 1, Elem::U32).map_err(fail)?;
                }
                want(op.out, Rows::Tokens, plan[op.table].cols)
            }
            Op::Gather(op) => {
                want(op.x, Rows::Tokens, plan[op.out].cols as u64)?;
                want(op.out, Rows::Outputs, plan[op.x].cols as u64)
            }
            Op::RmsNorm(op) => {
                let (w, cols) = (&plan[op.w], plan[op.x].cols as u64);
                if w.rows != 1 || !cols.is_multiple_of(w.cols) {
                    let what =
                        format!("weight {} is ({}, {}), wanted (1, a divisor of {cols})", w.name, w.rows, w.cols);
                    return Err(fail(what));
                }
                same(plan, op.out, op.x).map_err(fail)
            }
            Op::MatMul(op) => {
                let w = &plan[op.w];
                let (x, out) = (&plan[op.x], &plan[op.out]);
                want(op.x, x.rows, w.cols)?;
                want(op.out, x.rows, out.cols as u64)?;
                let last = op.first_row as u64 + out.cols as u64;
                if op.x == op.out || last > w.rows {
                    return Err(fail(format!("rows {}..{last} of {}, which has {}", op.first_row, w.name, w.rows)));
                }
                Ok(())
            }
            Op::Rope(op) => {
                let (x, table) = (&plan[op.x], &plan[op.table]);
                want(op.x, Rows::Tokens, x.cols as u64)?;
                if !x.cols.is_multiple_of(op.head_dim)
                    || table.cols > op.head_dim as u64
                    || !table.cols.is_multiple_of(2)
                {
                    return Err(fail(format!(
                        "{} columns in heads of {}, {} of them rotated",
                        x.cols, op.head_dim, table.cols
                    )));
                }
                Ok(())
            }
            Op::KvStore(op) => {
                plan.kv.check().map_err(fail)?;
                layer(op.layer)?;
                want(op.k, Rows::Tokens, plan.kv.row() as u64)?;
                want(op.v, Rows::Tokens, plan.kv.row() as u64)
            }
            Op::Attention(op) => {
                plan.kv.check().map_err(fail)?;
                layer(op.layer)?;
                let q = &plan[op.q];
                if !q.cols.is_multiple_of(plan.kv.row()) || op.q == op.out {
                    return Err(fail(format!("{} query columns, {} of keys", q.cols, plan.kv.row())));
                }
                want(op.q, Rows::Tokens, q.cols as u64)?;
                same(plan, op.out, op.q).map_err(fail)
            }
            Op::SwiGlu(op) => {
                same(plan, op.up, op.gate).map_err(fail)?;
                same(plan, op.out, op.gate).map_err(fail)
            }
            Op::Add(op) => {
                same(plan, op.y, op.x).map_err(fail)?;
                same(plan, op.out, op.x).map_err(fail)
            }
            Op::AddBias(op) => {
                let x = &plan[op.x];
                vector(op.b, x.cols)?;
                want(op.x, x.rows, x.cols as u64)
            }
            Op::Argmax(op) => {
                let x = &plan[op.x];
                want(op.x, Rows::Outputs, x.cols as u64)?;
                expect(plan, op.out, Rows::Outputs, 1, Elem::U32).map_err(fail)
            }
            Op::Fused(op) => op.parts.iter().try_for_each(|part| part.check(plan)),
        }
    }
}

fn expect(plan: &Plan, b: Buf, rows: Rows, cols: u64, elem: Elem) -> Result<(), String> {
    let BufDecl { name, rows: r, cols: c, elem: e } = &plan[b];
    match (*r, *c as u64, *e) == (rows, cols, elem) && cols > 0 {
        true => Ok(()),
        false => Err(format!("buffer {name} is ({r:?}, {c}) {e:?}, wanted ({rows:?}, {cols}) {elem:?}")),
    }
}

fn same(plan: &Plan, a: Buf, b: Buf) -> Result<(), String> {
    expect(plan, a, plan[b].rows, plan[b].cols as u64, Elem::F32)
}
