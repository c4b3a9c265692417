//! The cases of core operations: what each is tried with, and how far from the reference it may be.

use super::shared::*;
use super::{Case, no_kv};
use crate::plan::*;
use crate::quant;
use crate::quant::GgmlType;

pub(super) fn cases() -> Vec<Case> {
    let groups = [
        embed(),
        gather(),
        rms_norm(),
        mat_mul(),
        rope(),
        kv_store(),
        attention(),
        elementwise(),
        add_bias(),
        argmax(),
    ];
    groups.into_iter().flatten().collect()
}

fn embed() -> Vec<Case> {
    let build = |ty: GgmlType, tokens: u32, cols: u64| {
        case(CoreKind::Embed, format!("{} tokens={tokens} embd={cols}", ty.name()), Some(ty), ROUNDED, move |s| {
            s.size(no_kv(), tokens, 1);
            // Rows 66, 28, 57, 19 .. of 67 and then NaN: nothing may come from beyond a row.
            let table = s.weight_within(ty, 70, cols, 0..67);
            let out = s.output("out", Rows::Tokens, cols as u32);
            s.push(Embed { out, table, next: None });
            let ids: Vec<u32> = (0..tokens).map(|t| (t * 29 + 66) % 67).collect();
            s.step(Step::sequence(&ids, 0, &[]));
        })
    };
    let all =
        quant::FORMATS.iter().flat_map(|f| [build(f.ty, 1, 768), build(f.ty, 33, 256), twice(build(f.ty, 3, 256))]);
    // Not whole units of 32.
    let mut cases: Vec<Case> = all.chain([GgmlType::F32, GgmlType::F16].map(|ty| build(ty, 5, 100))).collect();
    let chosen = |what: &'static str, change: fn(&mut [f32])| {
        case(CoreKind::Embed, what.to_string(), Some(GgmlType::Q8_0), ROUNDED, move |s| {
            s.size(no_kv(), 5, 3);
            let table = s.weight(GgmlType::Q8_0, 67, 64);
            let x = s.input("x", Rows::Outputs, 67, 5.0);
            s.inputs.iter_mut().for_each(|(_, values)| change(&mut values[..67]));
            let next = s.plan.token_buf("next");
            let out = s.output("out", Rows::Tokens, 64);
            s.push(Argmax { out: next, x });
            s.push(Embed { out, table, next: Some(next) });
            s.step(Step::sequence(&[NEXT_TOKEN, 7, NEXT_TOKEN, 66, 0], 0, &[4, 0, 1]));
        })
    };
    cases.push(chosen("what the device chose", |_| {}));
    cases.push(chosen("what the device could not choose", |row| row[5] = f32::NAN));
    cases
}

fn gather() -> Vec<Case> {
    let build = |tokens: u32, cols: u32, outputs: &'static [u32]| {
        let n = outputs.len();
        case(CoreKind::Gather, format!("tokens={tokens} embd={cols} outputs={n}"), None, EXACT, move |s| {
            s.size(no_kv(), tokens, n as u32);
            let x = s.input("x", Rows::Tokens, cols, 1.0);
            let out = s.output("out", Rows::Outputs, cols);
            s.push(Gather { out, x });
            s.step(Step::sequence(&vec![0; tokens as usize], 0, outputs));
        })
    };
    vec![
        build(1, 4, &[0]),
        build(9, 576, &[8]),
        build(33, 260, &[32, 0, 7, 7, 31]),
        build(5, 64, &[]),
        twice(build(3, 64, &[1, 2])),
    ]
}

