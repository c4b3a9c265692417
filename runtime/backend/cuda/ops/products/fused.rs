//! The fused products that begin with a norm.

use super::super::attention::kv_cache;
use super::*;

impl Rowed for NormGateUpSwiGlu {
    /// A pair is a row of gate and the same row of up.
    fn blocks(&self, plan: &Plan, n: u32) -> [u32; 2] {
        [plan[self.act.out].cols.div_ceil(n), 0]
    }
}

impl Rowed for NormQkvRopeStore {
    fn blocks(&self, plan: &Plan, n: u32) -> [u32; 2] {
        let kv_blocks = (plan.kv.row() / 2).div_ceil(n);
        [(plan[self.q.out].cols / 2).div_ceil(n) + kv_blocks, kv_blocks]
    }
}

mirror! {
    NormGateUpSwiGluParams {
        input: Input,
        gate: Planes,
        up: Planes,
        out: DevicePtr,
        step: DevicePtr,
        n_rows: u32,
        gate_row: u32,
        up_row: u32,
        reserved: u32,
    }
}

impl Lower for NormGateUpSwiGlu {
    fn supports(&self, plan: &Plan, phase: Phase) -> Result<(), Unsupported> {
        fused(plan, phase, self.as_product(plan), &[self.gate.w, self.up.w])
    }

    fn entries(&self, plan: &Plan, phase: Phase) -> Vec<Entry> {
        entries(plan, phase, self.as_product(plan))
    }

    fn division(&self, plan: &Plan, n_sms: u32) -> Option<Division> {
        division(plan, n_sms, self.as_product(plan), self.blocks(plan, 1), plan[self.norm.x].cols)
    }

    fn lower(&self, to: &mut Lowering) {
        let NormGateUpSwiGlu { norm, gate, up, act } = self;
        let n_rows = to.plan[act.out].cols;
        let input = Rowwise::normalized(norm);
        let to_plan = to.plan;
        let blocks = |n| self.blocks(to_plan, n);
        to.push_product(self.as_product(to.plan), input, blocks, |to, input| NormGateUpSwiGluParams {
            input,
            gate: to.planes(gate.w),
            up: to.planes(up.w),
            out: to.buf(act.out),
            step: to.addresses.step,
            n_rows,
            gate_row: gate.first_row,
            up_row: up.first_row,
            reserved: 0,
        });
    }
}

impl NormGateUpSwiGlu {
    fn as_product(&self, plan: &Plan) -> Product {
        product(plan, FusedKind::NormGateUpSwiGlu, self.gate.w, self.up.w)
    }
}

mirror! {
    NormQkvRopeStoreParams {
        input: Input,
        q: Planes,
        k: Planes,
        v: Planes,
        out: DevicePtr,
        kv: KvCache,
        table: DevicePtr,
        step: DevicePtr,
        n_q_rows: u32,
        n_kv_rows: u32,
        rope_dim: u32,
        q_row: u32,
        k_row: u32,
        v_row: u32,
        keys: DevicePtr,
        values: DevicePtr,
    }
}

impl Lower for NormQkvRopeStore {
    fn supports(&self, plan: &Plan, phase: Phase) -> Result<(), Unsupported> {
        fused(plan, phase, self.as_product(plan), &[self.q.w, self.k.w, self.v.w])
    }

    fn entries(&self, plan: &Plan, phase: Phase) -> Vec<Entry> {
        let mut entries = entries(plan, phase, self.as_product(plan));
        if plan.kv.ty == KvType::Q8_0 {
            entries.extend(self.store.entries(plan, phase));
        }
        entries
    }

    fn division(&self, plan: &Plan, n_sms: u32) -> Option<Division> {
        division(plan, n_sms, self.as_product(plan), self.blocks(plan, 1), plan[self.norm.x].cols)
    }

    fn lower(&self, to: &mut Lowering) {
        let NormQkvRopeStore { norm, q, k, v, rope_q, store, .. } = self;
        let (n_q_rows, n_kv_rows) = (to.plan[q.out].cols, to.plan.kv.row());
        let input = Rowwise::normalized(norm);
        let to_plan = to.plan;
        let blocks = |n| self.blocks(to_plan, n);
        to.push_product(self.as_product(to.plan), input, blocks, |to, input| NormQkvRopeStoreParams {
            input,
            q: to.planes(q.w),
            k: to.planes(k.w),
            v: to.planes(v.w),
            out: to.buf(q.out),
            kv: kv_cache(to, store.layer),
            table: to.floats(rope_q.table),
            step: to.addresses.step,
            n_q_rows,
            n_kv_rows,
            rope_dim: to.plan[rope_q.table].cols as u32,
            q_row: q.first_row,
            k_row: k.first_row,
            v_row: v.first_row,
            keys: to.buf(store.k),
            values: to.buf(store.v),
        });
        if to.plan.kv.ty == KvType::Q8_0 {
            store.lower(to);
        }
    }
}

impl NormQkvRopeStore {
    fn as_product(&self, plan: &Plan) -> Product {
        product(plan, FusedKind::NormQkvRopeStore, self.q.w, self.v.w)
    }
}
