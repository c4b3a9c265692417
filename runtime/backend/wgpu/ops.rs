//! The core operations as WGSL kernels, each with the parameters of its shader, what the kernel cannot do, and its launches. Products,
//! and what is fused with them, lie in `products`.

use super::super::Unsupported;
use super::adapters::BindingLimits;
use super::launch::Launch;
use super::lowering::{Lowering, ShaderOp, operand, units};
use super::memory::{KV_UNIT, Resource, stride};
use super::params::{Mirror, Params, params};
use super::permutations::Kernel;
use super::products;
use super::shaders::{Constant, Var};
use super::weights::{WeightForm, WeightRead, WeightStacks};
use crate::plan::*;
use crate::quant::pack::padded;

/// An operation as its kernels; None if it has none.
fn shader_op(op: &Op) -> Option<&dyn ShaderOp> {
    Some(match op {
        Op::Embed(op) => op,
        Op::Gather(op) => op,
        Op::RmsNorm(op) => op,
        Op::MatMul(op) => op,
        Op::Rope(op) => op,
        Op::KvStore(op) => op,
        Op::Attention(op) => op,
        Op::SwiGlu(op) => op,
        Op::Add(op) => op,
        Op::AddBias(op) => op,
        Op::Argmax(op) => op,
        Op::Fused(op) => return products::shader_op(op),
    })
}

/// The parameters of a kernel, for comparing them with its shader's; None if there is no such kernel.
pub fn mirror(kernel: Kernel) -> Option<Mirror> {
    Some(match kernel {
        Kernel::KvStoreQ8_0 => KvStoreQ8_0Params::MIRROR,
        Kernel::Op(OpKind::Fused(kind)) => return products::mirror(kind),
        Kernel::Op(OpKind::Core(kind)) => match kind {
            CoreKind::Embed => EmbedParams::MIRROR,
            CoreKind::Gather => GatherParams::MIRROR,
            CoreKind::RmsNorm => RmsNormParams::MIRROR,
            CoreKind::MatMul => products::MatMulParams::MIRROR,
            CoreKind::Rope => RopeParams::MIRROR,
            CoreKind::KvStore => KvStoreParams::MIRROR,
            CoreKind::Attention => AttentionParams::MIRROR,
            CoreKind::SwiGlu => SwiGluParams::MIRROR,
            CoreKind::Add => AddParams::MIRROR,
            CoreKind::AddBias => AddBiasParams::MIRROR,
            CoreKind::Argmax => ArgmaxParams::MIRROR,
        },
    })
}

/// Whether the kernels can do `op`.
pub fn supports(plan: &Plan, op: &Op, limits: BindingLimits) -> Result<(), Unsupported> {
    let found = shader_op(op).ok_or_else(|| Unsupported(format!("({}) has no shader", op.kind())))?;
    found.supports(plan, limits)
}

/// The weights that operations read.
pub fn weight_reads<'a>(ops: impl Iterator<Item = &'a Op>) -> Vec<WeightRead> {
    ops.filter_map(shader_op).flat_map(|op| op.weight_reads()).collect()
}

/// The launches of a list of operations that [`supports`] accepted.
pub fn lower(plan: &Plan, stacks: &WeightStacks, ops: &[Op]) -> Vec<Launch> {
    let lower = |(index, op)| Some(shader_op(op)?.lower(&Lowering { plan, stacks, op: index }));
    let launches: Vec<Launch> = ops.iter().enumerate().filter_map(lower).flatten().collect();
    let has_size = |launch: &Launch| mirror(launch.kernel).is_some_and(|mirror| launch.params.len() == mirror.size);
    debug_assert!(launches.iter().all(has_size));
    launches
}

params!(EmbedParams { units: u32, first_row: u32, n_rows: u32 });

impl ShaderOp for Embed {
    fn kernel(&self, _: &Plan) -> Kernel {
        CoreKind::Embed.into()
    }

