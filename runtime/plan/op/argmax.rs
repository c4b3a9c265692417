use super::{Operation, f32_buffer, u32_buffer};
use crate::plan::{Buf, Cost, Plan, Rows, StepSize};

/// In place of a token id: the row has logits that are not finite.
pub const NOT_FINITE: u32 = u32::MAX;

/// The most likely token: `out[t] = argmax_i x[t, i]`, the lowest index among equals. [`NOT_FINITE`] where an element is NaN or
/// infinity, or where all are -infinity.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Argmax {
    /// (n_outputs) token ids, or [`NOT_FINITE`].
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

/// Whether a token can be chosen from logits: none is NaN or infinity, and not all are -infinity.
pub fn can_choose(logits: &[f32]) -> bool {
    logits.iter().all(|l| *l < f32::INFINITY) && logits.iter().any(|l| *l > f32::NEG_INFINITY)
}

/// What [`Argmax`] gives for a row.
pub fn choice(logits: &[f32]) -> u32 {
    if can_choose(logits) { argmax(logits) as u32 } else { NOT_FINITE }
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
