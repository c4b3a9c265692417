//! The CPU backend: the definition of every operation. Plain f32 loops, parallel over rows, weights decoded row by row
//! straight from the mapped file.

mod attention;
mod elementwise;
mod mat_mul;
mod rms_norm;

pub use crate::plan::argmax;
pub use attention::attention;
pub use elementwise::{add, add_bias, embed, rope, swi_glu};
pub use mat_mul::mat_mul;
pub use rms_norm::rms_norm;

use super::{Backend, Error, Footprint, Memory, Unsupported};
use crate::plan::{Buf, KV_BLOCK, KvType, Op, Phase, Plan, Step, Weights};
use crate::quant;
use half::f16;

/// Keys or values of one layer: (slots, kv.row()), in the cache's number format.
pub enum KvRows {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Q8_0 {
        quants: Vec<i8>,
        /// Of each [`KV_BLOCK`] quants.
        scales: Vec<f16>,
    },
}

impl KvRows {
    fn new(ty: KvType, len: usize) -> KvRows {
        match ty {
            // Pages that no token has reached yet take no memory.
            KvType::F32 => KvRows::F32(bytemuck::zeroed_vec(len)),
            KvType::F16 => KvRows::F16(bytemuck::zeroed_vec(len)),
            KvType::Q8_0 => KvRows::Q8_0 {
                quants: bytemuck::zeroed_vec(len),
                scales: bytemuck::zeroed_vec(len / KV_BLOCK as usize),
            },
        }
    }

    fn bytes(&self) -> usize {
        match self {
            KvRows::F32(kv) => size_of_val(&kv[..]),
            KvRows::F16(kv) => size_of_val(&kv[..]),
            KvRows::Q8_0 { quants, scales } => size_of_val(&quants[..]) + size_of_val(&scales[..]),
        }
    }

    fn store(&mut self, at: usize, row: &[f32]) {
        match self {
            KvRows::F32(kv) => kv[at..at + row.len()].copy_from_slice(row),
            KvRows::F16(kv) => {
                for (kv, v) in kv[at..at + row.len()].iter_mut().zip(row) {
                    *kv = f16::from_f32(*v);
                }
            }
            KvRows::Q8_0 { quants, scales } => {
                let block = KV_BLOCK as usize;
                let quants = quants[at..at + row.len()].chunks_exact_mut(block);
                for ((quants, scale), row) in quants.zip(&mut scales[at / block..]).zip(row.chunks_exact(block)) {
                    *scale = quantize(quants, row);
                }
            }
        }
    }

    /// Decodes `out.len()` elements from element `at` on.
    pub fn load(&self, at: usize, out: &mut [f32]) {
        use half::slice::HalfFloatSliceExt;
        match self {
            KvRows::F32(kv) => out.copy_from_slice(&kv[at..at + out.len()]),
            KvRows::F16(kv) => kv[at..at + out.len()].convert_to_f32_slice(out),
            KvRows::Q8_0 { quants, scales } => {
                let block = KV_BLOCK as usize;
                let quants = quants[at..at + out.len()].chunks_exact(block);
                for ((out, quants), scale) in out.chunks_exact_mut(block).zip(quants).zip(&scales[at / block..]) {
                    let scale = scale.to_f32();
                    out.iter_mut().zip(quants).for_each(|(out, q)| *out = *q as f32 * scale);
                }
            }
        }
    }
}

/// One block of [`KvType::Q8_0`]: its quants, and the scale to read them with.
fn quantize(quants: &mut [i8], x: &[f32]) -> f16 {
    let d = x.iter().fold(0.0f32, |most, x| most.max(x.abs())) / 127.0;
    let scale = f16::from_f32(d);
    let inverse = if scale == f16::ZERO { 0.0 } else { 1.0 / d };
    quants.iter_mut().zip(x).for_each(|(q, x)| *q = (x * inverse).round() as i8);
    scale
}

#[derive(Default)]
pub struct Cpu {
    loaded: Option<Loaded>,
}

struct Loaded {
    plan: Plan,
    weights: Weights,
    bufs: Vec<Vec<f32>>,
    keys: Vec<KvRows>,
    values: Vec<KvRows>,
}

