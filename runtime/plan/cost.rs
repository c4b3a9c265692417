//! The least traffic and arithmetic of operations and of whole steps.

use super::{Buf, Phase, Plan, Rows};

/// The size of a step, for [`super::Op::cost`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StepSize {
    /// Rows of buffers with a row per token.
    pub n_tokens: u64,
    /// Rows of buffers with a row per output.
    pub n_outputs: u64,
    /// Slots that each token attends to.
    pub kv_len: u64,
}

impl StepSize {
    /// Elements of `buf` that the step uses.
    pub fn elements(&self, plan: &Plan, buf: Buf) -> u64 {
        let rows = match plan[buf].rows {
            Rows::Tokens => self.n_tokens,
            Rows::Outputs => self.n_outputs,
        };
        rows * plan[buf].cols as u64
    }
}

/// The least that an operation must move and compute, whatever the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cost {
    /// Bytes of weights, read once.
    pub weights: u64,
    /// Bytes of keys and values, read or written once.
    pub kv: u64,
    /// Bytes of activations, read or written once.
    pub activations: u64,
    /// Multiplications and additions.
    pub flops: u64,
}

impl Cost {
    /// All bytes.
    pub fn bytes(&self) -> u64 {
        self.weights + self.kv + self.activations
    }
}

impl std::ops::Add for Cost {
    type Output = Cost;
    fn add(self, o: Cost) -> Cost {
        Cost {
            weights: self.weights + o.weights,
            kv: self.kv + o.kv,
            activations: self.activations + o.activations,
            flops: self.flops + o.flops,
        }
    }
}

impl std::iter::Sum for Cost {
    fn sum<I: Iterator<Item = Cost>>(costs: I) -> Cost {
        costs.fold(Cost::default(), |a, b| a + b)
    }
}

impl Plan {
    /// The sum of [`super::Op::cost`] over a step of this size.
    pub fn cost(&self, size: StepSize) -> Cost {
        let ops = self.ops(Phase::of(size.n_tokens as u32));
        ops.iter().map(|op| op.cost(self, size)).sum()
    }
}
