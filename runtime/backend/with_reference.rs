//! A backend that lacks operations, completed by the reference: a port runs whole models from its first kernel on.

use super::{Backend, Error, Footprint, Memory, Precision, Unsupported, cpu::Cpu};
use crate::plan::{Buf, Elem, Op, OpKind, Phase, Plan, Step, Weights};
use std::collections::BTreeSet;
use std::ops::Range;

/// Runs each operation on `inner` if it can, else on the reference, and brings buffers to where the next operation reads them.
pub struct WithReference {
    inner: Box<dyn Backend>,
    reference: Cpu,
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
    /// For each buffer, the side that has its last values; None: both.
    only: Vec<Option<Side>>,
}

impl WithReference {
    /// `inner`: has loaded no plan.
    pub fn new(inner: Box<dyn Backend>) -> WithReference {
        WithReference { inner, reference: Cpu::default(), loaded: None }
    }

    /// Keys and values stay on one side: on that of `inner` if it has all operations of the plan that touch them.
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

    /// The plan with only the operations of one side.
    fn of_side(&self, plan: &Plan, side: Side) -> Plan {
        let list = |phase: Phase| {
            let ops = plan.ops(phase).iter().filter(|op| self.side(plan, op, phase) == side);
            ops.copied().collect::<Vec<Op>>()
        };
        Plan { decode: list(Phase::Decode), prefill: list(Phase::Prefill), ..plan.clone() }
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

    /// Brings a buffer's last values to `side`, as far as the step uses them.
    fn bring(&mut self, b: Buf, side: Side, step: &Step) -> Result<(), Error> {
        let loaded = self.loaded()?;
        let Some(from) = loaded.only[b.0 as usize].filter(|only| *only != side) else { return Ok(()) };
        loaded.only[b.0 as usize] = None;
        // Token ids are read by the next step, which has other rows.
        let len = match loaded.plan[b].elem {
            Elem::U32 => loaded.plan.buf_len(b),
            Elem::F32 => loaded.plan.used_len(b, step),
        };
        let mut values = vec![0.0; len];
        self.backend(from).read(b, &mut values)?;
        self.backend(side).write(b, &values)
    }
}

impl Backend for WithReference {
    fn name(&self) -> String {
        format!("{}+ref", self.inner.name())
    }

    /// What either side has. A fused operation is the inner backend's alone, where its parts would be as well.
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

    fn memory(&self) -> Option<Memory> {
        self.inner.memory()
    }

    fn footprint(&self, plan: &Plan) -> Footprint {
        self.inner.footprint(&self.of_side(plan, Side::Inner))
    }

    fn reads_mapped_weights(&self) -> bool {
        true
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
        self.loaded = Some(Loaded { plan: plan.clone(), placed, only: vec![None; plan.bufs.len()] });
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
                    self.loaded()?.only[b.0 as usize] = Some(side);
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
        self.loaded()?.only[b.0 as usize] = None;
        Ok(())
    }

    fn read(&mut self, b: Buf, v: &mut [f32]) -> Result<(), Error> {
        let side = self.loaded()?.only[b.0 as usize].unwrap_or(Side::Inner);
        self.backend(side).read(b, v)
    }
}
