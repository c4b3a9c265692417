//! From operations to kernel calls: which kernel, on which buffers, with which parameters. Nothing here touches the device.

use super::super::Unsupported;
use super::params::{self, KV_UNIT};
use super::permutations;
use super::tensors::{self, Tensors, Use};
use crate::plan::*;
use crate::quant::GgmlType;
use crate::quant::pack::{self, UNIT, padded};

/// What a binding of a shader is bound to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resource {
    Buf(Buf),
    /// Plane of a chunk of a tensor, or its codebook: `plane` counts [`tensors::bindings`].
    Plane {
        tensor: usize,
        chunk: usize,
        plane: usize,
    },
    Keys(u32),
    Values(u32),
    /// Of the keys and values of a layer, where the cache has scales.
    KvScales(u32),
    /// Never read: the kernel has the operand elsewhere.
    Nothing,
}

/// One kernel call of a step.
#[derive(Clone, Debug)]
pub struct Call {
    /// Index of the operation in its list.
    pub op: usize,
    pub kernel: &'static str,
    /// Type of the weights that the kernel decodes.
    pub ty: Option<GgmlType>,
    pub constants: Vec<(&'static str, u32)>,
    /// The bytes of the shader's `Params`.
    pub params: Vec<u8>,
    /// Bindings by name, besides `now` and `p`.
    pub bound: Vec<(&'static str, Resource)>,
    /// What the grid's rows are.
    pub rows: Rows,
    /// Grid rows for each of `rows`.
    pub per_row: u32,
    /// Columns that the grid covers.
    pub cols: u32,
}

/// What bounds the calls.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes that one binding of a weight holds.
    pub max_weight: u64,
    /// Storage buffers that a kernel can bind.
    pub max_buffers: u32,
}

/// Whether the kernels can do `op`.
pub fn supports(plan: &Plan, op: &Op, limits: Limits) -> Result<(), Unsupported> {
    let no = |what: String| Err(Unsupported(what));
    if !permutations::has_kernel(op.kind().stem()) {
        return no(format!("({}) is not fused on this device", op.kind()));
    }
    let readable = |w: Weight, how: Use| {
        let layout = pack::layout(plan[w].ty).filter(|_| how == Use::Blocks);
        let needs = PLAIN_BUFFERS + layout.map_or(0, |layout| tensors::bindings(layout).count() as u32);
        match tensors::readable(&plan[w], how) {
            false => no(tensors::no_type(&plan[w])),
            true if needs > limits.max_buffers => {
                let most = limits.max_buffers;
                no(format!("{}: that takes {needs} buffers, at most {most}", tensors::no_type(&plan[w])))
            }
            true => Ok(()),
        }
    };
    match op {
        Op::Embed(op) => readable(op.table, Use::Blocks),
        Op::RmsNorm(op) if plan[op.w].cols != plan[op.x].cols as u64 && !plan[op.w].cols.is_multiple_of(4) => {
            no(format!("cannot normalize groups of {} elements, only of multiples of 4", plan[op.w].cols))
        }
        Op::RmsNorm(op) => readable(op.w, Use::Floats),
        Op::AddBias(op) => readable(op.b, Use::Floats),
        Op::MatMul(op) => readable(op.w, Use::Blocks),
        Op::Rope(op) if !op.head_dim.is_multiple_of(2) => {
            no(format!("cannot rotate heads of {} elements", op.head_dim))
        }
        Op::Rope(op) => readable(op.table, Use::Floats),
        Op::KvStore(_) | Op::Attention(_) if plan.kv.head_dim > MAX_HEAD_DIM || !plan.kv.head_dim.is_multiple_of(2) => {
            no(format!("cannot keep heads of {} elements, an even number to {MAX_HEAD_DIM}", plan.kv.head_dim))
        }
        Op::Fused(fused) => {
            fused.parts().iter().try_for_each(|part| supports(plan, part, limits))?;
            match fused {
                Fused::MatMulAdd(_) => Ok(()),
                Fused::NormGateUpSwiGlu(op) => stackable(plan, &[&op.gate, &op.up], limits),
                Fused::NormQkvRopeStore(op) => {
                    let table = &plan[op.rope_q.table];
                    let floats = pack::layout(GgmlType::F32).map_or(0, |l| l.plane_bytes(0, table.rows, table.cols));
                    if plan.kv.ty == KvType::Q8_0 {
                        return no(format!("stores pairs, the cache has blocks of {KV_BLOCK}"));
                    }
                    if floats > limits.max_weight {
                        return no(format!("takes {} from one binding, which does not hold it", table.name));
                    }
                    stackable(plan, &[&op.q, &op.k, &op.v], limits)
                }
            }
        }
        _ => Ok(()),
    }
}

/// Storage buffers that `mat_mul` and `embed` bind besides the planes of the weight: the most of either.
const PLAIN_BUFFERS: u32 = 4;
/// Storage buffers that fused kernels bind besides the planes of the weights: the most of any.
const FUSED_BUFFERS: u32 = 6;

/// Whether the products of all of `x` can be taken in one call: the weights one after another in one binding.
fn stackable(plan: &Plan, products: &[&MatMul], limits: Limits) -> Result<(), Unsupported> {
    let first = &plan[products[0].w];
    let Some(layout) = pack::layout(first.ty) else {
        return Err(Unsupported(tensors::no_type(first)));
    };
    let rows: u64 = products.iter().map(|m| plan[m.w].rows).sum();
    let alike = FUSED_BUFFERS + tensors::bindings(layout).count() as u32 <= limits.max_buffers
        && rows <= tensors::rows_per_binding(layout, first.cols, limits.max_weight)
        && products.iter().all(|m| {
            let w = &plan[m.w];
            let whole =
                m.first_row == 0 && plan[m.out].cols as u64 == w.rows && w.rows.is_multiple_of(tensors::ROW_STEP);
            (w.ty, w.cols) == (first.ty, first.cols) && whole
        });
    if alike {
        return Ok(());
    }
    let names: Vec<&str> = products.iter().map(|m| plan[m.w].name.as_str()).collect();
    Err(Unsupported(format!(
        "cannot take {} together: other types or shapes, or more than a kernel can bind",
        names.join(", ")
    )))
}

/// Bytes of one layer's keys (or values), heads padded to whole units, and of the scales of both.
pub fn kv_bytes(kv: &KvDecl) -> (u64, u64) {
    let sizes = [kv.slots, kv.heads, kv.head_dim.next_multiple_of(KV_UNIT)].map(u64::from);
    let elements = sizes.into_iter().fold(1, u64::saturating_mul);
    match kv.ty {
        KvType::F32 => (elements.saturating_mul(4), 0),
        KvType::F16 => (elements.saturating_mul(2), 0),
        KvType::Q8_0 => (elements, elements / KV_BLOCK as u64 * 4),
    }
}

/// Elements of a row of `buf` with its padding.
pub fn stride(plan: &Plan, buf: Buf) -> u32 {
    padded(plan[buf].cols as u64) as u32
}

/// The kernel calls of operation `index` of a list, an operation that [`supports`] accepts.
pub fn lower(plan: &Plan, tensors: &Tensors, index: usize, op: &Op) -> Vec<Call> {
    Lowering { plan, tensors, index }.op(op)
}

struct Lowering<'a> {
    plan: &'a Plan,
    tensors: &'a Tensors,
    index: usize,
}