impl Backend for Cpu {
    fn name(&self) -> String {
        "cpu".to_string()
    }

    fn supports(&self, plan: &Plan, op: &Op, _: Phase) -> Result<(), Unsupported> {
        if let Op::Fused(op) = op {
            return Err(Unsupported(format!("({}) is not fused on this device", op.stem)));
        }
        for w in op.weights() {
            let decl = &plan[w];
            if quant::format(decl.ty).is_none() {
                return Err(Unsupported(format!("cannot read tensor {} of type {}", decl.name, decl.ty.name())));
            }
        }
        Ok(())
    }

    fn memory(&self) -> Option<Memory> {
        super::device::system_memory()
    }

    /// Weights stay in the mapped file; only the tables that the model computed take memory.
    fn footprint(&self, plan: &Plan) -> Footprint {
        let weights = plan.rope_table().map_or(0, |table| plan[table].bytes());
        Footprint { weights, kv: plan.kv.bytes(), buffers: plan.buf_bytes() }
    }

    fn load(&mut self, plan: &Plan, weights: &Weights, progress: &mut dyn FnMut(u64)) -> Result<(), Error> {
        super::check_supported(self, plan)?;
        let kv_len = plan.kv.slots as usize * plan.kv.row() as usize;
        let kv = || (0..plan.kv.layers).map(|_| KvRows::new(plan.kv.ty, kv_len)).collect();
        self.loaded = Some(Loaded {
            plan: plan.clone(),
            weights: Weights(weights.0.clone()),
            bufs: plan.buf_ids().map(|b| vec![0.0; plan.buf_len(b)]).collect(),
            keys: kv(),
            values: kv(),
        });
        progress(plan.weight_bytes());
        Ok(())
    }

    fn run(&mut self, step: &Step) -> Result<(), Error> {
        let loaded = self.loaded()?;
        step.check(&loaded.plan).map_err(Error::Step)?;
        let ops = loaded.plan.ops(loaded.plan.phase(step.n_tokens()));
        let ops = ops[..step.stop_after.unwrap_or(ops.len())].to_vec();
        ops.iter().for_each(|op| loaded.run_op(op, step));
        Ok(())
    }

    fn write(&mut self, b: Buf, v: &[f32]) -> Result<(), Error> {
        self.loaded()?.bufs[b.0 as usize][..v.len()].copy_from_slice(v);
        Ok(())
    }

    fn read(&mut self, b: Buf, v: &mut [f32]) -> Result<(), Error> {
        v.copy_from_slice(&self.loaded()?.bufs[b.0 as usize][..v.len()]);
        Ok(())
    }
}

impl Cpu {
    /// Bytes that the loaded plan takes besides its weights, which belong to the caller.
    pub fn allocated(&self) -> u64 {
        self.loaded.as_ref().map_or(0, |loaded| {
            let bufs = loaded.bufs.iter().map(|buf| size_of_val(&buf[..]));
            let kv = loaded.keys.iter().chain(&loaded.values).map(KvRows::bytes);
            bufs.chain(kv).sum::<usize>() as u64
        })
    }

    fn loaded(&mut self) -> Result<&mut Loaded, Error> {
        let no_plan = || Error::Device { device: "cpu".to_string(), what: "no plan is loaded".to_string() };
        self.loaded.as_mut().ok_or_else(no_plan)
    }
}

