//! Matrix products, alone and fused. All are launched alike. Up to [`DECODE_TOKENS`] rows of x meet the weights as they stream by:
//! one row by itself, more of them on tensor cores, as 16-bit integers where the weights are quantized. More rows are tiles on
//! tensor cores. Rows for tensor cores are staged by a launch before.

mod fused;
mod mat_mul;

use super::{Lower, float4, matrix, refuse};
use crate::backend::cuda::balance::{Division, Pairs};
use crate::backend::cuda::entry::{Entry, Form, Product, Staging, is_quantized};
use crate::backend::cuda::launch::{Lowering, MAX_BLOCKS, Scratch};
use crate::backend::cuda::params::*;
use crate::backend::{Precision, Unsupported};
use crate::plan::*;
use crate::quant::{GgmlType, pack};
use bytemuck::Pod;

/// What the backend knows of a fused operation.
pub(super) fn of(op: &Fused) -> &dyn Lower {
    match op {
        Fused::NormQkvRopeStore(op) => op,
        Fused::NormGateUpSwiGlu(op) => op,
        Fused::MatMulAdd(op) => op,
        Fused::GatherNormMatMulArgmax(op) => op,
    }
}

pub(super) const LAYOUTS: [Layout; 4] = [
    StageParams::LAYOUT,
    mat_mul::MatMulParams::LAYOUT,
    fused::NormGateUpSwiGluParams::LAYOUT,
    fused::NormQkvRopeStoreParams::LAYOUT,
];

/// Whether products may round x: of many rows to f16 for tensor cores, of few to 16-bit integers beside quantized weights. A cache in
/// f32 is chosen for exactness: with it all are multiplied in f32.
fn rounds(plan: &Plan) -> bool {
    plan.kv.ty != KvType::F32
}

/// How products of up to [`DECODE_TOKENS`] rows multiply weights of this type.
fn decode_forms(plan: &Plan, ty: GgmlType) -> [Form; 2] {
    if rounds(plan) && is_quantized(ty) { [Form::Stream, Form::Rows] } else { [Form::T1, Form::T4] }
}

impl Staging {
    /// How tensor cores take x beside weights of this type.
    fn of(ty: GgmlType) -> Staging {
        match ty {
            GgmlType::F32 | GgmlType::BF16 => Staging::Bf16x2,
            _ => Staging::F16,
        }
    }

    /// Halves of a staged row of this many columns: see kernels/products/stage.cu.
    fn halves(self, n_cols: u64) -> u64 {
        let cols = match self {
            Staging::F16 => STAGE_COLS,
            Staging::Bf16x2 => STAGE_COLS / 2,
            Staging::I8x2 => {
                let units = n_cols.div_ceil(pack::UNIT).next_multiple_of(STAGED_UNITS);
                return units * STAGED_UNIT as u64 / 2;
            }
        };
        n_cols.div_ceil(cols as u64) * STAGE_COLS as u64
    }
}

/// The units of a row that stage_i8x2 writes are a multiple of these.
const STAGED_UNITS: u64 = 8;

/// Columns of x that fit the shared memory of a block.
const X_COLS: u32 = X_UNITS * pack::UNIT as u32;

/// Elements of a chunk of a quantized type: kernels/formats/types.cuh.
fn chunk(ty: GgmlType) -> u32 {
    if ty == GgmlType::Q8_0 { 16 } else { 32 }
}

/// Blocks of the first type and of the grid for tiles of ROWS_PAIRS pairs, of two types in proportion to their tiles.
fn shares(n_sms: u32, [first, last]: [u32; 2], two_types: bool) -> (u32, u32) {
    let blocks = (STREAM_BLOCKS * n_sms).min(first + last).max(1 + two_types as u32);
    let of_first = (blocks as u64 * first as u64 / (first + last).max(1) as u64) as u32;
    (if two_types { of_first.clamp(1, blocks - 1) } else { blocks }, blocks)
}

/// The product of an operation with these matrices, in the order of its parameters.
fn product(plan: &Plan, kind: impl Into<OpKind>, first: Weight, last: Weight) -> Product {
    Product { kind: kind.into(), first: plan[first].ty, last: plan[last].ty }
}

/// The entries of a product in this phase.
fn entries(plan: &Plan, phase: Phase, product: Product) -> Vec<Entry> {
    let forms = decode_forms(plan, product.first);
    let mut entries = forms.map(|form| Entry::Product(product, form)).to_vec();
    if forms.contains(&Form::Rows) {
        entries.push(Entry::Stage(Staging::I8x2));
    }
    if phase == Phase::Prefill && rounds(plan) {
        entries.extend([Entry::Product(product, Form::Tiled), Entry::Stage(Staging::of(product.first))]);
    }
    entries
}

/// Refuses types that the fused kernels do not read. Some are fused in decode alone.
fn fused(plan: &Plan, phase: Phase, product: Product, weights: &[Weight]) -> Result<(), Unsupported> {
    let [one_row, _] = decode_forms(plan, product.first);
    let form = if phase == Phase::Decode { one_row } else { Form::Tiled };
    let alike = weights[..weights.len() - 1].iter().all(|w| plan[*w].ty == product.first);
    refuse(!alike || !product.has(form), || {
        let names = weights.iter().map(|w| format!("{} of type {}", plan[*w].name, plan[*w].ty.name()));
        format!("({}) is not fused for tensors {}", product.kind, names.collect::<Vec<_>>().join(", "))
    })
}