fn rms_norm() -> Vec<Case> {
    let build = |tokens: u32, embd: u32, scale: f32| {
        case(CoreKind::RmsNorm, format!("tokens={tokens} embd={embd} scale={scale:e}"), None, SUMMED, move |s| {
            s.size(no_kv(), tokens, 1);
            let x = s.input("x", Rows::Tokens, embd, scale);
            let w = s.weight(GgmlType::F32, 1, embd as u64);
            let out = s.output("out", Rows::Tokens, embd);
            s.push(RmsNorm { out, x, w, eps: 1e-5 });
            s.plain_step(tokens);
        })
    };
    // Rows of `groups` groups of n elements, beside one another and in place.
    let grouped = |rows: Rows, count: u32, groups: u32, n: u32| {
        let name = format!("{} {count} groups={groups} n={n}", format!("{rows:?}").to_lowercase());
        case(CoreKind::RmsNorm, name, None, SUMMED, move |s| {
            s.size(no_kv(), count + 3, count);
            let x = s.input("x", rows, groups * n, 1.0);
            let w = s.weight(GgmlType::F32, 1, n as u64);
            let out = s.output("out", rows, groups * n);
            s.push(RmsNorm { out, x, w, eps: 1e-5 });
            s.push(RmsNorm { out: x, x, w, eps: 1e-5 });
            match rows {
                Rows::Tokens => s.plain_step(count),
                Rows::Outputs => {
                    s.step(Step::sequence(&vec![0; count as usize + 3], 0, &vec![1; count as usize]));
                }
            }
        })
    };
    vec![
        grouped(Rows::Tokens, 1, 16, 128), // queries of Qwen3
        grouped(Rows::Tokens, 33, 3, 20),  // neither heads nor rows end where a block of 32 does
        grouped(Rows::Tokens, 5, 1, 68),
        grouped(Rows::Outputs, 3, 5, 4),
        twice(grouped(Rows::Tokens, 3, 2, 64)),
        build(1, 4, 1.0),     // the smallest row
        build(1, 4096, 1.0),  // Llama 3 8B
        build(3, 576, 1.0),   // SmolLM2: not a multiple of a block
        build(33, 1028, 1.0), // ragged in both
        build(2, 4096, 1e-4), // eps matters
        build(2, 4096, 1e3),  // outliers
        build(1, 16384, 1.0), // Llama 3.1 405B
        twice(build(3, 64, 1.0)),
    ]
}

fn mat_mul_case(ty: GgmlType, rows: u32, cols: u64, tokens: u32) -> Case {
    let name = format!("{} {rows}x{cols} tokens={tokens}", ty.name());
    mat_mul_with(no_kv(), name, ty, rows, cols, tokens)
}

/// Many rows of x beside a cache in f32.
fn exact_case(ty: GgmlType, rows: u32, cols: u64, tokens: u32) -> Case {
    let name = format!("{} {rows}x{cols} tokens={tokens} f32 cache", ty.name());
    mat_mul_with(KvDecl { ty: KvType::F32, ..no_kv() }, name, ty, rows, cols, tokens)
}

fn mat_mul_with(kv: KvDecl, name: String, ty: GgmlType, rows: u32, cols: u64, tokens: u32) -> Case {
    // A single result may be a small difference of large sums: no others make up for it.
    let limit = if rows * tokens == 1 { 1e4 * DOT } else { DOT };
    case(CoreKind::MatMul, name, Some(ty), limit, move |s| {
        s.size(kv, tokens, 1);
        let x = s.input("x", Rows::Tokens, cols as u32, 1.0);
        let w = s.weight(ty, rows as u64, cols);
        let out = s.output("out", Rows::Tokens, rows);
        s.push(MatMul { out, x, w, first_row: 0 });
        s.plain_step(tokens);
    })
}

