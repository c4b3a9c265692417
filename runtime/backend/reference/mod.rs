//! The reference: the definition of every operation. Plain f32 loops, parallel over rows, weights decoded row by row
//! straight from the mapped file.

mod attention;
mod definition;
mod kv;
mod mat_mul;

pub use crate::plan::argmax;
pub use attention::attention;
pub use definition::{add, add_bias, embed, rms_norm, rope, swi_glu};
pub use kv::KvRows;
pub use mat_mul::{dot, mat_mul};

use super::{Backend, DeviceInfo, Error, Footprint, Memory, Registered, Unsupported, system_memory};
use crate::plan::{Buf, Op, Phase, Plan, Step, Weight, Weights};
use crate::quant;

/// The reference, among the other backends.
pub static REGISTERED: Registered = Registered {
    name: "ref",
    has_index: false,
    devices: || {
        vec![DeviceInfo {
            id: "ref".to_string(),
            name: format!("{} threads, the definition of every operation", rayon::current_num_threads()),
            kind: "cpu".to_string(),
            is_gpu: false,
            memory: system_memory(),
            limits: vec![],
            features: vec![],
        }]
    },
    open: |_| Ok(Box::new(Reference::default())),
};

/// The reference: the definition of every operation.
#[derive(Default)]
pub struct Reference {
    loaded: Option<Loaded>,
}

struct Loaded {
    plan: Plan,
    weights: Weights,
    bufs: Vec<Vec<f32>>,
    keys: Vec<KvRows>,
    values: Vec<KvRows>,
}

impl Backend for Reference {
    fn name(&self) -> String {
        "ref".to_string()
    }

    fn supports(&self, plan: &Plan, op: &Op, _: Phase) -> Result<(), Unsupported> {
        if let Op::Fused(op) = op {
            return Err(Unsupported(format!("({}) is not fused on this device", op.kind())));
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
        system_memory()
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
        let Loaded { plan, weights, bufs, keys, values } = loaded;
        let mut machine = Machine { plan, weights, step, bufs, keys, values };
        step.ops(plan).1.iter().for_each(|op| machine.run(op));
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

impl Reference {
    /// Bytes that the loaded plan takes besides its weights, which belong to the caller.
    pub fn allocated(&self) -> u64 {
        self.loaded.as_ref().map_or(0, |loaded| {
            let bufs = loaded.bufs.iter().map(|buf| size_of_val(&buf[..]));
            let kv = loaded.keys.iter().chain(&loaded.values).map(KvRows::bytes);
            bufs.chain(kv).sum::<usize>() as u64
        })
    }

    fn loaded(&mut self) -> Result<&mut Loaded, Error> {
        let no_plan = || Error::Device { device: "ref".to_string(), what: "no plan is loaded".to_string() };
        self.loaded.as_mut().ok_or_else(no_plan)
    }
}

/// What operations work on: a loaded plan during one step.
struct Machine<'a> {
    plan: &'a Plan,
    weights: &'a Weights,
    step: &'a Step,
    bufs: &'a mut [Vec<f32>],
    keys: &'a mut [KvRows],
    values: &'a mut [KvRows],
}

impl<'a> Machine<'a> {
    /// A copy of the rows of a buffer that the step uses: the result of an operation may take its place.
    fn input(&self, b: Buf) -> Vec<f32> {
        self.bufs[b.0 as usize][..self.plan.used_len(b, self.step)].to_vec()
    }

    /// The rows of a buffer that the step uses, to write.
    fn output(&mut self, b: Buf) -> &mut [f32] {
        &mut self.bufs[b.0 as usize][..self.plan.used_len(b, self.step)]
    }

    /// The values of row `row` of a weight.
    fn weight_row(&self, w: Weight, row: usize) -> Vec<f32> {
        let (decl, mut values) = (&self.plan[w], vec![0.0; self.plan[w].cols as usize]);
        let n = decl.row_bytes() as usize;
        quant::decode(decl.ty, &self.weights[w][row * n..][..n], &mut values);
        values
    }
}
