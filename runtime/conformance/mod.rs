//! Conformance: rows of data, run by one body on every backend and compared with the reference.
//!
//! Each case is a small plan, loaded and run exactly as a model is. Every buffer is longer than the step needs and full of
//! sentinels: an operation that writes outside its rows, or to a buffer that is not its own, fails.

mod cases;
mod fused;
mod perf;
mod shared;

pub use perf::{PerfCase, perf_cases, single_cases, stream_bandwidth};

use crate::backend::{Backend, Error, Precision, check_supported, reference::Reference};
use crate::plan::{
    Buf, Elem, FusedKind, KvDecl, KvType, Op, OpKind, Plan, Rows, Step, Weight, WeightDecl, Weights, fuse,
};
use crate::quant::GgmlType;
use crate::quant::{self, Random, random_blocks};
use bytes::Bytes;
use std::ops::Range;

/// Rows that every buffer has beyond the largest step of its case.
const GUARD_ROWS: u32 = 2;
/// For operations whose inputs are rounded to f16: 2^-12 relative on average, squared, for each of two factors.
const F16_LIMIT: f64 = 1e-6;
/// For operations whose inputs are rounded to 16-bit integers: off by at most half of one of 32512 steps to the largest of 32
/// elements, which is 2.6e-9 where that one is far larger than the others; and as much again for a second product.
const I16_LIMIT: f64 = 1e-8;
/// For operations whose inputs are rounded to 8-bit integers: off by at most half of one of 127 steps to the largest of 32 elements,
/// which is 1.6e-5 where all are equally likely up to that one. Few results, a softmax or a second product make it more: at most 2.6e-4
/// in these cases (2026-11-25).
const I8_LIMIT: f64 = 5e-4;
/// What unused elements hold: a value that no operation produces from the inputs.
const SENTINEL: f32 = -12345.5;

/// One case: a plan, its inputs and its steps.
pub struct Case {
    /// The operation that the case is about.
    pub op: OpKind,
    /// Shapes and types, unique within the operation.
    pub name: String,
    /// Weight type, where the case is about one.
    pub ty: Option<GgmlType>,
    /// Largest allowed normalized squared error, `sum((a - b)^2) / sum(b^2)`, of a backend that computes in f32. 0 asks for
    /// equality. What a backend declares as its [`Precision`] may widen it.
    pub limit: f64,
    build: Box<dyn Fn(&mut Setup) + Send + Sync>,
}

/// Every case.
pub fn cases() -> Vec<Case> {
    cases::cases().into_iter().chain(fused::cases()).collect()
}

/// What a case's builder fills in.
pub struct Setup {
    /// The operations, on the declared buffers and weights.
    pub plan: Plan,
    weights: Vec<Bytes>,
    rng: Random,
    inputs: Vec<(Buf, Vec<f32>)>,
    steps: Vec<Step>,
}

/// How a case went.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Normalized squared error.
    Passed(f64),
    /// What is wrong: the buffer, the element, the error and its limit.
    Failed(String),
    /// The backend says that it does not have the operation: why.
    Unsupported(String),
}

impl Setup {
    fn new(kv: KvDecl, max_tokens: u32, max_outputs: u32, seed: u64) -> Setup {
        Setup {
            plan: Plan::new(kv, max_tokens + GUARD_ROWS, max_outputs + GUARD_ROWS),
            weights: vec![],
            rng: Random::new(seed),
            inputs: vec![],
            steps: vec![],
        }
    }

    /// Starts over with another cache and other sizes.
    pub fn size(&mut self, kv: KvDecl, max_tokens: u32, max_outputs: u32) {
        *self = Setup::new(kv, max_tokens, max_outputs, self.rng.bits());
        self.plan.buf("guard before", Rows::Tokens, 4);
    }

    /// A random weight, its elements of the size that a layer's are.
    pub fn weight(&mut self, ty: GgmlType, rows: u64, cols: u64) -> Weight {
        self.weight_within(ty, rows, cols, 0..rows)
    }