fn mat_mul() -> Vec<Case> {
    let mut cases = vec![];
    for format in &quant::FORMATS {
        let (ty, block) = (format.ty, format.ty.block_size().max(32));
        for (rows, cols, tokens) in [
            (1, block, 1),
            (7, 3 * block, 1),
            (67, 5 * block, 2),
            (64, 2 * block, 3),
            (65, 3 * block, 5),
            (33, 7 * block, 8),
            (130, block, 9),
            (67, 3 * block, 33),
            (192, 4 * block, 64),
            (33, 7 * block, 20),
            (18, WIDE, 1),
            (18, WIDE, 6),
        ] {
            cases.push(mat_mul_case(ty, rows, cols, tokens));
        }
        cases.extend([1, 3, 9].map(|tokens| twice(mat_mul_case(ty, 19, block, tokens))));
    }
    for ty in [GgmlType::Q4_0, GgmlType::Q4_1, GgmlType::Q8_0, GgmlType::F16] {
        cases.extend([mat_mul_case(ty, 192, 576, 1), mat_mul_case(ty, 48, 1536, 37)]);
        cases.push(mat_mul_case(ty, 20, 256, 70)); // more rows of x than a tile has
    }
    cases.push(mat_mul_case(GgmlType::Q4_0, 16, 14336, 1)); // ffn_down of Llama 3 8B
    for ty in [GgmlType::Q4_0, GgmlType::Q8_0] {
        cases.push(mat_mul_case(ty, 9, 16928, 1)); // x in pieces, the last of them not full
        cases.push(mat_mul_case(ty, 5, 16928, 2));
        cases.push(mat_mul_case(ty, 9001, 32, 1)); // more rounds than results that fit shared memory
    }
    for cols in [4, 36, 100] {
        // A float type's rows are of any length that a float4 divides.
        cases.push(mat_mul_case(GgmlType::F32, 5, cols, 3));
        cases.push(mat_mul_case(GgmlType::F16, 5, cols, 3));
    }
    cases.extend([GgmlType::F32, GgmlType::F16].map(|ty| mat_mul_case(ty, 5, 4132, 9))); // staged in an unrolled loop
    // Rows so small that the power of two which brings them into the range of f16 is at its own end.
    cases.push(case(CoreKind::MatMul, "F16 tiny x".to_string(), Some(GgmlType::F16), DOT, |s| {
        s.size(no_kv(), 9, 1);
        let x = s.input("x", Rows::Tokens, 64, 1e-36);
        let w = s.weight(GgmlType::F16, 6, 64);
        let out = s.output("out", Rows::Tokens, 6);
        s.push(MatMul { out, x, w, first_row: 0 });
        s.plain_step(9);
    }));
    for (ty, cols) in quant::FORMATS.iter().map(|f| (f.ty, 3 * f.ty.block_size().max(32))).chain(RAGGED) {
        for tokens in [1, 3, 20] {
            let name = format!("{} rows 3..40 of 64, the others NaN, cols={cols} tokens={tokens}", ty.name());
            cases.push(case(CoreKind::MatMul, name, Some(ty), DOT, move |s| {
                s.size(no_kv(), tokens, 1);
                let x = s.input("x", Rows::Tokens, cols as u32, 1.0);
                let w = s.weight_within(ty, 64, cols, 3..40);
                let out = s.output("out", Rows::Tokens, 37);
                s.push(MatMul { out, x, w, first_row: 3 });
                s.plain_step(tokens);
            }));
        }
    }
    for (ty, tokens) in [(GgmlType::F32, 9), (GgmlType::F16, 33), (GgmlType::Q4_0, 9), (GgmlType::Q6_K, 18)] {
        cases.push(exact_case(ty, 67, 3 * ty.block_size().max(32), tokens));
    }
    cases.push(case(CoreKind::MatMul, "outputs=2 of tokens=12".to_string(), Some(GgmlType::Q8_0), DOT, |s| {
        s.size(no_kv(), 12, 2);
        let x = s.input("x", Rows::Outputs, 96, 1.0);
        let w = s.weight(GgmlType::Q8_0, 70, 96);
        let out = s.output("out", Rows::Outputs, 70);
        s.push(MatMul { out, x, w, first_row: 0 });
        s.step(Step::sequence(&[0; 12], 0, &[11, 3]));
    }));
    cases
}

