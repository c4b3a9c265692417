use crate::quant;
use crate::quant::GgmlType;
use rayon::prelude::*;

/// Rows of weights that one task takes: few enough to balance the threads, enough to hide the cost of a task. Unmeasured.
const ROWS_PER_TASK: usize = 16;

/// `out[t, r] = sum_c w[r, c] * x[t, c]`.
///
/// `out`: (n_tokens, n_rows). `x`: (n_tokens, n_cols). `w`: (n_rows, n_cols) in blocks of `ty`, decoded one row at a time and
/// used for all tokens.
pub fn mat_mul(out: &mut [f32], x: &[f32], w: &[u8], ty: GgmlType, n_cols: usize) {
    let n_tokens = x.len() / n_cols;
    if n_tokens == 0 {
        return;
    }
    let n_rows = out.len() / n_tokens;
    let row_bytes = n_cols / ty.block_size() as usize * ty.block_bytes() as usize;

    // Tasks own rows of weights, so they write columns of `out`: each fills rows of the transpose (n_rows, n_tokens).
    let mut transposed = vec![0.0; out.len()];
    transposed.par_chunks_mut(ROWS_PER_TASK * n_tokens).zip(w.par_chunks(ROWS_PER_TASK * row_bytes)).for_each(
        |(results, w)| {
            let mut row = vec![0.0; n_cols];
            for (results, w) in results.chunks_exact_mut(n_tokens).zip(w.chunks_exact(row_bytes)) {
                quant::decode(ty, w, &mut row);
                for (result, x) in results.iter_mut().zip(x.chunks_exact(n_cols)) {
                    *result = dot(&row, x);
                }
            }
        },
    );
    for (t, out) in out.chunks_exact_mut(n_rows).enumerate() {
        for (out, results) in out.iter_mut().zip(transposed.chunks_exact(n_tokens)) {
            *out = results[t];
        }
    }
}

/// `sum_i a[i] * b[i]` in 16 interleaved partial sums: the compiler may keep them in vector registers, and the error
/// grows 16 times slower than in one sum.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 16];
    let (a_tail, b_tail) = (a.chunks_exact(16).remainder(), b.chunks_exact(16).remainder());
    for (a, b) in a.chunks_exact(16).zip(b.chunks_exact(16)) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    for ((sum, a), b) in sums.iter_mut().zip(a_tail).zip(b_tail) {
        *sum += a * b;
    }
    sums.iter().sum()
}