    /// A random weight whose rows outside of `used` are NaN: a kernel that multiplies them, even by zero, gives NaN.
    pub fn weight_within(&mut self, ty: GgmlType, rows: u64, cols: u64, used: Range<u64>) -> Weight {
        let mut blocks = random_blocks(ty, rows * cols, &mut self.rng);
        let row = blocks.len() / rows as usize;
        // Floats and scales whose bits are all set are NaN, in every type.
        blocks[..used.start as usize * row].fill(0xff);
        blocks[used.end as usize * row..].fill(0xff);
        self.weights.push(blocks.into());
        self.plan.weight(WeightDecl { name: format!("w{}", self.weights.len()), ty, rows, cols })
    }

    /// Root mean square of a weight's elements that are numbers.
    pub fn rms(&self, w: Weight) -> f32 {
        let decl = &self.plan[w];
        let mut values = vec![0.0; decl.elements() as usize];
        quant::decode(decl.ty, &self.weights[w.0 as usize], &mut values);
        values.retain(|v| !v.is_nan());
        (values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32).sqrt()
    }

    /// An F32 weight of given values, one row per `cols`.
    pub fn weight_of(&mut self, values: &[f32], cols: u64) -> Weight {
        self.weights.push(Bytes::copy_from_slice(bytemuck::cast_slice(values)));
        let name = format!("w{}", self.weights.len());
        self.plan.weight(WeightDecl { name, ty: GgmlType::F32, rows: values.len() as u64 / cols, cols })
    }

    /// A buffer that every step finds filled with random values in (-scale, scale), and with NaN in the rows that no step uses.
    pub fn input(&mut self, name: &str, rows: Rows, cols: u32, scale: f32) -> Buf {
        let n = self.plan.max_rows(rows) as usize * cols as usize;
        let mut values: Vec<f32> = (0..n).map(|_| self.rng.uniform(scale)).collect();
        values[n - (GUARD_ROWS * cols) as usize..].fill(f32::NAN);
        self.input_of(name, rows, cols, values)
    }

    /// A buffer that every step finds filled with `values`, (max rows, cols).
    pub fn input_of(&mut self, name: &str, rows: Rows, cols: u32, values: Vec<f32>) -> Buf {
        let buf = self.plan.buf(name, rows, cols);
        self.inputs.push((buf, values));
        buf
    }

    /// A buffer that every step finds full of sentinels.
    pub fn output(&mut self, name: &str, rows: Rows, cols: u32) -> Buf {
        self.plan.buf(name, rows, cols)
    }

    /// Appends an operation to both lists of the plan.
    pub fn push(&mut self, op: impl Into<Op>) {
        self.plan.push(op).expect("a case's shapes fit");
    }

    /// A step to run and compare.
    pub fn step(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// `n` tokens with the ids `0..n` at positions `0..n`, all of them outputs.
    pub fn plain_step(&mut self, n: u32) {
        let ids: Vec<u32> = (0..n).collect();
        let outputs = n.min(self.plan.max_outputs.saturating_sub(GUARD_ROWS)) as usize;
        self.step(Step::sequence(&ids, 0, &ids[..outputs]));
    }
}

/// The smallest cache whose slots cover every step, for cases without attention. Beside an f16 cache, a backend may multiply many
/// rows in f16.
pub fn no_kv() -> KvDecl {
    KvDecl { layers: 1, slots: 4096, heads: 1, head_dim: 2, ty: KvType::F16 }
}

impl Case {
    /// Its plan, of core operations.
    pub fn plan(&self) -> Plan {
        self.setup().plan
    }

