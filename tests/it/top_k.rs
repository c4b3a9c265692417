//! The top-k kernel on the simulator: no operation of a plan uses it yet, so no conformance case covers it. `PRONK_PTX`
//! is a folder with a changed kernel, as everywhere.

use pronk::backend::cuda::Arch;
use pronk::backend::cuda::params::{TOP_K_MOST, TOP_K_PART, TOP_K_THREADS, TopKParams};
use pronk::quant::Random;
use ptx_sim::{Device, LaunchConfig, Limits, Module};
use std::path::Path;

/// Ids of the `k` largest values in falling order; among equal values the lower id is first.
fn reference(x: &[f32], k: usize) -> Vec<u32> {
    let mut ids: Vec<u32> = (0..x.len() as u32).collect();
    ids.sort_by(|a, b| x[*b as usize].total_cmp(&x[*a as usize]).then(a.cmp(b)));
    ids.truncate(k);
    ids
}

/// Rows of the grid beyond those of the step.
const BEYOND: u32 = 1;
/// Initial contents of the results: a value and an id that never occur.
const UNTOUCHED: u32 = 0x7fc0_1234;

/// The PTX for this architecture: the file of `PRONK_PTX`, if it is there.
fn ptx(arch: Arch) -> String {
    let name = format!("top_k.{}.ptx", arch.name());
    let changed = std::env::var_os("PRONK_PTX").map(|folder| Path::new(&folder).join(&name));
    match changed.filter(|path| path.exists()) {
        Some(path) => std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())),
        None => pronk::backend::cuda::ptx("top_k", arch).expect("the program has every stem"),
    }
}

/// Runs both kernels over `rows`, one row of `n_cols` values each; returns values and ids of each row. They run twice,
/// so that each finds memory in use by the one before.
fn top_k(ptx: &str, is_dependent: bool, rows: &[Vec<f32>], k: u32) -> Vec<(Vec<f32>, Vec<u32>)> {
    let module = Module::load("top_k", ptx).expect("the PTX loads");
    let mut device = Device::new(Limits::default());
    let (n_rows, n_cols) = (rows.len() as u32, rows[0].len() as u32);
    let n_parts = n_cols.div_ceil(TOP_K_PART);
    let bytes = |n: u32| 4 * (n_rows * n) as u64;
    let mut step = [0u32; 8];
    (step[0], step[1]) = (n_rows, n_rows);
    let blank = vec![UNTOUCHED; ((n_rows + BEYOND) * k) as usize];
    let params = TopKParams {
        values: device.upload(bytemuck::cast_slice(&blank)).expect("memory"),
        ids: device.upload(bytemuck::cast_slice(&blank)).expect("memory"),
        x: device.upload(bytemuck::cast_slice(&rows.concat())).expect("memory"),
        parts: device.alloc(2 * bytes(n_parts * k)).expect("memory"),
        step: device.upload(bytemuck::cast_slice(&step)).expect("memory"),
        n_cols,
        n_parts,
        k,
        reserved: 0,
    };
    let grid_rows = n_rows + BEYOND;
    let both = [("top_k_parts", [n_parts, grid_rows, 1]), ("top_k", [grid_rows, 1, 1])];
    for (i, (entry, grid)) in both.into_iter().cycle().take(2 * both.len()).enumerate() {
        let kernel = module.kernel(entry).expect("the entry is there");
        let dependent = is_dependent && i > 0;
        let config = LaunchConfig { grid, dependent, ..LaunchConfig::linear(1, TOP_K_THREADS) };
        let report = device.launch(&kernel, config, bytemuck::bytes_of(&params)).expect("the kernel runs");
        report.check().unwrap_or_else(|findings| panic!("{findings}"));
    }
    let mut read = |from: u64| {
        let mut words = blank.clone();
        device.read(from, bytemuck::cast_slice_mut(&mut words)).expect("written");
        let beyond = words.split_off((n_rows * k) as usize);
        assert!(beyond.iter().all(|word| *word == UNTOUCHED), "rows beyond the step's were written");
        words
    };
    let values: Vec<f32> = read(params.values).into_iter().map(f32::from_bits).collect();
    let ids = read(params.ids);
    let rows = values.chunks(k as usize).zip(ids.chunks(k as usize));
    rows.map(|(values, ids)| (values.to_vec(), ids.to_vec())).collect()
}

#[test]
fn the_largest_come_in_order() {
    let mut random = Random::new(5);
    let both = [(ptx(Arch::Sm80), false), (ptx(Arch::Sm90), true)];
    for (n_rows, n_cols, k) in [(1, 1, 1), (3, 40, 40), (2, TOP_K_PART + 1, TOP_K_MOST), (1, 3 * TOP_K_PART, 5)] {
        // Quarters: many are equal.
        let mut row = || (0..n_cols).map(|_| (random.uniform(50.0) * 4.0).round() / 4.0 + 0.0).collect::<Vec<f32>>();
        let rows: Vec<Vec<f32>> = (0..n_rows).map(|_| row()).collect();
        for (ptx, is_dependent) in &both {
            for ((values, ids), row) in top_k(ptx, *is_dependent, &rows, k).iter().zip(&rows) {
                let want = reference(row, k as usize);
                assert_eq!(*ids, want, "{n_cols} columns, k = {k}");
                assert!(values.iter().zip(&want).all(|(v, id)| *v == row[*id as usize]));
            }
        }
    }
}
