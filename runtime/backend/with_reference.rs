//! A backend that lacks operations, completed by the reference: a port runs whole models from its first kernel on.

use super::{
    Backend, BackendOptions, Error, Footprint, Memory, Precision, Replaced, TooLarge, Unsupported, reference::Reference,
};
use crate::plan::{Buf, Elem, KvDecl, Op, OpKind, Phase, Plan, Step, Weights};
use std::collections::BTreeSet;
use std::ops::Range;

/// Runs each operation on `inner` if that supports it, else on the reference, and copies buffers to the side that reads them next.
pub struct WithReference {
    inner: Box<dyn Backend>,
    reference: Reference,
    loaded: Option<Loaded>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Inner,
    Reference,
}

struct Loaded {
    plan: Plan,
    /// For each phase, where each operation of the plan's list runs and its index in the list of that side's plan.
    placed: [Vec<(Side, usize)>; 2],
    last: Vec<LastValues>,
}

/// Where the last values of a buffer are.
#[derive(Clone, Copy)]
struct LastValues {
    side: Side,
    /// The number of elements, from the first on, that the other side has as well.
    shared: usize,
}

impl WithReference {
    /// `inner`: has loaded no plan.
    pub fn new(inner: Box<dyn Backend>) -> WithReference {
        WithReference { inner, reference: Reference::default(), loaded: None }
    }

    /// The side of the KV cache: `inner` if it supports all operations of the plan that read or write the cache.
    fn kv_side(&self, plan: &Plan) -> Side {
        let touches_kv = |op: &&Op| matches!(op, Op::KvStore(_) | Op::Attention(_));
        let has = |phase: Phase| {
            let parts: Vec<Op> = plan.ops(phase).iter().flat_map(Op::parts).collect();
            parts.iter().filter(touches_kv).all(|op| self.inner.supports(plan, op, phase).is_ok())
        };
        if Phase::ALL.into_iter().all(has) { Side::Inner } else { Side::Reference }
    }

    fn side(&self, plan: &Plan, op: &Op, phase: Phase) -> Side {
        let touches_kv = op.parts().iter().any(|op| matches!(op, Op::KvStore(_) | Op::Attention(_)));
        let inner = self.inner.supports(plan, op, phase).is_ok();
        if inner && (!touches_kv || self.kv_side(plan) == Side::Inner) { Side::Inner } else { Side::Reference }
    }

    /// The plan with only the operations of one side, and with a KV cache on the side that uses it.
    fn of_side(&self, plan: &Plan, side: Side) -> Plan {
        let list = |phase: Phase| {
            let ops = plan.ops(phase).iter().filter(|op| self.side(plan, op, phase) == side);
            ops.copied().collect::<Vec<Op>>()
        };
        let layers = if side == self.kv_side(plan) { plan.kv.layers } else { 0 };
        let kv = KvDecl { layers, ..plan.kv };
        Plan { decode: list(Phase::Decode), prefill: list(Phase::Prefill), kv, ..plan.clone() }
    }

    fn backend(&mut self, side: Side) -> &mut dyn Backend {
        match side {
            Side::Inner => &mut *self.inner,
            Side::Reference => &mut self.reference,
        }
    }

    fn loaded(&mut self) -> Result<&mut Loaded, Error> {
        let what = "no plan is loaded".to_string();
        let device = self.name();
        self.loaded.as_mut().ok_or(Error::Device { device, what })
    }

    /// Copies a buffer's last values to `side`, as far as the step uses them.
    fn bring(&mut self, b: Buf, side: Side, step: &Step) -> Result<(), Error> {
        let loaded = self.loaded()?;
        let LastValues { side: from, shared } = loaded.last[b.0 as usize];
        // Token ids are read by the next step, which has other rows.
        let len = match loaded.plan[b].elem {
            Elem::U32 => loaded.plan.buf_len(b),
            Elem::F32 => loaded.plan.used_len(b, step),
        };
        if from == side || shared >= len {
            return Ok(());
        }
        let mut values = vec![0.0; len];
        self.backend(from).read(b, &mut values)?;
        self.backend(side).write(b, &values)?;
        self.loaded()?.last[b.0 as usize].shared = len;
        Ok(())
    }
}

impl Backend for WithReference {
    fn name(&self) -> String {
        format!("{}+ref", self.inner.name())
    }

    /// What either side supports. Only the inner backend runs fused operations, and only where their parts would run there too.
    fn supports(&self, plan: &Plan, op: &Op, phase: Phase) -> Result<(), Unsupported> {
        match self.side(plan, op, phase) {
            Side::Inner => Ok(()),
            Side::Reference => self.reference.supports(plan, op, phase),
        }
    }