    fn weight_reads(&self) -> Vec<WeightRead> {
        vec![WeightRead::blocks(&[self.table])]
    }

    /// One launch per chunk of the table: each writes the rows of the tokens that it has.
    fn lower(&self, l: &Lowering) -> Vec<Launch> {
        let (stack, _, index) = l.stack(self.table, WeightForm::Blocks);
        let launch = |(chunk, rows): (_, &std::ops::Range<u64>)| {
            let params = EmbedParams {
                units: units(stack.cols),
                first_row: rows.start as u32,
                n_rows: (rows.end - rows.start) as u32,
            };
            let next = self.next.map_or(Resource::Placeholder, Resource::Buf);
            let vars = vec![(Var::Out, Resource::Buf(self.out)), (Var::Next, next)];
            let launch = l.launch(CoreKind::Embed, Rows::Tokens, stride(l.plan, self.out), &params, vars);
            Launch { planes: Some((stack.layout.ty, chunk)), ..launch }
        };
        l.stacks.chunks(index).map(launch).collect()
    }
}

params!(GatherParams { stride: u32 });

impl ShaderOp for Gather {
    fn kernel(&self, _: &Plan) -> Kernel {
        CoreKind::Gather.into()
    }

    fn lower(&self, l: &Lowering) -> Vec<Launch> {
        let cols = stride(l.plan, self.x);
        let vars = vec![(Var::Out, Resource::Buf(self.out)), (Var::X, Resource::Buf(self.x))];
        vec![l.launch(CoreKind::Gather, Rows::Outputs, cols, &GatherParams { stride: cols / 4 }, vars)]
    }
}

params!(RmsNormParams { n: u32, stride: u32, eps: f32 });

impl ShaderOp for RmsNorm {
    fn kernel(&self, _: &Plan) -> Kernel {
        CoreKind::RmsNorm.into()
    }

    fn weight_reads(&self) -> Vec<WeightRead> {
        vec![WeightRead::floats(self.w)]
    }

    fn check_kernel(&self, plan: &Plan, _: BindingLimits) -> Result<(), Unsupported> {
        match plan[self.w].cols {
            n if self.is_whole_row(plan) || n.is_multiple_of(4) => Ok(()),
            n => Err(Unsupported(format!("cannot normalize groups of {n} elements, only of multiples of 4"))),
        }
    }

    fn lower(&self, l: &Lowering) -> Vec<Launch> {
        let x = &l.plan[self.x];
        let n = l.plan[self.w].cols as u32;
        let params = RmsNormParams { n, stride: stride(l.plan, self.x) / 4, eps: self.eps };
        let (bound, in_place) = operand(self.x, self.out);
        let vars = vec![(Var::Out, Resource::Buf(self.out)), (Var::X, bound), (Var::NormWeight, l.floats(self.w))];
        let launch = l.launch(CoreKind::RmsNorm, x.rows, x.cols / n, &params, vars);
        vec![Launch { constants: vec![(Constant::XInPlace, in_place)], ..launch }]
    }
}

params!(RopeParams {
    stride: u32,
    pairs: u32,
    head_pairs: u32,
    rope_pairs: u32,
    table_stride: u32,
    first_row: u32,
    n_rows: u32,
    halves: u32,
});

impl ShaderOp for Rope {
    fn kernel(&self, _: &Plan) -> Kernel {
        CoreKind::Rope.into()
    }

    fn weight_reads(&self) -> Vec<WeightRead> {
        vec![WeightRead::floats(self.table)]
    }

    fn check_kernel(&self, _: &Plan, _: BindingLimits) -> Result<(), Unsupported> {
        match self.head_dim.is_multiple_of(2) {
            true => Ok(()),
            false => Err(Unsupported(format!("cannot rotate heads of {} elements", self.head_dim))),
        }
    }

