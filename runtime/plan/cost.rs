use super::{Buf, Op, Plan, Rows};

/// The size of a step, for [`Op::cost`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Load {
    pub n_tokens: u64,
    pub n_outputs: u64,
    /// Slots that each token attends to.
    pub kv_len: u64,
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

impl Op {
    /// The least traffic and arithmetic of the operation on a step of this size.
    pub fn cost(&self, plan: &Plan, load: Load) -> Cost {
        let rows = |b: Buf| match plan[b].rows {
            Rows::Tokens => load.n_tokens,
            Rows::Outputs => load.n_outputs,
        };
        let elements = |b: Buf| rows(b) * plan[b].cols as u64;
        let kv = plan.kv;
        let mut cost = Cost {
            activations: self.reads().into_iter().chain(self.writes()).map(|b| 4 * elements(b)).sum(),
            ..Cost::default()
        };
        match self {
            Op::Embed(op) => cost.weights = load.n_tokens * plan[op.table].row_bytes(),
            Op::RmsNorm(op) => {
                cost.weights = plan[op.w].bytes();
                cost.flops = 4 * elements(op.x);
            }
            Op::MatMul(op) => {
                cost.weights = plan[op.out].cols as u64 * plan[op.w].row_bytes();
                cost.flops = 2 * plan[op.w].cols * elements(op.out);
            }
            Op::Rope(op) => {
                cost.weights = load.n_tokens * plan[op.table].row_bytes();
                cost.flops = 3 * elements(op.x);
            }
            Op::KvStore(_) => cost.kv = 2 * load.n_tokens * kv.ty.bytes(kv.row() as u64),
            Op::Attention(op) => {
                let kv_len = load.kv_len.min(plan.window.map_or(u64::MAX, u64::from));
                cost.kv = 2 * kv_len * kv.ty.bytes(kv.row() as u64);
                cost.flops = 4 * kv_len * elements(op.q);
            }
            Op::SwiGlu(op) => cost.flops = 4 * elements(op.out),
            Op::Add(op) => cost.flops = elements(op.out),
            Op::AddBias(op) => {
                cost.weights = plan[op.b].bytes();
                cost.flops = elements(op.x);
            }
            Op::Gather(_) | Op::Argmax(_) => {}
            Op::Fused(op) => {
                let parts: Cost = op.parts.iter().map(|part| part.cost(plan, load)).sum();
                cost = Cost { activations: cost.activations, ..parts };
            }
        }
        cost
    }
}

impl Plan {
    /// The sum of [`Op::cost`] over a step of this size.
    pub fn cost(&self, load: Load) -> Cost {
        let ops = self.ops(self.phase(load.n_tokens as u32));
        ops.iter().map(|op| op.cost(self, load)).sum()
    }
}
