use super::{Operation, f32_buffer, vector};
use crate::plan::{Buf, Cost, Plan, StepSize, Weight};

/// The same vector added to every row, in place: `x[t, :] += b`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct AddBias {
    /// (rows, n), in place.
    pub x: Buf,
    /// (n).
    pub b: Weight,
}

impl Operation for AddBias {
    fn reads(&self) -> Vec<Buf> {
        vec![self.x]
    }

    fn writes(&self) -> Vec<Buf> {
        vec![self.x]
    }

    fn bufs_mut(&mut self) -> Vec<&mut Buf> {
        vec![&mut self.x]
    }

    fn weights(&self) -> Vec<Weight> {
        vec![self.b]
    }

    fn check(&self, plan: &Plan) -> Result<(), String> {
        let x = &plan[self.x];
        vector(plan, self.b, x.cols)?;
        f32_buffer(plan, self.x, x.rows, x.cols as u64)
    }

    fn cost(&self, plan: &Plan, size: StepSize) -> Cost {
        Cost { weights: plan[self.b].bytes(), flops: size.elements(plan, self.x), ..Cost::default() }
    }
}
