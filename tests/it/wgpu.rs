//! What only the WGSL backend has: splitting by the binding limit, kernels for several kinds of adapters, and refusals.

use crate::common;
use pronk::backend::wgpu::{Options, Wgpu};
use pronk::backend::{Backend, Error};
use pronk::conformance::{Case, Outcome, cases};
use pronk::plan::*;
use pronk::quant::GgmlType;

/// Runs the cases of some operations with `options`; returns how many passed, None without a device.
fn run(options: Options, wanted: impl Fn(&Case) -> bool) -> Option<usize> {
    let mut device = common::is_here("wgpu", Wgpu::open_with(None, options))?;
    let mut passed = 0;
    for case in cases().iter().filter(|case| wanted(case)) {
        match case.run(&mut device) {
            Ok(Outcome::Passed(_)) => passed += 1,
            Ok(Outcome::Unsupported(why)) => println!("unsupported: {} {}: {why}", case.op, case.name),
            // Four rows, the smallest part that is bound, are above a limit that a test has set. The count of passed cases bounds how many are.
            Err(Error::Memory { what, .. }) => println!("too wide: {} {}: {what}", case.op, case.name),
            other => panic!("{} {}: {other:?}", case.op, case.name),
        }
    }
    Some(passed)
}

/// Matrices and tables far above a binding limit are split by rows: every case of the operations that read them still passes.
#[test]
fn weights_above_the_binding_limit_are_split() {
    // Less than the weights of most cases, more than four rows of nearly all.
    let options = Options { checked: true, max_weight_binding: Some(48 << 10), ..Options::default() };
    if let Some(passed) = run(options, |case| ["embed", "mat_mul", "mat_mul_add", "rope"].contains(&case.op.stem())) {
        assert!(passed > 250, "{passed} cases passed");
    }
}

/// With the 8 storage buffers that every adapter of WebGPU has, weights of many planes are not fused, and the one type whose planes leave
/// no buffer for a residual is refused by name there. Products alone take every type.
#[test]
fn few_buffers() {
    let options = Options { checked: true, max_buffers: Some(8), ..Options::default() };
    let types = [GgmlType::Q4_0, GgmlType::Q6_K, GgmlType::IQ2_XS, GgmlType::IQ3_S];
    let wanted = |case: &Case| case.ty.is_some_and(|ty| types.contains(&ty)) && case.name.contains("tokens=3");
    let Some(passed) = run(options, wanted) else { return };
    assert!(passed >= 8, "{passed} cases passed");
    let device = Wgpu::open_with(None, options).expect("it was opened before");
    for format in &pronk::quant::FORMATS {
        let mut plan = Plan::new(tiny_kv(1, 2), 1, 1);
        let (x, out) = (plan.buf("x", Rows::Tokens, 256), plan.buf("out", Rows::Tokens, 8));
        let w = plan.weight(WeightDecl { name: "w".to_string(), ty: format.ty, rows: 8, cols: 256 });
        plan.push(MatMul { out, x, w, first_row: 0 }).expect("the shapes fit");
        let said = device.supports(&plan, &plan.decode[0], Phase::Decode).map_err(|e| e.to_string());
        assert_eq!(said, Ok(()), "{}", format.ty);
        let residual = plan.buf("residual", Rows::Tokens, 8);
        let product = MatMul { out, x, w, first_row: 0 };
        let fused = MatMulAdd { product, add: Add { out: residual, x: residual, y: out } }.into();
        let said = device.supports(&plan, &fused, Phase::Decode).map_err(|e| e.to_string());
        match format.ty {
            GgmlType::IQ3_S => {
                let refusal = "cannot read tensor w of type IQ3_S: that takes 9 buffers, at most 8".to_string();
                assert_eq!(said, Err(refusal));
            }
            ty => assert_eq!(said, Ok(()), "{ty}"),
        }
    }
}

/// An adapter that is a CPU has kernels of its own; those for GPUs pass the same cases there.
#[test]
fn kernels_for_gpus() {
    let options = Options { checked: true, plain: true, ..Options::default() };
    // Several ways to decode; every type has its cases on the adapter's own kernels.
    let types = [GgmlType::F16, GgmlType::Q4_0, GgmlType::Q4_1, GgmlType::Q6_K, GgmlType::IQ2_XS];
    let wanted = |case: &Case| case.op == CoreKind::Attention.into() || case.ty.is_some_and(|ty| types.contains(&ty));
    if let Some(passed) = run(options, wanted) {
        assert!(passed > 100, "{passed} cases passed");
    }
}

