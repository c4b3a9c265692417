//! Conformance: rows of data, run by one body on every backend and compared with the CPU reference.
//!
//! Each case is a small plan, loaded and run exactly as a model is. Every buffer is longer than the step needs and full of
//! sentinels: an operation that writes outside its rows, or to a buffer that is not its own, fails.

mod cases;
mod fused;
mod perf;

pub use cases::cases;
pub use perf::{PerfCase, perf_cases, single_cases, stream_bandwidth};

use crate::backend::{Backend, Error, Precision, check_supported, cpu::Cpu};
use crate::plan::{Buf, Elem, KvDecl, KvType, Op, Plan, Rows, Step, Weight, WeightDecl, Weights, fuse};
use crate::quant::GgmlType;
use crate::quant::{self, Random, random_blocks};
use bytes::Bytes;

/// Rows that every buffer has beyond the largest step of its case.
const GUARD_ROWS: u32 = 2;
/// For operations whose inputs are rounded to f16: 2^-12 relative on average, squared, for each of two factors.
const F16_LIMIT: f64 = 1e-6;
/// What unused elements hold: a value that no operation produces from the inputs.
const SENTINEL: f32 = -12345.5;

/// One case: a plan, its inputs and its steps.
pub struct Case {
    /// The operation: [`Op::stem`].
    pub stem: &'static str,
    /// Shapes and types, unique within the stem.
    pub name: String,
    /// Weight type, where the case is about one.
    pub ty: Option<GgmlType>,
    /// Largest allowed normalized squared error, `sum((a - b)^2) / sum(b^2)`, of a backend that computes in f32. 0 asks for
    /// equality. What a backend declares as its [`Precision`] may widen it.
    pub limit: f64,
    build: Box<dyn Fn(&mut Setup) + Send + Sync>,
}

/// What a case's builder fills in.
pub struct Setup {
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
        self.weights.push(random_blocks(ty, rows * cols, &mut self.rng).into());
        self.plan.weight(WeightDecl { name: format!("w{}", self.weights.len()), ty, rows, cols })
    }

    /// Root mean square of a weight's elements.
    pub fn rms(&self, w: Weight) -> f32 {
        let decl = &self.plan[w];
        let mut values = vec![0.0; decl.elements() as usize];
        quant::decode(decl.ty, &self.weights[w.0 as usize], &mut values);
        (values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32).sqrt()
    }

    /// An F32 weight of given values, one row per `cols`.
    pub fn weight_of(&mut self, values: &[f32], cols: u64) -> Weight {
        self.weights.push(Bytes::copy_from_slice(bytemuck::cast_slice(values)));
        let name = format!("w{}", self.weights.len());
        self.plan.weight(WeightDecl { name, ty: GgmlType::F32, rows: values.len() as u64 / cols, cols })
    }

    /// A buffer that every step finds filled with random values in (-scale, scale).
    pub fn input(&mut self, name: &str, rows: Rows, cols: u32, scale: f32) -> Buf {
        let n = self.plan.max_rows(rows) as usize * cols as usize;
        let values = (0..n).map(|_| self.rng.uniform(scale)).collect();
        self.input_of(name, rows, cols, values)
    }

    pub fn input_of(&mut self, name: &str, rows: Rows, cols: u32, values: Vec<f32>) -> Buf {
        let buf = self.plan.buf(name, rows, cols);
        self.inputs.push((buf, values));
        buf
    }

    pub fn output(&mut self, name: &str, rows: Rows, cols: u32) -> Buf {
        self.plan.buf(name, rows, cols)
    }

    pub fn push(&mut self, op: impl Into<Op>) {
        self.plan.push(op).expect("a case's shapes fit");
    }

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

/// The smallest cache whose slots cover every step, for cases without attention.
pub fn no_kv() -> KvDecl {
    KvDecl { layers: 1, slots: 4096, heads: 1, head_dim: 2, ty: KvType::F32 }
}

