//! Which tensor types each backend reads: README's table says so, and every backend agrees. Where it says yes, the golden blocks
//! of tests/data/blocks come out of the backend's decoder within one unit in the last place.

use crate::common;
use pronk::backend::Backend;
use pronk::backend::cpu::Cpu;
use pronk::plan::{Buf, Embed, KvDecl, KvType, MatMul, Phase, Plan, Rows, Step, WeightDecl, Weights};
use pronk::quant::{self, GgmlType};
use std::collections::{BTreeMap, BTreeSet};

const COLUMNS: [&str; 3] = ["CPU", "WGSL", "CUDA"];

/// README's table: for each type whether `column` says yes.
fn table(column: &str) -> BTreeMap<GgmlType, bool> {
    let column = COLUMNS.iter().position(|name| *name == column).expect("a column");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(path).expect("README.md");
    let head = format!("| tensor type | {} |\n|---|---|---|---|\n", COLUMNS.join(" | "));
    let (_, rest) = readme.split_once(&head).expect("the table");
    let mut rows = BTreeMap::new();
    for line in rest.lines().take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 1 + COLUMNS.len(), "{line}");
        let yes = match cells[1 + column] {
            "yes" => true,
            "not yet" => false,
            cell => panic!("{cell} in {line}"),
        };
        for name in cells[0].split(", ") {
            let ty = GgmlType::all().find(|ty| ty.name() == name).unwrap_or_else(|| panic!("no type {name}"));
            assert_eq!(rows.insert(ty, yes), None, "{name} is in the table twice");
        }
    }
    rows
}

/// Elements of a row of the embedding table: every block fits.
const COLS: u32 = 256;

/// An embedding of blocks whose values are known, all of its rows asked for.
struct Golden {
    plan: Plan,
    weights: Weights,
    step: Step,
    out: Buf,
    want: Vec<f32>,
}

fn golden(ty: GgmlType) -> Golden {
    let read = |extension: &str| {
        let path = common::data(&format!("blocks/{}.{extension}", ty.name().to_lowercase()));
        std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    };
    let want = read("f32").chunks_exact(4).map(|v| f32::from_le_bytes([v[0], v[1], v[2], v[3]])).collect();
    embedding(ty, read("bin"), want)
}

/// `want`: the values of `blocks`, a whole number of rows.
fn embedding(ty: GgmlType, blocks: Vec<u8>, want: Vec<f32>) -> Golden {
    let rows = want.len() as u32 / COLS;
    let mut plan = Plan::new(KvDecl { layers: 0, slots: rows, heads: 1, head_dim: 2, ty: KvType::F32 }, rows, 1);
    let decl = WeightDecl { name: ty.name().to_string(), ty, rows: rows as u64, cols: COLS as u64 };
    let table = plan.weight(decl);
    let out = plan.buf("out", Rows::Tokens, COLS);
    plan.push(Embed { out, table, next: None }).expect("the shapes fit");
    let tokens: Vec<u32> = (0..rows).collect();
    Golden { plan, weights: Weights(vec![blocks.into()]), step: Step::sequence(&tokens, 0, &[0]), out, want }
}

/// Whether `backend` takes tensors of `ty`, as embeddings and in products, and answers alike for both.
fn supported(backend: &dyn Backend, ty: GgmlType) -> bool {
    let mut plan = golden(ty).plan;
    let w = plan.weight(WeightDecl { name: "w".to_string(), ty, rows: 64, cols: COLS as u64 });
    let (x, y) = (plan.buf("x", Rows::Tokens, COLS), plan.buf("y", Rows::Tokens, 64));
    plan.push(MatMul { out: y, x, w, first_row: 0 }).expect("the shapes fit");
    let asked = |phase| plan.ops(phase).iter().map(move |op| (op, phase));
    let said = asked(Phase::Decode).chain(asked(Phase::Prefill));
    let said: Vec<bool> = said.map(|(op, phase)| backend.supports(&plan, op, phase).is_ok()).collect();
    assert!(said.iter().all(|yes| *yes == said[0]), "{ty} on {}: {said:?}", backend.name());
    said[0]
}

/// Floats in their order, zeros alike, one apart where they are neighbours.
fn ordinal(v: f32) -> i64 {
    let magnitude = (v.to_bits() & 0x7fff_ffff) as i64;
    if v.is_sign_negative() { -magnitude } else { magnitude }
}

/// Devices may take subnormal numbers for zeros.
fn alike(found: f32, want: f32) -> bool {
    let flushed = want.is_subnormal() && found == 0.0;
    flushed || found.is_nan() && want.is_nan() || (ordinal(found) - ordinal(want)).abs() <= 1
}

fn check(backend: &mut dyn Backend, column: &str) {
    for (ty, yes) in table(column) {
        assert_eq!(supported(backend, ty), yes, "README's table says otherwise of {ty} on {}", backend.name());
        if !yes {
            println!("unsupported: {ty} on {}", backend.name());
            continue;
        }
        let golden = golden(ty);
        for (i, (found, want)) in decoded(backend, &golden).into_iter().zip(&golden.want).enumerate() {
            assert!(alike(found, *want), "{ty} on {}: value {i} is {found:e}, not {want:e}", backend.name());
        }
    }
}

/// What the backend makes of the blocks.
fn decoded(backend: &mut dyn Backend, golden: &Golden) -> Vec<f32> {
    let ty = golden.plan.weights[0].ty;
    backend.load(&golden.plan, &golden.weights, &mut |_| {}).unwrap_or_else(|e| panic!("{ty}: {e}"));
    backend.run(&golden.step).unwrap_or_else(|e| panic!("{ty}: {e}"));
    let mut found = vec![f32::NAN; golden.want.len()];
    backend.read(golden.out, &mut found).unwrap_or_else(|e| panic!("{ty}: {e}"));
    found
}

/// MXFP4's smallest scales are subnormal. The CUDA kernels are compiled to keep such numbers.
#[test]
fn the_smallest_scales_of_mxfp4_are_exact_on_the_simulator() {
    let mut blocks = quant::random_blocks(GgmlType::MXFP4, 2 * COLS as u64, &mut quant::Random::new(1));
    for (i, block) in blocks.chunks_exact_mut(GgmlType::MXFP4.block_bytes() as usize).enumerate() {
        block[0] = i as u8 % 4;
    }
    let mut want = vec![0.0; 2 * COLS as usize];
    quant::decode(GgmlType::MXFP4, &blocks, &mut want);
    assert!(want.iter().any(|v| v.is_subnormal()));
    let golden = embedding(GgmlType::MXFP4, blocks, want);
    assert_eq!(decoded(&mut pronk::backend::cuda::Cuda::sim(), &golden), golden.want);
}

#[test]
fn the_table_has_every_type() {
    let listed: BTreeSet<GgmlType> = table("CPU").into_keys().collect();
    assert_eq!(listed, quant::FORMATS.iter().map(|format| format.ty).collect());
}

#[test]
fn cpu() {
    check(&mut Cpu::default(), "CPU");
}

#[cfg(feature = "wgpu")]
#[test]
fn wgpu() {
    use pronk::backend::wgpu::{Options, Wgpu};
    let options = Options { checked: true, ..Options::default() };
    if let Some(mut device) = common::is_here("wgpu", Wgpu::open_with(None, options)) {
        check(&mut device, "WGSL");
    }
}

#[test]
fn sim() {
    check(&mut pronk::backend::cuda::Cuda::sim(), "CUDA");
}

#[test]
fn cuda() {
    if let Some(mut device) = common::is_here("cuda", pronk::backend::cuda::Cuda::open(None)) {
        check(&mut device, "CUDA");
    }
}
