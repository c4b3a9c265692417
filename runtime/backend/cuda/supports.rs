//! Which operations the kernels can do, and how fused ones map to them.

use super::kernels::Kernels;
use super::params::{FLASH_HEAD_DIMS, FLASH_ROWS, VEC_PAIRS};
use super::weights::{Uses, no_type, type_name};
use crate::backend::Unsupported;
use crate::plan::*;
use crate::quant;
use std::collections::{BTreeMap, BTreeSet};

/// Blocks of a grid in y and z.
pub const MOST_BLOCKS: u32 = 65535;

/// Whether the kernels can do `op`. The refusal names what is in the way.
pub fn supports(plan: &Plan, kernels: &Kernels, op: &Op, phase: Phase) -> Result<(), Unsupported> {
    match op {
        Op::Embed(op) => {
            matrix(plan, kernels, "embed", op.table)?;
            float4(plan, op.out)
        }
        Op::Gather(op) => float4(plan, op.x),
        Op::RmsNorm(op) => {
            vector(plan, op.w)?;
            let n = plan[op.w].cols;
            refuse(!n.is_multiple_of(4), || format!("cannot normalize {n} elements, only multiples of 4"))
        }
        Op::MatMul(op) => {
            matrix(plan, kernels, "mat_mul", op.w)?;
            float4(plan, op.x)?;
            let most = VEC_PAIRS * MOST_BLOCKS; // a pair has one row at least
            let rows = plan[op.out].cols;
            refuse(rows > most, || format!("cannot multiply {rows} rows of tensor {}, at most {most}", plan[op.w].name))
        }
        Op::Rope(op) => {
            vector(plan, op.table)?;
            refuse(!op.head_dim.is_multiple_of(2), || {
                format!("cannot rotate heads of {} elements, which is odd", op.head_dim)
            })
        }
        Op::KvStore(_) => {
            let n = plan.kv.head_dim;
            refuse(!n.is_multiple_of(2), || format!("cannot store heads of {n} elements, which is odd"))
        }
        Op::Attention(_) => {
            let n = plan.kv.head_dim;
            let wanted = format!("a multiple of 8 up to {MAX_HEAD_DIM}");
            refuse(!n.is_multiple_of(8) || n > MAX_HEAD_DIM, || {
                format!("cannot attend with heads of {n} elements, only {wanted}")
            })
        }
        Op::SwiGlu(op) => float4(plan, op.out),
        Op::Add(op) => float4(plan, op.out),
        Op::AddBias(op) => {
            vector(plan, op.b)?;
            float4(plan, op.x)
        }
        Op::Argmax(_) => Ok(()),
        Op::Fused(fused) => {
            fused.parts().iter().try_for_each(|part| supports(plan, kernels, part, phase))?;
            let quantized = plan.kv.ty == KvType::Q8_0 && matches!(fused, Fused::NormQkvRopeStore(_));
            refuse(quantized, || format!("({}) stores pairs, the cache has blocks of {KV_BLOCK}", op.kind()))?;
            // Some types are fused in decode alone.
            let kind = if phase == Phase::Decode { "t1" } else { "tiled" };
            let entry = product_entry(plan, fused).map(|entry| format!("{entry}_{kind}"));
            refuse(!entry.is_some_and(|entry| kernels.has(&entry)), || {
                let weights = product_weights(fused).into_iter();
                let names = weights.map(|w| format!("{} of type {}", plan[w].name, plan[w].ty.name()));
                format!("({}) is not fused for tensors {}", op.kind(), names.collect::<Vec<_>>().join(", "))
            })
        }
    }
}

fn refuse(refused: bool, what: impl FnOnce() -> String) -> Result<(), Unsupported> {
    if refused { Err(Unsupported(what())) } else { Ok(()) }
}

/// Whether `stem` has a kernel for matrices of this type.
fn matrix(plan: &Plan, kernels: &Kernels, stem: &str, w: Weight) -> Result<(), Unsupported> {
    let decl = &plan[w];
    let entry = match stem {
        "embed" => format!("embed_{}", type_name(decl.ty)),
        stem => format!("{stem}_{}_t1", type_name(decl.ty)),
    };
    refuse(!kernels.has(&entry), || no_type(decl))?;
    refuse(decl.cols > u32::MAX as u64 || decl.rows > u32::MAX as u64, || {
        format!(
            "cannot read tensor {} of shape ({}, {}): 32 bits count rows and columns",
            decl.name, decl.rows, decl.cols
        )
    })
}

