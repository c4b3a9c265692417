//! Matrix products, alone and fused. All are launched alike: up to 4 rows of x a block from the planes of the weights, or, of more
//! than [`DECODE_TOKENS`] rows, tiles on tensor cores, of rows that a launch before has staged.

use super::attention::kv_cache;
use super::{Lower, float4, matrix, refuse};
use crate::backend::cuda::entry::{Entry, Form, Product, Staging};
use crate::backend::cuda::launch::{Lowering, MAX_BLOCKS, Scratch};
use crate::backend::cuda::params::*;
use crate::backend::{Precision, Unsupported};
use crate::plan::*;
use crate::quant::GgmlType;
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

/// Whether matrix products of many rows run on tensor cores, in f16. A cache in f32 is chosen for exactness: with it they are
/// multiplied in f32, as in decode.
fn has_tiled(plan: &Plan) -> bool {
    plan.kv.ty != KvType::F32
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
        };
        n_cols.div_ceil(cols as u64) * STAGE_COLS as u64
    }
}

/// The product of an operation with these matrices, in the order of its parameters.
fn product(plan: &Plan, kind: impl Into<OpKind>, first: Weight, last: Weight) -> Product {
    Product { kind: kind.into(), first: plan[first].ty, last: plan[last].ty }
}

/// The entries of a product in this phase.
fn entries(plan: &Plan, phase: Phase, product: Product) -> Vec<Entry> {
    let mut entries = [Form::T1, Form::T4].map(|form| Entry::Product(product, form)).to_vec();
    if phase == Phase::Prefill && has_tiled(plan) {
        entries.extend([Entry::Product(product, Form::Tiled), Entry::Stage(Staging::of(product.first))]);
    }
    entries
}

/// Refuses types that the fused kernels do not read. Some are fused in decode alone.
fn fused(plan: &Plan, phase: Phase, product: Product, weights: &[Weight]) -> Result<(), Unsupported> {
    let form = if phase == Phase::Decode { Form::T1 } else { Form::Tiled };
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

impl Lowering<'_> {
    /// Adds the launches of a product on `input`. `blocks(n)`: blocks for the pairs of rows of its matrices, at `n` pairs a block.
    fn push_product<P: Pod>(
        &mut self,
        product: Product,
        Rowwise { x, norm }: Rowwise,
        blocks: impl Fn(u32) -> u32,
        params: impl FnOnce(&Self, Input) -> P,
    ) {
        let rows = self.rows(x);
        let tiled = rows > DECODE_TOKENS && has_tiled(self.plan);
        let input = Input {
            x: self.buf(x),
            norm: norm.map_or(0, |norm| self.floats(norm.w)),
            staged: self.scratch(Scratch::Staged),
            row_scale: self.scratch(Scratch::RowScale),
            n_cols: self.plan[x].cols,
            eps: norm.map_or(0.0, |norm| norm.eps),
            of_outputs: self.rows_are_outputs(x),
            reserved: 0,
        };
        if tiled {
            let Input { x, norm, staged, row_scale, n_cols, eps, of_outputs, .. } = input;
            let step = self.addresses.step;
            let params = StageParams { staged, row_scale, x, norm, step, n_cols, eps, of_outputs, reserved: 0 };
            self.push(Entry::Stage(Staging::of(product.first)), [rows, 1, 1], ROW_THREADS, &params);
        }
        let (grid, threads, form) = match rows {
            0 | 1 => ([rows, blocks(VEC_PAIRS), 1], VEC_WARPS * WARP, Form::T1),
            _ if !tiled => ([rows.div_ceil(VEC_TOKENS), blocks(VEC_PAIRS), 1], VEC_WARPS * WARP, Form::T4),
            _ => ([rows.div_ceil(TILED_TOKENS), blocks(TILED_PAIRS), 1], TILED_THREADS, Form::Tiled),
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

    fn lower(&self, to: &mut Lowering) {
        let product = product(to.plan, CoreKind::MatMul, self.w, self.w);
        let n_rows = to.plan[self.out].cols;
        let blocks = |n| n_rows.div_ceil(2).div_ceil(n);
        to.push_product(product, Rowwise { x: self.x, norm: None }, blocks, |to, input| MatMulParams {
            input,
            w: to.planes(self.w),
            out: to.buf(self.out),
            step: to.addresses.step,
            n_rows,
            first_row: self.first_row,
        });
    }

    fn precision(&self, plan: &Plan, phase: Phase) -> Precision {
        let f16 = phase == Phase::Prefill && has_tiled(plan);
        if f16 { Precision::F16 } else { Precision::F32 }
    }

    fn scratch(&self, plan: &Plan, _: u32) -> Vec<(Scratch, u64)> {
        let (w, rows) = (&plan[self.w], plan.max_rows(plan[self.x].rows));
        if rows <= DECODE_TOKENS || !has_tiled(plan) {
            return vec![];
        }
        let halves = rows as u64 * Staging::of(w.ty).halves(w.cols);
        vec![(Scratch::Staged, 2 * halves), (Scratch::RowScale, 4 * rows as u64)]
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

    fn lower(&self, to: &mut Lowering) {
        let MatMulAdd { product, add } = self;
        let n_rows = to.plan[add.out].cols;
        let blocks = |n| n_rows.div_ceil(2).div_ceil(n);
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

    fn lower(&self, to: &mut Lowering) {
        let NormGateUpSwiGlu { norm, gate, up, act } = self;
        let n_rows = to.plan[act.out].cols;
        let input = Rowwise { x: norm.x, norm: Some(norm) };
        let blocks = |n| n_rows.div_ceil(n); // a pair is a row of each
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
    }
}

impl Lower for NormQkvRopeStore {
    fn supports(&self, plan: &Plan, phase: Phase) -> Result<(), Unsupported> {
        let product = self.as_product(plan);
        refuse(plan.kv.ty == KvType::Q8_0, || {
            format!("({}) stores pairs, the cache has blocks of {KV_BLOCK}", product.kind)
        })?;
        fused(plan, phase, product, &[self.q.w, self.k.w, self.v.w])
    }

    fn entries(&self, plan: &Plan, phase: Phase) -> Vec<Entry> {
        entries(plan, phase, self.as_product(plan))
    }

    fn lower(&self, to: &mut Lowering) {
        let NormQkvRopeStore { norm, q, k, v, rope_q, store, .. } = self;
        let (n_q_rows, n_kv_rows) = (to.plan[q.out].cols, to.plan.kv.row());
        let input = Rowwise { x: norm.x, norm: Some(norm) };
        let blocks = |n| (n_q_rows / 2).div_ceil(n) + 2 * (n_kv_rows / 2).div_ceil(n);
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
        });
    }
}

impl NormQkvRopeStore {
    fn as_product(&self, plan: &Plan) -> Product {
        product(plan, FusedKind::NormQkvRopeStore, self.q.w, self.v.w)
    }
}
