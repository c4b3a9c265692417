use super::{Operation, f32_buffer};
use crate::plan::{Buf, Cost, Plan, Rows, StepSize};

/// The rows whose logits are wanted: `out[i, :] = x[output[i], :]`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Gather {
    /// (n_outputs, n).
    pub out: Buf,
    /// (n_tokens, n).
    pub x: Buf,
}

impl Operation for Gather {
    fn reads(&self) -> Vec<Buf> {
        vec![self.x]
    }

    fn writes(&self) -> Vec<Buf> {
        vec![self.out]
    }

    fn bufs_mut(&mut self) -> Vec<&mut Buf> {
        vec![&mut self.out, &mut self.x]
    }

    fn check(&self, plan: &Plan) -> Result<(), String> {
        f32_buffer(plan, self.x, Rows::Tokens, plan[self.out].cols as u64)?;
        f32_buffer(plan, self.out, Rows::Outputs, plan[self.x].cols as u64)
    }

    fn cost(&self, _: &Plan, _: StepSize) -> Cost {
        Cost::default()
    }
}
