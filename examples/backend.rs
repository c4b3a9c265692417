//! A backend outside of the library: it counts the operations, and runs them on the reference.
//! `cargo run --release --example backend -- MODEL.gguf "Once upon a time"`

use pronk::backend::{Backend, Error, Footprint, Memory, Unsupported, reference::Reference};
use pronk::plan::{Buf, Op, Phase, Plan, Step, Weights};
use pronk::{LanguageModel, LoadOptions};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Default)]
struct Counting {
    reference: Reference,
    plan: Option<Plan>,
    counts: Arc<Mutex<BTreeMap<&'static str, u64>>>,
}

impl Backend for Counting {
    fn name(&self) -> String {
        "counting".to_string()
    }

    fn supports(&self, plan: &Plan, op: &Op, phase: Phase) -> Result<(), Unsupported> {
        self.reference.supports(plan, op, phase)
    }

    fn memory(&self) -> Option<Memory> {
        self.reference.memory()
    }

    fn footprint(&self, plan: &Plan) -> Footprint {
        self.reference.footprint(plan)
    }

    fn load(&mut self, plan: &Plan, weights: &Weights, progress: &mut dyn FnMut(u64)) -> Result<(), Error> {
        self.plan = Some(plan.clone());
        self.reference.load(plan, weights, progress)
    }

    fn run(&mut self, step: &Step) -> Result<(), Error> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for op in self.plan.iter().flat_map(|plan| step.ops(plan).1) {
            *counts.entry(op.kind().stem()).or_default() += 1;
        }
        self.reference.run(step)
    }

    fn write(&mut self, b: Buf, v: &[f32]) -> Result<(), Error> {
        self.reference.write(b, v)
    }

    fn read(&mut self, b: Buf, v: &mut [f32]) -> Result<(), Error> {
        self.reference.read(b, v)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(path), Some(prompt), None) = (args.next(), args.next(), args.next()) else {
        return Err("usage: backend MODEL.gguf TEXT".into());
    };
    let backend = Counting::default();
    let counts = backend.counts.clone();
    let mut model = LanguageModel::load_on(Box::new(backend), path, &LoadOptions::default(), &mut |_| {})?;
    for piece in model.generate(&prompt)?.take(32) {
        print!("{}", piece?.text);
    }
    println!();
    for (op, n) in counts.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        println!("{op}: {n}");
    }
    Ok(())
}
