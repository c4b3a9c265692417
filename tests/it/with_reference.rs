//! Ports that lack operations run whole models with those of the reference.

use crate::common;
use crate::common::program;
use pronk::LoadOptions;
use pronk::backend::cuda::{Cuda, Sim};
use pronk::backend::reference::Reference;
use pronk::backend::{Backend, DeviceChoice, Error, Footprint, Memory, Unsupported, WithReference, open};
use pronk::conformance::{Outcome, cases};
use pronk::generate::{LoadNotice, Outputs, load_model_on};
use pronk::gguf::Gguf;
use pronk::model::{Model, PlanOptions};
use pronk::plan::{Add, Buf, CoreKind, KvDecl, KvType, Op, OpKind, Phase, Plan, Rows, Step, SwiGlu, Weights, fuse};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A backend that has only some operations.
struct Port {
    inner: Box<dyn Backend>,
    has: fn(&Op) -> bool,
}

impl Backend for Port {
    fn name(&self) -> String {
        "port".to_string()
    }

    fn supports(&self, plan: &Plan, op: &Op, phase: Phase) -> Result<(), Unsupported> {
        match op.parts().iter().all(self.has) {
            true => self.inner.supports(plan, op, phase),
            false => Err(Unsupported("is not written yet".to_string())),
        }
    }

    fn memory(&self) -> Option<Memory> {
        None
    }

    fn load(&mut self, plan: &Plan, weights: &Weights, progress: &mut dyn FnMut(u64)) -> Result<(), Error> {
        pronk::backend::check_supported(self, plan)?;
        self.inner.load(plan, weights, progress)
    }

    fn run(&mut self, step: &Step) -> Result<(), Error> {
        self.inner.run(step)
    }

    fn write(&mut self, b: Buf, v: &[f32]) -> Result<(), Error> {
        self.inner.write(b, v)
    }

    fn read(&mut self, b: Buf, v: &mut [f32]) -> Result<(), Error> {
        self.inner.read(b, v)
    }
}

/// The operations of a port: none, all but attention, only products, every second one.
const PORTS: [fn(&Op) -> bool; 5] = [
    |_| false,
    |op| !matches!(op, Op::Attention(_)),
    |op| matches!(op, Op::MatMul(_)),
    |op| matches!(op, Op::Attention(_) | Op::KvStore(_) | Op::Argmax(_)),
    |op| !matches!(op, Op::Embed(_) | Op::Rope(_) | Op::Add(_) | Op::Argmax(_)),
];

fn completed(inner: Box<dyn Backend>, has: fn(&Op) -> bool) -> WithReference {
    WithReference::new(Box::new(Port { inner, has }))
}

/// Every value is in its place, whichever side writes it.
#[test]
fn every_case_passes() {
    for has in PORTS {
        let mut device = completed(Box::new(Reference::default()), has);
        for case in cases().iter().filter(|case| !case.name.contains("131072")) {
            let outcome = case.run(&mut device);
            let fused = matches!(case.op, OpKind::Fused(_));
            let passed =
                matches!(outcome, Ok(Outcome::Passed(0.0))) || matches!(outcome, Ok(Outcome::Unsupported(_)) if fused);
            assert!(passed, "{} {}: {outcome:?}", case.op, case.name);
        }
    }
}

/// Logits of a prompt fed in chunks, then token by token.
fn logits(device: Box<dyn Backend>) -> (Vec<f32>, Vec<LoadNotice>) {
    let gguf = Gguf::open(&common::data("models/tiny-llama3.q4_0.gguf")).expect("a model");
    let options = LoadOptions { n_ctx: Some(64), max_outputs: 64, ..LoadOptions::default() };
    let model = Model::new(gguf).expect("hyperparameters");
    let mut loaded = load_model_on(device, model, &options, &mut |_| {}).unwrap_or_else(|e| panic!("{e}"));
    let tokens: Vec<u32> = (1..40).collect();
    let mut logits = vec![];
    for part in [&tokens[..20], &tokens[20..23], &tokens[23..24]] {
        let keep = |_: usize, rows: &[f32]| {
            logits.extend_from_slice(rows);
            true
        };
        loaded.session.feed(part, Outputs::All, keep).expect("fed");
    }
    for _ in 0..4 {
        let token = loaded.session.argmax().expect("a choice");
        loaded.session.decode(token).expect("decoded");
        let mut row = vec![];
        loaded.session.logits(&mut row).expect("logits");
        logits.extend(row);
    }
    (logits, loaded.notices)
}

#[test]
fn a_model_gives_the_same_logits_and_says_what_ran_elsewhere() {
    let (reference, _) = logits(Box::new(Reference::default()));
    for has in PORTS {
        let (got, notices) = logits(Box::new(completed(Box::new(Reference::default()), has)));
        assert!(got == reference);
        let Some(LoadNotice::OnReference { device, ops }) = notices.last() else { panic!("{notices:?}") };
        assert_eq!(device, "port+ref");
        assert!(!ops.is_empty());
        // Keys and values are on one side: attention and the store move together.
        assert_eq!(ops.contains(&CoreKind::Attention.into()), ops.contains(&CoreKind::KvStore.into()), "{ops:?}");
    }
}

/// The same with kernels of other devices, which fuse operations.
#[test]
fn kernels_of_other_devices_are_completed() {
    let (reference, _) = logits(Box::new(Reference::default()));
    for name in ["wgpu", "sim"] {
        let Some(device) = common::is_here(name, open(common::device(name))) else { continue };
        let (got, _) = logits(Box::new(completed(device, PORTS[1])));
        let error = pronk::conformance::nmse(&got, &reference);
        assert!(error < 1e-5, "{name}: {error:e}");
    }
}

