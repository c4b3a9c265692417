//! Qwen2 and Qwen2.5: Llama with biases of Q, K and V, and RoPE on pairs from the two halves of a head (NEOX).

use super::config::Reader;
use super::planner::{Bufs, Planner};
use super::{Architecture, Config, Error, Model, PlanOptions};
use crate::plan::*;

pub const QWEN2: Architecture = Architecture { key: "qwen2", name: "Qwen2", partial_rope: false, config, plan };

fn config(read: &Reader) -> Result<Config, Error> {
    let c = Config::read(read)?;
    if c.n_heads * c.head_dim != c.n_embd {
        let width = read.key("embedding_length");
        let what = format!("{} heads of {} elements, expected {width} {} in all", c.n_heads, c.head_dim, c.n_embd);
        return Err(read.error("attention.head_count", what));
    }
    Ok(c)
}

fn plan(model: &Model, options: &PlanOptions) -> Result<Plan, Error> {
    let c = &model.config;
    let mut p = Planner::new(model, options)?;
    let Bufs { x, h, q, k, v, attn, gate, up, last, last_h, logits, next } = p.bufs();
    let scale = 1.0 / (c.head_dim as f32).sqrt();

    let embedding = p.embedding()?;
    let table = p.rope_table(options.n_ctx);
    let rope = |x| Rope { x, table, head_dim: c.head_dim, pairing: Pairing::Halves };
    p.push(Embed { out: x, table: embedding, next: Some(next) })?;
    p.all_or_none(c.n_layers, ["attn_q.bias", "attn_k.bias", "attn_v.bias"])?;
    for layer in 0..c.n_layers {
        let name = |part: &str| format!("blk.{layer}.{part}");
        p.rms_norm(h, x, &name("attn_norm"))?;
        p.mat_mul(q, h, &name("attn_q"))?;
        p.mat_mul(k, h, &name("attn_k"))?;
        p.mat_mul(v, h, &name("attn_v"))?;
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
    p.bias(logits, "output.bias")?;
    p.push(Argmax { out: next, x: logits })?;
    p.finish()
}
