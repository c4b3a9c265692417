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
mod stages;
mod team;
mod tile;
mod vector;

use super::{Backend, DeviceInfo, Error, Footprint, Memory, Precision, Registered, Unsupported, system_memory};
use crate::plan::{Buf, Fused, Op, Phase, Plan, Step, Weight, Weights};
use crate::quant;
use argmax::Largest;
use kv::Cache;
use operands::{Block, Needs};
use products::Level;
use run::{Counters, Local, Run};
use shared::Shared;
use stages::{Matrix, Stage, stages};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, RwLock};
use team::Team;

/// The CPU, among the other backends.
pub static REGISTERED: Registered = Registered {
    name: "cpu",
    has_index: false,
    devices: || {
        vec![DeviceInfo {
            id: "cpu".to_string(),
            name: format!("{} threads", rayon::current_num_threads()),
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
        Cpu { team: Team::new(n), loaded: None }
    }
}

/// What a plan's work takes.
struct Sizes {
    /// Rows of a step, at most.
    tokens: usize,
    /// Elements of the longest row of a buffer, and of the longest that products multiply.
    row: usize,
    x_row: usize,
    /// What the products of the plan multiply.
    needs: Needs,
    heads: usize,
    /// Query heads that share a KV head.
    group: usize,
    head_dim: usize,
    slots: usize,
}

impl Sizes {
    fn of(plan: &Plan) -> Sizes {
        let products = matrices(plan);
        let attention = |op: Op| match op {
            Op::Attention(op) => Some(plan[op.q].cols as usize / plan.kv.head_dim as usize),
            _ => None,
        };
        let row = |op: Op| match op {
            Op::MatMul(_) | Op::Argmax(_) => None, // they take chunks
            op => op.reads().into_iter().chain(op.writes()).map(|b| plan[b].cols).max(),
        };
        let heads = parts(plan).filter_map(attention).max().unwrap_or(0);
        let rounded = products.iter().any(|m| operands::Weights::rounds(plan[m.weight].ty));
        let plain = products.iter().any(|m| !operands::Weights::rounds(plan[m.weight].ty));
        Sizes {
            tokens: plan.max_tokens as usize,
            row: parts(plan).filter_map(row).max().unwrap_or(0) as usize,
            x_row: products.iter().map(|m| plan[m.weight].cols as usize).max().unwrap_or(0),
            needs: Needs { plain, rounded },
            heads,
            group: heads.div_ceil(plan.kv.heads.max(1) as usize).max(1),
            head_dim: plan.kv.head_dim as usize,
            slots: plan.kv.slots as usize,
        }
    }

    /// Blocks of rows of the largest step.
    fn blocks(&self) -> impl Iterator<Item = RwLock<Block>> {
        let n = if self.tokens > run::OWN { self.tokens.div_ceil(run::OWN) } else { 0 };
        let whole = self.tokens.div_ceil(run::BLOCK);
        (0..n).map(move |i| {
            let tokens = if i < whole { run::BLOCK.min(self.tokens) } else { run::OWN };
            RwLock::new(Block::new(tokens, self.x_row, self.needs))
        })
    }
}

struct Loaded {
    plan: Plan,
    weights: Weights,
    /// What products multiply.
    matrices: HashMap<Matrix, operands::Weights>,
    level: Level,
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

impl Loaded {
    fn buf(&self, b: Buf) -> &Shared {
        &self.bufs[b.0 as usize]
    }
}

/// Every operation of both lists, fused ones as their parts.
fn parts(plan: &Plan) -> impl Iterator<Item = Op> {
    plan.decode.iter().chain(&plan.prefill).flat_map(Op::parts)
}

/// Every matrix that products multiply, in the order of the weights.
fn matrices(plan: &Plan) -> Vec<Matrix> {
    let of = |op: Op| match op {
        Op::MatMul(op) => Some(Matrix::of(plan, &op)),
        _ => None,
    };
    let key = |m: &Matrix| (m.weight.0, m.first_row, m.rows);
    let mut found: Vec<Matrix> = parts(plan).filter_map(of).collect();
    found.sort_by_key(key);
    found.dedup();
    found
}

/// Weights that are vectors of f32 in memory.
fn vectors(plan: &Plan) -> BTreeSet<u32> {
    let of = |op: Op| match op {
        Op::RmsNorm(op) => Some(op.w.0),
        Op::AddBias(op) => Some(op.b.0),
        _ => None,
    };
    parts(plan).filter_map(of).collect()
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
            _ => Ok(()),
        }
    }

    fn memory(&self) -> Option<Memory> {
        system_memory()
    }

    fn precision(&self, plan: &Plan, op: &Op, _: Phase) -> Precision {
        let product = |op: &Op| matches!(op, Op::MatMul(op) if operands::Weights::rounds(plan[op.w].ty));
        if op.parts().iter().any(product) { Precision::I8 } else { Precision::F32 }
    }

    fn footprint(&self, plan: &Plan) -> Footprint {
        let size = |m: &Matrix| {
            let decl = &plan[m.weight];
            operands::Weights::size(decl.ty, m.rows as usize, decl.cols as usize) as u64
        };
        let vectors = vectors(plan).into_iter().map(|w| 4 * plan[Weight(w)].elements()).sum::<u64>();
        let table = plan.rope_table().map_or(0, |table| plan[table].bytes());
        let weights = matrices(plan).iter().map(size).sum::<u64>() + vectors + table;
        Footprint { weights, kv: Cache::size(&plan.kv), buffers: plan.buf_bytes() }
    }

    fn load(&mut self, plan: &Plan, weights: &Weights, progress: &mut dyn FnMut(u64)) -> Result<(), Error> {
        super::check_supported(self, plan)?;
        self.loaded = None;
        let sizes = Sizes::of(plan);
        let mut done = 0;
        let mut packed = HashMap::new();
        for matrix in matrices(plan) {
            let decl = &plan[matrix.weight];
            let n = decl.row_bytes() as usize;
            let (first, rows) = (matrix.first_row as usize * n, matrix.rows as usize);
            let bytes = weights[matrix.weight].slice(first..first + rows * n);
            done += bytes.len() as u64;
            packed.insert(matrix, operands::Weights::new(decl.ty, rows, decl.cols as usize, bytes));
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
            vectors: vectors(plan).into_iter().map(vector).collect(),
            bufs: plan.buf_ids().map(|b| Shared::new(plan.buf_len(b))).collect(),
            cache: Cache::new(&plan.kv),
            blocks: sizes.blocks().collect(),
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
    fn loaded(&self) -> Result<&Loaded, Error> {
        let no_plan = || Error::Device { device: "cpu".to_string(), what: "no plan is loaded".to_string() };
        self.loaded.as_ref().ok_or_else(no_plan)
    }
}