fn rope() -> Vec<Case> {
    use Pairing::*;
    let build = |pairing: Pairing, heads: u32, head_dim: u32, rope_dim: u32, tokens: u32, positions: u32| {
        let by = if pairing == Halves { " halves" } else { "" };
        let name =
            format!("heads={heads} head_dim={head_dim} rope_dim={rope_dim}{by} tokens={tokens} positions={positions}");
        case(CoreKind::Rope, name, None, ROUNDED, move |s| {
            s.size(no_kv(), tokens, 1);
            let x = s.input("x", Rows::Tokens, heads * head_dim, 1.0);
            let table = rope_table(s, positions, rope_dim);
            s.push(Rope { x, table, head_dim, pairing });
            let mut step = Step::sequence(&vec![0; tokens as usize], 0, &[]);
            for (t, row) in step.rows.iter_mut().enumerate() {
                row.position = (t as u32 * 41 + positions - 1) % positions; // the last one first
            }
            s.step(step);
        })
    };
    vec![
        build(Halves, 1, 64, 64, 1, 300),
        build(Halves, 14, 64, 64, 3, 300), // Qwen2.5 0.5B
        build(Halves, 3, 80, 32, 33, 300), // a part of each head
        build(Halves, 5, 10, 6, 7, 300),   // an odd number of pairs
        build(Halves, 1, 6, 2, 9, 300),    // one pair
        build(Halves, 2, 16, 16, 3, 131_072),
        twice(build(Halves, 2, 16, 8, 3, 300)),
        build(Neighbours, 1, 64, 64, 1, 300),
        build(Neighbours, 9, 64, 64, 3, 300),
        build(Neighbours, 32, 128, 128, 2, 300),
        build(Neighbours, 3, 80, 32, 33, 300),
        build(Neighbours, 5, 6, 4, 7, 300),
        build(Neighbours, 2, 16, 16, 3, 131_072), // Llama 3.1's context
        twice(build(Neighbours, 2, 16, 8, 3, 300)),
    ]
}

/// Attention over one slot returns its value: what was stored, and where.
fn kv_store() -> Vec<Case> {
    let build = |heads: u32, head_dim: u32, ty: KvType, tokens: u32| {
        let name = format!("heads={heads} head_dim={head_dim} {ty:?} tokens={tokens}");
        case(CoreKind::KvStore, name, None, SUMMED, move |s| {
            s.size(kv_of(heads, head_dim, tokens + 5, ty), tokens, 1);
            let k = s.input("k", Rows::Tokens, heads * head_dim, 1.0);
            let v = s.input("v", Rows::Tokens, heads * head_dim, 1.0);
            let q = s.input("q", Rows::Tokens, heads * head_dim, 1.0);
            let out = s.output("out", Rows::Tokens, heads * head_dim);
            s.push(KvStore { k, v, layer: 1 });
            s.push(Attention { out, q, layer: 1, scale: 1.0 });
            let mut step = Step::sequence(&vec![0; tokens as usize], 0, &[]);
            for (t, row) in step.rows.iter_mut().enumerate() {
                row.slot = (t as u32 * 7 + 3) % (tokens + 5); // 7 and tokens + 5 have no common factor
                (row.kv_start, row.kv_len) = (row.slot, 1);
            }
            s.step(step);
        })
    };
    vec![
        build(1, 32, KvType::F32, 1),
        build(3, 64, KvType::F16, 1),
        build(3, 36, KvType::F16, 5),
        build(2, 6, KvType::F32, 3),
        build(3, 64, KvType::F32, 33),
        build(2, 128, KvType::F16, 33),
        build(8, 128, KvType::F16, 12),
        build(1, 32, KvType::Q8_0, 1),
        build(3, 32, KvType::Q8_0, 3),
        build(3, 64, KvType::Q8_0, 33),
        build(5, 96, KvType::Q8_0, 8),
        build(8, 128, KvType::Q8_0, 12),
        twice(build(3, 32, KvType::Q8_0, 3)),
        twice(build(2, 32, KvType::F16, 3)),
    ]
}

/// Largest queries and keys of most cases.
const SIZES: (f32, f32) = (3.0, 1.0);

