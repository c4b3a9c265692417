//! What the cases of core and of fused operations share.

use super::{Case, Setup};
use crate::plan::*;
use crate::quant::GgmlType;

/// Results that are copied, not computed.
pub(super) const EXACT: f64 = 0.0;
/// One or two roundings (2^-24 each, squared 4e-15) per result, and fused or separate multiply-add.
pub(super) const ROUNDED: f64 = 1e-13;
/// A sum over a row in another order, or a device's exp and inverse square root (a few units in the last place).
pub(super) const SUMMED: f64 = 1e-11;
/// Dot products of up to 14336 terms with cancellation.
pub(super) const DOT: f64 = 1e-10;

/// Float types in rows that end within a step of tensor cores, and within a unit of 32.
pub(super) const RAGGED: [(GgmlType, u64); 3] = [(GgmlType::F32, 36), (GgmlType::F16, 100), (GgmlType::BF16, 68)];

/// Columns of a row of more than two tiles: kernels that pass x through shared memory hold at most 1024 columns of it.
pub(super) const WIDE: u64 = 2304;

pub(super) fn case(
    op: impl Into<OpKind>,
    name: String,
    ty: Option<GgmlType>,
    limit: f64,
    build: impl Fn(&mut Setup) + Send + Sync + 'static,
) -> Case {
    Case { op: op.into(), name, ty, limit, build: Box::new(build) }
}

/// The same with every operation given twice: a kernel may begin before the one before it has ended, and here both write the
/// same buffers, so that it must wait.
pub(super) fn twice(case: Case) -> Case {
    let build = case.build;
    let repeated = move |s: &mut Setup| {
        build(s);
        for ops in [&mut s.plan.decode, &mut s.plan.prefill] {
            ops.extend_from_within(..);
        }
    };
    Case { name: format!("{} twice", case.name), build: Box::new(repeated), ..case }
}

/// Cosines and sines as the model makes them, for `positions` positions.
pub(super) fn rope_table(s: &mut Setup, positions: u32, rope_dim: u32) -> Weight {
    let angle = |p: u32, i: u32| p as f64 * 1e4f64.powf(-2.0 * i as f64 / rope_dim as f64);
    let pairs = (0..positions).flat_map(|p| (0..rope_dim / 2).map(move |i| angle(p, i).sin_cos()));
    let values: Vec<f32> = pairs.flat_map(|(sin, cos)| [cos as f32, sin as f32]).collect();
    s.weight_of(&values, rope_dim as u64)
}

pub(super) fn kv_of(heads: u32, head_dim: u32, slots: u32, ty: KvType) -> KvDecl {
    KvDecl { layers: 2, slots, heads, head_dim, ty }
}