fn vector(plan: &Plan, w: Weight) -> Result<(), Unsupported> {
    refuse(quant::format(plan[w].ty).is_none(), || no_type(&plan[w]))
}

/// Rows that begin at whole float4s.
fn float4(plan: &Plan, b: Buf) -> Result<(), Unsupported> {
    let BufDecl { name, cols, .. } = &plan[b];
    refuse(!cols.is_multiple_of(4), || {
        format!("cannot take buffer {name} with rows of {cols} elements, only multiples of 4")
    })
}

/// Whether matrix products of many rows run on tensor cores, in f16. A cache in f32 is chosen for exactness: with it they are
/// multiplied in f32, as in decode.
pub fn has_tiled(plan: &Plan) -> bool {
    plan.kv.ty != KvType::F32
}

/// Whether attention of many rows runs on tensor cores.
pub fn has_flash(plan: &Plan, q: Buf) -> bool {
    let kv = &plan.kv;
    kv.ty != KvType::F32 && FLASH_HEAD_DIMS.contains(&kv.head_dim) && plan[q].cols / kv.row() <= FLASH_ROWS
}

/// The entry of attention on tensor cores.
pub fn flash_entry(plan: &Plan) -> String {
    let ty = if plan.kv.ty == KvType::Q8_0 { "q8_0_" } else { "" };
    format!("attention_flash_{ty}d{}", plan.kv.head_dim)
}

/// The entry of attention of few tokens.
pub fn split_entry(plan: &Plan, q: Buf) -> String {
    format!("attention_split_{}_h{}", plan.kv.ty.name(), split_heads(plan, q))
}

/// Query heads that one block of attention_split takes.
pub fn split_heads(plan: &Plan, q: Buf) -> u32 {
    let group = plan[q].cols / plan.kv.row();
    group.next_power_of_two().min(8)
}

/// The matrices of a fused operation.
fn product_weights(fused: &Fused) -> Vec<Weight> {
    match fused {
        Fused::NormQkvRopeStore(op) => vec![op.q.w, op.k.w, op.v.w],
        Fused::NormGateUpSwiGlu(op) => vec![op.gate.w, op.up.w],
        Fused::MatMulAdd(op) => vec![op.product.w],
    }
}

/// The entry of a fused operation but for its last part: the stem and the types. Entries of two types take the last matrix in
/// the second one and all others in the first.
pub fn product_entry(plan: &Plan, fused: &Fused) -> Option<String> {
    let types: Vec<String> = product_weights(fused).into_iter().map(|w| type_name(plan[w].ty)).collect();
    let (last, others) = types.split_last()?;
    let first = others.first().unwrap_or(last);
    let alike = others.iter().all(|ty| ty == first);
    let entry = format!("{}_{first}", Op::from(*fused).kind());
    alike.then(|| if last == first { entry } else { format!("{entry}_{last}") })
}

/// What the entries begin with that a plan needs, by their module's stem.
pub fn entries(plan: &Plan, uses: &Uses) -> BTreeMap<&'static str, BTreeSet<String>> {
    let mut found: BTreeMap<&'static str, BTreeSet<String>> = BTreeMap::new();
    let mut add = |stem: &'static str, prefix: String| found.entry(stem).or_default().insert(prefix);
    let product = |entry: String| ["t1", "t4", "tiled"].map(|form| format!("{entry}_{form}")).to_vec();
    for op in plan.decode.iter().chain(&plan.prefill) {
        let prefixes = match op {
            Op::Embed(op) => vec![format!("embed_{}", type_name(plan[op.table].ty))],
            Op::MatMul(op) => product(format!("mat_mul_{}", type_name(plan[op.w].ty))),
            Op::Fused(op) => product_entry(plan, op).map_or(vec![], product),
            Op::Attention(op) => {
                let flash = has_flash(plan, op.q).then(|| flash_entry(plan));
                let split = [split_entry(plan, op.q), "attention_combine".to_string()];
                split.into_iter().chain(flash).collect()
            }
            op => vec![op.kind().to_string()],
        };
        for prefix in prefixes {
            add(op.kind().stem(), prefix);
        }
    }
    add("stage", "stage".to_string());
    for w in &uses.matrices {
        add("repack", format!("repack_{}", type_name(plan[*w].ty)));
    }
    found
}
