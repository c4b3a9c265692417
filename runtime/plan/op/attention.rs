use super::{Operation, f32_buffer, kv_layer, same_shape};
use crate::plan::{Buf, Cost, Plan, Rows, StepSize};

/// Grouped-query attention (GQA; Ainslie et al., 2023): `out[t, h, :] = sum_s softmax_s(scale * q[t, h, :] . K[layer, s, g, :]) V[layer, s,
/// g, :]` over the slots `s` that row `t` attends to, with the KV head `g = h / (n_heads / kv.heads)`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Attention {
    /// (n_tokens, n_heads * head_dim), not `q`.
    pub out: Buf,
    /// (n_tokens, n_heads * head_dim).
    pub q: Buf,
    /// Layer of the KV cache.
    pub layer: u32,
    /// Multiplies the scores.
    pub scale: f32,
}

impl Operation for Attention {
    fn reads(&self) -> Vec<Buf> {
        vec![self.q]
    }

    fn writes(&self) -> Vec<Buf> {
        vec![self.out]
    }

    fn bufs_mut(&mut self) -> Vec<&mut Buf> {
        vec![&mut self.out, &mut self.q]
    }

    fn check(&self, plan: &Plan) -> Result<(), String> {
        kv_layer(plan, self.layer)?;
        let q = &plan[self.q];
        if !q.cols.is_multiple_of(plan.kv.row()) || self.q == self.out {
            return Err(format!("{} query columns, {} of keys", q.cols, plan.kv.row()));
        }
        f32_buffer(plan, self.q, Rows::Tokens, q.cols as u64)?;
        same_shape(plan, self.out, self.q)
    }

    fn cost(&self, plan: &Plan, size: StepSize) -> Cost {
        let kv_len = size.kv_len.min(plan.window.map_or(u64::MAX, u64::from));
        Cost {
            kv: 2 * kv_len * plan.kv.ty.bytes(plan.kv.row() as u64),
            flops: 4 * kv_len * size.elements(plan, self.q),
            ..Cost::default()
        }
    }
}