    fn setup(&self) -> Setup {
        let seed =
            self.name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ b as u64).wrapping_mul(0x100_0000_01b3));
        let mut setup = Setup::new(no_kv(), 1, 1, seed);
        (self.build)(&mut setup);
        setup.plan.buf("guard after", Rows::Tokens, 4);
        setup
    }

    /// The case's plan as `backend` is to run it; the backend's refusal if it cannot.
    fn plan_for(&self, setup: &Setup, backend: &dyn Backend) -> Result<Plan, String> {
        let mut plan = setup.plan.clone();
        if let OpKind::Fused(kind) = self.op {
            let refusal = fused_into(&mut plan, kind, backend);
            let used = |s: &Step| s.ops(&plan).1.iter().any(|op| op.kind() == self.op);
            if !setup.steps.iter().any(used) {
                return Err(refusal.unwrap_or_else(|| "does not match the pattern".to_string()));
            }
        }
        match check_supported(backend, &plan) {
            Err(Error::Unsupported { what, .. }) => Err(what.to_string()),
            _ => Ok(plan),
        }
    }

    /// Runs the case on `backend` and on the reference, and compares every buffer after every step. A case of a fused operation
    /// compares the fused form with its parts.
    pub fn run(&self, backend: &mut dyn Backend) -> Result<Outcome, Error> {
        let setup = self.setup();
        let plan = match self.plan_for(&setup, backend) {
            Ok(plan) => plan,
            Err(why) => return Ok(Outcome::Unsupported(why)),
        };
        let weights = Weights(setup.weights.clone());
        let mut reference = Reference::default();
        reference.load(&setup.plan, &weights, &mut |_| {})?;
        backend.load(&plan, &weights, &mut |_| {})?;
        setup.run_bare(backend)?;
        let mut worst = 0.0f64;
        for (i, step) in setup.steps.iter().enumerate() {
            let phase = step.phase();
            let precision = plan.ops(phase).iter().map(|op| backend.precision(&plan, op, phase)).max();
            let limit = match precision {
                Some(Precision::I8) => self.limit.max(I8_LIMIT),
                Some(Precision::F16) => self.limit.max(F16_LIMIT),
                Some(Precision::I16) => self.limit.max(I16_LIMIT),
                Some(Precision::F32) | None => self.limit,
            };
            setup.run_step(&mut reference, step)?;
            setup.run_step(backend, step)?;
            match self.verify(&setup, &plan, step, limit, &mut reference, backend)? {
                Ok(error) => worst = worst.max(error),
                Err(what) => return Ok(Outcome::Failed(format!("step {i}: {what}"))),
            }
        }
        Ok(Outcome::Passed(worst))
    }

    /// After a step: the largest error over the buffers, or what is wrong.
    fn verify(
        &self,
        setup: &Setup,
        plan: &Plan,
        step: &Step,
        limit: f64,
        reference: &mut Reference,
        backend: &mut dyn Backend,
    ) -> Result<Result<f64, String>, Error> {
        let ops = plan.ops(step.phase());
        let written: Vec<Buf> = ops.iter().flat_map(Op::writes).collect();
        let read: Vec<Buf> = ops.iter().flat_map(Op::reads).collect();
        let mut worst = 0.0f64;
        for b in plan.buf_ids() {
            let decl = &plan[b];
            let before = setup.before(b);
            let (mut want, mut got) = (vec![0.0; before.len()], vec![0.0; before.len()]);
            reference.read(b, &mut want)?;
            backend.read(b, &mut got)?;
            let used = plan.used_len(b, step);
            // A fused operation may leave anything in the rows of buffers between its parts.
            let scratch = matches!(self.op, OpKind::Fused(_)) && !read.contains(&b) && !decl.name.starts_with("guard");
            if !written.contains(&b) && !scratch {
                if let Some(i) = differs(&got, &before) {
                    return Ok(Err(format!("buffer {} is not the operation's, element {i} was written", decl.name)));
                }
                continue;
            }
            if let Some(i) = differs(&got[used..], &before[used..]) {
                let what =
                    format!("buffer {} element {} lies after its {used} in use and was written", decl.name, used + i);
                return Ok(Err(what));
            }
            if written.contains(&b) {
                match compare(&got[..used], &want[..used], limit) {
                    Ok(error) => worst = worst.max(error),
                    Err(what) => return Ok(Err(format!("buffer {}: {what}", decl.name))),
                }
            }
        }
        Ok(Ok(worst))
    }

    /// How far two backends that run the same kernels agree, over all results of all steps; None if one lacks the operation.
    pub fn agreement(&self, a: &mut dyn Backend, b: &mut dyn Backend) -> Result<Option<Agreement>, Error> {
        let setup = self.setup();
        let (Ok(plan), Ok(_)) = (self.plan_for(&setup, a), self.plan_for(&setup, b)) else {
            return Ok(None);
        };
        let weights = Weights(setup.weights.clone());
        let mut found = Agreement::default();
        a.load(&plan, &weights, &mut |_| {})?;
        b.load(&plan, &weights, &mut |_| {})?;
        for step in &setup.steps {
            setup.run_step(a, step)?;
            setup.run_step(b, step)?;
            for buf in plan.ops(step.phase()).iter().flat_map(Op::writes) {
                let mut v = vec![0.0; plan.used_len(buf, step)];
                let mut w = v.clone();
                a.read(buf, &mut v)?;
                b.read(buf, &mut w)?;
                found.add(&v, &w);
            }
        }
        Ok(Some(found))
    }
}

