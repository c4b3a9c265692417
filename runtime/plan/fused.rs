//! Fused operations: several core operations in one kernel, defined by these parts. A plan gets one where the backend supports it, and
//! where no later operation reads a result of the parts that the fused operation does not keep.

use super::op::operations;
use super::*;

/// A fused operation: its parts, and where they may be fused.
trait FusedOp: Copy + Into<Op> {
    /// The operation at the beginning of `ops`, and how many it takes; None if they are not its parts.
    fn matched(ops: &[Op]) -> Option<(Op, usize)>;

    /// The core operations that define it, in order.
    fn parts(&self) -> Vec<Op>;

    /// What the parts write and later operations may read.
    fn kept(&self) -> Vec<Buf>;

    /// What the parts must have in common beyond their own shapes.
    fn joined(&self, plan: &Plan) -> Result<(), String>;

    /// [`Operation::bufs_mut`] of all parts.
    fn all_bufs_mut(&mut self) -> Vec<&mut Buf>;
}

impl<T: FusedOp> Operation for T {
    fn reads(&self) -> Vec<Buf> {
        let (mut reads, mut written) = (vec![], vec![]);
        for part in self.parts() {
            reads.extend(part.reads().into_iter().filter(|b| !written.contains(b)));
            written.extend(part.writes());
        }
        reads
    }

    fn writes(&self) -> Vec<Buf> {
        self.kept()
    }

    fn bufs_mut(&mut self) -> Vec<&mut Buf> {
        self.all_bufs_mut()
    }

    fn weights(&self) -> Vec<Weight> {
        self.parts().iter().flat_map(Op::weights).collect()
    }

    fn check(&self, plan: &Plan) -> Result<(), String> {
        self.parts().iter().try_for_each(|part| part.operation().check(plan))?;
        self.joined(plan)
    }

    fn cost(&self, plan: &Plan, size: StepSize) -> Cost {
        self.parts().iter().map(|part| part.operation().cost(plan, size)).sum()
    }
}

operations! {
    /// A fused operation.
    Fused,
    /// Which fused operation.
    FusedKind:
    norm_qkv_rope_store NormQkvRopeStore, norm_gate_up_swi_glu NormGateUpSwiGlu, mat_mul_add MatMulAdd,
    gather_norm_mat_mul_argmax GatherNormMatMulArgmax
}

/// Finds a fused operation: [`FusedOp::matched`].
type Matched = fn(&[Op]) -> Option<(Op, usize)>;

/// How each fused operation is found, longest first: the first that fits is taken.
const MATCHED: [Matched; FusedKind::ALL.len()] =
    [NormQkvRopeStore::matched, NormGateUpSwiGlu::matched, GatherNormMatMulArgmax::matched, MatMulAdd::matched];

/// The first half of a layer: everything that one normalized row feeds, up to the KV cache.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct NormQkvRopeStore {
    /// Of the rows that all three products read.
    pub norm: RmsNorm,
    /// Queries.
    pub q: MatMul,
    /// Keys.
    pub k: MatMul,
    /// Values.
    pub v: MatMul,
    /// Rotates the queries.
    pub rope_q: Rope,
    /// Rotates the keys.
    pub rope_k: Rope,
    /// Stores keys and values.
    pub store: KvStore,
}

impl FusedOp for NormQkvRopeStore {
    fn matched(ops: &[Op]) -> Option<(Op, usize)> {
        let [
            Op::RmsNorm(norm),
            Op::MatMul(q),
            Op::MatMul(k),
            Op::MatMul(v),
            Op::Rope(rope_q),
            Op::Rope(rope_k),
            Op::KvStore(store),
            ..,
        ] = *ops
        else {
            return None;
        };
        let fed = [q, k, v].iter().all(|product| product.x == norm.out) && (rope_q.x, rope_k.x) == (q.out, k.out);
        let stored = (store.k, store.v) == (k.out, v.out) && q.out != k.out && q.out != v.out && k.out != v.out;
        (fed && stored).then(|| (NormQkvRopeStore { norm, q, k, v, rope_q, rope_k, store }.into(), 7))
    }

