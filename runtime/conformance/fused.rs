//! The cases of fused operations, each in the setting where fusion finds it: a piece of a layer.

use super::shared::{DOT, RAGGED, WIDE, case, kv_of, rope_table, twice};
use super::{Case, Setup, no_kv};
use crate::plan::*;
use crate::quant::{self, GgmlType};

/// Types of Q and K, and of V, in files that mix them. `tests/it/cuda.rs` compares them with those that CUDA has entries for.
const MIXES: [[GgmlType; 2]; 8] = {
    use GgmlType::*;
    [[Q2_K, Q4_K], [Q3_K, Q4_K], [Q3_K, Q5_K], [Q4_K, Q5_K], [Q4_K, Q6_K], [Q5_K, Q6_K], [IQ4_NL, Q5_K], [IQ4_XS, Q5_K]]
};

/// What the cases of an operation differ in.
#[derive(Clone, Copy)]
struct Size {
    ty: GgmlType,
    /// The type of V, where the operation has one.
    v: GgmlType,
    cols: u32,
    tokens: u32,
    kv: KvType,
    /// Rows of NaN before and after those that the operation uses of each matrix.
    around: u32,
}

impl Size {
    /// Many rows beside an f16 cache: a backend may multiply them in f16.
    fn new(ty: GgmlType, cols: u32, tokens: u32) -> Size {
        Size { ty, v: ty, cols, tokens, kv: KvType::F16, around: 0 }
    }

    fn name(&self, what: &str) -> String {
        let Size { ty, v, cols, tokens, kv, around } = self;
        let and_v = if v == ty { String::new() } else { format!(" and {}", v.name()) };
        let among = if *around > 0 { " among rows of NaN" } else { "" };
        format!("{}{and_v} {what} cols={cols} tokens={tokens} {kv:?} cache{among}", ty.name())
    }

    fn no_kv(&self) -> KvDecl {
        KvDecl { ty: self.kv, ..no_kv() }
    }

    /// A matrix and the first of its `rows` rows in use.
    fn matrix(&self, s: &mut Setup, ty: GgmlType, rows: u32) -> (Weight, u32) {
        let (used, around) = (rows as u64, self.around as u64);
        let w = s.weight_within(ty, used + 2 * around, self.cols as u64, around..around + used);
        (w, self.around)
    }
}

pub(super) fn cases() -> Vec<Case> {
    use GgmlType::*;
    let often = [Q4_0, Q4_1, Q8_0, F16, F32, Q2_K, Q3_K, Q4_K, Q6_K, IQ4_NL, IQ4_XS];
    let builds = [mat_mul_add, gate_up, qkv];
    let mut cases = vec![];
    for (ty, build) in often.into_iter().flat_map(|ty| builds.map(|build| (ty, build))) {
        cases.extend([1, 3, 8, 33].map(|tokens| build(Size::new(ty, 256, tokens))));
        cases.extend([1, 6].map(|tokens| build(Size::new(ty, WIDE as u32, tokens))));
        cases.extend([1, 3].map(|blocks| build(Size::new(ty, blocks * ty.block_size().max(32) as u32, 20))));
        cases.extend([1, 3].map(|tokens| twice(build(Size::new(ty, 256, tokens)))));
    }
    for ty in quant::FORMATS.iter().map(|format| format.ty).filter(|ty| !often.contains(ty)) {
        for build in builds {
            cases.extend([3, 20].map(|tokens| build(Size::new(ty, 256, tokens))));
        }
    }
    cases.extend(heads());
    for build in builds {
        let ragged = RAGGED.map(|(ty, cols)| (ty, cols as u32));
        for (ty, cols) in [(Q4_0, 96), (Q4_K, 256)].into_iter().chain(ragged) {
            cases.extend([1, 3, 20].map(|tokens| build(Size { around: 2, ..Size::new(ty, cols, tokens) })));
        }
        for (ty, tokens) in [(F32, 9), (Q4_0, 18)] {
            cases.push(build(Size { kv: KvType::F32, ..Size::new(ty, 256, tokens) }));
        }
    }
    for ty in quant::FORMATS.iter().map(|format| format.ty) {
        cases.extend([1, 2].map(|tokens| qkv_in(Size::new(ty, 768, tokens))));
        cases.push(qkv_in(Size { kv: KvType::Q8_0, ..Size::new(ty, 256, 1) }));
        cases.extend([mat_mul_add, gate_up].map(|build| build(Size::new(ty, 768, 1))));
    }
    for (ty, tokens) in [(Q4_0, 5), (Q8_0, 17), (F16, 2), (Q4_K, 1)] {
        cases.push(qkv_in(Size { kv: KvType::Q8_0, ..Size::new(ty, 512, tokens) }));
    }
    cases.extend([Q4_0, Q8_0].map(|ty| gate_up(Size::new(ty, 16928, 1)))); // x in pieces
    for [ty, v] in MIXES {
        cases.extend([1, 6].map(|tokens| qkv_in(Size { v, ..Size::new(ty, WIDE as u32, tokens) })));
        cases.extend([1, 3, 8].map(|tokens| qkv(Size { v, ..Size::new(ty, 256, tokens) })));
        cases.push(qkv(Size { v, ..Size::new(ty, WIDE as u32, 6) }));
    }
    cases.extend([F32, F16].map(|ty| gate_up(Size::new(ty, 4132, 9)))); // staged in an unrolled loop
    cases
}

