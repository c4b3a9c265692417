//! What an operation supplies to be run by WGSL kernels, and what it is lowered with. Nothing here touches the device.

use super::super::Unsupported;
use super::adapters::BindingLimits;
use super::launch::Launch;
use super::memory::Resource;
use super::params::Params;
use super::permutations::Kernel;
use super::shaders::{Constant, Var};
use super::weights::{ChunkId, Stack, WeightForm, WeightRead, WeightStacks};
use crate::plan::{Buf, KvType, Plan, Rows, Weight};
use crate::quant::pack::{UNIT, padded};

/// An operation as WGSL kernels.
pub trait ShaderOp {
    /// The kernel that computes it.
    fn kernel(&self, plan: &Plan) -> Kernel;

    /// The weights that it reads.
    fn weight_reads(&self) -> Vec<WeightRead> {
        vec![]
    }

    /// Whether the kernel can do it, the weights apart, which [`ShaderOp::supports`] looks at.
    fn check_kernel(&self, _plan: &Plan, _limits: BindingLimits) -> Result<(), Unsupported> {
        Ok(())
    }

    /// Its launches, if [`ShaderOp::supports`] accepts it.
    fn lower(&self, lowering: &Lowering) -> Vec<Launch>;

    /// Whether the kernels can do it.
    fn supports(&self, plan: &Plan, limits: BindingLimits) -> Result<(), Unsupported> {
        let buffers = self.kernel(plan).storage_buffers();
        self.weight_reads().iter().try_for_each(|read| read.check(plan, buffers, limits))?;
        self.check_kernel(plan, limits)
    }
}

/// What operations are lowered with.
pub struct Lowering<'a> {
    /// The plan that has the operation.
    pub plan: &'a Plan,
    /// Where its weights lie.
    pub stacks: &'a WeightStacks,
    /// Index of the operation in its list.
    pub op: usize,
}

impl Lowering<'_> {
    /// A launch without weights in blocks and without constants. `cols`: columns that its grid covers.
    pub fn launch<P: Params>(
        &self,
        kernel: impl Into<Kernel>,
        rows: Rows,
        cols: u32,
        params: &P,
        vars: Vec<(Var, Resource)>,
    ) -> Launch {
        let (kernel, params) = (kernel.into(), bytemuck::bytes_of(params).to_vec());
        Launch { op: self.op, kernel, planes: None, constants: vec![], params, vars, rows, per_row: 1, cols }
    }

    /// The stack in which a weight lies, the weight's first row there, and the stack's index.
    pub fn stack(&self, w: Weight, form: WeightForm) -> (&Stack, u64, usize) {
        let location = self.stacks.location(w, form);
        (&self.stacks.all[location.stack], location.first_row, location.stack)
    }

    /// A weight that is read as floats from one binding.
    pub fn floats(&self, w: Weight) -> Resource {
        let location = self.stacks.location(w, WeightForm::Floats);
        Resource::Floats(ChunkId { stack: location.stack, chunk: 0 })
    }

    /// The constants that say what the KV cache holds.
    pub fn kv_constants(&self) -> Vec<(Constant, u32)> {
        let ty = self.plan.kv.ty;
        vec![(Constant::KvF16, (ty == KvType::F16) as u32), (Constant::KvQ8_0, (ty == KvType::Q8_0) as u32)]
    }
}

/// 32-element units of a row.
pub fn units(cols: u64) -> u32 {
    (padded(cols) / UNIT) as u32
}

/// What to bind for an operand of an operation that writes `out`, and whether the kernel must take it from there.
pub fn operand(x: Buf, out: Buf) -> (Resource, u32) {
    if x == out { (Resource::Placeholder, 1) } else { (Resource::Buf(x), 0) }
}
