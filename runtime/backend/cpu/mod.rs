//! The CPU backend: vector code, weights in the layout that it reads fastest, and threads that go through a step together.
//!
//! A step is a list of stages ([`stages`]). All threads run the same stage, taking chunks of its work as they come to it, and wait for
//! each other at its end. What a chunk computes depends only on the shapes, so results do not depend on the number of threads.

mod argmax;
mod attention;
mod kv;
mod operands;
mod products;
mod run;
mod shared;
mod sizes;
mod stages;
mod team;
#[allow(clippy::needless_range_loop)] // queries of several arrays are counted together
mod tile;
mod vector;

use super::{
    Backend, BackendOptions, DeviceInfo, Error, Footprint, Memory, Precision, Registered, Unsupported, system_memory,
};
use crate::plan::{Buf, Fused, Op, Phase, Plan, Step, Weight, Weights};
use crate::quant;
use argmax::Largest;
use kv::Cache;
use operands::Block;
use products::{Level, Rounding};
use run::{Counters, Local, Run};
use shared::Shared;
use sizes::{Sizes, matrices, parts, vectors};
use stages::{Matrix, Stage, stages};
use std::collections::HashMap;
use std::sync::{Mutex, RwLock};
use team::Team;

/// The CPU, among the other backends.
pub static REGISTERED: Registered = Registered {
    name: "cpu",
    has_index: false,
    devices: || {
        vec![DeviceInfo {
            id: "cpu".to_string(),
            name: format!("{} threads, {}", rayon::current_num_threads(), Level::best().name()),
            kind: "cpu".to_string(),
            is_gpu: false,
            memory: system_memory(),
            limits: vec![],
            features: vec![],
        }]
    },
    open: |_| Ok(Box::new(Cpu::default())),
};

/// The CPU.
pub struct Cpu {
    team: Team,
    options: BackendOptions,
    loaded: Option<Loaded>,
}

impl Default for Cpu {
    /// As many threads as Rayon's.
    fn default() -> Cpu {
        Cpu::with_threads(rayon::current_num_threads())
    }
}

impl Cpu {
    /// A CPU of `n` threads.
    pub fn with_threads(n: usize) -> Cpu {
        Cpu { team: Team::new(n), options: BackendOptions::default(), loaded: None }
    }
}

struct Loaded {
    plan: Plan,
    weights: Weights,
    /// What products multiply.
    matrices: HashMap<Matrix, operands::Weights>,
    level: Level,
    /// How products round the rows of each buffer.
    rounding: Vec<Rounding>,
    /// Weights of norms, and biases.
    vectors: HashMap<Weight, Vec<f32>>,
    bufs: Vec<Shared>,
    cache: Cache,
    /// Rows of a large step, ready to be multiplied.
    blocks: Vec<RwLock<Block>>,
    /// For each row of logits.
    largest: Vec<Largest>,
    /// Partial results of attention.
    parts: Shared,
    /// What each thread works with.
    locals: Vec<Mutex<Local>>,
    /// By phase.
    stages: [Vec<Stage>; 2],
}

/// How products of integers round the rows of a buffer. Results of SwiGLU have few elements that are far larger than the others, which
/// 8 bits would round away: with 16 bits for these alone, the error of SmolLM2's logits (Q4_1, 2026-11-25) is 1.5e-3, not 2.4e-3.
fn rounding(plan: &Plan, x: Buf, options: BackendOptions) -> Rounding {
    let is_activated = || parts(plan).any(|op| matches!(op, Op::SwiGlu(op) if op.out == x));
    if options.precise || is_activated() { Rounding::I16 } else { Rounding::I8 }
}

impl Loaded {
    fn buf(&self, b: Buf) -> &Shared {
        &self.bufs[b.0 as usize]
    }
}

impl Backend for Cpu {
    fn name(&self) -> String {
        "cpu".to_string()
    }

    fn supports(&self, plan: &Plan, op: &Op, _: Phase) -> Result<(), Unsupported> {
        for w in op.weights() {
            let decl = &plan[w];
            if quant::format(decl.ty).is_none() {
                return Err(Unsupported(format!("cannot read tensor {} of type {}", decl.name, decl.ty.name())));
            }
        }
        match op {
            Op::Fused(Fused::NormQkvRopeStore(_)) if !plan.kv.head_dim.is_multiple_of(2) => {
                Err(Unsupported("takes heads of an even number of elements".to_string()))
            }
            Op::Fused(Fused::NormQkvRopeStore(_) | Fused::NormGateUpSwiGlu(_) | Fused::MatMulAdd(_)) => Ok(()),
            Op::Fused(_) => Err(Unsupported(format!("({}) is not fused on this device", op.kind()))),
            _ => Ok(()),
        }
    }

    fn memory(&self) -> Option<Memory> {
        system_memory()
    }