fn mat_mul_add(size: Size) -> Case {
    case(FusedKind::MatMulAdd, size.name("68 rows"), Some(size.ty), DOT, move |s| {
        s.size(size.no_kv(), size.tokens, 1);
        let h = s.input("h", Rows::Tokens, size.cols, 1.0);
        let x = s.input("x", Rows::Tokens, 68, 1.0);
        let (w, first_row) = size.matrix(s, size.ty, 68);
        let y = s.output("y", Rows::Tokens, 68);
        s.push(MatMul { out: y, x: h, w, first_row });
        s.push(Add { out: x, x, y });
        s.plain_step(size.tokens);
    })
}

/// The head of a model, with these rows of a step's tokens as its outputs.
fn head(size: Size, rows: u32, outputs: &'static [u32]) -> Case {
    let n = outputs.len() as u32;
    let name = size.name(&format!("{rows} rows outputs={outputs:?}"));
    case(FusedKind::GatherNormMatMulArgmax, name, Some(size.ty), DOT, move |s| {
        s.size(size.no_kv(), size.tokens, n.max(1));
        let x = s.input("x", Rows::Tokens, size.cols, 1.0);
        let norm = s.weight(GgmlType::F32, 1, size.cols as u64);
        let (w, first_row) = size.matrix(s, size.ty, rows);
        let (last, h) = (s.output("last", Rows::Outputs, size.cols), s.output("h", Rows::Outputs, size.cols));
        let (logits, next) = (s.output("logits", Rows::Outputs, rows), s.plan.token_buf("next"));
        s.push(Gather { out: last, x });
        s.push(RmsNorm { out: h, x: last, w: norm, eps: 1e-5 });
        s.push(MatMul { out: logits, x: h, w, first_row });
        s.push(Argmax { out: next, x: logits });
        s.step(Step::sequence(&vec![0; size.tokens as usize], 0, outputs));
    })
}

/// One and several outputs of one and several tokens, in any order; more rows of w than one block or warp has; widths that do and do not
/// fit shared memory; then a second step, which finds what the first has left.
fn heads() -> Vec<Case> {
    use GgmlType::*;
    let mut cases = vec![];
    for ty in [Q4_0, Q6_K, Q8_0, F16, BF16] {
        let new = |tokens| Size::new(ty, 256, tokens);
        cases.extend([twice(head(new(1), 68, &[0])), head(new(1), 1501, &[0]), head(new(5), 67, &[3])]);
        cases.extend([twice(head(new(8), 331, &[7, 2, 5])), head(new(8), 260, &[1, 7, 6, 5, 0, 3, 2, 4])]);
        cases.push(head(new(3), 68, &[]));
    }
    cases.extend([1, 6].map(|tokens| head(Size { kv: KvType::F32, ..Size::new(Q4_0, 256, tokens) }, 68, &[0])));
    cases.push(head(Size::new(Q8_0, 16928, 1), 36, &[0])); // x in pieces
    cases
}

