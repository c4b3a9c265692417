use super::*;
use crate::quant::{Random, random_blocks};

/// The results (tokens, rows) of a whole product.
fn product(level: Level, packed: &Packed, x: &Activations) -> Vec<f32> {
    let mut out = vec![f32::NAN; x.tokens() * packed.rows];
    packed.product(level, 0..packed.rows.div_ceil(ROWS), x, &mut |tile| {
        for (t, sums) in tile.sums.iter().enumerate() {
            out[(tile.token + t) * packed.rows + tile.row..][..tile.rows].copy_from_slice(&sums[..tile.rows]);
        }
    });
    out
}

fn random_rows(tokens: usize, cols: usize, rng: &mut Random) -> Vec<f32> {
    // Different magnitudes per unit, and a unit of zeros.
    let scale = |i: usize| [1.0, 100.0, 0.0, 1e-4][i / 32 % 4];
    (0..tokens * cols).map(|i| rng.uniform(1.0) * scale(i % cols)).collect()
}

/// The values that activations stand for.
fn rounded(x: &Activations) -> Vec<f64> {
    let mut values = vec![0.0; x.tokens() * x.cols()];
    for (token, vectors, units) in x.chunks() {
        for (i, unit) in units.iter().enumerate() {
            let (u, v) = (i / vectors, i % vectors);
            let row = &mut values[(token + v / x.planes()) * x.cols() + u * UNIT..][..UNIT];
            for (value, q) in row.iter_mut().zip(unit.q) {
                *value += f64::from(unit.scale) * f64::from(q);
            }
        }
    }
    values
}

/// Checks a product at every level of this processor.
fn check(ty: GgmlType, rows: usize, cols: usize, tokens: usize, rounding: Rounding) {
    let case = format!("{ty} {rows} x {cols}, {tokens} tokens, {rounding:?}");
    let mut rng = Random::new(7);
    let blocks = random_blocks(ty, (rows * cols) as u64, &mut rng);
    let mut weights = vec![0.0; rows * cols];
    quant::decode(ty, &blocks, &mut weights);
    let values = random_rows(tokens, cols, &mut rng);
    let packed = Packed::new(ty, rows, cols, &blocks).expect("a kernel");

    let mut first: Option<Vec<f32>> = None;
    for level in Level::available() {
        let mut x = Activations::default();
        x.round(*level, &values, tokens, rounding);
        let out = product(*level, &packed, &x);
        let x = rounded(&x);
        for (t, out) in out.chunks_exact(rows).enumerate() {
            for (r, out) in out.iter().enumerate() {
                let terms = weights[r * cols..][..cols].iter().zip(&x[t * cols..][..cols]);
                let terms = terms.map(|(w, x)| f64::from(*w) * x);
                let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), v| (sum + v, size + v.abs()));
                // A type with minimums adds and subtracts more than its values are: by a factor of a few.
                let error = (f64::from(*out) - sum).abs();
                assert!(error <= 2e-6 * size, "{case}, {}: token {t} row {r}: {out} expected {sum}", level.name());
            }
        }
        let first = first.get_or_insert_with(|| out.clone());
        assert!(bits(first).eq(bits(&out)), "{case}: {} has other bits than {}", level.name(), Level::best().name());
    }
}

fn bits(v: &[f32]) -> impl Iterator<Item = u32> + '_ {
    v.iter().map(|v| v.to_bits())
}

#[test]
fn products_are_those_of_the_decoded_weights_at_every_level() {
    for kernels in &KERNELS {
        for (rows, blocks, tokens) in
            [(16, 1, 1), (1, 3, 1), (33, 2, 2), (17, 5, 3), (48, 1, 9), (20, 2, 64), (16, 1, 67)]
        {
            check(kernels.ty, rows, blocks * kernels.block, tokens, Rounding::I8);
        }
        check(kernels.ty, 18, 2 * kernels.block, 1, Rounding::I16);
        check(kernels.ty, 18, 2 * kernels.block, 35, Rounding::I16);
    }
}

