use super::{Operation, f32_buffer, u32_buffer};
use crate::plan::{Buf, Cost, Plan, Rows, StepSize};

/// The most likely token: `out[t] = argmax_i x[t, i]`, the lowest index among equals.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Argmax {
    /// (n_outputs) token ids.
    pub out: Buf,
    /// (n_outputs, n_vocab).
    pub x: Buf,
}

impl Operation for Argmax {
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
        f32_buffer(plan, self.x, Rows::Outputs, plan[self.x].cols as u64)?;
        u32_buffer(plan, self.out, Rows::Outputs, 1)
    }

    fn cost(&self, _: &Plan, _: StepSize) -> Cost {
        Cost::default()
    }
}

/// The index of the largest element, the lowest among equals: how [`Argmax`] and a greedy choice on the host break ties. NaN is
/// never the largest.
pub fn argmax(x: &[f32]) -> usize {
    let mut best = 0;
    for (i, v) in x.iter().enumerate() {
        if *v > x[best] || x[best].is_nan() {
            best = i;
        }
    }
    best
}