    fn precision(&self, plan: &Plan, op: &Op, _: Phase) -> Precision {
        let precision = |op: Op| match op {
            Op::MatMul(op) if sizes::packed(plan, Matrix::of(plan, &op), self.options).is_some() => {
                match rounding(plan, op.x, self.options) {
                    Rounding::I16 => Precision::I16,
                    Rounding::I8 => Precision::I8,
                }
            }
            _ => Precision::F32,
        };
        op.parts().into_iter().map(precision).max().unwrap_or(Precision::F32)
    }

    fn configure(&mut self, options: BackendOptions) {
        self.options = options;
    }

    fn mapped_bytes(&self, plan: &Plan) -> u64 {
        sizes::mapped(plan, self.options)
    }

    fn footprint(&self, plan: &Plan) -> Footprint {
        let table = plan.rope_table().map_or(0, |table| plan[table].bytes());
        let buffers = Sizes::of(plan, self.options).buffers(plan, self.team.threads());
        Footprint { weights: sizes::copies(plan, self.options) + table, kv: Cache::size(&plan.kv), buffers }
    }

    fn load(&mut self, plan: &Plan, weights: &Weights, progress: &mut dyn FnMut(u64)) -> Result<(), Error> {
        super::check_supported(self, plan)?;
        self.loaded = None;
        let sizes = Sizes::of(plan, self.options);
        let mut done = 0;
        let mut packed = HashMap::new();
        for matrix in matrices(plan) {
            let decl = &plan[matrix.weight];
            let n = decl.row_bytes() as usize;
            let (first, rows) = (matrix.first_row as usize * n, matrix.rows as usize);
            let bytes = weights[matrix.weight].slice(first..first + rows * n);
            done += bytes.len() as u64;
            packed
                .insert(matrix, operands::Weights::new(decl.ty, rows, decl.cols as usize, bytes, self.options.repack));
            progress(done);
        }
        let vector = |w: u32| {
            let decl = &plan[Weight(w)];
            let mut values = vec![0.0; decl.elements() as usize];
            quant::decode(decl.ty, &weights[Weight(w)], &mut values);
            (Weight(w), values)
        };
        self.loaded = Some(Loaded {
            plan: plan.clone(),
            weights: Weights(weights.0.clone()),
            matrices: packed,
            level: Level::best(),
            rounding: plan.buf_ids().map(|b| rounding(plan, b, self.options)).collect(),
            vectors: vectors(plan).into_iter().map(vector).collect(),
            bufs: plan.buf_ids().map(|b| Shared::new(plan.buf_len(b))).collect(),
            cache: Cache::new(&plan.kv),
            blocks: sizes.blocks(),
            largest: (0..plan.max_outputs).map(|_| Largest::default()).collect(),
            parts: Shared::new(attention::parts_len(&sizes)),
            locals: (0..self.team.threads()).map(|_| Mutex::new(Local::new(&sizes))).collect(),
            stages: Phase::ALL.map(|phase| stages(plan, plan.ops(phase))),
        });
        progress(plan.weight_bytes());
        Ok(())
    }

    fn run(&mut self, step: &Step) -> Result<(), Error> {
        let loaded = self.loaded()?;
        step.check(&loaded.plan).map_err(Error::Step)?;
        let some = step.ops.is_some().then(|| stages(&loaded.plan, step.ops(&loaded.plan).1));
        let stages = some.as_ref().unwrap_or(&loaded.stages[step.phase() as usize]);
        let counters: Vec<Counters> = stages.iter().map(|_| Counters::default()).collect();
        let run = Run { loaded, step, stages, counters: &counters, threads: self.team.threads() };
        self.team.run(|member| run.work(member));
        Ok(())
    }

    fn write(&mut self, b: Buf, v: &[f32]) -> Result<(), Error> {
        self.loaded()?.buf(b).store(0, v);
        Ok(())
    }

    fn read(&mut self, b: Buf, v: &mut [f32]) -> Result<(), Error> {
        self.loaded()?.buf(b).load(0, v);
        Ok(())
    }
}

impl Cpu {
    /// Bytes that the loaded plan takes, besides the weights in the file and the table of rotations, which belong to the caller.
    pub fn allocated(&self) -> u64 {
        self.loaded.as_ref().map_or(0, |loaded| {
            let matrices = loaded.matrices.values().map(operands::Weights::bytes).sum::<usize>();
            let vectors = loaded.vectors.values().map(|v| size_of_val(&v[..])).sum::<usize>();
            let bufs = loaded.bufs.iter().chain([&loaded.parts]).map(Shared::bytes).sum::<usize>();
            let block = |block: &RwLock<Block>| block.read().map_or(0, |block| block.bytes());
            let blocks = loaded.blocks.iter().map(block).sum::<usize>();
            let sizes = Sizes::of(&loaded.plan, self.options);
            let locals = loaded.locals.len() * Local::bytes(&sizes);
            (matrices + vectors + bufs + blocks + locals + loaded.cache.bytes()) as u64
        })
    }

    fn loaded(&self) -> Result<&Loaded, Error> {
        let no_plan = || Error::Device { device: "cpu".to_string(), what: "no plan is loaded".to_string() };
        self.loaded.as_ref().ok_or_else(no_plan)
    }
}