fn gate_up(size: Size) -> Case {
    case(FusedKind::NormGateUpSwiGlu, size.name("2x132 rows"), Some(size.ty), DOT, move |s| {
        let cols = size.cols;
        s.size(size.no_kv(), size.tokens, 1);
        let x = s.input("x", Rows::Tokens, cols, 1.0);
        let norm = s.weight(GgmlType::F32, 1, cols as u64);
        let [(w_gate, gate_row), (w_up, up_row)] = [132, 132].map(|rows| size.matrix(s, size.ty, rows));
        let h = s.output("h", Rows::Tokens, cols);
        let (gate, up) = (s.output("gate", Rows::Tokens, 132), s.output("up", Rows::Tokens, 132));
        s.push(RmsNorm { out: h, x, w: norm, eps: 1e-5 });
        s.push(MatMul { out: gate, x: h, w: w_gate, first_row: gate_row });
        s.push(MatMul { out: up, x: h, w: w_up, first_row: up_row });
        s.push(SwiGlu { out: gate, gate, up });
        s.plain_step(size.tokens);
    })
}

fn qkv(size: Size) -> Case {
    // A few rows with a cache in f32 as well.
    let kv = if size.tokens < 9 && size.tokens != 3 { KvType::F32 } else { size.kv };
    qkv_in(Size { kv, ..size })
}

/// The same with the cache that is asked for.
fn qkv_in(size: Size) -> Case {
    let rope_dim = if size.cols as u64 == WIDE { 16 } else { 32 };
    let name = size.name(&format!("heads=6/2 head_dim=32 rope_dim={rope_dim}"));
    // A key or value that lies between two halves may be rounded to either, 2^-11 apart; between two of a q8_0 cache's integers, 1/127
    // of the largest of its block.
    let limit = match size.kv {
        KvType::F32 => DOT,
        KvType::F16 => 1e3 * DOT,
        KvType::Q8_0 => 1e6 * DOT,
    };
    case(FusedKind::NormQkvRopeStore, name, Some(size.ty), limit, move |s| {
        let (cols, tokens) = (size.cols, size.tokens);
        s.size(kv_of(2, 32, tokens + 3, size.kv), tokens, 1);
        let x = s.input("x", Rows::Tokens, cols, 1.0);
        let norm = s.weight(GgmlType::F32, 1, cols as u64);
        let [(wq, q_row), (wk, k_row), (wv, v_row)] =
            [(size.ty, 192), (size.ty, 64), (size.v, 64)].map(|(ty, rows)| size.matrix(s, ty, rows));
        let table = rope_table(s, tokens + 3, rope_dim);
        let h = s.output("h", Rows::Tokens, cols);
        let (q, k) = (s.output("q", Rows::Tokens, 192), s.output("k", Rows::Tokens, 64));
        let (v, out) = (s.output("v", Rows::Tokens, 64), s.output("out", Rows::Tokens, 192));
        s.push(RmsNorm { out: h, x, w: norm, eps: 1e-5 });
        s.push(MatMul { out: q, x: h, w: wq, first_row: q_row });
        s.push(MatMul { out: k, x: h, w: wk, first_row: k_row });
        s.push(MatMul { out: v, x: h, w: wv, first_row: v_row });
        s.push(Rope { x: q, table, head_dim: 32, pairing: Pairing::Neighbours });
        s.push(Rope { x: k, table, head_dim: 32, pairing: Pairing::Neighbours });
        s.push(KvStore { k, v, layer: 1 });
        // Large scores would magnify the rounding of q and k. Elements of q and k are as large as those of w times
        // the root of cols times a norm's mean square of 1/3: scores of 32 of their products are to stay near 1.
        let size = (cols as f32 / 3.0).sqrt() * s.rms(wq);
        s.push(Attention { out, q, layer: 1, scale: 1.0 / (32f32.sqrt() * size * size) });
        s.plain_step(tokens);
    })
}
