//! The cases of fused operations, each in the setting where fusion finds it: a piece of a layer.

use super::cases::{DOT, WIDE, case, kv_of, rope_table, twice};
use super::{Case, no_kv};
use crate::plan::*;
use crate::quant::{self, GgmlType};

pub fn cases() -> Vec<Case> {
    use GgmlType::*;
    let often = [Q4_0, Q4_1, Q8_0, F16, F32, Q2_K, Q3_K, Q4_K, Q6_K, IQ4_NL, IQ4_XS];
    let builds = [mat_mul_add_case, gate_up_case, |ty, cols, tokens| qkv_case([ty; 2], cols, tokens)];
    let mut cases = vec![];
    for (ty, build) in often.into_iter().flat_map(|ty| builds.map(|build| (ty, build))) {
        cases.extend([1, 3, 8, 33].map(|tokens| build(ty, 256, tokens)));
        cases.extend([1, 6].map(|tokens| build(ty, WIDE as u32, tokens)));
        cases.extend([1, 3].map(|blocks| build(ty, blocks * ty.block_size().max(32) as u32, 20)));
        cases.extend([1, 3].map(|tokens| twice(build(ty, 256, tokens))));
    }
    for ty in quant::FORMATS.iter().map(|format| format.ty).filter(|ty| !often.contains(ty)) {
        for build in builds {
            cases.extend([3, 20].map(|tokens| build(ty, 256, tokens)));
        }
    }
    for types in [[Q4_K, Q6_K], [Q5_K, Q6_K], [Q3_K, Q5_K], [Q2_K, Q4_K], [IQ4_XS, Q5_K]] {
        cases.extend([1, 3, 8].map(|tokens| qkv_case(types, 256, tokens)));
        cases.push(qkv_case(types, WIDE as u32, 6));
    }
    cases.extend([F32, F16].map(|ty| gate_up_case(ty, 4132, 9))); // staged in an unrolled loop
    cases
}

fn mat_mul_add_case(ty: GgmlType, cols: u32, tokens: u32) -> Case {
    let name = format!("{} 68x{cols} tokens={tokens}", ty.name());
    case("mat_mul_add", name, Some(ty), DOT, move |s| {
        s.size(no_kv(), tokens, 1);
        let h = s.input("h", Rows::Tokens, cols, 1.0);
        let x = s.input("x", Rows::Tokens, 68, 1.0);
        let w = s.weight(ty, 68, cols as u64);
        let y = s.output("y", Rows::Tokens, 68);
        s.push(MatMul { out: y, x: h, w, first_row: 0 });
        s.push(Add { out: x, x, y });
        s.plain_step(tokens);
    })
}

fn gate_up_case(ty: GgmlType, cols: u32, tokens: u32) -> Case {
    let name = format!("{} 132x{cols} tokens={tokens}", ty.name());
    case("norm_gate_up_swi_glu", name, Some(ty), DOT, move |s| {
        s.size(no_kv(), tokens, 1);
        let x = s.input("x", Rows::Tokens, cols, 1.0);
        let (norm, w_gate, w_up) =
            (s.weight(GgmlType::F32, 1, cols as u64), s.weight(ty, 132, cols as u64), s.weight(ty, 132, cols as u64));
        let h = s.output("h", Rows::Tokens, cols);
        let (gate, up) = (s.output("gate", Rows::Tokens, 132), s.output("up", Rows::Tokens, 132));
        s.push(RmsNorm { out: h, x, w: norm, eps: 1e-5 });
        s.push(MatMul { out: gate, x: h, w: w_gate, first_row: 0 });
        s.push(MatMul { out: up, x: h, w: w_up, first_row: 0 });
        s.push(SwiGlu { out: gate, gate, up });
        s.plain_step(tokens);
    })
}

/// Types of Q and K, and of V.
fn qkv_case([ty, v_ty]: [GgmlType; 2], cols: u32, tokens: u32) -> Case {
    let rope_dim = if cols as u64 == WIDE { 16 } else { 32 };
    let types = if ty == v_ty { ty.name().to_string() } else { format!("{}/{}", ty.name(), v_ty.name()) };
    let name = format!("{types} heads=6/2 head_dim=32 rope_dim={rope_dim} embd={cols} tokens={tokens}");
    // A key or value that lies between two halves may be rounded to either, 2^-11 apart.
    let (kv, limit) = if tokens == 3 { (KvType::F16, 1e3 * DOT) } else { (KvType::F32, DOT) };
    case("norm_qkv_rope_store", name, Some(ty), limit, move |s| {
        s.size(kv_of(2, 32, tokens + 3, kv), tokens, 1);
        let x = s.input("x", Rows::Tokens, cols, 1.0);
        let norm = s.weight(GgmlType::F32, 1, cols as u64);
        let (wq, wk, wv) =
            (s.weight(ty, 192, cols as u64), s.weight(ty, 64, cols as u64), s.weight(v_ty, 64, cols as u64));
        let table = rope_table(s, tokens + 3, rope_dim);
        let h = s.output("h", Rows::Tokens, cols);
        let (q, k) = (s.output("q", Rows::Tokens, 192), s.output("k", Rows::Tokens, 64));
        let (v, out) = (s.output("v", Rows::Tokens, 64), s.output("out", Rows::Tokens, 192));
        s.push(RmsNorm { out: h, x, w: norm, eps: 1e-5 });
        s.push(MatMul { out: q, x: h, w: wq, first_row: 0 });
        s.push(MatMul { out: k, x: h, w: wk, first_row: 0 });
        s.push(MatMul { out: v, x: h, w: wv, first_row: 0 });
        s.push(Rope { x: q, table, head_dim: 32 });
        s.push(Rope { x: k, table, head_dim: 32 });
        s.push(KvStore { k, v, layer: 1 });
        // Large scores would magnify the rounding of q and k. Elements of q and k are as large as those of w times
        // the root of cols times a norm's mean square of 1/3: scores of 32 of their products are to stay near 1.
        let size = (cols as f32 / 3.0).sqrt() * s.rms(wq);
        s.push(Attention { out, q, layer: 1, scale: 1.0 / (32f32.sqrt() * size * size) });
        s.plain_step(tokens);
    })
}