    fn parts(&self) -> Vec<Op> {
        let NormQkvRopeStore { norm, q, k, v, rope_q, rope_k, store } = *self;
        vec![norm.into(), q.into(), k.into(), v.into(), rope_q.into(), rope_k.into(), store.into()]
    }

    fn kept(&self) -> Vec<Buf> {
        vec![self.q.out]
    }

    fn joined(&self, plan: &Plan) -> Result<(), String> {
        let ropes = [self.rope_q, self.rope_k];
        let alike = ropes.iter().all(|rope| rope.head_dim == plan.kv.head_dim && rope.table == self.rope_q.table);
        // A kernel's pairs of rows are the pairs of the rotation.
        let neighbours = ropes.iter().all(|rope| rope.pairing == Pairing::Neighbours);
        // Some rows of q are written while others of x are still read.
        let in_place = self.q.out == self.norm.x;
        match alike && neighbours && self.norm.is_whole_row(plan) && !in_place {
            true => Ok(()),
            false => Err("takes whole rows, neighbours rotated by one table, and a result not in x".to_string()),
        }
    }

    fn all_bufs_mut(&mut self) -> Vec<&mut Buf> {
        let NormQkvRopeStore { norm, q, k, v, rope_q, rope_k, store } = self;
        let parts: [&mut dyn Operation; 7] = [norm, q, k, v, rope_q, rope_k, store];
        parts.into_iter().flat_map(|part| part.bufs_mut()).collect()
    }
}

/// The feed-forward network up to its product.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct NormGateUpSwiGlu {
    /// Of the rows that both products read.
    pub norm: RmsNorm,
    /// The half that is activated.
    pub gate: MatMul,
    /// The other half.
    pub up: MatMul,
    /// Multiplies the two.
    pub act: SwiGlu,
}

impl FusedOp for NormGateUpSwiGlu {
    fn matched(ops: &[Op]) -> Option<(Op, usize)> {
        let [Op::RmsNorm(norm), Op::MatMul(a), Op::MatMul(b), Op::SwiGlu(act), ..] = *ops else { return None };
        let (gate, up) = if a.out == act.gate { (a, b) } else { (b, a) };
        let fed = gate.x == norm.out && up.x == norm.out && (act.gate, act.up) == (gate.out, up.out);
        (fed && gate.out != up.out).then(|| (NormGateUpSwiGlu { norm, gate, up, act }.into(), 4))
    }

    fn parts(&self) -> Vec<Op> {
        vec![self.norm.into(), self.gate.into(), self.up.into(), self.act.into()]
    }

    fn kept(&self) -> Vec<Buf> {
        vec![self.act.out]
    }

    fn joined(&self, plan: &Plan) -> Result<(), String> {
        // Some rows of the result are written while others of x are still read.
        let in_place = self.act.out == self.norm.x;
        match self.norm.is_whole_row(plan) && !in_place {
            true => Ok(()),
            false => Err("takes whole rows and a result not in x".to_string()),
        }
    }

    fn all_bufs_mut(&mut self) -> Vec<&mut Buf> {
        let parts: [&mut dyn Operation; 4] = [&mut self.norm, &mut self.gate, &mut self.up, &mut self.act];
        parts.into_iter().flat_map(|part| part.bufs_mut()).collect()
    }
}

/// A projection back onto the residual stream.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct MatMulAdd {
    /// The projection.
    pub product: MatMul,
    /// Adds it to the stream.
    pub add: Add,
}

impl MatMulAdd {
    /// What the product is added to.
    pub fn residual(&self) -> Buf {
        if self.add.x == self.product.out { self.add.y } else { self.add.x }
    }
}

impl FusedOp for MatMulAdd {
    fn matched(ops: &[Op]) -> Option<(Op, usize)> {
        let [Op::MatMul(product), Op::Add(add), ..] = *ops else { return None };
        let fused = MatMulAdd { product, add };
        let sums_it = [add.x, add.y].contains(&product.out) && fused.residual() != product.out;
        sums_it.then(|| (fused.into(), 2))
    }

    fn parts(&self) -> Vec<Op> {
        vec![self.product.into(), self.add.into()]
    }

    fn kept(&self) -> Vec<Buf> {
        vec![self.add.out]
    }

