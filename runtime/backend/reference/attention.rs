use super::KvRows;
use super::mat_mul::dot;
use crate::plan::{KvDecl, StepRow};
use rayon::prelude::*;

/// Slots of a partial sum: one running sum over a long context would round too often.
const SUMMED: usize = 512;

/// Grouped-query attention (Ainslie et al., 2023) of each row over its KV slots:
/// `out[t, h, :] = sum_s p[s] V[s, g, :]`, `p = softmax_s(scale * q[t, h, :] . K[s, g, :])`, `g = h / group`.
///
/// `out`, `q`: (n_tokens, n_heads, head_dim). `keys`, `values`: (slots, kv heads, head_dim). Parallel over tokens and heads.
pub fn attention(
    out: &mut [f32],
    q: &[f32],
    keys: &KvRows,
    values: &KvRows,
    kv: &KvDecl,
    rows: &[StepRow],
    scale: f32,
) {
    let head_dim = kv.head_dim as usize;
    let n_heads = q.len() / rows.len() / head_dim;
    let group = n_heads / kv.heads as usize;
    let heads = out.par_chunks_exact_mut(head_dim).zip(q.par_chunks_exact(head_dim)).enumerate();
    heads.for_each(|(i, (out, q))| {
        let row = &rows[i / n_heads];
        let kv_head = i % n_heads / group;
        let slots = row.kv_start as usize..(row.kv_start + row.kv_len) as usize;
        let at = |slot: usize| (slot * kv.heads as usize + kv_head) * head_dim;
        let mut kv_row = vec![0.0; head_dim];

        let mut p: Vec<f32> = slots
            .clone()
            .map(|slot| {
                keys.load(at(slot), &mut kv_row);
                scale * dot(q, &kv_row)
            })
            .collect();
        let max = p.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        p.iter_mut().for_each(|p| *p = (*p - max).exp());
        let sum: f32 = p.chunks(SUMMED).map(|p| p.iter().sum::<f32>()).sum();

        out.fill(0.0);
        let mut part = vec![0.0; head_dim];
        for (first, p) in slots.step_by(SUMMED).zip(p.chunks(SUMMED)) {
            part.fill(0.0);
            for (slot, p) in (first..).zip(p) {
                values.load(at(slot), &mut kv_row);
                for (part, v) in part.iter_mut().zip(&kv_row) {
                    *part += p / sum * v;
                }
            }
            out.iter_mut().zip(&part).for_each(|(out, part)| *out += part);
        }
    });
}
