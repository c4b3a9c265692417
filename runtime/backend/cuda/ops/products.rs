//! Matrix products, alone and fused. All are launched alike. Up to [`DECODE_TOKENS`] rows of x meet the weights as they stream by:
//! one row by itself, more of them on tensor cores, as 16-bit integers where the weights are quantized. More rows are tiles on
//! tensor cores. Rows for tensor cores are staged by a launch before.

use super::attention::kv_cache;
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
    }
}

pub(super) const LAYOUTS: [Layout; 5] = [
    StageParams::LAYOUT,
    MatMulParams::LAYOUT,
    MatMulAddParams::LAYOUT,
    NormGateUpSwiGluParams::LAYOUT,
    NormQkvRopeStoreParams::LAYOUT,
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
            Staging::I8x2 => return n_cols.div_ceil(pack::UNIT) * STAGED_UNIT as u64 / 2,
        };
        n_cols.div_ceil(cols as u64) * STAGE_COLS as u64
    }
}

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
    norm: Option<&'a RmsNorm>,
}

/// A product of rows.
trait Rowed {
    /// Blocks for the pairs of rows of its matrices, at `n` pairs a block: of those before the last matrix, and of the last.
    fn blocks(&self, plan: &Plan, n: u32) -> [u32; 2];
}

impl Rowed for MatMul {
    fn blocks(&self, plan: &Plan, n: u32) -> [u32; 2] {
        [plan[self.out].cols.div_ceil(2).div_ceil(n), 0]
    }
}

impl Rowed for NormGateUpSwiGlu {
    /// A pair is a row of gate and the same row of up.
    fn blocks(&self, plan: &Plan, n: u32) -> [u32; 2] {
        [plan[self.act.out].cols.div_ceil(n), 0]
    }
}