mirror! {
    StageParams {
        staged: DevicePtr,
        row_scale: DevicePtr,
        x: DevicePtr,
        norm: DevicePtr,
        step: DevicePtr,
        n_cols: u32,
        eps: f32,
        of_outputs: u32,
        reserved: u32,
    }
}

/// The input of a product, by rows: x, normalized first with the weights and epsilon of `norm`.
#[derive(Clone, Copy)]
struct Rowwise<'a> {
    x: Buf,
    /// Has a row for each row of the results; x has others only if x has rows of tokens and this of outputs.
    rows: Buf,
    norm: Option<&'a RmsNorm>,
}

impl<'a> Rowwise<'a> {
    fn plain(x: Buf) -> Rowwise<'a> {
        Rowwise { x, rows: x, norm: None }
    }

    fn normalized(norm: &'a RmsNorm) -> Rowwise<'a> {
        Rowwise { x: norm.x, rows: norm.x, norm: Some(norm) }
    }
}

/// A product of rows.
trait Rowed {
    /// Blocks for the pairs of rows of its matrices, at `n` pairs a block: of those before the last matrix, and of the last.
    fn blocks(&self, plan: &Plan, n: u32) -> [u32; 2];
}

/// How the products of a row of `n_cols` columns with these pairs of rows, those before the last matrix and those of the last, are
/// divided in decode; None if they are exact.
fn division(plan: &Plan, n_sms: u32, product: Product, [first, last]: [u32; 2], n_cols: u32) -> Option<Division> {
    let pairs = |pairs: u32, ty: GgmlType| {
        let steps = n_cols.div_ceil(WARP * chunk(ty));
        Pairs { pairs, steps, row_bytes: n_cols as u64 / ty.block_size() * ty.block_bytes() }
    };
    let one_type = product.first == product.last;
    let second = (!one_type).then(|| pairs(last, product.last));
    let first = if one_type { first + last } else { first };
    let [form, _] = decode_forms(plan, product.first);
    (form == Form::Stream).then(|| Division::of(n_sms, pairs(first, product.first), second, n_cols <= X_COLS))
}

impl Lowering<'_> {
    /// Adds the launches of a product on `input`. `blocks`: as [`Rowed::blocks`] gives them.
    fn push_product<P: Pod>(
        &mut self,
        product: Product,
        Rowwise { x, rows: rows_of, norm }: Rowwise,
        blocks: impl Fn(u32) -> [u32; 2],
        params: impl FnOnce(&Self, Input) -> P,
    ) {
        let rows = self.rows(rows_of);
        let [one_row, few_rows] = decode_forms(self.plan, product.first);
        let form = match rows {
            0 | 1 => one_row,
            _ if rows > DECODE_TOKENS && rounds(self.plan) => Form::Tiled,
            _ => few_rows,
        };
        let n_cols = self.plan[x].cols;
        let sixteen = matches!(form, Form::Stream | Form::Rows);
        let division = if sixteen { division(self.plan, self.n_sms, product, blocks(1), n_cols) } else { None };
        let (mut first_blocks, mut grid_blocks) = division.map_or((0, 0), |d| (d.first_blocks, d.blocks));
        if form == Form::Rows {
            let [first, last] = blocks(ROWS_PAIRS);
            (first_blocks, grid_blocks) = shares(self.n_sms, [first, last], product.first != product.last);
        }
        let input = Input {
            x: self.buf(x),
            norm: norm.map_or(0, |norm| self.floats(norm.w)),
            staged: self.scratch(Scratch::Staged),
            row_scale: self.scratch(Scratch::RowScale),
            n_cols,
            eps: norm.map_or(0.0, |norm| norm.eps),
            of_outputs: match self.plan[x].rows == self.plan[rows_of].rows {
                true => self.rows_are_outputs(x),
                false => OUTPUTS_OF_TOKENS,
            },
            parts: division.map_or(0, |division| division.parts),
            first_blocks,
            reserved: 0,
        };
        let staging = match form {
            Form::Rows => Some((Staging::I8x2, ROWS_TOKENS)),
            Form::Tiled => Some((Staging::of(product.first), rows)),
            _ => None,
        };
        if let Some((staging, staged_rows)) = staging {
            let Input { x, norm, staged, row_scale, n_cols, eps, of_outputs, .. } = input;
            let step = self.addresses.step;
            let params = StageParams { staged, row_scale, x, norm, step, n_cols, eps, of_outputs, reserved: 0 };
            self.push(Entry::Stage(staging), [staged_rows, 1, 1], ROW_THREADS, &params);
        }
        let all = |n| blocks(n).iter().sum();
        let (grid, threads) = match form {
            Form::Stream | Form::Rows => ([grid_blocks * rows.min(1), 1, 1], STREAM_THREADS),
            Form::T1 => ([rows, all(VEC_PAIRS), 1], VEC_WARPS * WARP),
            Form::T4 => ([rows.div_ceil(VEC_TOKENS), all(VEC_PAIRS), 1], VEC_WARPS * WARP),
            Form::Tiled => ([rows.div_ceil(TILED_TOKENS), all(TILED_PAIRS), 1], TILED_THREADS),
        };
        let params = params(self, input);
        self.push(Entry::Product(product, form), grid, threads, &params);
    }
}
