//! Every conformance case on every backend of this machine, compared with the reference.

use crate::common;
use pronk::backend::{Backend, REGISTRY};
use pronk::conformance::{Outcome, cases};
use pronk::plan::{CoreKind, OpKind};
use pronk::quant;
use std::io::Write;

/// Runs all cases on `backend`; returns how many passed.
fn run_all(backend: &mut dyn Backend) -> usize {
    let (mut passed, mut unsupported, mut failures) = (0, 0, vec![]);
    for case in cases() {
        let name = format!("{} {} on {}", case.op, case.name, backend.name());
        match case.run(backend) {
            Ok(Outcome::Passed(_)) => passed += 1,
            Ok(Outcome::Unsupported(why)) => {
                unsupported += 1;
                println!("unsupported: {name}: {why}");
            }
            Ok(Outcome::Failed(what)) => failures.push(format!("{name}: {what}")),
            Err(e) => failures.push(format!("{name}: {e}")),
        }
    }
    println!("{}: {passed} cases passed, {unsupported} unsupported, {} failed", backend.name(), failures.len());
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    passed
}

#[test]
fn names_are_unique() {
    let mut names: Vec<String> = cases().iter().map(|c| format!("{} {}", c.op, c.name)).collect();
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[test]
fn every_operation_and_type_has_cases() {
    let cases = cases();
    for op in OpKind::all() {
        assert!(cases.iter().any(|c| c.op == op), "no case for {op}");
    }
    for format in &quant::FORMATS {
        for op in [CoreKind::Embed, CoreKind::MatMul] {
            let found = cases.iter().any(|c| c.op == op.into() && c.ty == Some(format.ty));
            assert!(found, "no case of {op:?} for {}", format.ty.name());
        }
    }
}

/// The reference against itself: the cases run, write only their results, and repeat exactly.
#[test]
fn reference() {
    assert!(run_all(&mut pronk::backend::reference::Reference::default()) > 200);
}

/// Backends that the tests below open in a way of their own.
const TESTED: [&str; 4] = ["ref", "cuda", "sim", "wgpu"];

/// Every other backend of the registry.
#[test]
fn other_backends() {
    for backend in REGISTRY.iter().filter(|backend| !TESTED.contains(&backend.name)) {
        if let Some(mut device) = common::is_here(backend.name, (backend.open)(None)) {
            assert!(run_all(&mut *device) > 0);
        }
    }
}

/// Shaders compiled with bounds checks.
#[cfg(feature = "wgpu")]
#[test]
fn wgpu() {
    use pronk::backend::wgpu::{Options, Wgpu};
    let options = Options { checked: true, ..Options::default() };
    if let Some(mut device) = common::is_here("wgpu", Wgpu::open_with(None, options)) {
        assert!(run_all(&mut device) > 200);
    }
}

/// The CUDA kernels on the simulator, with all of its checks: the PTX for each architecture.
fn run_all_on_sim(capability: (u32, u32)) {
    let mut device = pronk::backend::cuda::Cuda::sim_of(capability);
    let passed = run_all(&mut device);
    // Not println: the harness hides the output of a test that passes.
    writeln!(std::io::stderr(), "{}", device.driver().summary()).expect("stderr takes a line");
    assert!(passed > 250);
}

#[test]
fn sim_sm_80() {
    run_all_on_sim((8, 0));
}

#[test]
fn sim_sm_90() {
    run_all_on_sim((9, 0));
}

#[test]
fn cuda() {
    if let Some(mut device) = common::is_here("cuda", pronk::backend::cuda::Cuda::open(None)) {
        assert!(run_all(&mut device) > 200);
    }
}
