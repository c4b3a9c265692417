//! The top-k kernel on the simulator: no operation of a plan uses it yet, so no conformance case reaches it.
#![cfg(feature = "cuda")]

use pronk::backend::params::{TOP_K_MOST, TOP_K_PART, TOP_K_THREADS, TopKParams};
use pronk::quant::Random;
use ptx_sim::{Device, LaunchConfig, Limits, Module};

/// Ids of the `k` largest, falling, lower ids first among equals.
fn reference(x: &[f32], k: usize) -> Vec<u32> {
    let mut ids: Vec<u32> = (0..x.len() as u32).collect();
    ids.sort_by(|a, b| x[*b as usize].total_cmp(&x[*a as usize]).then(a.cmp(b)));
    ids.truncate(k);
    ids
}

/// Runs both kernels over `rows`, one row of `n_cols` values each; returns values and ids of each row.
fn top_k(ptx: &str, rows: &[Vec<f32>], k: u32) -> Vec<(Vec<f32>, Vec<u32>)> {
    let module = Module::load("top_k", ptx).expect("the PTX loads");
    let mut device = Device::new(Limits::default());
    let (n_rows, n_cols) = (rows.len() as u32, rows[0].len() as u32);
    let n_parts = n_cols.div_ceil(TOP_K_PART);
    let bytes = |n: u32| 4 * (n_rows * n) as u64;
    let mut step = [0u32; 8];
    (step[0], step[1]) = (n_rows, n_rows);
    let params = TopKParams {
        values: device.alloc(bytes(k)).expect("memory"),
        ids: device.alloc(bytes(k)).expect("memory"),
        x: device.upload(bytemuck::cast_slice(&rows.concat())).expect("memory"),
        parts: device.alloc(2 * bytes(n_parts * k)).expect("memory"),
        step: device.upload(bytemuck::cast_slice(&step)).expect("memory"),
        n_cols,
        n_parts,
        k,
        reserved: 0,
    };
    for (entry, grid) in [("top_k_parts", [n_parts, n_rows, 1]), ("top_k", [n_rows, 1, 1])] {
        let kernel = module.kernel(entry).expect("the entry is there");
        let config = LaunchConfig { grid, ..LaunchConfig::linear(1, TOP_K_THREADS) };
        let report = device.launch(&kernel, config, bytemuck::bytes_of(&params)).expect("the kernel runs");
        report.check().unwrap_or_else(|findings| panic!("{findings}"));
    }
    let values = device.read_f32(params.values, (n_rows * k) as usize).expect("written");
    let mut ids = vec![0; 4 * (n_rows * k) as usize];
    device.read(params.ids, &mut ids).expect("written");
    let ids: Vec<u32> = ids.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let rows = values.chunks(k as usize).zip(ids.chunks(k as usize));
    rows.map(|(values, ids)| (values.to_vec(), ids.to_vec())).collect()
}

#[test]
fn the_largest_come_in_order() {
    let mut random = Random::new(5);
    let both = [include_str!("../kernels/ptx/top_k.sm_80.ptx"), include_str!("../kernels/ptx/top_k.sm_90.ptx")];
    for (n_rows, n_cols, k) in [(1, 1, 1), (3, 40, 40), (2, TOP_K_PART + 1, TOP_K_MOST), (1, 3 * TOP_K_PART, 5)] {
        // Quarters: many are equal.
        let mut row = || (0..n_cols).map(|_| (random.uniform(50.0) * 4.0).round() / 4.0 + 0.0).collect::<Vec<f32>>();
        let rows: Vec<Vec<f32>> = (0..n_rows).map(|_| row()).collect();
        for ptx in both {
            for ((values, ids), row) in top_k(ptx, &rows, k).iter().zip(&rows) {
                let want = reference(row, k as usize);
                assert_eq!(*ids, want, "{n_cols} columns, k = {k}");
                assert!(values.iter().zip(&want).all(|(v, id)| *v == row[*id as usize]));
            }
        }
    }
}