/// Without bounds checks, as models run.
#[test]
fn unchecked_shaders() {
    let few = |case: &Case| ["gather", "argmax", "kv_store", "mat_mul_add", "rms_norm"].contains(&case.op.stem());
    if let Some(passed) = run(Options::default(), few) {
        assert!(passed > 20, "{passed} cases passed");
    }
}

fn tiny_kv(slots: u32, head_dim: u32) -> KvDecl {
    KvDecl { layers: 1, slots, heads: 1, head_dim, ty: KvType::F32 }
}

/// The error of loading a plan of one `Add` of `cols` columns and up to `rows` rows, with the cache `kv`.
fn refusal(kv: KvDecl, rows: u32, cols: u32) -> Option<Error> {
    let mut device = common::is_here("wgpu", Wgpu::open(None))?;
    let mut plan = Plan::new(kv, rows, 1);
    let x = plan.buf("x", Rows::Tokens, cols);
    plan.push(Add { out: x, x, y: x }).expect("the shapes fit");
    let loaded = device.load(&plan, &Weights(vec![]), &mut |_| {});
    Some(loaded.expect_err("more than any adapter has"))
}

#[test]
fn a_buffer_above_the_limit_is_refused_by_name() {
    if let Some(e) = refusal(tiny_kv(1, 2), 65535, u32::MAX / 32 * 32) {
        assert!(matches!(e, Error::Memory { .. }), "{e}");
        assert!(e.to_string().contains("buffer x"), "{e}");
    }
}

/// A workgroup takes one row of an `Add`; WebGPU's limit of their number is 65535 in each direction.
#[test]
fn a_grid_above_the_limit_is_refused_by_name() {
    let most = 65535;
    for (n_rows, fits) in [(most, true), (most + 1, false)] {
        let Some(mut device) = common::is_here("wgpu", Wgpu::open(None)) else { return };
        let mut plan = Plan::new(tiny_kv(1, 2), n_rows, 1);
        let x = plan.buf("x", Rows::Tokens, 4);
        plan.push(Add { out: x, x, y: x }).expect("the shapes fit");
        let said = device.load(&plan, &Weights(vec![]), &mut |_| {}).map_err(|e| e.to_string());
        let refusal = format!("{}: kernel add: {n_rows} rows of 32 columns are too many", device.name());
        assert_eq!(said, if fits { Ok(()) } else { Err(refusal) });
    }
}

#[test]
fn a_cache_above_the_limit_is_refused_by_name() {
    if let Some(e) = refusal(tiny_kv(u32::MAX, 256), 1, 4) {
        assert!(matches!(e, Error::Memory { .. }), "{e}");
        assert!(e.to_string().contains("keys of layer 0"), "{e}");
    }
}

#[test]
fn a_step_needs_a_plan_and_stays_within_it() {
    let Some(mut device) = common::is_here("wgpu", Wgpu::open(None)) else { return };
    let step = Step::sequence(&[0], 0, &[]);
    let e = device.run(&step).expect_err("nothing is loaded");
    assert!(e.to_string().contains("no plan is loaded"), "{e}");
    let mut plan = Plan::new(tiny_kv(4, 2), 2, 1);
    let x = plan.buf("x", Rows::Tokens, 4);
    plan.push(Add { out: x, x, y: x }).expect("the shapes fit");
    device.load(&plan, &Weights(vec![]), &mut |_| {}).expect("a small plan");
    device.run(&step).expect("a step within the plan");
    let e = device.run(&Step::sequence(&[0, 0, 0], 0, &[])).expect_err("three tokens");
    assert!(matches!(e, Error::Step(_)), "{e}");
}

#[test]
fn an_adapter_that_is_not_here_is_an_error() {
    let Err(e) = Wgpu::open(Some(99)) else { panic!("adapter 99") };
    assert!(e.to_string().starts_with("wgpu:99: "), "{e}");
}
