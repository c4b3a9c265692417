//! Every operation as plain loops over f32, and how a step runs each.

use super::{Machine, attention, mat_mul};
use crate::plan::{NEXT_TOKEN, Op, Pairing, StepRow, choice};
use crate::quant::{self, GgmlType};

impl Machine<'_> {
    /// Runs one operation on the rows that the step uses.
    pub(super) fn run(&mut self, op: &Op) {
        let (plan, weights, rows) = (self.plan, self.weights, &self.step.rows);
        match op {
            Op::Embed(op) => {
                // The whole buffer: a step may read more rows of it than it has outputs.
                let next = op.next.map_or(vec![], |b| self.bufs[b.0 as usize].clone());
                embed(self.output(op.out), &weights[op.table], plan[op.table].ty, rows, &next);
            }
            Op::Gather(op) => {
                let x = self.input(op.x);
                gather(self.output(op.out), &x, rows, plan[op.x].cols as usize);
            }
            Op::RmsNorm(op) => {
                let (x, w) = (self.input(op.x), self.weight_row(op.w, 0));
                rms_norm(self.output(op.out), &x, &w, op.eps);
            }
            Op::MatMul(op) => {
                let (w, x) = (&plan[op.w], self.input(op.x));
                let first = op.first_row as usize * w.row_bytes() as usize;
                let bytes = plan[op.out].cols as usize * w.row_bytes() as usize;
                mat_mul(self.output(op.out), &x, &weights[op.w][first..][..bytes], w.ty, w.cols as usize);
            }
            Op::Rope(op) => {
                let cols = plan[op.x].cols as usize;
                for (t, row) in rows.iter().enumerate() {
                    let angles = self.weight_row(op.table, row.position as usize);
                    rope(&mut self.output(op.x)[t * cols..][..cols], &angles, op.head_dim as usize, op.pairing);
                }
            }
            Op::KvStore(op) => {
                let (k, v) = (self.input(op.k), self.input(op.v));
                let (n, layer) = (plan.kv.row() as usize, op.layer as usize);
                for ((k, v), row) in k.chunks_exact(n).zip(v.chunks_exact(n)).zip(rows) {
                    self.keys[layer].store(row.slot as usize * n, k);
                    self.values[layer].store(row.slot as usize * n, v);
                }
            }
            Op::Attention(op) => {
                let (q, n) = (self.input(op.q), plan.used_len(op.out, self.step));
                let out = &mut self.bufs[op.out.0 as usize][..n];
                let (k, v) = (&self.keys[op.layer as usize], &self.values[op.layer as usize]);
                attention(out, &q, k, v, &plan.kv, rows, op.scale);
            }
            Op::SwiGlu(op) => {
                let (gate, up) = (self.input(op.gate), self.input(op.up));
                swi_glu(self.output(op.out), &gate, &up);
            }
            Op::Add(op) => {
                let (x, y) = (self.input(op.x), self.input(op.y));
                add(self.output(op.out), &x, &y);
            }
            Op::AddBias(op) => {
                let b = self.weight_row(op.b, 0);
                add_bias(self.output(op.x), &b);
            }
            Op::Argmax(op) => {
                let (x, cols) = (self.input(op.x), plan[op.x].cols as usize);
                for (out, x) in self.output(op.out).iter_mut().zip(x.chunks_exact(cols)) {
                    *out = choice(x) as f32;
                }
            }
            Op::Fused(op) => op.parts().iter().for_each(|part| self.run(part)),
        }
    }
}

/// `out[t, :] = table[token[t], :]`, the token of rows that say [`NEXT_TOKEN`] from `next[t]`. Zeros for an id beyond the table.
///
/// `out`: (n_tokens, n_embd). `table`: (n_vocab, n_embd) in blocks of `ty`. `next`: (n_outputs or more) token ids.
pub fn embed(out: &mut [f32], table: &[u8], ty: GgmlType, rows: &[StepRow], next: &[f32]) {
    let n_embd = out.len() / rows.len();
    let row_bytes = n_embd / ty.block_size() as usize * ty.block_bytes() as usize;
    for (t, (out, row)) in out.chunks_exact_mut(n_embd).zip(rows).enumerate() {
        let token = if row.token == NEXT_TOKEN { next[t] as usize } else { row.token as usize };
        match table.chunks_exact(row_bytes).nth(token) {
            Some(row) => quant::decode(ty, row, out),
            None => out.fill(0.0), // an earlier step's choice may be `NOT_FINITE`
        }
    }
}

/// `out[i, :] = x[output[i], :]`.
///
/// `out`: (n_outputs, n). `x`: (n_tokens, n).
pub fn gather(out: &mut [f32], x: &[f32], rows: &[StepRow], n: usize) {
    for (out, row) in out.chunks_exact_mut(n).zip(rows) {
        out.copy_from_slice(&x[row.output as usize * n..][..n]);
    }
}

/// RMSNorm (Zhang and Sennrich, 2019): `out[g, i] = x[g, i] / sqrt(mean_j(x[g, j]^2) + eps) * w[i]`.
///
/// `out`, `x`: (groups, n): rows, or the heads of rows. `w`: (n).
pub fn rms_norm(out: &mut [f32], x: &[f32], w: &[f32], eps: f32) {
    for (out, x) in out.chunks_exact_mut(w.len()).zip(x.chunks_exact(w.len())) {
        let mean_square = x.iter().map(|v| v * v).sum::<f32>() / w.len() as f32;
        let scale = 1.0 / (mean_square + eps).sqrt();
        for ((out, x), w) in out.iter_mut().zip(x).zip(w) {
            *out = x * scale * w;
        }
    }
}

/// Rotary embedding of one token in place (Su et al., 2021): each head's pair `i` turns by the angle whose cosine and sine are
/// `table[2i], table[2i + 1]`. Elements past the table's length stay.
///
/// `x`: (n_heads, head_dim). `table`: (rope_dim), the row of the token's position.
pub fn rope(x: &mut [f32], table: &[f32], head_dim: usize, pairing: Pairing) {
    for head in x.chunks_exact_mut(head_dim) {
        for (i, angle) in table.chunks_exact(2).enumerate() {
            let (a, b) = match pairing {
                Pairing::Neighbours => (2 * i, 2 * i + 1),
                Pairing::Halves => (i, i + table.len() / 2),
            };
            let (cos, sin) = (angle[0], angle[1]);
            (head[a], head[b]) = (head[a] * cos - head[b] * sin, head[a] * sin + head[b] * cos);
        }
    }
}

/// SwiGLU (Shazeer, 2020): `out = gate / (1 + exp(-gate)) * up`.
pub fn swi_glu(out: &mut [f32], gate: &[f32], up: &[f32]) {
    for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
        *out = gate / (1.0 + (-gate).exp()) * up;
    }
}

/// `out = x + y`.
pub fn add(out: &mut [f32], x: &[f32], y: &[f32]) {
    for ((out, x), y) in out.iter_mut().zip(x).zip(y) {
        *out = x + y;
    }
}

/// Adds the same to every row: `x[t, :] += b`.
///
/// `x`: (rows, n). `b`: (n).
pub fn add_bias(x: &mut [f32], b: &[f32]) {
    for row in x.chunks_exact_mut(b.len()) {
        for (x, b) in row.iter_mut().zip(b) {
            *x += b;
        }
    }
}