/// Fills the cache in one step, then attends to it from `tokens` rows at its end, and from several sequences at once.
fn attention_case(group: u32, kv_heads: u32, head_dim: u32, kv_len: u32, tokens: u32, ty: KvType) -> Case {
    let name = format!("gqa={group} kv_heads={kv_heads} head_dim={head_dim} kv_len={kv_len} tokens={tokens} {ty:?}");
    attention_of(name, [group, kv_heads, head_dim, kv_len, tokens], ty, SIZES)
}

/// The same with queries and keys of other sizes, large ones beside small ones, in steps of few tokens alone: many are multiplied in f16,
/// which has no such queries.
fn attention_of_sizes(head_dim: u32, ty: KvType, (queries, keys): (f32, f32)) -> Case {
    let name = format!("head_dim={head_dim} {ty:?} queries up to {queries:e} keys up to {keys:e}");
    attention_of(name, [4, 2, head_dim, 1, DECODE_TOKENS], ty, (queries, keys))
}

fn attention_of(
    name: String,
    [group, kv_heads, head_dim, kv_len, tokens]: [u32; 5],
    ty: KvType,
    (queries, keys): (f32, f32),
) -> Case {
    case(CoreKind::Attention, name, None, DOT, move |s| {
        let slots = kv_len + tokens - 1;
        s.size(kv_of(kv_heads, head_dim, slots, ty), slots.max(tokens), 1);
        let row = kv_heads * head_dim;
        let k = s.input("k", Rows::Tokens, row, keys);
        let v = s.input("v", Rows::Tokens, row, 1.0);
        let q = s.input("q", Rows::Tokens, group * row, queries);
        if (queries, keys) != SIZES {
            let values = s.inputs.last_mut().into_iter().flat_map(|(_, values)| values);
            values.enumerate().for_each(|(i, v)| *v *= [1.0, 1e-2, 1e-4, 1e-6][i / 8 % 4]);
        }
        let out = s.output("out", Rows::Tokens, group * row);
        s.push(KvStore { k, v, layer: 1 });
        s.push(Attention { out, q, layer: 1, scale: 1.0 / (head_dim as f32).sqrt() });
        s.step(Step::sequence(&vec![0; slots as usize], 0, &[]));
        s.step(Step::sequence(&vec![0; tokens as usize], slots - tokens, &[]));
        // Each row its own window, the longest last.
        let mut windows = Step::sequence(&vec![0; tokens as usize], slots - tokens, &[]);
        for (t, row) in windows.rows.iter_mut().enumerate() {
            row.kv_start = (tokens - 1 - t as u32) % kv_len;
            row.kv_len = kv_len - row.kv_start;
        }
        s.step(windows.clone());
        if tokens > DECODE_TOKENS {
            // From the first slot on, the longest first.
            for (t, row) in windows.rows.iter_mut().enumerate() {
                (row.kv_start, row.kv_len) = (0, kv_len - t as u32 % kv_len);
            }
            s.step(windows.clone());
        }
        // Short ones in a long cache: of the parts that slots are divided into, all but the first are empty.
        for row in &mut windows.rows {
            (row.kv_start, row.kv_len) = (kv_len - 1, 1);
        }
        s.step(windows);
    })
}

