//! Qwen3: Llama with RMSNorm on each head of Q and K, then RoPE on pairs from the two halves of a head (NEOX).

use super::planner::{Bufs, Planner};
use super::{Architecture, Config, Error, Model, PlanOptions};
use crate::plan::*;

pub const QWEN3: Architecture =
    Architecture { key: "qwen3", name: "Qwen3", partial_rope: false, config: Config::read, plan };

fn plan(model: &Model, options: &PlanOptions) -> Result<Plan, Error> {
    let c = &model.config;
    let mut p = Planner::new(model, options)?;
    let Bufs { x, h, q, k, v, attn, gate, up, last, last_h, logits, next } = p.bufs();
    let scale = 1.0 / (c.head_dim as f32).sqrt();

    let embedding = p.embedding()?;
    let table = p.rope_table(options.n_ctx);
    let rope = |x| Rope { x, table, head_dim: c.head_dim, pairing: Pairing::Halves };
    p.push(Embed { out: x, table: embedding, next: Some(next) })?;
    for layer in 0..c.n_layers {
        let name = |part: &str| format!("blk.{layer}.{part}");
        p.rms_norm(h, x, &name("attn_norm"))?;
        p.mat_mul(q, h, &name("attn_q"))?;
        p.mat_mul(k, h, &name("attn_k"))?;
        p.mat_mul(v, h, &name("attn_v"))?;
        for (x, part) in [(q, "attn_q_norm.weight"), (k, "attn_k_norm.weight")] {
            let w = p.vector(&name(part), c.head_dim)?; // each head is normalized separately
            p.push(RmsNorm { out: x, x, w, eps: c.rms_eps })?;
        }
        p.push(rope(q))?;
        p.push(rope(k))?;
        p.push(KvStore { k, v, layer })?;
        p.push(Attention { out: attn, q, layer, scale })?;
        p.mat_mul(h, attn, &name("attn_output"))?;
        p.push(Add { out: x, x, y: h })?;

        p.rms_norm(h, x, &name("ffn_norm"))?;
        p.mat_mul(gate, h, &name("ffn_gate"))?;
        p.mat_mul(up, h, &name("ffn_up"))?;
        p.push(SwiGlu { out: gate, gate, up })?;
        p.mat_mul(h, gate, &name("ffn_down"))?;
        p.push(Add { out: x, x, y: h })?;
    }
    p.push(Gather { out: last, x })?;
    p.rms_norm(last_h, last, "output_norm")?;
    p.head(logits, last_h, embedding)?;
    p.push(Argmax { out: next, x: logits })?;
    p.finish()
}
