//! What only the WGSL backend has: splitting by the binding limit, and refusals.
#![cfg(feature = "wgpu")]

mod common;

use pronk::backend::wgpu::{Options, Wgpu};
use pronk::conformance::{Outcome, cases};

/// Matrices far above a binding limit are split by rows: every case of the operations that read weights still passes.
#[test]
fn weights_above_the_binding_limit_are_split() {
    // Less than most cases have, more than four rows of the widest.
    let options = Options { checked: true, max_weight_binding: Some(32 << 10) };
    let Some(mut device) = common::is_here("wgpu", Wgpu::open(None, options)) else { return };
    let mut passed = 0;
    for case in cases() {
        if !["embed", "mat_mul"].contains(&case.stem) {
            continue;
        }
        match case.run(&mut device) {
            Ok(Outcome::Passed(_)) => passed += 1,
            Ok(Outcome::Unsupported(why)) => println!("unsupported: {} {}: {why}", case.stem, case.name),
            other => panic!("{} {}: {other:?}", case.stem, case.name),
        }
    }
    assert!(passed > 50, "{passed} cases passed");
}
