use super::{Operation, same_shape};
use crate::plan::{Buf, Cost, Plan, StepSize};

/// SwiGLU (Shazeer, 2020): `out = gate / (1 + exp(-gate)) * up`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SwiGlu {
    /// (rows, n_ff); may be `gate` or `up`.
    pub out: Buf,
    /// (rows, n_ff).
    pub gate: Buf,
    /// (rows, n_ff).
    pub up: Buf,
}

impl Operation for SwiGlu {
    fn reads(&self) -> Vec<Buf> {
        vec![self.gate, self.up]
    }

    fn writes(&self) -> Vec<Buf> {
        vec![self.out]
    }

    fn bufs_mut(&mut self) -> Vec<&mut Buf> {
        vec![&mut self.out, &mut self.gate, &mut self.up]
    }

    fn check(&self, plan: &Plan) -> Result<(), String> {
        same_shape(plan, self.up, self.gate)?;
        same_shape(plan, self.out, self.gate)
    }

    fn cost(&self, plan: &Plan, size: StepSize) -> Cost {
        Cost { flops: 4 * size.elements(plan, self.out), ..Cost::default() }
    }
}