impl Loaded {
    /// Runs one operation on the rows that `step` uses.
    fn run_op(&mut self, op: &Op, step: &Step) {
        let Loaded { plan, weights, bufs, keys, values } = self;
        let len = |b: Buf| plan.used_len(b, step);
        // The operation's result leaves `bufs` while its inputs are borrowed from there.
        let take = |bufs: &mut Vec<Vec<f32>>, b: Buf| std::mem::take(&mut bufs[b.0 as usize]);
        match op {
            Op::Embed(op) => {
                let table = &plan[op.table];
                let mut out = take(bufs, op.out);
                let next = op.next.map_or(&[][..], |b| &bufs[b.0 as usize]);
                embed(&mut out[..len(op.out)], &weights[op.table], table.ty, &step.rows, next);
                bufs[op.out.0 as usize] = out;
            }
            Op::Gather(op) => {
                let cols = plan[op.x].cols as usize;
                let mut out = take(bufs, op.out);
                for (out, row) in out[..len(op.out)].chunks_exact_mut(cols).zip(&step.rows) {
                    out.copy_from_slice(&bufs[op.x.0 as usize][row.output as usize * cols..][..cols]);
                }
                bufs[op.out.0 as usize] = out;
            }
            Op::RmsNorm(op) => {
                let mut w = vec![0.0; plan[op.w].cols as usize];
                quant::decode(plan[op.w].ty, &weights[op.w], &mut w);
                let x = bufs[op.x.0 as usize][..len(op.x)].to_vec();
                rms_norm(&mut bufs[op.out.0 as usize][..len(op.out)], &x, &w, op.eps);
            }
            Op::MatMul(op) => {
                let w = &plan[op.w];
                let (first, rows) = (op.first_row as usize, plan[op.out].cols as usize);
                let bytes = &weights[op.w][first * w.row_bytes() as usize..][..rows * w.row_bytes() as usize];
                let mut out = take(bufs, op.out);
                let x = &bufs[op.x.0 as usize][..len(op.x)];
                mat_mul(&mut out[..len(op.out)], x, bytes, w.ty, w.cols as usize);
                bufs[op.out.0 as usize] = out;
            }
            Op::Rope(op) => {
                let decl = &plan[op.table];
                let rope_dim = decl.cols as usize;
                let mut row = vec![0.0; rope_dim];
                let cols = plan[op.x].cols as usize;
                let x = &mut bufs[op.x.0 as usize][..len(op.x)];
                for (x, step_row) in x.chunks_exact_mut(cols).zip(&step.rows) {
                    let at = step_row.position as usize * decl.row_bytes() as usize;
                    quant::decode(decl.ty, &weights[op.table][at..][..decl.row_bytes() as usize], &mut row);
                    rope(x, &row, op.head_dim as usize, op.pairing);
                }
            }
            Op::KvStore(op) => {
                let row = plan.kv.row() as usize;
                for (t, step_row) in step.rows.iter().enumerate() {
                    let at = step_row.slot as usize * row;
                    keys[op.layer as usize].store(at, &bufs[op.k.0 as usize][t * row..][..row]);
                    values[op.layer as usize].store(at, &bufs[op.v.0 as usize][t * row..][..row]);
                }
            }
            Op::Attention(op) => {
                let mut out = take(bufs, op.out);
                let q = &bufs[op.q.0 as usize][..len(op.q)];
                let (k, v) = (&keys[op.layer as usize], &values[op.layer as usize]);
                attention(&mut out[..len(op.out)], q, k, v, &plan.kv, &step.rows, op.scale);
                bufs[op.out.0 as usize] = out;
            }
            Op::SwiGlu(op) => {
                let gate = bufs[op.gate.0 as usize][..len(op.gate)].to_vec();
                let mut out = take(bufs, op.out);
                let up = if op.up == op.out { out.clone() } else { bufs[op.up.0 as usize].clone() };
                swi_glu(&mut out[..len(op.out)], &gate, &up[..len(op.up)]);
                bufs[op.out.0 as usize] = out;
            }
            Op::Add(op) => {
                let x = bufs[op.x.0 as usize][..len(op.x)].to_vec();
                let y = bufs[op.y.0 as usize][..len(op.y)].to_vec();
                add(&mut bufs[op.out.0 as usize][..len(op.out)], &x, &y);
            }
            Op::AddBias(op) => {
                let mut b = vec![0.0; plan[op.b].cols as usize];
                quant::decode(plan[op.b].ty, &weights[op.b], &mut b);
                add_bias(&mut bufs[op.x.0 as usize][..len(op.x)], &b);
            }
            Op::Argmax(op) => {
                let x = bufs[op.x.0 as usize][..len(op.x)].to_vec();
                let cols = plan[op.x].cols as usize;
                for (out, x) in bufs[op.out.0 as usize].iter_mut().zip(x.chunks_exact(cols)) {
                    *out = argmax(x) as f32;
                }
            }
            Op::Fused(op) => op.parts.iter().for_each(|part| self.run_op(part, step)),
        }
    }
}