impl Setup {
    /// What a buffer holds before every step: its input, or sentinels.
    fn before(&self, b: Buf) -> Vec<f32> {
        let blank = if self.plan[b].elem == Elem::U32 { 54321.0 } else { SENTINEL };
        match self.inputs.iter().find(|(buf, _)| *buf == b) {
            Some((_, input)) => input.clone(),
            None => vec![blank; self.plan.buf_len(b)],
        }
    }

    /// Runs the first step with nothing in the buffers but the input rows that it has: a kernel that reads others reads
    /// uninitialized memory, which the simulator reports.
    fn run_bare(&self, backend: &mut dyn Backend) -> Result<(), Error> {
        let Some(step) = self.steps.first() else { return Ok(()) };
        for (b, values) in &self.inputs {
            backend.write(*b, &values[..self.plan.used_len(*b, step)])?;
        }
        backend.run(step)
    }

    fn run_step(&self, backend: &mut dyn Backend, step: &Step) -> Result<(), Error> {
        for b in self.plan.buf_ids() {
            backend.write(b, &self.before(b))?;
        }
        backend.run(step)
    }
}

/// How far results agree.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Agreement {
    /// Elements compared.
    pub elements: u64,
    /// Elements with the same bits.
    pub equal: u64,
    /// The largest distance in units in the last place, of numbers of the same sign.
    pub max_ulps: u32,
    error: f64,
    norm: f64,
}

impl Agreement {
    fn add(&mut self, a: &[f32], b: &[f32]) {
        for (a, b) in a.iter().zip(b) {
            self.elements += 1;
            self.equal += (a.to_bits() == b.to_bits()) as u64;
            if a.is_sign_negative() == b.is_sign_negative() {
                self.max_ulps = self.max_ulps.max(a.to_bits().abs_diff(b.to_bits()));
            }
            self.error += (*a as f64 - *b as f64).powi(2);
            self.norm += (*b as f64).powi(2);
        }
    }

    /// Normalized squared error.
    pub fn nmse(&self) -> f64 {
        if self.error == 0.0 { 0.0 } else { self.error / self.norm }
    }
}

/// Fuses `plan` for `backend`, but only into operations of this kind. Returns the backend's refusal, if it gave one.
fn fused_into(plan: &mut Plan, kind: FusedKind, backend: &dyn Backend) -> Option<String> {
    let mut refusal = None;
    fuse(plan, |plan, op, phase| {
        let verdict = backend.supports(plan, op, phase);
        if op.kind() == kind.into()
            && let Err(why) = &verdict
        {
            refusal = Some(why.to_string());
        }
        op.kind() == kind.into() && verdict.is_ok()
    });
    refusal
}

/// The first element whose bits differ.
fn differs(a: &[f32], b: &[f32]) -> Option<usize> {
    a.iter().zip(b).position(|(a, b)| a.to_bits() != b.to_bits())
}

/// Normalized squared error `sum((a - b)^2) / sum(b^2)`, in f64.
pub fn nmse(a: &[f32], b: &[f32]) -> f64 {
    let error: f64 = a.iter().zip(b).map(|(a, b)| (*a as f64 - *b as f64).powi(2)).sum();
    let norm: f64 = b.iter().map(|b| (*b as f64).powi(2)).sum();
    if error == 0.0 { 0.0 } else { error / norm }
}

fn compare(got: &[f32], want: &[f32], limit: f64) -> Result<f64, String> {
    let error = nmse(got, want);
    if error <= limit {
        return Ok(error);
    }
    let off = |i: &usize| (got[*i] as f64 - want[*i] as f64).abs();
    let worst = (0..got.len()).max_by(|a, b| off(a).total_cmp(&off(b))).unwrap_or(0);
    let first = (0..got.len()).find(|i| !off(i).is_finite()).unwrap_or(worst);
    Err(format!(
        "normalized squared error {error:.2e}, limit {limit:.0e}; element {first} is {}, the reference's is {}",
        got[first], want[first]
    ))
}
