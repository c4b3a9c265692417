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