    /// One launch per chunk of the table: each rotates the rows whose positions it has.
    fn lower(&self, l: &Lowering) -> Vec<Launch> {
        let cols = l.plan[self.x].cols;
        let (stack, _, index) = l.stack(self.table, WeightForm::Floats);
        let launch = |(chunk, rows): (_, &std::ops::Range<u64>)| {
            let params = RopeParams {
                stride: stride(l.plan, self.x),
                pairs: cols / 2,
                head_pairs: self.head_dim / 2,
                rope_pairs: stack.cols as u32 / 2,
                table_stride: padded(stack.cols) as u32 / 2,
                first_row: rows.start as u32,
                n_rows: (rows.end - rows.start) as u32,
                halves: (self.pairing == Pairing::Halves) as u32,
            };
            let vars = vec![(Var::X, Resource::Buf(self.x)), (Var::Table, Resource::Floats(chunk))];
            l.launch(CoreKind::Rope, Rows::Tokens, cols, &params, vars)
        };
        l.stacks.chunks(index).map(launch).collect()
    }
}

/// Whether the kernels of the KV cache take its heads.
fn check_heads(kv: &KvDecl) -> Result<(), Unsupported> {
    match kv.head_dim <= MAX_HEAD_DIM && kv.head_dim.is_multiple_of(2) {
        true => Ok(()),
        false => {
            let what = format!("cannot keep heads of {} elements, an even number up to {MAX_HEAD_DIM}", kv.head_dim);
            Err(Unsupported(what))
        }
    }
}

params!(KvStoreParams { stride: u32, heads: u32, head_pairs: u32, head_units: u32 });

params!(KvStoreQ8_0Params { stride: u32, words: u32 });

impl ShaderOp for KvStore {
    fn kernel(&self, plan: &Plan) -> Kernel {
        match plan.kv.ty {
            KvType::F32 | KvType::F16 => CoreKind::KvStore.into(),
            KvType::Q8_0 => Kernel::KvStoreQ8_0,
        }
    }

    fn check_kernel(&self, plan: &Plan, _: BindingLimits) -> Result<(), Unsupported> {
        check_heads(&plan.kv)
    }

    fn lower(&self, l: &Lowering) -> Vec<Launch> {
        let (kv, cols, stride) = (&l.plan.kv, l.plan[self.k].cols, stride(l.plan, self.k));
        let mut vars = vec![
            (Var::K, Resource::Buf(self.k)),
            (Var::V, Resource::Buf(self.v)),
            (Var::Keys, Resource::Keys(self.layer)),
            (Var::Values, Resource::Values(self.layer)),
        ];
        let kernel = self.kernel(l.plan);
        if kernel == Kernel::KvStoreQ8_0 {
            vars.push((Var::Scales, Resource::KvScales(self.layer)));
            let params = KvStoreQ8_0Params { stride: stride / 4, words: kv.row() / 4 };
            return vec![l.launch(kernel, Rows::Tokens, cols, &params, vars)];
        }
        let params = KvStoreParams {
            stride: stride / 2,
            heads: kv.heads,
            head_pairs: kv.head_dim / 2,
            head_units: kv.head_dim.div_ceil(KV_UNIT),
        };
        let launch = l.launch(kernel, Rows::Tokens, cols, &params, vars);
        vec![Launch { constants: l.kv_constants(), ..launch }]
    }
}

params!(AttentionParams { stride: u32, heads: u32, group: u32, head_dim: u32, head_units: u32, scale: f32 });

impl ShaderOp for Attention {
    fn kernel(&self, _: &Plan) -> Kernel {
        CoreKind::Attention.into()
    }

    fn check_kernel(&self, plan: &Plan, _: BindingLimits) -> Result<(), Unsupported> {
        check_heads(&plan.kv)
    }

