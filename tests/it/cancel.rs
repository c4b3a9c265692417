//! Work that its caller ends: prompts and replies on slow devices stop between two operations, and a step has the same results however it
//! is divided.

use crate::common;
use pronk::backend::{Backend, Error, Memory, Unsupported, open};
use pronk::generate::{Outputs, Session, load_model_on};
use pronk::gguf::Gguf;
use pronk::model::Model;
use pronk::plan::{Buf, Op, Phase, Plan, Step, Weights};
use pronk::{End, GenerateOptions, LanguageModel, LoadOptions, SamplerOptions};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread::sleep;
use std::time::Duration;

/// What a slow device has done so far.
#[derive(Clone, Default)]
struct Counts {
    runs: Arc<AtomicUsize>,
    ops: Arc<AtomicUsize>,
}

/// A device whose operations each take 10 ms longer.
struct Slow {
    inner: Box<dyn Backend>,
    plan: Option<Plan>,
    counts: Counts,
}

impl Slow {
    fn new(inner: Box<dyn Backend>) -> (Box<Slow>, Counts) {
        let counts = Counts::default();
        (Box::new(Slow { inner, plan: None, counts: counts.clone() }), counts)
    }
}

impl Backend for Slow {
    fn name(&self) -> String {
        "slow".to_string()
    }

    fn supports(&self, plan: &Plan, op: &Op, phase: Phase) -> Result<(), Unsupported> {
        self.inner.supports(plan, op, phase)
    }

    fn memory(&self) -> Option<Memory> {
        None
    }

    fn load(&mut self, plan: &Plan, weights: &Weights, progress: &mut dyn FnMut(u64)) -> Result<(), Error> {
        self.plan = Some(plan.clone());
        self.inner.load(plan, weights, progress)
    }

    fn run(&mut self, step: &Step) -> Result<(), Error> {
        self.inner.run(step)?;
        let n = self.plan.as_ref().map_or(0, |plan| step.ops(plan).1.len());
        sleep(Duration::from_millis(10) * n as u32);
        self.counts.runs.fetch_add(1, SeqCst);
        self.counts.ops.fetch_add(n, SeqCst);
        Ok(())
    }

    fn write(&mut self, b: Buf, v: &[f32]) -> Result<(), Error> {
        self.inner.write(b, v)
    }

    fn read(&mut self, b: Buf, v: &mut [f32]) -> Result<(), Error> {
        self.inner.read(b, v)
    }
}

fn path() -> PathBuf {
    common::data("models/tiny-llama3.q4_0.gguf")
}

fn options() -> LoadOptions {
    LoadOptions { device: common::device("ref"), n_ctx: Some(64), ..LoadOptions::default() }
}

fn session_on(device: Box<dyn Backend>) -> Session {
    let model = Model::new(Gguf::open(&path()).expect("a model")).expect("hyperparameters");
    load_model_on(device, model, &options(), &mut |_| {}).unwrap_or_else(|e| panic!("{e}")).session
}

/// The logits after tokens that are fed in groups of these sizes.
fn logits(session: &mut Session, groups: &[usize]) -> Vec<f32> {
    let tokens: Vec<u32> = (1..).take(groups.iter().sum()).collect();
    let (mut rest, mut logits) = (&tokens[..], vec![]);
    session.truncate(0);
    for n in groups {
        let (group, more) = rest.split_at(*n);
        session.feed(group, Outputs::Last, |_, _| true).expect("fed");
        rest = more;
    }
    session.logits(&mut logits).expect("logits");
    logits
}

/// The speed of a device, which other programs change, decides how a step is divided: it must not decide what comes out.
#[test]
fn results_do_not_depend_on_how_a_prompt_is_divided() {
    for name in ["ref", "cpu", "wgpu", "sim"] {
        let Some(device) = common::is_here(name, open(common::device(name))) else { continue };
        let mut session = session_on(device);
        let whole = logits(&mut session, &[40]);
        assert!(logits(&mut session, &[16, 24]) == whole, "{name}: by tokens");
        assert!(logits(&mut session, &[24, 16]) == whole, "{name}: by tokens");

        let (slow, counts) = Slow::new(open(common::device(name)).expect("it was here"));
        let mut session = session_on(slow);
        logits(&mut session, &[40]); // shows how slow it is
        let before = counts.runs.load(SeqCst);
        assert!(logits(&mut session, &[40]) == whole, "{name}: by operations");
        let parts = counts.runs.load(SeqCst) - before;
        assert!(parts > 2, "{name}: {parts} parts");
    }
}

#[test]
fn a_slow_device_is_stopped_within_a_step() {
    let greedy = GenerateOptions {
        sampler: SamplerOptions { temperature: 0.0, ..SamplerOptions::default() },
        max_tokens: 4,
        ignore_ends: false,
        ..GenerateOptions::default()
    };
    let prompt: Vec<u32> = (1..31).collect();
    let device = || open(options().device).expect("the reference");
    let mut plain = LanguageModel::load_on(device(), path(), &options(), &mut |_| {}).expect("a model");
    let pieces = |model: &mut LanguageModel| -> Vec<Option<u32>> {
        let generator = model.generate_tokens(&prompt, greedy.clone()).expect("a prompt");
        generator.map(|piece| piece.expect("a piece").token).collect()
    };
    let want = pieces(&mut plain);
    assert_eq!(want.len(), 4);

    let (slow, counts) = Slow::new(device());
    let mut model = LanguageModel::load_on(slow, path(), &options(), &mut |_| {}).expect("a model");
    let n_ops = model.session().plan().prefill.len();
    assert_eq!(pieces(&mut model), want); // shows how slow it is
    for wanted in [1, n_ops / 2] {
        model.clear();
        let begin = counts.ops.load(SeqCst);
        let done = || counts.ops.load(SeqCst) - begin;
        let generator = model.generate_tokens(&prompt, greedy.clone()).expect("a prompt");
        let mut generator = generator.cancel_when(|| done() >= wanted);
        assert!(generator.next().is_none());
        assert_eq!((generator.end(), generator.stats().fed), (Some(End::Cancelled), 0));
        // A part takes about 30 ms: 3 operations.
        assert!(done() < wanted + n_ops / 2, "{} of {n_ops} operations ran, {wanted} wanted", done());
    }
    assert_eq!(pieces(&mut model), want, "a step that was stopped leaves no trace");

    // The step after the first token of the reply.
    let begin = counts.ops.load(SeqCst);
    let done = || counts.ops.load(SeqCst) - begin;
    let generator = model.generate_tokens(&prompt, greedy.clone()).expect("a prompt");
    let mut generator = generator.cancel_when(|| done() > n_ops);
    let first = generator.next().expect("a piece").expect("a piece");
    assert_eq!((first.token, done()), (want[0], n_ops), "one token of the prompt is fed again");
    assert!(generator.next().is_none() && generator.end() == Some(End::Cancelled));
    assert!(done() < 2 * n_ops, "{} operations", done());
    drop(generator);
    assert_eq!(pieces(&mut model), want, "nor does a step of the reply");
}