#[test]
fn the_largest_integers_do_not_overflow() {
    // Quants of all ones, of all zeros, and activations at both ends.
    for kernels in &KERNELS {
        let (rows, cols) = (16, 2 * kernels.block);
        for (byte, x) in [(0xff, 1.0), (0xff, -1.0), (0x00, 1.0), (0x00, -1.0), (0x80, 1.0), (0x7f, -1.0)] {
            let mut blocks = random_blocks(kernels.ty, (rows * cols) as u64, &mut Random::new(1));
            let n = kernels.ty.block_bytes() as usize;
            for block in blocks.chunks_exact_mut(n) {
                block[n / 3..n - 4].fill(byte); // in the midst of the quants of every type
            }
            let packed = Packed::new(kernels.ty, rows, cols, &blocks).expect("a kernel");
            let mut activations = Activations::default();
            activations.round(Level::best(), &vec![x; cols], 1, Rounding::I8);
            let results = Level::available().iter().map(|level| product(*level, &packed, &activations));
            let results: Vec<Vec<f32>> = results.collect();
            let mut weights = vec![0.0; rows * cols];
            quant::decode(kernels.ty, &blocks, &mut weights);
            for (r, weights) in weights.chunks_exact(cols).enumerate() {
                let sum: f64 = weights.iter().map(|w| f64::from(*w) * f64::from(x)).sum();
                let size: f64 = weights.iter().map(|w| f64::from(w.abs())).sum();
                for (level, out) in Level::available().iter().zip(&results) {
                    let error = (f64::from(out[r]) - sum).abs();
                    assert!(error <= 4e-6 * size, "{} {}: {} expected {sum}", kernels.ty, level.name(), out[r]);
                }
            }
        }
    }
}

#[test]
fn a_token_has_the_same_result_in_any_company() {
    let (rows, cols, tokens) = (32, 512, 70);
    let mut rng = Random::new(3);
    let blocks = random_blocks(GgmlType::Q4_K, (rows * cols) as u64, &mut rng);
    let packed = Packed::new(GgmlType::Q4_K, rows, cols, &blocks).expect("a kernel");
    let values = random_rows(tokens, cols, &mut rng);
    let mut x = Activations::default();
    x.round(Level::best(), &values, tokens, Rounding::I8);
    let together = product(Level::best(), &packed, &x);
    for (row, together) in values.chunks_exact(cols).zip(together.chunks_exact(rows)) {
        x.round(Level::best(), row, 1, Rounding::I8);
        assert!(bits(together).eq(bits(&product(Level::best(), &packed, &x))));
    }
}

#[test]
fn what_is_not_finite_is_not_hidden() {
    let packed = Packed::new(GgmlType::Q8_0, 1, 32, &random_blocks(GgmlType::Q8_0, 32, &mut Random::new(1)));
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = [0.5; 32];
        values[9] = bad;
        let mut x = Activations::default();
        x.round(Level::best(), &values, 1, Rounding::I8);
        assert!(!product(Level::best(), packed.as_ref().expect("a kernel"), &x)[0].is_finite());
    }
}

#[test]
fn products_of_floats_are_those_of_the_decoded_weights_at_every_level() {
    for format in &quant::FORMATS {
        let block = format.ty.block_size() as usize;
        for (rows, blocks, tokens) in [(1, 1, 1), (5, 3, 1), (6, 2, 2), (4, 1, 9), (13, 1, 27), (2, 37, 5)] {
            check_floats(format.ty, rows, blocks * block, tokens);
        }
    }
}

fn check_floats(ty: GgmlType, rows: usize, cols: usize, tokens: usize) {
    let case = format!("{ty} {rows} x {cols}, {tokens} tokens");
    let mut rng = Random::new(8);
    // From an odd address, as in a file that does not align tensors.
    let mut blocks = vec![0];
    blocks.extend(random_blocks(ty, (rows * cols) as u64, &mut rng));
    let mut weights = vec![0.0; rows * cols];
    quant::decode(ty, &blocks[1..], &mut weights);
    let x = random_rows(tokens, cols, &mut rng);
    let stride = rows + 2;

    let mut first: Option<Vec<f32>> = None;
    for level in Level::available() {
        let mut out = vec![7.0; tokens * stride];
        float_product(*level, (ty, cols), &blocks[1..], &x, &mut vec![0.0; DECODED * cols], &mut out, stride);
        for (t, out) in out.chunks_exact(stride).enumerate() {
            for (r, out) in out[..rows].iter().enumerate() {
                let terms = weights[r * cols..][..cols].iter().zip(&x[t * cols..][..cols]);
                let terms = terms.map(|(w, x)| f64::from(*w) * f64::from(*x));
                let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), v| (sum + v, size + v.abs()));
                let error = (f64::from(*out) - sum).abs();
                assert!(error <= 1e-6 * size, "{case}, {}: token {t} row {r}: {out} expected {sum}", level.name());
            }
            assert_eq!(out[rows..], [7.0; 2], "{case}: what lies between the rows of results");
        }
        let first = first.get_or_insert_with(|| out.clone());
        assert!(bits(first).eq(bits(&out)), "{case}: {} has other bits than {}", level.name(), Level::best().name());
    }
}
