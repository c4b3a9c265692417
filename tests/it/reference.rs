//! The reference against plain formulas in float64.

use half::f16;
use pronk::backend::reference::{KvRows, add, add_bias, argmax, attention, mat_mul, rms_norm, rope, swi_glu};
use pronk::conformance::nmse;
use pronk::plan::{KvDecl, KvType, Pairing, StepRow};
use pronk::quant::{self, GgmlType, Random, random_blocks};

/// The error limit of f32 sums of at most a few thousand terms.
const LIMIT: f64 = 1e-12;

fn floats(random: &mut Random, n: usize, scale: f32) -> Vec<f32> {
    (0..n).map(|_| random.uniform(scale)).collect()
}

fn assert_close(got: &[f32], want: &[f64]) {
    let want: Vec<f32> = want.iter().map(|v| *v as f32).collect();
    let error = nmse(got, &want);
    assert!(error < LIMIT, "normalized squared error {error:.1e}");
}

#[test]
fn mat_mul_is_the_sum_of_products() {
    let mut random = Random::new(1);
    for (ty, tokens, rows, cols) in
        [(GgmlType::F32, 1, 5, 9), (GgmlType::Q4_1, 3, 33, 1536), (GgmlType::Q6_K, 2, 17, 512)]
    {
        let w = random_blocks(ty, (rows * cols) as u64, &mut random);
        let x = floats(&mut random, tokens * cols, 1.0);
        let mut values = vec![0.0; rows * cols];
        quant::decode(ty, &w, &mut values);
        let dot = |t: usize, r: usize| -> f64 {
            (0..cols).map(|c| values[r * cols + c] as f64 * x[t * cols + c] as f64).sum()
        };
        let want: Vec<f64> = (0..tokens).flat_map(|t| (0..rows).map(move |r| (t, r))).map(|(t, r)| dot(t, r)).collect();
        let mut got = vec![f32::NAN; tokens * rows];
        mat_mul(&mut got, &x, &w, ty, cols);
        assert_close(&got, &want);
    }
}

#[test]
fn rms_norm_divides_by_the_root_mean_square() {
    let mut random = Random::new(2);
    for (n, scale, eps) in [(576, 1.0, 1e-5), (7, 1e-4, 1e-5), (4096, 50.0, 1e-6)] {
        let (x, w) = (floats(&mut random, n, scale), floats(&mut random, n, 1.0));
        let mean_square = x.iter().map(|v| (*v as f64).powi(2)).sum::<f64>() / n as f64;
        let norm = (mean_square + eps as f64).sqrt();
        let want: Vec<f64> = x.iter().zip(&w).map(|(x, w)| *x as f64 / norm * *w as f64).collect();
        let mut got = vec![f32::NAN; n];
        rms_norm(&mut got, &x, &w, eps);
        assert_close(&got, &want);
    }
}

#[test]
fn attention_is_a_softmax_average_over_the_window() {
    let mut random = Random::new(3);
    let kv = KvDecl { layers: 1, slots: 50, heads: 2, head_dim: 16, ty: KvType::F16 };
    let n_heads = 6;
    let halves = |random: &mut Random| -> Vec<f16> {
        (0..kv.slots * kv.row()).map(|_| f16::from_f32(random.uniform(1.0))).collect()
    };
    let (k, v) = (halves(&mut random), halves(&mut random));
    let rows: Vec<StepRow> = [(0, 1), (0, 50), (13, 20)]
        .map(|(kv_start, kv_len)| StepRow { kv_start, kv_len, ..StepRow::default() })
        .to_vec();
    let dim = kv.head_dim as usize;
    let q = floats(&mut random, rows.len() * n_heads * dim, 3.0);
    let mut want = vec![];
    for (t, row) in rows.iter().enumerate() {
        for h in 0..n_heads {
            let g = h / 3;
            let at = |s: u32, i: usize| (s * kv.row()) as usize + g * dim + i;
            let q = &q[(t * n_heads + h) * dim..][..dim];
            let slots = row.kv_start..row.kv_start + row.kv_len;
            let score = |s| (0..dim).map(|i| q[i] as f64 * k[at(s, i)].to_f64()).sum::<f64>() * 0.25;
            let weights: Vec<f64> = slots.clone().map(|s| score(s).exp()).collect();
            let sum: f64 = weights.iter().sum();
            for i in 0..dim {
                want.push(slots.clone().zip(&weights).map(|(s, p)| p / sum * v[at(s, i)].to_f64()).sum::<f64>());
            }
        }
    }
    let mut got = vec![f32::NAN; want.len()];
    attention(&mut got, &q, &KvRows::F16(k), &KvRows::F16(v), &kv, &rows, 0.25);
    assert_close(&got, &want);
}

/// The rotated pairs of heads with 6 elements, 4 of them rotated.
fn rope_turns(pairing: Pairing, pairs: [[usize; 2]; 2]) {
    let angles = [0.3f64, 2.0];
    let table: Vec<f32> = angles.iter().flat_map(|a| [a.cos() as f32, a.sin() as f32]).collect();
    let mut got = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0];
    let before = got;
    rope(&mut got, &table, 6, pairing);
    for head in 0..2 {
        let (x, was) = (&got[head * 6..][..6], &before[head * 6..][..6]);
        for (a, [i, j]) in angles.into_iter().zip(pairs) {
            let (x0, x1) = (was[i] as f64, was[j] as f64);
            assert_close(&[x[i], x[j]], &[x0 * a.cos() - x1 * a.sin(), x0 * a.sin() + x1 * a.cos()]);
        }
        assert_eq!(x[4..], was[4..]);
    }
}

#[test]
fn rope_turns_neighbours_and_leaves_the_rest() {
    rope_turns(Pairing::Neighbours, [[0, 1], [2, 3]]);
}

#[test]
fn rope_turns_halves_and_leaves_the_rest() {
    rope_turns(Pairing::Halves, [[0, 2], [1, 3]]);
}

#[test]
fn elementwise_operations() {
    let mut random = Random::new(4);
    let (gate, up) = (floats(&mut random, 1000, 20.0), floats(&mut random, 1000, 1.0));
    let want: Vec<f64> =
        gate.iter().zip(&up).map(|(g, u)| *g as f64 / (1.0 + (-*g as f64).exp()) * *u as f64).collect();
    let mut got = vec![f32::NAN; 1000];
    swi_glu(&mut got, &gate, &up);
    assert_close(&got, &want);
    add(&mut got, &gate, &up);
    assert!(got.iter().zip(gate.iter().zip(&up)).all(|(sum, (g, u))| *sum == g + u));
    let before = got.clone();
    add_bias(&mut got, &up[..250]);
    assert!((0..1000).all(|i| got[i] == before[i] + up[i % 250]));
    swi_glu(&mut got[..2], &[-1e4, 1e4], &[1.0, 1.0]);
    assert_eq!(got[..2], [0.0, 1e4]);
}

#[test]
fn argmax_takes_the_first_of_equals_and_never_nan() {
    assert_eq!(argmax(&[1.0, 3.0, 3.0]), 1);
    assert_eq!(argmax(&[f32::NAN, -5.0, f32::NAN]), 1);
    assert_eq!(argmax(&[f32::NEG_INFINITY, f32::NEG_INFINITY]), 0);
}