impl Case {
    fn setup(&self) -> Setup {
        let seed =
            self.name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ b as u64).wrapping_mul(0x100_0000_01b3));
        let mut setup = Setup::new(no_kv(), 1, 1, seed);
        (self.build)(&mut setup);
        setup.plan.buf("guard after", Rows::Tokens, 4);
        setup
    }

    /// Runs the case on `backend` and on the CPU, and compares every buffer after every step. A case of a fused operation
    /// compares the fused form with its parts.
    pub fn run(&self, backend: &mut dyn Backend) -> Result<Outcome, Error> {
        let Setup { plan, weights, inputs, steps, .. } = self.setup();
        let weights = Weights(weights);
        let mut tested = plan.clone();
        if fused(self.stem) {
            let refusal = fused_into(&mut tested, self.stem, backend);
            let used =
                steps.iter().any(|s| tested.ops(tested.phase(s.n_tokens())).iter().any(|op| op.stem() == self.stem));
            if !used {
                return Ok(Outcome::Unsupported(refusal.unwrap_or_else(|| "does not match the pattern".to_string())));
            }
        }
        if let Err(Error::Unsupported { what, .. }) = check_supported(backend, &tested) {
            return Ok(Outcome::Unsupported(what.to_string()));
        }

        let mut reference = Cpu::default();
        reference.load(&plan, &weights, &mut |_| {})?;
        backend.load(&tested, &weights, &mut |_| {})?;
        let mut worst = 0.0f64;
        for (i, step) in steps.iter().enumerate() {
            let phase = tested.phase(step.n_tokens());
            let precision = tested.ops(phase).iter().map(|op| backend.precision(&tested, op, phase)).max();
            let limit = match precision {
                Some(Precision::F16) => self.limit.max(F16_LIMIT),
                Some(Precision::F32) | None => self.limit,
            };
            match self.run_step(&tested, &inputs, step, limit, &mut reference, backend)? {
                Ok(error) => worst = worst.max(error),
                Err(what) => return Ok(Outcome::Failed(format!("step {i}: {what}"))),
            }
        }
        Ok(Outcome::Passed(worst))
    }

    /// The step's largest error over the buffers, or what is wrong.
    fn run_step(
        &self,
        plan: &Plan,
        inputs: &[(Buf, Vec<f32>)],
        step: &Step,
        limit: f64,
        reference: &mut Cpu,
        backend: &mut dyn Backend,
    ) -> Result<Result<f64, String>, Error> {
        let bufs = (0..plan.bufs.len() as u32).map(Buf);
        let written: Vec<Buf> = plan.ops(plan.phase(step.n_tokens())).iter().flat_map(Op::writes).collect();
        let read: Vec<Buf> = plan.ops(plan.phase(step.n_tokens())).iter().flat_map(Op::reads).collect();
        let mut before = vec![];
        for b in bufs.clone() {
            let blank = if plan[b].elem == Elem::U32 { 54321.0 } else { SENTINEL };
            let mut v = vec![blank; plan.buf_len(b)];
            if let Some((_, input)) = inputs.iter().find(|(buf, _)| *buf == b) {
                v.copy_from_slice(input);
            }
            reference.write(b, &v)?;
            backend.write(b, &v)?;
            before.push(v);
        }
        reference.run(step)?;
        backend.run(step)?;

        let mut worst = 0.0f64;
        for b in bufs {
            let decl = &plan[b];
            let (mut want, mut got) = (vec![0.0; plan.buf_len(b)], vec![0.0; plan.buf_len(b)]);
            reference.read(b, &mut want)?;
            backend.read(b, &mut got)?;
            let rows = match decl.rows {
                Rows::Tokens => step.n_tokens(),
                Rows::Outputs => step.n_outputs,
            };
            let used = rows as usize * decl.cols as usize;
            // A fused operation may leave anything in the rows of buffers between its parts.
            let scratch = !written.contains(&b) && !read.contains(&b) && !decl.name.starts_with("guard");
            if scratch && fused(self.stem) {
                want.truncate(0);
                got.drain(..used);
                want.extend_from_slice(&before[b.0 as usize][used..]);
                if let Some(i) = differs(&got, &want) {
                    return Ok(Err(format!(
                        "buffer {} row {} was written, rows end at {rows}",
                        decl.name,
                        rows as usize + i / decl.cols as usize
                    )));
                }
                continue;
            }
            if !written.contains(&b) {
                if let Some(i) = differs(&got, &before[b.0 as usize]) {
                    return Ok(Err(format!("buffer {} is not the operation's, element {i} was written", decl.name)));
                }
                continue;
            }
            if let Some(i) = differs(&got[used..], &before[b.0 as usize][used..]) {
                return Ok(Err(format!(
                    "buffer {} element {} lies after row {rows} and was written",
                    decl.name,
                    used + i
                )));
            }
            match compare(&got[..used], &want[..used], limit) {
                Ok(error) => worst = worst.max(error),
                Err(what) => return Ok(Err(format!("buffer {}: {what}", decl.name))),
            }
        }
        Ok(Ok(worst))
    }
}

/// Fuses `plan` for `backend`, but only into operations of this stem. Returns the backend's refusal, if it gave one.
fn fused_into(plan: &mut Plan, stem: &str, backend: &dyn Backend) -> Option<String> {
    let mut refusal = None;
    fuse(plan, |plan, op, phase| {
        let verdict = backend.supports(plan, op, phase);
        if op.stem() == stem
            && let Err(why) = &verdict
        {
            refusal = Some(why.to_string());
        }
        op.stem() == stem && verdict.is_ok()
    });
    refusal
}

fn fused(stem: &str) -> bool {
    crate::plan::fused_stems().any(|s| s == stem)
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
        "normalized squared error {error:.2e}, limit {limit:.0e}; element {first} is {}, the CPU's is {}",
        got[first], want[first]
    ))
}
