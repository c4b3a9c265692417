//! What benchmarks run: each operation of a model's plan alone, loaded and run as a model is.

use super::{Setup, fused_into, no_kv};
use crate::backend::{Backend, Error, Unsupported};
use crate::model::{PlanOptions, Shape, Synth};
use crate::plan::*;
use crate::quant::{GgmlType, Random, random_blocks};
use bytes::Bytes;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// One operation at one shape, repeated over enough different weights or KV layers that no cache holds them all.
pub struct PerfCase {
    /// The operation.
    pub op: OpKind,
    /// What part of the model it is, and its sizes.
    pub name: String,
    /// Repetitions in one step.
    pub copies: u32,
    setup: Setup,
}

/// Bytes that the copies of a case read in all: more than the caches of most CPUs and GPUs (an H100's is 50 MB).
const WORKING_SET: u64 = 128 << 20;
/// Repetitions of a case, at most: enough to hide the cost of starting a step. Unmeasured.
const MAX_COPIES: u32 = 32;
/// Of the random weights and inputs.
const SEED: u64 = 7;

impl PerfCase {
    /// Loads the case on `backend` and fills its inputs. The refusal of a backend without the operation is an error.
    pub fn load(&mut self, backend: &mut dyn Backend) -> Result<(), Error> {
        let plan = &mut self.setup.plan;
        if let OpKind::Fused(kind) = self.op {
            let refusal = fused_into(plan, kind, backend);
            let list = plan.ops(self.setup.steps[0].phase());
            if list.iter().any(|op| op.kind() != self.op) {
                let what = Unsupported(refusal.unwrap_or_else(|| "is not fused on this device".to_string()));
                return Err(Error::Unsupported { device: backend.name(), op: self.op, what });
            }
        }
        crate::backend::check_supported(backend, plan)?;
        backend.load(plan, &Weights(self.setup.weights.clone()), &mut |_| {})?;
        for (buf, values) in &self.setup.inputs {
            backend.write(*buf, values)?;
        }
        Ok(())
    }

    /// Runs all copies once and waits for the result.
    pub fn run(&self, backend: &mut dyn Backend) -> Result<(), Error> {
        backend.run(self.step())?;
        backend.read(Buf(0), &mut [0.0]) // waits
    }

