use super::{Operation, same_shape};
use crate::plan::{Buf, Cost, Plan, StepSize, Weight};

/// RMSNorm (Zhang and Sennrich, 2019): `out[t, g, i] = x[t, g, i] / sqrt(mean_j(x[t, g, j]^2) + eps) * w[i]`. Each group of `w.cols`
/// elements of a row is normalized by itself. A row of the residual stream is one group; a row of queries or keys has a group
/// per head (Qwen3).
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RmsNorm {
    /// (rows, groups * n); may be `x`.
    pub out: Buf,
    /// (rows, groups * n).
    pub x: Buf,
    /// (n).
    pub w: Weight,
    /// Added to the mean square.
    pub eps: f32,
}

impl RmsNorm {
    /// Whether each row is one group.
    pub fn is_whole_row(&self, plan: &Plan) -> bool {
        plan[self.w].cols == plan[self.x].cols as u64
    }
}

impl Operation for RmsNorm {
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
        let (w, cols) = (&plan[self.w], plan[self.x].cols as u64);
        if w.rows != 1 || !cols.is_multiple_of(w.cols) {
            return Err(format!("weight {} is ({}, {}), wanted (1, a divisor of {cols})", w.name, w.rows, w.cols));
        }
        same_shape(plan, self.out, self.x)
    }

    fn cost(&self, plan: &Plan, size: StepSize) -> Cost {
        Cost { weights: plan[self.w].bytes(), flops: 4 * size.elements(plan, self.x), ..Cost::default() }
    }
}