fn attention() -> Vec<Case> {
    let mut cases = vec![];
    for kv_len in [1, 31, 32, 33, 257] {
        for group in [1, 2, 3, 4, 8] {
            cases.push(attention_case(group, 2, 64, kv_len, 1, KvType::F16));
        }
        cases.push(attention_case(3, 3, 64, kv_len, 5, KvType::F32));
        cases.push(attention_case(4, 1, 128, kv_len, 2, KvType::F16));
        cases.push(attention_case(2, 2, 32, kv_len, 33, KvType::F16));
        cases.push(attention_case(4, 2, 64, kv_len, 1, KvType::Q8_0));
        cases.push(attention_case(3, 3, 64, kv_len, 5, KvType::Q8_0));
        cases.push(attention_case(2, 3, 32, kv_len, 33, KvType::Q8_0));
    }
    for group in [1, 2, 4, 8] {
        // Heads that leave lanes of the last piece unused.
        cases.push(attention_case(group, 2, 80, 40, 3, KvType::F16));
        cases.push(attention_case(group, 2, 80, 40, 3, KvType::F32));
        cases.push(attention_case(group, 1, 64, 70, 2, KvType::F32));
        cases.push(attention_case(group, 2, 96, 40, 3, KvType::Q8_0));
        cases.push(attention_case(group, 1, 128, 70, 2, KvType::Q8_0));
    }
    for head_dim in [64, 80, 96, 128] {
        // Few tokens on tensor cores: groups of one to more heads than a product has columns, slots that leave a tile unfinished.
        for group in [1, 5, 8, 9] {
            cases.push(attention_case(group, 2, head_dim, 79, 3, KvType::F16));
        }
        cases.push(attention_case(4, 1, head_dim, 1500, 1, KvType::F16)); // several rounds of a warp
        // Rows of one sequence that share products, all of them and two by two.
        cases.push(attention_case(1, 2, head_dim, 250, 8, KvType::F16));
        cases.push(attention_case(4, 1, head_dim, 250, 5, KvType::F16));
        cases.push(attention_case(2, 1, head_dim, 62, 4, KvType::F16)); // some have a part more than others
    }
    for head_dim in [64, 96, 128] {
        for group in [1, 5, 8, 9] {
            cases.push(attention_case(group, 2, head_dim, 79, 3, KvType::Q8_0));
        }
        cases.push(attention_case(4, 1, head_dim, 1500, 1, KvType::Q8_0));
        cases.push(attention_case(1, 2, head_dim, 250, 8, KvType::Q8_0));
        cases.push(attention_case(4, 1, head_dim, 250, 5, KvType::Q8_0));
    }
    for (head_dim, ty) in [(64, KvType::F16), (128, KvType::Q8_0), (40, KvType::F16), (64, KvType::F32)] {
        // Queries that f16 cannot hold, and queries of which it has few bits.
        cases.push(attention_of_sizes(head_dim, ty, (2e6, 2e-5)));
        cases.push(attention_of_sizes(head_dim, ty, (1e-5, 3e4)));
        cases.push(attention_of_sizes(head_dim, ty, (1e37, 1e-5)));
    }
    cases.push(attention_case(9, 1, 32, 40, 2, KvType::F16)); // one head more than a block takes
    for head_dim in [32, 64, 80, 96, 128] {
        cases.push(attention_case(1, 2, head_dim, 70, 32, KvType::F16));
    }
    for head_dim in [32, 64, 96, 128] {
        cases.push(attention_case(2, 1, head_dim, 70, 32, KvType::Q8_0));
    }
    for head_dim in [2, 36, 90, 254] {
        // Heads that are no whole pieces.
        cases.push(attention_case(3, 2, head_dim, 40, 2, KvType::F16));
        cases.push(attention_case(1, 2, head_dim, 40, 12, KvType::F32));
    }
    cases.push(attention_case(1, 1, 160, 40, 12, KvType::Q8_0)); // no tensor cores for such heads
    cases.push(attention_case(1, 2, 256, 40, 3, KvType::Q8_0));
    cases.push(attention_case(1, 2, 256, 40, 3, KvType::F16));
    cases.push(attention_case(4, 2, 128, 1000, 1, KvType::F16));
    cases
}