    fn joined(&self, _: &Plan) -> Result<(), String> {
        // Some rows of the result are written while others of x are still read.
        match self.add.out != self.product.x {
            true => Ok(()),
            false => Err("takes a result not in x".to_string()),
        }
    }

    fn all_bufs_mut(&mut self) -> Vec<&mut Buf> {
        let parts: [&mut dyn Operation; 2] = [&mut self.product, &mut self.add];
        parts.into_iter().flat_map(|part| part.bufs_mut()).collect()
    }
}

/// The head of a model, from the rows whose logits are wanted to the most likely token of each.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct GatherNormMatMulArgmax {
    /// Picks the rows.
    pub gather: Gather,
    /// Of these rows.
    pub norm: RmsNorm,
    /// The logits.
    pub product: MatMul,
    /// The choice among them.
    pub argmax: Argmax,
}

impl FusedOp for GatherNormMatMulArgmax {
    fn matched(ops: &[Op]) -> Option<(Op, usize)> {
        let [Op::Gather(gather), Op::RmsNorm(norm), Op::MatMul(product), Op::Argmax(argmax), ..] = *ops else {
            return None;
        };
        let fed = (norm.x, product.x, argmax.x) == (gather.out, norm.out, product.out);
        fed.then(|| (GatherNormMatMulArgmax { gather, norm, product, argmax }.into(), 4))
    }

    fn parts(&self) -> Vec<Op> {
        vec![self.gather.into(), self.norm.into(), self.product.into(), self.argmax.into()]
    }

    fn kept(&self) -> Vec<Buf> {
        vec![self.product.out, self.argmax.out]
    }

    fn joined(&self, plan: &Plan) -> Result<(), String> {
        match self.norm.is_whole_row(plan) {
            true => Ok(()),
            false => Err("takes whole rows".to_string()),
        }
    }

    fn all_bufs_mut(&mut self) -> Vec<&mut Buf> {
        let parts: [&mut dyn Operation; 4] = [&mut self.gather, &mut self.norm, &mut self.product, &mut self.argmax];
        parts.into_iter().flat_map(|part| part.bufs_mut()).collect()
    }
}

impl Fused {
    /// The core operations that define it, in order.
    pub fn parts(&self) -> Vec<Op> {
        match self {
            Fused::NormQkvRopeStore(op) => op.parts(),
            Fused::NormGateUpSwiGlu(op) => op.parts(),
            Fused::MatMulAdd(op) => op.parts(),
            Fused::GatherNormMatMulArgmax(op) => op.parts(),
        }
    }
}

/// Replaces runs of operations by fused ones where `supports` agrees and no later operation of the list reads what the fused one does
/// not keep.
pub fn fuse(plan: &mut Plan, mut supports: impl FnMut(&Plan, &Op, Phase) -> bool) {
    plan.decode = fuse_list(plan, Phase::Decode, &mut supports);
    plan.prefill = fuse_list(plan, Phase::Prefill, &mut supports);
}

fn fuse_list(plan: &Plan, phase: Phase, supports: &mut impl FnMut(&Plan, &Op, Phase) -> bool) -> Vec<Op> {
    let mut ops = plan.ops(phase);
    let mut fused = vec![];
    while let Some(first) = ops.first() {
        let found = MATCHED.iter().find_map(|matched| {
            let (op, len) = matched(ops)?;
            let fits = keeps_enough(plan, &op, &ops[len..]) && op.check(plan).is_ok() && supports(plan, &op, phase);
            fits.then_some((op, len))
        });
        let (op, len) = found.unwrap_or((*first, 1));
        fused.push(op);
        ops = &ops[len..];
    }
    fused
}

/// Whether neither the host nor an operation of `rest`, those after `op`, reads a result of its parts that it does not keep.
fn keeps_enough(plan: &Plan, op: &Op, rest: &[Op]) -> bool {
    let kept = op.writes();
    let is_head = |b: Buf| plan.head.is_some_and(|head| [head.logits, head.next].contains(&b));
    let dropped = op.parts().into_iter().flat_map(|part| part.writes()).filter(|b| !kept.contains(b));
    dropped.into_iter().all(|b| !is_head(b) && !is_read(b, rest))
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
