use super::{Operation, f32_buffer};
use crate::plan::{Buf, Cost, Plan, Rows, StepSize, Weight};

/// Rotary embedding in place (Su et al., 2021): with `(c, s) = table[position[t], 2i..2i + 2]` and `(a, b)` the elements of pair `i`,
/// `x[t, h, a], x[t, h, b] = x[a] * c - x[b] * s, x[a] * s + x[b] * c` for the `table.cols / 2` pairs of each head.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rope {
    /// (n_tokens, heads * head_dim), in place.
    pub x: Buf,
    /// (positions, rope_dim) f32: cosine and sine of each pair's angle. Computed in f64 on the host: f32 angles are
    /// wrong by 0.01 rad at position 131071.
    pub table: Weight,
    /// Elements of a head.
    pub head_dim: u32,
    /// Which elements form a pair.
    pub pairing: Pairing,
}

/// Which elements of a head rotate together. The first `rope_dim` are rotated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pairing {
    /// `2i` and `2i + 1`, as in Su et al. and in Llama's GGUF files.
    Neighbours,
    /// `i` and `i + rope_dim / 2`, as in GPT-NeoX and in Qwen's GGUF files.
    Halves,
}

impl Operation for Rope {
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
        vec![self.table]
    }

    fn check(&self, plan: &Plan) -> Result<(), String> {
        let (x, table) = (&plan[self.x], &plan[self.table]);
        f32_buffer(plan, self.x, Rows::Tokens, x.cols as u64)?;
        let fits = table.cols <= self.head_dim as u64 && table.cols.is_multiple_of(2);
        if !x.cols.is_multiple_of(self.head_dim) || !fits {
            return Err(format!("{} columns in heads of {}, {} of them rotated", x.cols, self.head_dim, table.cols));
        }
        Ok(())
    }

    fn cost(&self, plan: &Plan, size: StepSize) -> Cost {
        Cost {
            weights: size.n_tokens * plan[self.table].row_bytes(),
            flops: 3 * size.elements(plan, self.x),
            ..Cost::default()
        }
    }

    fn bound(&self, plan: &mut Plan) {
        plan.n_positions = plan.n_positions.min(plan[self.table].rows);
    }
}
