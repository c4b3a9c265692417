//! What a row gives: the same bits alone and among others, and little error at every width.

use super::*;
use pronk::backend::reference::Reference;
use pronk::conformance::nmse;

/// Speculation and batches stand on this: what a row gives does not depend on the rows beside it.
#[test]
fn rows_have_the_bits_that_they_have_alone() {
    let check = |name: String, layer: Layer, device: &mut Cuda<Sim>, compared: &str| {
        let loaded = layer.load(device);
        let alone: Vec<_> = (0..8).map(|row| loaded.run(device, &[row])).collect();
        for rows in [vec![0, 1], vec![5, 2, 7], (0..8).collect()] {
            let together = loaded.run(device, &rows);
            let (at, (buf, values)) = together
                .iter()
                .enumerate()
                .find(|(_, (b, _))| loaded.plan[*b].name == compared)
                .expect("it is written");
            let cols = loaded.plan[*buf].cols as usize;
            for (row, values) in rows.iter().zip(values.chunks(cols)) {
                let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&alone[*row][at].1), bits(values), "{name}: row {row} of {rows:?}");
            }
        }
    };
    // Few and many multiprocessors: rows whole and in parts.
    for n_sms in [2, 64] {
        let device = &mut Cuda::sim_like((9, 0), n_sms);
        for ty in quantized() {
            check(format!("{ty}, {n_sms} SMs"), mat_mul(ty, 38, 2304, 8), device, "out");
        }
        for ty in [GgmlType::Q4_0, GgmlType::Q8_0, GgmlType::Q6_K, GgmlType::Q4_K] {
            check(format!("added, {ty}"), mat_mul_add(ty, 20, 1280, 8), device, "residual");
            check(format!("gate and up, {ty}"), gate_up(ty, 36, 2304, 8), device, "gate");
            check(format!("q, k and v, {ty}"), qkv([ty; 2], 96, 1, 1536, 8), device, "q");
        }
        check(
            "q, k and v of two types".to_string(),
            qkv([GgmlType::Q4_K, GgmlType::Q6_K], 96, 1, 1536, 8),
            device,
            "q",
        );
    }
}

/// One and three rows of `cols` columns: the normalized squared errors.
fn errors_at(ty: GgmlType, cols: u32, device: &mut Cuda<Sim>) -> [f64; 2] {
    let loaded = mat_mul(ty, 24, cols, 3).load(device);
    let mut reference = Reference::default();
    mat_mul(ty, 24, cols, 3).load(&mut reference);
    [vec![0], vec![0, 1, 2]].map(|rows| {
        let [got, want] = [&mut *device as &mut dyn Backend, &mut reference].map(|backend| loaded.run(backend, &rows));
        nmse(&got[0].1, &want[0].1)
    })
}

fn check_widths(widths: impl Iterator<Item = u32>) {
    let device = &mut Cuda::sim_like((9, 0), 1);
    for cols in widths {
        for ty in quantized().filter(|ty| (cols as u64).is_multiple_of(ty.block_size())) {
            let errors = errors_at(ty, cols, device);
            assert!(errors.iter().all(|error| *error < 1e-8), "{ty}, {cols} columns: {errors:?}");
        }
    }
}

/// Widths at the edges of what kernels take at a time, and those of models: a row that is not a whole number of steps or buffers, that
/// fits shared memory just so, and not at all.
#[test]
fn widths_that_no_model_has() {
    check_widths([32, 64, 256, 480, 1024, 1056, 1280, 2080, 3328, 4096, 8224, 14336, 16384, 16416, 53248].into_iter());
}

/// Every width: `make widths`.
#[test]
#[ignore = "takes minutes: make widths"]
fn every_width() {
    check_widths((1..=128).map(|n| 32 * n).chain([8192 + 32, 14336, 53248]));
}