impl Lowering<'_> {
    fn op(&self, op: &Op) -> Vec<Call> {
        let plan = self.plan;
        match op {
            Op::Embed(op) => self.embed(op),
            Op::Gather(op) => {
                let params = params::Gather { stride: stride(plan, op.x) / 4 };
                let bound = vec![("out", Resource::Buf(op.out)), ("x", Resource::Buf(op.x))];
                vec![self.call("gather", Rows::Outputs, stride(plan, op.x), &params, bound)]
            }
            Op::RmsNorm(op) => {
                let n = plan[op.w].cols as u32;
                let params = params::RmsNorm { n, stride: stride(plan, op.x) / 4, eps: op.eps };
                let tensor = self.tensors.place(op.w, Use::Floats).tensor;
                let (x, x_in_place) = operand(op.x, op.out);
                let w = Resource::Plane { tensor, chunk: 0, plane: 0 };
                let bound = vec![("out", Resource::Buf(op.out)), ("x", x), ("w", w)];
                let call = self.call("rms_norm", plan[op.x].rows, plan[op.x].cols / n, &params, bound);
                vec![Call { constants: vec![("X_IN_PLACE", x_in_place)], ..call }]
            }
            Op::MatMul(op) => self.mat_mul("mat_mul", op, op.out, vec![("residual", Resource::Nothing)], vec![]),
            Op::Rope(op) => self.rope(op),
            Op::KvStore(op) if plan.kv.ty == KvType::Q8_0 => {
                let params = params::KvStoreQ8_0 { stride: stride(plan, op.k) / 4, words: plan.kv.row() / 4 };
                let bound = vec![
                    ("k", Resource::Buf(op.k)),
                    ("v", Resource::Buf(op.v)),
                    ("keys", Resource::Keys(op.layer)),
                    ("values", Resource::Values(op.layer)),
                    ("scales", Resource::KvScales(op.layer)),
                ];
                vec![self.call("kv_store_q8_0", Rows::Tokens, plan[op.k].cols, &params, bound)]
            }
            Op::KvStore(op) => {
                let params = params::KvStore {
                    stride: stride(plan, op.k) / 2,
                    heads: plan.kv.heads,
                    head_pairs: plan.kv.head_dim / 2,
                    head_units: plan.kv.head_dim.div_ceil(KV_UNIT),
                };
                let bound = vec![
                    ("k", Resource::Buf(op.k)),
                    ("v", Resource::Buf(op.v)),
                    ("keys", Resource::Keys(op.layer)),
                    ("values", Resource::Values(op.layer)),
                ];
                let call = self.call("kv_store", Rows::Tokens, plan[op.k].cols, &params, bound);
                vec![Call { constants: self.kv_constants(), ..call }]
            }
            Op::Attention(op) => {
                let heads = plan[op.q].cols / plan.kv.head_dim;
                let params = params::Attention {
                    stride: stride(plan, op.q),
                    heads: plan.kv.heads,
                    group: heads / plan.kv.heads,
                    head_dim: plan.kv.head_dim,
                    head_units: plan.kv.head_dim.div_ceil(KV_UNIT),
                    scale: op.scale,
                };
                let bound = vec![
                    ("out", Resource::Buf(op.out)),
                    ("q", Resource::Buf(op.q)),
                    ("keys", Resource::Keys(op.layer)),
                    ("values", Resource::Values(op.layer)),
                    ("scales", Resource::KvScales(op.layer)),
                ];
                let mut constants = self.kv_constants();
                constants.push(("UNITS", params.head_units.next_multiple_of(8)));
                let call = self.call("attention", Rows::Tokens, params.heads, &params, bound);
                vec![Call { constants, per_row: params.group, ..call }]
            }
            Op::SwiGlu(op) => {
                let params = params::SwiGlu { stride: stride(plan, op.out) / 4 };
                vec![self.elementwise("swi_glu", op.out, ("gate", op.gate), ("up", op.up), &params)]
            }
            Op::Add(op) => {
                let params = params::Add { stride: stride(plan, op.out) / 4 };
                vec![self.elementwise("add", op.out, ("x", op.x), ("y", op.y), &params)]
            }
            Op::AddBias(op) => {
                let params = params::AddBias { stride: stride(plan, op.x) / 4 };
                let tensor = self.tensors.place(op.b, Use::Floats).tensor;
                let b = Resource::Plane { tensor, chunk: 0, plane: 0 };
                let bound = vec![("x", Resource::Buf(op.x)), ("b", b)];
                vec![self.call("add_bias", plan[op.x].rows, stride(plan, op.x), &params, bound)]
            }
            Op::Argmax(op) => {
                let params = params::Argmax { n_cols: plan[op.x].cols, stride: stride(plan, op.x) };
                let bound = vec![("out", Resource::Buf(op.out)), ("x", Resource::Buf(op.x))];
                vec![self.call("argmax", Rows::Outputs, 1, &params, bound)]
            }
            Op::Fused(op) => self.fused(op),
        }
    }

    fn call<P: bytemuck::Pod>(
        &self,
        kernel: &'static str,
        rows: Rows,
        cols: u32,
        params: &P,
        bound: Vec<(&'static str, Resource)>,
    ) -> Call {
        let params = bytemuck::bytes_of(params).to_vec();
        Call { op: self.index, kernel, ty: None, constants: vec![], params, bound, rows, per_row: 1, cols }
    }

    fn kv_constants(&self) -> Vec<(&'static str, u32)> {
        let ty = self.plan.kv.ty;
        vec![("KV_F16", (ty == KvType::F16) as u32), ("KV_Q8_0", (ty == KvType::Q8_0) as u32)]
    }

    fn planes(&self, tensor: usize, chunk: usize) -> Vec<(&'static str, Resource)> {
        let names = tensors::bindings(self.tensors.all[tensor].layout).enumerate();
        names.map(|(plane, name)| (name, Resource::Plane { tensor, chunk, plane })).collect()
    }

    fn elementwise<P: bytemuck::Pod>(
        &self,
        kernel: &'static str,
        out: Buf,
        x: (&'static str, Buf),
        y: (&'static str, Buf),
        params: &P,
    ) -> Call {
        let (a, a_in_place) = operand(x.1, out);
        let (b, b_in_place) = operand(y.1, out);
        let bound = vec![("out", Resource::Buf(out)), (x.0, a), (y.0, b)];
        let call = self.call(kernel, self.plan[out].rows, stride(self.plan, out), params, bound);
        Call { constants: vec![("X_IN_PLACE", a_in_place), ("Y_IN_PLACE", b_in_place)], ..call }
    }

    fn embed(&self, op: &Embed) -> Vec<Call> {
        let place = self.tensors.place(op.table, Use::Blocks);
        let tensor = &self.tensors.all[place.tensor];
        let chunks = tensor.chunks.iter().enumerate();
        let calls = chunks.map(|(chunk, rows)| {
            let params = params::Embed {
                units: units(tensor.cols),
                first_row: rows.start as u32,
                n_rows: (rows.end - rows.start) as u32,
            };
            let mut bound = self.planes(place.tensor, chunk);
            bound.push(("out", Resource::Buf(op.out)));
            bound.push(("next", op.next.map_or(Resource::Nothing, Resource::Buf)));
            let call = self.call("embed", Rows::Tokens, stride(self.plan, op.out), &params, bound);
            Call { ty: Some(tensor.layout.ty), ..call }
        });
        calls.collect()
    }

    fn rope(&self, op: &Rope) -> Vec<Call> {
        let plan = self.plan;
        let place = self.tensors.place(op.table, Use::Floats);
        let tensor = &self.tensors.all[place.tensor];
        let chunks = tensor.chunks.iter().enumerate();
        let calls = chunks.map(|(chunk, rows)| {
            let params = params::Rope {
                stride: stride(plan, op.x),
                pairs: plan[op.x].cols / 2,
                head_pairs: op.head_dim / 2,
                rope_pairs: tensor.cols as u32 / 2,
                table_stride: padded(tensor.cols) as u32 / 2,
                first_row: rows.start as u32,
                n_rows: (rows.end - rows.start) as u32,
                halves: (op.pairing == Pairing::Halves) as u32,
            };
            let table = Resource::Plane { tensor: place.tensor, chunk, plane: 0 };
            let bound = vec![("x", Resource::Buf(op.x)), ("table", table)];
            self.call("rope", Rows::Tokens, plan[op.x].cols, &params, bound)
        });
        calls.collect()
    }

    /// `op`, its result in `out`: one call per chunk of the weight that has rows of it.
    fn mat_mul(
        &self,
        kernel: &'static str,
        op: &MatMul,
        out: Buf,
        extra: Vec<(&'static str, Resource)>,
        constants: Vec<(&'static str, u32)>,
    ) -> Vec<Call> {
        let plan = self.plan;
        let place = self.tensors.place(op.w, Use::Blocks);
        let tensor = &self.tensors.all[place.tensor];
        let first = place.first_row + op.first_row as u64;
        let wanted = first..first + plan[op.out].cols as u64;
        let mut calls = vec![];
        for (chunk, rows) in tensor.chunks.iter().enumerate() {
            let here = wanted.start.max(rows.start)..wanted.end.min(rows.end);
            if here.is_empty() {
                continue;
            }
            let n_out = (here.end - here.start) as u32;
            let params = params::MatMul {
                n_pairs: n_out.div_ceil(2),
                units: units(tensor.cols),
                first_row: (here.start - rows.start) as u32,
                of_outputs: (plan[op.x].rows == Rows::Outputs) as u32,
                n_out,
                stride: stride(plan, out),
                first_col: (here.start - wanted.start) as u32,
            };
            let mut bound = self.planes(place.tensor, chunk);
            bound.extend([("out", Resource::Buf(out)), ("x", Resource::Buf(op.x))]);
            bound.extend(&extra);
            let call = self.call(kernel, plan[op.x].rows, params.n_pairs, &params, bound);
            calls.push(Call { ty: Some(tensor.layout.ty), constants: constants.clone(), ..call });
        }
        calls
    }

    fn fused(&self, fused: &Fused) -> Vec<Call> {
        match fused {
            Fused::MatMulAdd(op) => {
                let (residual, in_place) = operand(op.residual(), op.add.out);
                let constants = vec![("X_IN_PLACE", in_place)];
                self.mat_mul("mat_mul_add", &op.product, op.add.out, vec![("residual", residual)], constants)
            }
            Fused::NormGateUpSwiGlu(op) => {
                let mut calls = self.op(&op.norm.into());
                calls.push(self.gate_up_swi_glu(&op.gate, &op.act));
                calls
            }
            Fused::NormQkvRopeStore(op) => {
                let mut calls = self.op(&op.norm.into());
                calls.push(self.qkv_rope_store(&op.q, &op.k, &op.rope_q, &op.store));
                calls
            }
        }
    }

    fn gate_up_swi_glu(&self, gate: &MatMul, act: &SwiGlu) -> Call {
        let plan = self.plan;
        let params = params::GateUpSwiGlu {
            n_pairs: plan[act.out].cols,
            units: units(plan[gate.w].cols),
            first_row: 0,
            of_outputs: (plan[gate.x].rows == Rows::Outputs) as u32,
            stride: stride(plan, act.out),
        };
        let mut bound = self.planes(self.tensors.place(gate.w, Use::Blocks).tensor, 0);
        bound.extend([("out", Resource::Buf(act.out)), ("x", Resource::Buf(gate.x))]);
        let call = self.call("norm_gate_up_swi_glu", plan[gate.x].rows, params.n_pairs, &params, bound);
        Call { ty: Some(plan[gate.w].ty), ..call }
    }

    fn qkv_rope_store(&self, q: &MatMul, k: &MatMul, rope: &Rope, kv: &KvStore) -> Call {
        let plan = self.plan;
        let (q_pairs, k_pairs) = (plan[q.out].cols / 2, plan[k.out].cols / 2);
        let params = params::QkvRopeStore {
            n_pairs: q_pairs + 2 * k_pairs,
            units: units(plan[q.w].cols),
            first_row: 0,
            of_outputs: 0,
            q_pairs,
            k_pairs,
            stride: stride(plan, q.out) / 2,
            head_pairs: plan.kv.head_dim / 2,
            rope_pairs: plan[rope.table].cols as u32 / 2,
            table_stride: padded(plan[rope.table].cols) as u32 / 2,
            head_units: plan.kv.head_dim.div_ceil(KV_UNIT),
        };
        let table = self.tensors.place(rope.table, Use::Floats).tensor;
        let mut bound = self.planes(self.tensors.place(q.w, Use::Blocks).tensor, 0);
        bound.extend([
            ("q", Resource::Buf(q.out)),
            ("x", Resource::Buf(q.x)),
            ("table", Resource::Plane { tensor: table, chunk: 0, plane: 0 }),
            ("keys", Resource::Keys(kv.layer)),
            ("values", Resource::Values(kv.layer)),
        ]);
        let call = self.call("norm_qkv_rope_store", Rows::Tokens, params.n_pairs, &params, bound);
        Call { ty: Some(plan[q.w].ty), constants: self.kv_constants(), ..call }
    }
}

/// 32-element units of a row.
fn units(cols: u64) -> u32 {
    (padded(cols) / UNIT) as u32
}

/// What to bind for an operand of an operation that writes `out`, and whether the kernel must take it from there.
fn operand(x: Buf, out: Buf) -> (Resource, u32) {
    if x == out { (Resource::Nothing, 1) } else { (Resource::Buf(x), 0) }
}
