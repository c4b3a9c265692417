use super::{Operation, same_shape};
use crate::plan::{Buf, Cost, Plan, StepSize};

/// `out = x + y`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Add {
    /// (rows, n); may be `x` or `y`.
    pub out: Buf,
    /// (rows, n).
    pub x: Buf,
    /// (rows, n).
    pub y: Buf,
}

impl Operation for Add {
    fn reads(&self) -> Vec<Buf> {
        vec![self.x, self.y]
    }

    fn writes(&self) -> Vec<Buf> {
        vec![self.out]
    }

    fn bufs_mut(&mut self) -> Vec<&mut Buf> {
        vec![&mut self.out, &mut self.x, &mut self.y]
    }

    fn check(&self, plan: &Plan) -> Result<(), String> {
        same_shape(plan, self.y, self.x)?;
        same_shape(plan, self.out, self.x)
    }

    fn cost(&self, plan: &Plan, size: StepSize) -> Cost {
        Cost { flops: size.elements(plan, self.out), ..Cost::default() }
    }
}
