//! Matrix products as WGSL kernels, and what is fused with them: parameters, what the kernels cannot do, and launches.
//!
//! A fused operation that begins with a norm has it in a launch of its own; its kernel is the rest.

use super::super::Unsupported;
use super::adapters::BindingLimits;
use super::launch::Launch;
use super::lowering::{Lowering, ShaderOp, operand, units};
use super::memory::{KV_UNIT, Resource, stride};
use super::params::{Mirror, Params, params};
use super::permutations::Kernel;
use super::shaders::{Constant, Var};
use super::weights::{self, ChunkId, WeightForm, WeightRead};
use crate::plan::*;
use crate::quant::GgmlType;
use crate::quant::pack::{self, padded};

/// A fused operation as its kernels; None if there are none: then its parts are launched.
pub fn shader_op(op: &Fused) -> Option<&dyn ShaderOp> {
    match op {
        Fused::NormQkvRopeStore(op) => Some(op),
        Fused::NormGateUpSwiGlu(op) => Some(op),
        Fused::MatMulAdd(op) => Some(op),
        Fused::GatherNormMatMulArgmax(_) => None,
    }
}

/// The parameters of the kernel of a fused operation, for comparing them with its shader's; None if it has no kernel.
pub fn mirror(kind: FusedKind) -> Option<Mirror> {
    match kind {
        FusedKind::NormQkvRopeStore => Some(QkvRopeStoreParams::MIRROR),
        FusedKind::NormGateUpSwiGlu => Some(GateUpSwiGluParams::MIRROR),
        FusedKind::MatMulAdd => Some(MatMulParams::MIRROR),
        FusedKind::GatherNormMatMulArgmax => None,
    }
}

params!(MatMulParams {
    n_pairs: u32,
    units: u32,
    first_row: u32,
    rows_are_outputs: u32,
    n_out: u32,
    stride: u32,
    first_col: u32,
});

impl ShaderOp for MatMul {
    fn kernel(&self, _: &Plan) -> Kernel {
        CoreKind::MatMul.into()
    }

    fn weight_reads(&self) -> Vec<WeightRead> {
        vec![WeightRead::blocks(&[self.w])]
    }

    fn lower(&self, l: &Lowering) -> Vec<Launch> {
        product(l, self, CoreKind::MatMul.into(), self.out, &[])
    }
}

/// The product `op`, its result in `out`: one launch per chunk of the weight that has rows of it. `vars`: what the kernel binds beside
/// x and the result.
fn product(l: &Lowering, op: &MatMul, kernel: Kernel, out: Buf, vars: &[(Var, Resource)]) -> Vec<Launch> {
    let (stack, first_row, index) = l.stack(op.w, WeightForm::Blocks);
    let first = first_row + op.first_row as u64;
    let wanted = first..first + l.plan[op.out].cols as u64;
    let rows_of_x = l.plan[op.x].rows;
    let mut launches = vec![];
    for (chunk, rows) in l.stacks.chunks(index) {
        let here = wanted.start.max(rows.start)..wanted.end.min(rows.end);
        if here.is_empty() {
            continue;
        }
        let n_out = (here.end - here.start) as u32;
        let params = MatMulParams {
            n_pairs: n_out.div_ceil(2),
            units: units(stack.cols),
            first_row: (here.start - rows.start) as u32,
            rows_are_outputs: (rows_of_x == Rows::Outputs) as u32,
            n_out,
            stride: stride(l.plan, out),
            first_col: (here.start - wanted.start) as u32,
        };
        let vars = [&[(Var::Out, Resource::Buf(out)), (Var::X, Resource::Buf(op.x))], vars].concat();
        let launch = l.launch(kernel, rows_of_x, params.n_pairs, &params, vars);
        launches.push(Launch { planes: Some((stack.layout.ty, chunk)), ..launch });
    }
    launches
}

/// Whether each of the parts of a fused operation has a kernel.
fn check_parts(parts: &[&dyn ShaderOp], plan: &Plan, limits: BindingLimits) -> Result<(), Unsupported> {
    parts.iter().try_for_each(|part| part.supports(plan, limits))
}

/// Whether `kernel` can take the products all at once: their weights one after another in one binding.
fn check_stack(kernel: Kernel, products: &[&MatMul], plan: &Plan, limits: BindingLimits) -> Result<(), Unsupported> {
    let first = &plan[products[0].w];
    let Some(layout) = pack::layout(first.ty) else {
        return Err(Unsupported(weights::no_type(first)));
    };
    let rows: u64 = products.iter().map(|product| plan[product.w].rows).sum();
    let fits = kernel.storage_buffers() + weights::n_bindings(layout) <= limits.max_buffers
        && rows <= weights::rows_per_binding(layout, first.cols, limits.max_weight);
    let alike = products.iter().all(|product| {
        let w = &plan[product.w];
        let whole = product.first_row == 0 && plan[product.out].cols as u64 == w.rows;
        (w.ty, w.cols) == (first.ty, first.cols) && whole && w.rows.is_multiple_of(weights::ROW_STEP)
    });
    if fits && alike {
        return Ok(());
    }
    let names: Vec<&str> = products.iter().map(|product| plan[product.w].name.as_str()).collect();
    Err(Unsupported(format!(
        "cannot take {} together: other types or shapes, or more than a kernel can bind",
        names.join(", ")
    )))
}

/// The one chunk of weights that [`check_stack`] accepted, and their type.
fn stacked(l: &Lowering, first: &MatMul) -> Option<(GgmlType, ChunkId)> {
    let (stack, _, index) = l.stack(first.w, WeightForm::Blocks);
    Some((stack.layout.ty, ChunkId { stack: index, chunk: 0 }))
}