    /// Seconds of one run of all copies: the median of the runs that fit into `time`, at least 5, after a run to warm
    /// up.
    pub fn median_seconds(&self, backend: &mut dyn Backend, time: Duration) -> Result<f64, Error> {
        self.run(backend)?;
        let (begin, mut seconds) = (Instant::now(), vec![]);
        while seconds.len() < 5 || begin.elapsed() < time {
            let start = Instant::now();
            self.run(backend)?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        seconds.sort_by(f64::total_cmp);
        Ok(seconds[seconds.len() / 2])
    }

    fn step(&self) -> &Step {
        &self.setup.steps[0]
    }

    /// Elements of the matrices that one copy multiplies or looks up: 0 for operations without.
    pub fn matrix_elements(&self) -> u64 {
        let plan = &self.setup.plan;
        let ops = plan.ops(self.step().phase());
        let elements = |op: &Op| match op {
            Op::MatMul(op) => plan[op.out].cols as u64 * plan[op.w].cols,
            Op::Embed(op) => self.step().n_tokens() as u64 * plan[op.table].cols,
            _ => 0,
        };
        ops.iter().flat_map(Op::parts).map(|op| elements(&op)).sum::<u64>() / self.copies as u64
    }

    /// What all copies together must move and compute.
    pub fn cost(&self) -> Cost {
        self.setup.plan.cost(size_of_step(self.step()))
    }
}

fn size_of_step(step: &Step) -> StepSize {
    let kv_len = step.rows.iter().map(|r| r.kv_len as u64).max().unwrap_or(0);
    StepSize { n_tokens: step.n_tokens() as u64, n_outputs: step.n_outputs as u64, kv_len }
}

/// The device's bandwidth, in bytes per second: the STREAM addition (McCalpin, 1995), `out = x + y` on buffers that no cache
/// holds, as the backend's own `Add` does it. The median of several passes.
pub fn stream_bandwidth(backend: &mut dyn Backend) -> Result<f64, Error> {
    /// 64 MiB a buffer: half of the binding limit of a software Vulkan device.
    const ROWS: u32 = 64;
    const COLS: u32 = 1 << 18;
    let mut setup = Setup::new(no_kv(), ROWS, 1, SEED);
    let (x, y) = (setup.input("x", Rows::Tokens, COLS, 1.0), setup.input("y", Rows::Tokens, COLS, 1.0));
    let out = setup.output("out", Rows::Tokens, COLS);
    setup.push(Add { out, x, y });
    setup.plain_step(ROWS);
    let mut case = PerfCase { op: CoreKind::Add.into(), name: "stream".to_string(), copies: 1, setup };
    case.load(backend)?;
    let seconds = case.median_seconds(backend, Duration::from_millis(500))?;
    Ok(case.cost().bytes() as f64 / seconds)
}

/// Every operation of one layer of `shape` with weights of `ty`, for `n_tokens` tokens that see `kv_len` slots.
pub fn perf_cases(shape: &Shape, ty: GgmlType, n_tokens: u32, kv_len: u32) -> Vec<PerfCase> {
    layer_cases(shape, ty, n_tokens, kv_len, MAX_COPIES)
}

/// The same, each once: for counting instructions and bytes instead of time.
pub fn single_cases(shape: &Shape, ty: GgmlType, n_tokens: u32, kv_len: u32) -> Vec<PerfCase> {
    layer_cases(shape, ty, n_tokens, kv_len, 1)
}

fn layer_cases(shape: &Shape, ty: GgmlType, n_tokens: u32, kv_len: u32, most_copies: u32) -> Vec<PerfCase> {
    // A layer for each copy, so that copies read weights and KV caches of their own.
    let model = Synth { shape: Shape { n_layers: most_copies, ..*shape }, ty, seed: SEED }.model();
    let slots = kv_len.max(n_tokens);
    let options = PlanOptions { n_ctx: slots, max_tokens: n_tokens, max_outputs: 1, kv: KvType::F16 };
    let plan = model.plan(&options).expect("a synthetic model has the tensors of its plan");
    let tokens: Vec<u32> = (0..n_tokens).collect();
    let step = Step::sequence(&tokens, slots - n_tokens, &[n_tokens - 1]);
    let size = size_of_step(&step);

    let mut fused = plan.clone();
    fuse(&mut fused, |_, _, _| true);
    let ops =
        plan.ops(step.phase()).iter().chain(fused.ops(step.phase()).iter().filter(|op| matches!(op, Op::Fused(_))));
    let mut groups: Vec<(String, Vec<Op>)> = vec![];
    for op in ops {
        let shapes = shapes(&plan, op);
        match groups.iter_mut().find(|(found, _)| *found == shapes) {
            Some((_, alike)) => alike.push(*op),
            None => groups.push((shapes, vec![*op])),
        }
    }
    let case = |alike: Vec<Op>| {
        let copies = (WORKING_SET / alike[0].cost(&plan, size).bytes().max(1)).clamp(1, most_copies as u64) as u32;
        PerfCase {
            op: alike[0].kind(),
            name: format!("{} tokens={n_tokens}", name(&plan, &alike[0], kv_len)),
            copies,
            setup: copied(&plan, alike.into_iter().cycle().take(copies as usize), &step),
        }
    };
    groups.into_iter().map(|(_, alike)| case(alike)).collect()
}

/// A setup whose plan has only `ops`, each on buffers of its own, with random inputs and weights.
fn copied(plan: &Plan, ops: impl Iterator<Item = Op>, step: &Step) -> Setup {
    let mut plan = Plan { decode: vec![], prefill: vec![], ..plan.clone() };
    let mut random = Random::new(SEED);
    let (mut inputs, mut weights) = (vec![], vec![Bytes::new(); plan.weights.len()]);
    for (copy, mut op) in ops.enumerate() {
        let mut renamed: HashMap<Buf, Buf> = HashMap::new();
        for buf in op.operation_mut().bufs_mut() {
            *buf = *renamed.entry(*buf).or_insert_with(|| {
                let decl = BufDecl { name: format!("{} {copy}", plan[*buf].name), ..plan[*buf].clone() };
                plan.bufs.push(decl);
                Buf(plan.bufs.len() as u32 - 1)
            });
        }
        for buf in op.reads() {
            inputs.push((buf, (0..plan.buf_len(buf)).map(|_| random.uniform(1.0)).collect()));
        }
        for w in op.weights() {
            let decl = &plan[w];
            weights[w.0 as usize] = random_blocks(decl.ty, decl.elements(), &mut random).into();
        }
        plan.decode.extend(op.parts());
    }
    plan.prefill = plan.decode.clone();
    Setup { plan, weights, rng: random, inputs, steps: vec![step.clone()] }
}

/// Kind and shapes of an operation. Operations with equal ones are measured once.
fn shapes(plan: &Plan, op: &Op) -> String {
    let weights = op.weights().into_iter().map(|w| format!("{}x{} {}", plan[w].rows, plan[w].cols, plan[w].ty));
    let bufs = op.reads().into_iter().chain(op.writes()).map(|b| format!("{:?} {}", plan[b].rows, plan[b].cols));
    format!("{} {:?}", op.kind(), weights.chain(bufs).collect::<Vec<_>>())
}

/// Which part of the model an operation is, with its sizes: `ffn_gate 8192x2048 Q4_0`, `q 2048 kv_len=512`.
fn name(plan: &Plan, op: &Op, kv_len: u32) -> String {
    let part = |name: &str| {
        let name = name.trim_end_matches(".weight");
        name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')).map_or(name, |(_, part)| part).to_string()
    };
    let all: Vec<&WeightDecl> = op.weights().into_iter().map(|w| &plan[w]).collect();
    let matrices: Vec<&WeightDecl> = all.iter().copied().filter(|w| w.rows > 1).collect();
    let named = if matrices.is_empty() { all } else { matrices };
    let weights = named.into_iter().map(|w| match w.rows {
        1 => format!("{} {}", part(&w.name), w.cols),
        rows => format!("{} {rows}x{} {}", part(&w.name), w.cols, w.ty),
    });
    let bufs = op.reads().into_iter().map(|b| format!("{} {}", plan[b].name, plan[b].cols));
    let named: Vec<String> = if op.weights().is_empty() { bufs.collect() } else { weights.collect() };
    let kv = if matches!(op, Op::Attention(_)) { format!(" kv_len={kv_len}") } else { String::new() };
    format!("{}{kv}", named.join(" + "))
}