fn elementwise() -> Vec<Case> {
    let build = |kind: CoreKind, limit: f64, tokens: u32, cols: u32, scale: f32| {
        case(kind, format!("tokens={tokens} cols={cols} scale={scale}"), None, limit, move |s| {
            s.size(no_kv(), tokens, 1);
            let x = s.input("x", Rows::Tokens, cols, scale);
            let y = s.input("y", Rows::Tokens, cols, 1.0);
            let out = s.output("out", Rows::Tokens, cols);
            match kind {
                CoreKind::Add => {
                    s.push(Add { out, x, y });
                    s.push(Add { out: x, x, y });
                }
                _ => {
                    s.push(SwiGlu { out, gate: x, up: y });
                    s.push(SwiGlu { out: x, gate: x, up: y });
                }
            }
            s.plain_step(tokens);
        })
    };
    let sizes = [(1, 4, 1.0), (3, 1536, 1.0), (33, 1028, 8.0), (2, 14336, 100.0)];
    let both = sizes
        .map(|(t, c, scale)| [build(CoreKind::Add, EXACT, t, c, scale), build(CoreKind::SwiGlu, SUMMED, t, c, scale)]);
    both.into_iter().flatten().collect()
}

fn add_bias() -> Vec<Case> {
    let build = |ty: GgmlType, rows: Rows, n: u32, cols: u32| {
        let name = format!("{} {} {n} cols={cols}", ty.name(), format!("{rows:?}").to_lowercase());
        case(CoreKind::AddBias, name, Some(ty), EXACT, move |s| {
            s.size(no_kv(), n + 3, n);
            let x = s.input("x", rows, cols, 2.0);
            let b = s.weight(ty, 1, cols as u64);
            s.push(AddBias { x, b });
            match rows {
                Rows::Tokens => s.plain_step(n),
                Rows::Outputs => s.step(Step::sequence(&vec![0; n as usize + 3], 0, &vec![1; n as usize])),
            }
        })
    };
    let sizes = [(1, 4), (3, 576), (33, 1028), (2, 14336)];
    let f32 = |(n, cols)| build(GgmlType::F32, Rows::Tokens, n, cols);
    let mut cases: Vec<Case> = sizes.into_iter().map(f32).collect();
    cases.extend([build(GgmlType::F32, Rows::Outputs, 2, 260), twice(f32((3, 64)))]);
    cases.extend([GgmlType::F16, GgmlType::BF16].map(|ty| build(ty, Rows::Tokens, 3, 68)));
    cases
}

fn argmax() -> Vec<Case> {
    let build = |outputs: u32, cols: u32, kind: &'static str, change: fn(&mut [f32])| {
        case(CoreKind::Argmax, format!("outputs={outputs} cols={cols} {kind}"), None, EXACT, move |s| {
            s.size(no_kv(), outputs, outputs);
            let rows = s.plan.max_rows(Rows::Outputs);
            let mut values: Vec<f32> = (0..rows * cols).map(|_| s.rng.uniform(5.0)).collect();
            values.chunks_exact_mut(cols as usize).for_each(change);
            let x = s.input_of("x", Rows::Outputs, cols, values);
            let out = s.plan.token_buf("out");
            s.push(Argmax { out, x });
            s.plain_step(outputs);
        })
    };
    let last_pair = |row: &mut [f32]| {
        let n = row.len();
        row[n - 1] = 9.0;
        row[n / 2] = 9.0;
    };
    vec![
        build(1, 1, "one", |_| {}),
        build(1, 49152, "random", |_| {}),
        build(3, 128256, "random", |_| {}),
        build(2, 1000, "equal", |row| row.fill(-3.0)),
        build(9, 515, "ties", last_pair),
        build(1, 128256, "ties", last_pair),
        build(1, 262144, "last", |row| row[262143] = 9.0), // Gemma's vocabulary: more parts than the lanes of half a warp
        // More parts than the lanes of a warp, the largest in the first one.
        build(1, 300000, "first", |row| row[77] = 9.0),
        twice(build(3, 600, "random", |_| {})),
        build(1, 700, "negative", |row| row.iter_mut().for_each(|v| *v -= 100.0)),
        build(2, 700, "one NaN", |row| row[650] = f32::NAN),
        build(1, 128256, "one infinity", |row| row[100_000] = f32::INFINITY),
        build(2, 20, "all infinitely small", |row| row.fill(f32::NEG_INFINITY)),
        build(1, 700, "one finite", |row| {
            row.fill(f32::NEG_INFINITY);
            row[650] = -1e30;
        }),
    ]
}
