//! Which tensor types each backend reads: README's table says so, and every backend agrees. Where it says yes, the backend decodes
//! the golden blocks of tests/data/blocks to their values within one unit in the last place. A type that lacks a shader, a kernel,
//! golden blocks or its place in README fails with the name of what is missing.

use crate::common;
use pronk::backend::Backend;
use pronk::backend::cpu::Cpu;
use pronk::backend::reference::Reference;
use pronk::plan::{Buf, Embed, KvDecl, KvType, MatMul, Phase, Plan, Rows, Step, WeightDecl, Weights};
use pronk::quant::{self, GgmlType};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const COLUMNS: [&str; 3] = ["CPU", "WGSL", "CUDA"];

/// A file of the repository.
fn text(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// README before its table, the rows of the table, and what follows.
fn readme() -> [String; 3] {
    let head = format!("| tensor type | {} |\n|---|---|---|---|\n", COLUMNS.join(" | "));
    let readme = text("README.md");
    let (before, rest) = readme.split_once(&head).expect("the table");
    let (rows, after) = rest.split_once("\n\n").expect("an empty line after the table");
    [format!("{before}{head}"), format!("{rows}\n"), format!("\n{after}")]
}

/// README's table: for each type whether `column` says yes.
fn table(column: &str) -> BTreeMap<GgmlType, bool> {
    let column = COLUMNS.iter().position(|name| *name == column).expect("a column");
    let [_, table, _] = readme();
    let mut rows = BTreeMap::new();
    for line in table.lines() {
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
    let ops = |phase| plan.ops(phase).iter().map(move |op| (op, phase));
    let ops = ops(Phase::Decode).chain(ops(Phase::Prefill));
    let answers: Vec<bool> = ops.map(|(op, phase)| backend.supports(&plan, op, phase).is_ok()).collect();
    assert!(answers.iter().all(|yes| *yes == answers[0]), "{ty} on {}: {answers:?}", backend.name());
    answers[0]
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

/// The rows of README's table: types with fused CUDA kernels, then those without.
#[test]
fn the_rows_of_the_table_are_by_fused_kernels() {
    let fused = crate::ptx::weight_types("FUSED_TYPES");
    let (first, second): (Vec<_>, Vec<_>) =
        quant::FORMATS.iter().map(|format| format.ty.name()).partition(|name| fused.contains(&name.to_lowercase()));
    let row = |names: Vec<&str>| format!("| {} | {} |\n", names.join(", "), COLUMNS.map(|_| "yes").join(" | "));
    let expected = row(first) + &row(second);
    let [before, found, after] = readme();
    if std::env::var_os("PRONK_WRITE").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
        std::fs::write(path, before + &expected + &after).expect("README.md");
    } else {
        assert_eq!(found, expected, "README.md: the table differs from quant::FORMATS; PRONK_WRITE=1 writes it again");
    }
}

/// Names of the files of a folder of the repository.
fn files(folder: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = std::fs::read_dir(path).unwrap_or_else(|e| panic!("{folder}: {e}"));
    files.map(|file| file.expect("a file").file_name().into_string().expect("UTF-8")).collect()
}

/// What a type needs beside its row in `quant::FORMATS` and lacks, file by file.
fn missing(ty: GgmlType) -> Vec<String> {
    let (name, stem) = (ty.name(), ty.name().to_lowercase());
    let file = |folder: &str, name: String| (files(folder).contains(&name), format!("{folder}/{name}"));
    let has_struct = |file: &String| {
        let text = text(&format!("kernels/formats/{file}"));
        text.lines().any(|line| line.strip_prefix("struct ").and_then(|rest| rest.split(' ').next()) == Some(name))
    };
    let types = text("kernels/formats/types.cuh");
    let listed = text("README.md").lines().any(|line| line.split(['|', ',']).any(|cell| cell.trim() == name));
    let places = [
        file("shaders/formats", format!("{stem}.wgsl")),
        (files("kernels/formats").iter().any(has_struct), format!("kernels/formats/*.cuh: struct {name}")),
        (types.contains(&format!("\n//   {name} ")), format!("kernels/formats/types.cuh: the planes of {name}")),
        (types.contains(&format!(" X({stem}, {name})")), format!("kernels/formats/types.cuh: X({stem}, {name})")),
        file("tests/data/blocks", format!("{stem}.bin")),
        file("tests/data/blocks", format!("{stem}.f32")),
        (listed, format!("README.md: {name}")),
    ];
    places.into_iter().filter(|(found, _)| !found).map(|(_, place)| place).collect()
}

#[test]
fn every_type_is_everywhere() {
    let missing: Vec<String> = quant::FORMATS.iter().flat_map(|format| missing(format.ty)).collect();
    assert!(missing.is_empty(), "missing: {}", missing.join(", "));
}

#[test]
fn what_a_type_lacks_is_named() {
    let expected = [
        "shaders/formats/q8_k.wgsl",
        "kernels/formats/*.cuh: struct Q8_K",
        "kernels/formats/types.cuh: the planes of Q8_K",
        "kernels/formats/types.cuh: X(q8_k, Q8_K)",
        "tests/data/blocks/q8_k.bin",
        "tests/data/blocks/q8_k.f32",
        "README.md: Q8_K",
    ];
    assert_eq!(missing(GgmlType::Q8_K), expected);
}

#[test]
fn shaders_and_golden_blocks_are_of_types_that_are_decoded() {
    let stems = || quant::FORMATS.iter().map(|format| format.ty.name().to_lowercase());
    assert_eq!(files("shaders/formats"), stems().map(|stem| format!("{stem}.wgsl")).collect());
    let blocks = stems().flat_map(|stem| [format!("{stem}.bin"), format!("{stem}.f32")]);
    assert_eq!(files("tests/data/blocks"), blocks.chain(["README.md".to_string()]).collect());
}

#[test]
fn reference() {
    check(&mut Reference::default(), "CPU");
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