impl Rowed for NormQkvRopeStore {
    fn blocks(&self, plan: &Plan, n: u32) -> [u32; 2] {
        let kv_blocks = (plan.kv.row() / 2).div_ceil(n);
        [(plan[self.q.out].cols / 2).div_ceil(n) + kv_blocks, kv_blocks]
    }
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
        Rowwise { x, norm }: Rowwise,
        blocks: impl Fn(u32) -> [u32; 2],
        params: impl FnOnce(&Self, Input) -> P,
    ) {
        let rows = self.rows(x);
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
            of_outputs: self.rows_are_outputs(x),
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

mirror! {
    MatMulParams {
        input: Input,
        w: Planes,
        out: DevicePtr,
        step: DevicePtr,
        n_rows: u32,
        first_row: u32,
    }
}

impl Lower for MatMul {
    fn supports(&self, plan: &Plan, _: Phase) -> Result<(), Unsupported> {
        matrix(plan, self.w)?;
        float4(plan, self.x)?;
        let most = VEC_PAIRS * MAX_BLOCKS; // a pair has one row at least
        let rows = plan[self.out].cols;
        refuse(rows > most, || format!("cannot multiply {rows} rows of tensor {}, at most {most}", plan[self.w].name))
    }

    fn entries(&self, plan: &Plan, phase: Phase) -> Vec<Entry> {
        entries(plan, phase, product(plan, CoreKind::MatMul, self.w, self.w))
    }

    fn division(&self, plan: &Plan, n_sms: u32) -> Option<Division> {
        division(plan, n_sms, product(plan, CoreKind::MatMul, self.w, self.w), self.blocks(plan, 1), plan[self.x].cols)
    }

    fn lower(&self, to: &mut Lowering) {
        let to_plan = to.plan;
        let product = product(to.plan, CoreKind::MatMul, self.w, self.w);
        let n_rows = to.plan[self.out].cols;
        to.push_product(
            product,
            Rowwise { x: self.x, norm: None },
            |n| self.blocks(to_plan, n),
            |to, input| MatMulParams {
                input,
                w: to.planes(self.w),
                out: to.buf(self.out),
                step: to.addresses.step,
                n_rows,
                first_row: self.first_row,
            },
        );
    }

    fn precision(&self, plan: &Plan, phase: Phase) -> Precision {
        match phase {
            _ if !rounds(plan) => Precision::F32,
            Phase::Prefill => Precision::F16,
            Phase::Decode if is_quantized(plan[self.w].ty) => Precision::I16,
            Phase::Decode => Precision::F32,
        }
    }

    fn scratch(&self, plan: &Plan, _: u32) -> Vec<(Scratch, u64)> {
        let (w, rows) = (&plan[self.w], plan.max_rows(plan[self.x].rows));
        if !rounds(plan) {
            return vec![];
        }
        let few = is_quantized(w.ty) && rows > 1;
        let few = if few { Staging::I8x2.halves(w.cols) } else { 0 };
        let many = if rows > DECODE_TOKENS { rows as u64 * Staging::of(w.ty).halves(w.cols) } else { 0 };
        vec![(Scratch::Staged, 2 * few.max(many)), (Scratch::RowScale, 4 * rows.max(ROWS_TOKENS) as u64)]
    }
}

mirror! {
    MatMulAddParams {
        input: Input,
        w: Planes,
        residual: DevicePtr,
        out: DevicePtr,
        step: DevicePtr,
        n_rows: u32,
        first_row: u32,
    }
}

impl Lower for MatMulAdd {
    fn supports(&self, plan: &Plan, phase: Phase) -> Result<(), Unsupported> {
        fused(plan, phase, self.as_product(plan), &[self.product.w])
    }

    fn entries(&self, plan: &Plan, phase: Phase) -> Vec<Entry> {
        entries(plan, phase, self.as_product(plan))
    }

    fn division(&self, plan: &Plan, n_sms: u32) -> Option<Division> {
        division(plan, n_sms, self.as_product(plan), self.product.blocks(plan, 1), plan[self.product.x].cols)
    }

    fn lower(&self, to: &mut Lowering) {
        let MatMulAdd { product, add } = self;
        let n_rows = to.plan[add.out].cols;
        let to_plan = to.plan;
        let blocks = |n| product.blocks(to_plan, n);
        to.push_product(self.as_product(to.plan), Rowwise { x: product.x, norm: None }, blocks, |to, input| {
            MatMulAddParams {
                input,
                w: to.planes(product.w),
                residual: to.buf(self.residual()),
                out: to.buf(add.out),
                step: to.addresses.step,
                n_rows,
                first_row: product.first_row,
            }
        });
    }
}

impl MatMulAdd {
    fn as_product(&self, plan: &Plan) -> Product {
        product(plan, FusedKind::MatMulAdd, self.product.w, self.product.w)
    }
}

mirror! {
    NormGateUpSwiGluParams {
        input: Input,
        gate: Planes,
        up: Planes,
        out: DevicePtr,
        step: DevicePtr,
        n_rows: u32,
        gate_row: u32,
        up_row: u32,
        reserved: u32,
    }
}

impl Lower for NormGateUpSwiGlu {
    fn supports(&self, plan: &Plan, phase: Phase) -> Result<(), Unsupported> {
        fused(plan, phase, self.as_product(plan), &[self.gate.w, self.up.w])
    }

    fn entries(&self, plan: &Plan, phase: Phase) -> Vec<Entry> {
        entries(plan, phase, self.as_product(plan))
    }

    fn division(&self, plan: &Plan, n_sms: u32) -> Option<Division> {
        division(plan, n_sms, self.as_product(plan), self.blocks(plan, 1), plan[self.norm.x].cols)
    }

    fn lower(&self, to: &mut Lowering) {
        let NormGateUpSwiGlu { norm, gate, up, act } = self;
        let n_rows = to.plan[act.out].cols;
        let input = Rowwise { x: norm.x, norm: Some(norm) };
        let to_plan = to.plan;
        let blocks = |n| self.blocks(to_plan, n);
        to.push_product(self.as_product(to.plan), input, blocks, |to, input| NormGateUpSwiGluParams {
            input,
            gate: to.planes(gate.w),
            up: to.planes(up.w),
            out: to.buf(act.out),
            step: to.addresses.step,
            n_rows,
            gate_row: gate.first_row,
            up_row: up.first_row,
            reserved: 0,
        });
    }
}

impl NormGateUpSwiGlu {
    fn as_product(&self, plan: &Plan) -> Product {
        product(plan, FusedKind::NormGateUpSwiGlu, self.gate.w, self.up.w)
    }
}

mirror! {
    NormQkvRopeStoreParams {
        input: Input,
        q: Planes,
        k: Planes,
        v: Planes,
        out: DevicePtr,
        kv: KvCache,
        table: DevicePtr,
        step: DevicePtr,
        n_q_rows: u32,
        n_kv_rows: u32,
        rope_dim: u32,
        q_row: u32,
        k_row: u32,
        v_row: u32,
        keys: DevicePtr,
        values: DevicePtr,
    }
}

impl Lower for NormQkvRopeStore {
    fn supports(&self, plan: &Plan, phase: Phase) -> Result<(), Unsupported> {
        fused(plan, phase, self.as_product(plan), &[self.q.w, self.k.w, self.v.w])
    }

    fn entries(&self, plan: &Plan, phase: Phase) -> Vec<Entry> {
        let mut entries = entries(plan, phase, self.as_product(plan));
        if plan.kv.ty == KvType::Q8_0 {
            entries.extend(self.store.entries(plan, phase));
        }
        entries
    }

    fn division(&self, plan: &Plan, n_sms: u32) -> Option<Division> {
        division(plan, n_sms, self.as_product(plan), self.blocks(plan, 1), plan[self.norm.x].cols)
    }

    fn lower(&self, to: &mut Lowering) {
        let NormQkvRopeStore { norm, q, k, v, rope_q, store, .. } = self;
        let (n_q_rows, n_kv_rows) = (to.plan[q.out].cols, to.plan.kv.row());
        let input = Rowwise { x: norm.x, norm: Some(norm) };
        let to_plan = to.plan;
        let blocks = |n| self.blocks(to_plan, n);
        to.push_product(self.as_product(to.plan), input, blocks, |to, input| NormQkvRopeStoreParams {
            input,
            q: to.planes(q.w),
            k: to.planes(k.w),
            v: to.planes(v.w),
            out: to.buf(q.out),
            kv: kv_cache(to, store.layer),
            table: to.floats(rope_q.table),
            step: to.addresses.step,
            n_q_rows,
            n_kv_rows,
            rope_dim: to.plan[rope_q.table].cols as u32,
            q_row: q.first_row,
            k_row: k.first_row,
            v_row: v.first_row,
            keys: to.buf(store.k),
            values: to.buf(store.v),
        });
        if to.plan.kv.ty == KvType::Q8_0 {
            store.lower(to);
        }
    }
}

impl NormQkvRopeStore {
    fn as_product(&self, plan: &Plan) -> Product {
        product(plan, FusedKind::NormQkvRopeStore, self.q.w, self.v.w)
    }
}