impl ShaderOp for MatMulAdd {
    fn kernel(&self, _: &Plan) -> Kernel {
        FusedKind::MatMulAdd.into()
    }

    fn weight_reads(&self) -> Vec<WeightRead> {
        self.product.weight_reads()
    }

    fn check_kernel(&self, plan: &Plan, limits: BindingLimits) -> Result<(), Unsupported> {
        check_parts(&[&self.product, &self.add], plan, limits)
    }

    fn lower(&self, l: &Lowering) -> Vec<Launch> {
        let (residual, in_place) = operand(self.residual(), self.add.out);
        let launches = product(l, &self.product, self.kernel(l.plan), self.add.out, &[(Var::Residual, residual)]);
        let constants = vec![(Constant::XInPlace, in_place)];
        launches.into_iter().map(|launch| Launch { constants: constants.clone(), ..launch }).collect()
    }
}

params!(GateUpSwiGluParams { n_pairs: u32, units: u32, first_row: u32, rows_are_outputs: u32, stride: u32 });

impl ShaderOp for NormGateUpSwiGlu {
    fn kernel(&self, _: &Plan) -> Kernel {
        FusedKind::NormGateUpSwiGlu.into()
    }

    fn weight_reads(&self) -> Vec<WeightRead> {
        vec![WeightRead::blocks(&[self.gate.w, self.up.w]), WeightRead::floats(self.norm.w)]
    }

    fn check_kernel(&self, plan: &Plan, limits: BindingLimits) -> Result<(), Unsupported> {
        check_parts(&[&self.norm, &self.gate, &self.up, &self.act], plan, limits)?;
        check_stack(self.kernel(plan), &[&self.gate, &self.up], plan, limits)
    }

    fn lower(&self, l: &Lowering) -> Vec<Launch> {
        let (plan, x, out) = (l.plan, self.gate.x, self.act.out);
        let params = GateUpSwiGluParams {
            n_pairs: plan[out].cols,
            units: units(plan[self.gate.w].cols),
            first_row: 0,
            rows_are_outputs: (plan[x].rows == Rows::Outputs) as u32,
            stride: stride(plan, out),
        };
        let vars = vec![(Var::Out, Resource::Buf(out)), (Var::X, Resource::Buf(x))];
        let launch = l.launch(self.kernel(plan), plan[x].rows, params.n_pairs, &params, vars);
        let mut launches = self.norm.lower(l);
        launches.push(Launch { planes: stacked(l, &self.gate), ..launch });
        launches
    }
}

params!(QkvRopeStoreParams {
    n_pairs: u32,
    units: u32,
    first_row: u32,
    rows_are_outputs: u32,
    q_pairs: u32,
    k_pairs: u32,
    stride: u32,
    head_pairs: u32,
    rope_pairs: u32,
    table_stride: u32,
    head_units: u32,
});

impl ShaderOp for NormQkvRopeStore {
    fn kernel(&self, _: &Plan) -> Kernel {
        FusedKind::NormQkvRopeStore.into()
    }

    fn weight_reads(&self) -> Vec<WeightRead> {
        let floats = [self.norm.w, self.rope_q.table].map(WeightRead::floats);
        [WeightRead::blocks(&[self.q.w, self.k.w, self.v.w])].into_iter().chain(floats).collect()
    }

    fn check_kernel(&self, plan: &Plan, limits: BindingLimits) -> Result<(), Unsupported> {
        let NormQkvRopeStore { norm, q, k, v, rope_q, rope_k, store } = self;
        check_parts(&[norm, q, k, v, rope_q, rope_k, store], plan, limits)?;
        if plan.kv.ty == KvType::Q8_0 {
            return Err(Unsupported(format!("stores pairs, the cache has blocks of {KV_BLOCK}")));
        }
        let table = &plan[rope_q.table];
        let floats = pack::layout(GgmlType::F32).map_or(0, |l| l.plane_bytes(0, table.rows, table.cols));
        if floats > limits.max_weight {
            return Err(Unsupported(format!("takes {} from one binding, which does not hold it", table.name)));
        }
        check_stack(self.kernel(plan), &[q, k, v], plan, limits)
    }

    fn lower(&self, l: &Lowering) -> Vec<Launch> {
        let NormQkvRopeStore { norm, q, k, rope_q, store, .. } = self;
        let plan = l.plan;
        let (q_pairs, k_pairs) = (plan[q.out].cols / 2, plan[k.out].cols / 2);
        let table = &plan[rope_q.table];
        let params = QkvRopeStoreParams {
            n_pairs: q_pairs + 2 * k_pairs,
            units: units(plan[q.w].cols),
            first_row: 0,
            rows_are_outputs: 0,
            q_pairs,
            k_pairs,
            stride: stride(plan, q.out) / 2,
            head_pairs: plan.kv.head_dim / 2,
            rope_pairs: table.cols as u32 / 2,
            table_stride: padded(table.cols) as u32 / 2,
            head_units: plan.kv.head_dim.div_ceil(KV_UNIT),
        };
        let vars = vec![
            (Var::Q, Resource::Buf(q.out)),
            (Var::X, Resource::Buf(q.x)),
            (Var::Table, l.floats(rope_q.table)),
            (Var::Keys, Resource::Keys(store.layer)),
            (Var::Values, Resource::Values(store.layer)),
        ];
        let launch = l.launch(self.kernel(plan), Rows::Tokens, params.n_pairs, &params, vars);
        let mut launches = norm.lower(l);
        launches.push(Launch { planes: stacked(l, q), constants: l.kv_constants(), ..launch });
        launches
    }
}
