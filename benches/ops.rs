//! Times every operation at the shapes of SmolLM2 and of a Llama 3 8B layer, a product with every tensor type, and a
//! whole decode step, on every device of this machine. Throughput is in bytes that any kernel of the operation must
//! move.
//!
//! `cargo bench` runs all; `cargo bench -- 'cpu/smollm2-135m/mat_mul'` some.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pronk::backend::{self, Backend, DeviceChoice};
use pronk::conformance::perf_cases;
use pronk::generate::{LoadOptions, Outputs, load_model};
use pronk::gguf::GgmlType;
use pronk::model::{Shape, Synth};
use pronk::plan::StepSize;
use pronk::quant::FORMATS;
use std::time::Duration;

const SHAPES: [&str; 2] = ["smollm2-135m", "llama3-8b"];
/// Number of KV slots that attention reads.
const KV_LEN: u32 = 512;

fn shape(name: &str) -> Shape {
    Shape::find(name).expect("a known shape")
}

/// Every device that can be opened, with its name, except the simulator: `pronk ops counters` counts its work instead.
fn devices() -> Vec<(String, DeviceChoice)> {
    let ids = backend::available().into_iter().map(|d| d.id).filter(|id| id != "sim");
    ids.map(|id| (id.clone(), id.parse().expect("a listed device's id is a choice"))).collect()
}

fn open(choice: DeviceChoice) -> Box<dyn Backend> {
    backend::open(choice).unwrap_or_else(|e| panic!("{e}"))
}

fn operations(c: &mut Criterion) {
    for (device, choice) in devices() {
        for name in SHAPES {
            let mut group = c.benchmark_group(format!("{device}/{name}"));
            group.sample_size(10).warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(400));
            for mut case in perf_cases(&shape(name), GgmlType::Q4_0, 1, KV_LEN) {
                let mut backend = open(choice);
                if let Err(e) = case.load(&mut *backend) {
                    eprintln!("{device}/{name}/{}: not measured: {e}", case.op);
                    continue;
                }
                group.throughput(Throughput::Bytes(case.cost().bytes()));
                group.bench_function(BenchmarkId::new(case.op.stem(), &case.name), |b| {
                    b.iter(|| case.run(&mut *backend).unwrap_or_else(|e| panic!("{e}")));
                });
            }
        }
    }
}

/// The product with Llama 3.2 1B's `ffn_gate`, in every tensor type.
fn types(c: &mut Criterion) {
    for (device, choice) in devices() {
        let mut group = c.benchmark_group(format!("{device}/types"));
        group.sample_size(10).warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(400));
        for format in &FORMATS {
            let ty = format.ty;
            let cases = perf_cases(&Shape { n_vocab: 32, ..shape("llama3.2-1b") }, ty, 1, KV_LEN);
            let Some(mut case) = cases.into_iter().find(|case| case.name.starts_with("ffn_gate")) else { continue };
            let mut backend = open(choice);
            if let Err(e) = case.load(&mut *backend) {
                eprintln!("{device}/{ty}: not measured: {e}");
                continue;
            }
            group.throughput(Throughput::Bytes(case.cost().bytes()));
            group.bench_function(ty.name(), |b| {
                b.iter(|| case.run(&mut *backend).unwrap_or_else(|e| panic!("{e}")));
            });
        }
    }
}

/// Decodes one token with SmolLM2, and with two layers and the head of Llama 3 8B.
fn decode_step(c: &mut Criterion) {
    let two_layers = Shape { n_layers: 2, ..shape("llama3-8b") };
    let models = [("smollm2-135m", shape("smollm2-135m")), ("llama3-8b, 2 layers", two_layers)];
    for (device, choice) in devices() {
        let mut group = c.benchmark_group(format!("{device}/decode step"));
        group.sample_size(10).warm_up_time(Duration::from_millis(100)).measurement_time(Duration::from_millis(400));
        for (name, shape) in &models {
            let options =
                LoadOptions { device: choice, n_ctx: Some(KV_LEN), chunk: 64, max_outputs: 1, ..Default::default() };
            let loaded =
                load_model(Synth { shape: *shape, ty: GgmlType::Q4_0, seed: 1 }.model(), &options, &mut |_| {});
            let mut session = loaded.unwrap_or_else(|e| panic!("{e}")).session;
            let load = StepSize { n_tokens: 1, n_outputs: 1, kv_len: KV_LEN as u64 };
            group.throughput(Throughput::Bytes(session.plan().cost(load).bytes()));
            session.feed(&vec![1; KV_LEN as usize - 1], Outputs::Last, |_, _| true).expect("prefill");
            group.bench_function(*name, |b| {
                b.iter(|| {
                    session.truncate(KV_LEN - 1);
                    session.decode(1).expect("decode");
                    session.argmax().expect("argmax")
                });
            });
        }
    }
}

criterion_group!(benches, operations, types, decode_step);
criterion_main!(benches);
