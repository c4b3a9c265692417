use crate::plan::{NEXT_TOKEN, Pairing, StepRow};
use crate::quant;
use crate::quant::GgmlType;

/// `out[t, :] = table[token[t], :]`, the token of rows that say [`NEXT_TOKEN`] from `next[t]`.
///
/// `out`: (n_tokens, n_embd). `table`: (n_vocab, n_embd) in blocks of `ty`. `next`: (n_outputs or more) token ids.
pub fn embed(out: &mut [f32], table: &[u8], ty: GgmlType, rows: &[StepRow], next: &[f32]) {
    let n_embd = out.len() / rows.len();
    let row_bytes = n_embd / ty.block_size() as usize * ty.block_bytes() as usize;
    for (t, (out, row)) in out.chunks_exact_mut(n_embd).zip(rows).enumerate() {
        let token = if row.token == NEXT_TOKEN { next[t] as usize } else { row.token as usize };
        quant::decode(ty, &table[token * row_bytes..][..row_bytes], out);
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