    fn lower(&self, l: &Lowering) -> Vec<Launch> {
        let kv = &l.plan.kv;
        let params = AttentionParams {
            stride: stride(l.plan, self.q),
            heads: kv.heads,
            group: l.plan[self.q].cols / kv.head_dim / kv.heads,
            head_dim: kv.head_dim,
            head_units: kv.head_dim.div_ceil(KV_UNIT),
            scale: self.scale,
        };
        let vars = vec![
            (Var::Out, Resource::Buf(self.out)),
            (Var::Q, Resource::Buf(self.q)),
            (Var::Keys, Resource::Keys(self.layer)),
            (Var::Values, Resource::Values(self.layer)),
            (Var::Scales, Resource::KvScales(self.layer)),
        ];
        let mut constants = l.kv_constants();
        constants.push((Constant::Units, params.head_units.next_multiple_of(8)));
        let launch = l.launch(CoreKind::Attention, Rows::Tokens, params.heads, &params, vars);
        vec![Launch { constants, per_row: params.group, ..launch }]
    }
}

params!(SwiGluParams { stride: u32 });

impl ShaderOp for SwiGlu {
    fn kernel(&self, _: &Plan) -> Kernel {
        CoreKind::SwiGlu.into()
    }

    fn lower(&self, l: &Lowering) -> Vec<Launch> {
        let params = SwiGluParams { stride: stride(l.plan, self.out) / 4 };
        elementwise(l, CoreKind::SwiGlu, self.out, [(Var::Gate, self.gate), (Var::Up, self.up)], &params)
    }
}

params!(AddParams { stride: u32 });

impl ShaderOp for Add {
    fn kernel(&self, _: &Plan) -> Kernel {
        CoreKind::Add.into()
    }

    fn lower(&self, l: &Lowering) -> Vec<Launch> {
        let params = AddParams { stride: stride(l.plan, self.out) / 4 };
        elementwise(l, CoreKind::Add, self.out, [(Var::X, self.x), (Var::Y, self.y)], &params)
    }
}

/// An operation on the elements of two operands, of which either may be the result's buffer.
fn elementwise<P: Params>(
    l: &Lowering,
    kernel: CoreKind,
    out: Buf,
    operands: [(Var, Buf); 2],
    params: &P,
) -> Vec<Launch> {
    let [(x, x_buf), (y, y_buf)] = operands;
    let ((x_bound, x_in_place), (y_bound, y_in_place)) = (operand(x_buf, out), operand(y_buf, out));
    let vars = vec![(Var::Out, Resource::Buf(out)), (x, x_bound), (y, y_bound)];
    let launch = l.launch(kernel, l.plan[out].rows, stride(l.plan, out), params, vars);
    let constants = vec![(Constant::XInPlace, x_in_place), (Constant::YInPlace, y_in_place)];
    vec![Launch { constants, ..launch }]
}

params!(AddBiasParams { stride: u32 });

impl ShaderOp for AddBias {
    fn kernel(&self, _: &Plan) -> Kernel {
        CoreKind::AddBias.into()
    }

    fn weight_reads(&self) -> Vec<WeightRead> {
        vec![WeightRead::floats(self.b)]
    }

    fn lower(&self, l: &Lowering) -> Vec<Launch> {
        let cols = stride(l.plan, self.x);
        let vars = vec![(Var::X, Resource::Buf(self.x)), (Var::Bias, l.floats(self.b))];
        vec![l.launch(CoreKind::AddBias, l.plan[self.x].rows, cols, &AddBiasParams { stride: cols / 4 }, vars)]
    }
}

params!(ArgmaxParams { n_cols: u32, stride: u32 });

impl ShaderOp for Argmax {
    fn kernel(&self, _: &Plan) -> Kernel {
        CoreKind::Argmax.into()
    }

    fn lower(&self, l: &Lowering) -> Vec<Launch> {
        let params = ArgmaxParams { n_cols: l.plan[self.x].cols, stride: stride(l.plan, self.x) };
        let vars = vec![(Var::Out, Resource::Buf(self.out)), (Var::X, Resource::Buf(self.x))];
        vec![l.launch(CoreKind::Argmax, Rows::Outputs, 1, &params, vars)]
    }
}
