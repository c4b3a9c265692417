//! Fusion: runs of core operations become one, where the backend says that it can and where nobody needs what lies between.

use super::{Buf, Fused, Op, Phase, Plan};

/// One way to fuse: a run of stems, and which of the parts' results outlive the run (by index of the part).
struct Pattern {
    stem: &'static str,
    parts: &'static [&'static str],
    kept: &'static [usize],
}

/// Longest first: the first that fits is taken.
const PATTERNS: [Pattern; 3] = [
    // The first half of a layer: everything that one normalized row feeds, up to the KV cache.
    Pattern {
        stem: "norm_qkv_rope_store",
        parts: &["rms_norm", "mat_mul", "mat_mul", "mat_mul", "rope", "rope", "kv_store"],
        kept: &[4],
    },
    // The feed-forward network up to its product.
    Pattern { stem: "norm_gate_up_swi_glu", parts: &["rms_norm", "mat_mul", "mat_mul", "swi_glu"], kept: &[3] },
    // A projection back onto the residual stream.
    Pattern { stem: "mat_mul_add", parts: &["mat_mul", "add"], kept: &[1] },
];

/// Stems of the fused operations that [`fuse`] knows.
pub fn fused_stems() -> impl Iterator<Item = &'static str> {
    PATTERNS.iter().map(|p| p.stem)
}

/// Replaces runs of operations by fused ones, wherever `supports` agrees. What a fused operation does not keep is read by
/// nothing after it.
pub fn fuse(plan: &mut Plan, mut supports: impl FnMut(&Plan, &Op, Phase) -> bool) {
    plan.decode = fuse_list(plan, Phase::Decode, &mut supports);
    plan.prefill = fuse_list(plan, Phase::Prefill, &mut supports);
}

fn fuse_list(plan: &Plan, phase: Phase, supports: &mut impl FnMut(&Plan, &Op, Phase) -> bool) -> Vec<Op> {
    let mut ops = plan.ops(phase);
    let mut fused = vec![];
    while let Some(first) = ops.first() {
        let found = PATTERNS.iter().find_map(|pattern| {
            let op = Op::Fused(pattern.matched(ops)?);
            (op.check(plan).is_ok() && supports(plan, &op, phase)).then_some((op, pattern.parts.len()))
        });
        let (op, len) = found.unwrap_or_else(|| (first.clone(), 1));
        fused.push(op);
        ops = &ops[len..];
    }
    fused
}

impl Pattern {
    /// The fused operation, if `ops` begins with the pattern's parts and only its kept results are read later.
    fn matched(&self, ops: &[Op]) -> Option<Fused> {
        let (parts, rest) = ops.split_at_checked(self.parts.len())?;
        if parts.iter().map(Op::stem).ne(self.parts.iter().copied()) {
            return None;
        }
        let fed = |i: usize| parts[i].reads().iter().any(|b| parts[..i].iter().any(|p| p.writes().contains(b)));
        if !(1..parts.len()).all(fed) {
            return None;
        }
        let kept: Vec<Buf> = self.kept.iter().flat_map(|&i| parts[i].writes()).collect();
        let written = parts.iter().flat_map(Op::writes);
        let dead = written.filter(|b| !kept.contains(b)).all(|b| !is_read(b, rest));
        dead.then(|| Fused { stem: self.stem, parts: parts.to_vec(), kept })
    }
}

/// Whether any of `ops` reads `buf` before one overwrites it.
fn is_read(buf: Buf, ops: &[Op]) -> bool {
    for op in ops {
        if op.reads().contains(&buf) {
            return true;
        }
        if op.writes().contains(&buf) {
            return false;
        }
    }
    false
}
