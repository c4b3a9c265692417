use super::{Operation, f32_buffer};
use crate::plan::{Buf, Cost, Plan, StepSize, Weight};

/// Matrix product: `out[t, r] = sum_c w[first_row + r, c] * x[t, c]` for the `out.cols` rows of `w` from `first_row` on.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct MatMul {
    /// (rows, n_out), not `x`.
    pub out: Buf,
    /// (rows, n_in).
    pub x: Buf,
    /// (first_row + n_out or more, n_in), any type.
    pub w: Weight,
    /// First row of `w` in use.
    pub first_row: u32,
}

impl Operation for MatMul {
    fn reads(&self) -> Vec<Buf> {
        vec![self.x]
    }

    fn writes(&self) -> Vec<Buf> {
        vec![self.out]
    }

    fn bufs_mut(&mut self) -> Vec<&mut Buf> {
        vec![&mut self.out, &mut self.x]
    }

    fn weights(&self) -> Vec<Weight> {
        vec![self.w]
    }

    fn check(&self, plan: &Plan) -> Result<(), String> {
        let (w, x, out) = (&plan[self.w], &plan[self.x], &plan[self.out]);
        f32_buffer(plan, self.x, x.rows, w.cols)?;
        f32_buffer(plan, self.out, x.rows, out.cols as u64)?;
        let last = self.first_row as u64 + out.cols as u64;
        if self.x == self.out || last > w.rows {
            return Err(format!("rows {}..{last} of {}, which has {}", self.first_row, w.name, w.rows));
        }
        Ok(())
    }

    fn cost(&self, plan: &Plan, size: StepSize) -> Cost {
        let w = &plan[self.w];
        Cost {
            weights: plan[self.out].cols as u64 * w.row_bytes(),
            flops: 2 * w.cols * size.elements(plan, self.out),
            ..Cost::default()
        }
    }
}