/// `y = x + x`, then `z` from `y`: a port that lacks one of the two operations runs each on another side.
fn two_operations() -> (Plan, [Buf; 3]) {
    let kv = KvDecl { layers: 1, slots: 16, heads: 1, head_dim: 2, ty: KvType::F16 };
    let mut plan = Plan::new(kv, 3, 1);
    let [x, y, z] = ["x", "y", "z"].map(|name| plan.buf(name, Rows::Tokens, 4));
    plan.push(Add { out: y, x, y: x }).expect("shapes fit");
    plan.push(SwiGlu { out: z, gate: y, up: y }).expect("shapes fit");
    (plan, [x, y, z])
}

/// A write of some rows, or a step that uses some, leaves the others of the same buffer as they were.
#[test]
fn rows_that_a_step_leaves_alone_stay() {
    let (plan, [x, y, z]) = two_operations();
    let results = |mut device: Box<dyn Backend>| {
        device.load(&plan, &Weights(vec![]), &mut |_| {}).expect("loaded");
        device.write(x, &[1.0; 12]).expect("written");
        let step = |n: usize, ops: Range<usize>| Step { ops: Some(ops), ..Step::sequence(&vec![0; n], 0, &[]) };
        device.run(&step(3, 0..1)).expect("run"); // y: 2.0 in three rows
        device.run(&step(1, 1..2)).expect("run"); // one row goes to the other side
        device.run(&step(3, 1..2)).expect("run"); // then all of them
        let mut all = vec![0.0; 24];
        device.read(z, &mut all[..12]).expect("read");
        device.write(y, &[7.0; 4]).expect("written");
        device.read(y, &mut all[12..]).expect("read");
        all
    };
    let reference = results(Box::<Reference>::default());
    let lacks: [fn(&Op) -> bool; 2] = [|op| !matches!(op, Op::Add(_)), |op| !matches!(op, Op::SwiGlu(_))];
    for has in lacks {
        assert_eq!(results(Box::new(completed(Box::new(Reference::default()), has))), reference);
    }
}

/// The simulator with only some operations; it tells what the loaded plan holds.
struct Holding {
    inner: Cuda<Sim>,
    has: fn(&Op) -> bool,
    held: Arc<AtomicU64>,
}

impl Backend for Holding {
    fn name(&self) -> String {
        "holding".to_string()
    }

    fn supports(&self, plan: &Plan, op: &Op, phase: Phase) -> Result<(), Unsupported> {
        match op.parts().iter().all(self.has) {
            true => self.inner.supports(plan, op, phase),
            false => Err(Unsupported("is not written yet".to_string())),
        }
    }

    fn memory(&self) -> Option<Memory> {
        self.inner.memory()
    }

    fn footprint(&self, plan: &Plan) -> Footprint {
        self.inner.footprint(plan)
    }

    fn load(&mut self, plan: &Plan, weights: &Weights, progress: &mut dyn FnMut(u64)) -> Result<(), Error> {
        self.inner.load(plan, weights, progress)?;
        let memory = self.inner.memory().expect("the simulator tells");
        self.held.store(memory.total - memory.free, Relaxed);
        Ok(())
    }

    fn run(&mut self, step: &Step) -> Result<(), Error> {
        self.inner.run(step)
    }

    fn write(&mut self, b: Buf, v: &[f32]) -> Result<(), Error> {
        self.inner.write(b, v)
    }

    fn read(&mut self, b: Buf, v: &mut [f32]) -> Result<(), Error> {
        self.inner.read(b, v)
    }
}

/// Both sides have all buffers; weights, tables and the cache are where their operations run.
#[test]
fn memory_is_that_of_both_sides() {
    let gguf = Gguf::open(&common::data("models/tiny-llama3.q4_0.gguf")).expect("a model");
    let model = Model::new(gguf).expect("hyperparameters");
    let options = PlanOptions { n_ctx: 8192, max_tokens: 256, max_outputs: 8, kv: KvType::F16 };
    let unfused = model.plan(&options).expect("a plan");
    let weights = model.weights(&unfused).expect("weights");
    let table = weights[unfused.rope_table().expect("a table")].len() as u64;
    let cache = unfused.kv.bytes();
    let lacks: [fn(&Op) -> bool; 3] =
        [|op| !matches!(op, Op::MatMul(_)), |op| !matches!(op, Op::Rope(_)), |op| !matches!(op, Op::Attention(_))];
    for (has, on_reference) in lacks.into_iter().zip([0, table, cache]) {
        let held = Arc::new(AtomicU64::new(0));
        let mut device = WithReference::new(Box::new(Holding { inner: Cuda::sim(), has, held: held.clone() }));
        let mut plan = unfused.clone();
        fuse(&mut plan, |plan, op, phase| device.supports(plan, op, phase).is_ok());
        device.load(&plan, &weights, &mut |_| {}).expect("loaded");
        let said = device.footprint(&plan).total();
        let took = held.load(Relaxed) + plan.buf_bytes() + on_reference;
        assert!(said.abs_diff(took) * 100 <= took, "{said} bytes said, {took} held");
        assert!(cache * 100 > took, "a cache that counts twice shows");
    }
}

#[test]
fn only_who_asks_for_it_gets_it() {
    let path = common::data("models/tiny-llama3.q4_0.gguf");
    let path = path.to_str().expect("UTF-8");
    let args = |device| ["run", "-m", path, "-p", "a", "-n", "2", "-c", "64", "--temp", "0", "--device", device];
    let done = program::run(&args("sim+ref"));
    assert!(done.stderr.contains("sim+ref: load"), "{}", done.stderr); // nothing to complete: no notice
    assert_eq!(done.stdout, program::run(&args("sim")).stdout);
    assert!("wgpu+ref".parse::<DeviceChoice>() != "wgpu".parse());
}