    fn precision(&self, plan: &Plan, op: &Op, phase: Phase) -> Precision {
        match self.side(plan, op, phase) {
            Side::Inner => self.inner.precision(plan, op, phase),
            Side::Reference => self.reference.precision(plan, op, phase),
        }
    }

    fn configure(&mut self, options: BackendOptions) {
        self.inner.configure(options);
    }

    fn memory(&self) -> Option<Memory> {
        self.inner.memory()
    }

    /// That of both sides: the reference has buffers and tables of its own.
    fn footprint(&self, plan: &Plan) -> Footprint {
        let [inner, reference] = [Side::Inner, Side::Reference].map(|side| self.of_side(plan, side));
        let (inner, reference) = (self.inner.footprint(&inner), self.reference.footprint(&reference));
        Footprint {
            weights: inner.weights.saturating_add(reference.weights),
            kv: inner.kv.saturating_add(reference.kv),
            buffers: inner.buffers.saturating_add(reference.buffers),
        }
    }

    fn too_large(&self, plan: &Plan) -> Option<TooLarge> {
        self.inner.too_large(&self.of_side(plan, Side::Inner))
    }

    fn reads_mapped_weights(&self) -> bool {
        true
    }

    fn replaced(&self) -> Vec<Replaced> {
        self.inner.replaced()
    }

    fn on_reference(&self) -> Vec<OpKind> {
        let Some(loaded) = &self.loaded else { return vec![] };
        let of_phase = |phase: Phase| {
            let placed = loaded.placed[phase as usize].iter().zip(loaded.plan.ops(phase));
            placed.filter(|((side, _), _)| *side == Side::Reference).map(|(_, op)| op.kind()).collect::<Vec<_>>()
        };
        let kinds: BTreeSet<OpKind> = Phase::ALL.into_iter().flat_map(of_phase).collect();
        kinds.into_iter().collect()
    }

    fn load(&mut self, plan: &Plan, weights: &Weights, progress: &mut dyn FnMut(u64)) -> Result<(), Error> {
        super::check_supported(self, plan)?;
        self.loaded = None; // a failure below leaves no plan
        let [inner, reference] = [Side::Inner, Side::Reference].map(|side| self.of_side(plan, side));
        self.reference.load(&reference, weights, &mut |_| {})?;
        self.inner.load(&inner, weights, progress)?;
        let placed = Phase::ALL.map(|phase| {
            let mut counts = [0; 2];
            let place = |op: &Op| {
                let side = self.side(plan, op, phase);
                counts[side as usize] += 1;
                (side, counts[side as usize] - 1)
            };
            plan.ops(phase).iter().map(place).collect()
        });
        let both = |b| LastValues { side: Side::Inner, shared: plan.buf_len(b) };
        self.loaded = Some(Loaded { plan: plan.clone(), placed, last: plan.buf_ids().map(both).collect() });
        Ok(())
    }

    fn run(&mut self, step: &Step) -> Result<(), Error> {
        let loaded = self.loaded()?;
        step.check(&loaded.plan).map_err(Error::Step)?;
        let (first, ops) = step.ops(&loaded.plan);
        let placed: Vec<(Side, usize)> = loaded.placed[step.phase() as usize][first..first + ops.len()].to_vec();
        let ops = ops.to_vec();
        let mut at = 0;
        for run in placed.chunk_by(|a, b| a.0 == b.0) {
            let (side, index) = run[0];
            for op in &ops[at..at + run.len()] {
                for b in op.reads() {
                    self.bring(b, side, step)?;
                }
                for b in op.writes() {
                    self.loaded()?.last[b.0 as usize] = LastValues { side, shared: 0 };
                }
            }
            let range: Range<usize> = index..index + run.len();
            self.backend(side).run(&Step { ops: Some(range), ..step.clone() })?;
            at += run.len();
        }
        Ok(())
    }

    fn write(&mut self, b: Buf, v: &[f32]) -> Result<(), Error> {
        self.inner.write(b, v)?;
        self.reference.write(b, v)?;
        let last = &mut self.loaded()?.last[b.0 as usize];
        last.shared = last.shared.max(v.len());
        Ok(())
    }

    fn read(&mut self, b: Buf, v: &mut [f32]) -> Result<(), Error> {
        let side = self.loaded()?.last[b.0 as usize].side;
        self.backend(side).read(b, v)
    }
}
