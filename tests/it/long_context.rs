//! Long contexts: rotations and attention at their end, their memory, and full contexts.

use crate::common;
use pronk::backend::cpu::Cpu;
use pronk::backend::cuda::{Cuda, Driver};
use pronk::backend::reference::Reference;
#[cfg(feature = "wgpu")]
use pronk::backend::wgpu::Wgpu;
use pronk::backend::{Backend, BackendOptions, DeviceChoice};
use pronk::generate::{LoadEvent, LoadOptions, Outputs, load, load_model};
use pronk::gguf::Gguf;
use pronk::model::{Model, PlanOptions, RopeScaling, Yarn};
use pronk::plan::*;
use pronk::quant::Random;

/// Llama 3.1's context.
const LONG: u32 = 131_072;

/// Runs `test` on every backend of this machine.
fn on_all(mut test: impl FnMut(&mut dyn Backend)) {
    test(&mut Reference::default());
    test(&mut Cpu::default());
    test(&mut Cuda::sim());
    #[cfg(feature = "wgpu")]
    if let Some(mut device) = common::is_here("wgpu", Wgpu::open(None)) {
        test(&mut device);
    }
}

fn model(name: &str) -> Model {
    let gguf = Gguf::open(&common::data(&format!("models/{name}"))).unwrap_or_else(|e| panic!("{e}"));
    Model::new(gguf).unwrap_or_else(|e| panic!("{e}"))
}

/// The rotation table of the model for this number of positions.
fn rope_table(model: &Model) -> (WeightDecl, bytes::Bytes) {
    let options = PlanOptions { n_ctx: LONG, max_tokens: 1, max_outputs: 1, kv: KvType::F16 };
    let plan = model.plan(&options).expect("a plan");
    let table = plan.rope_table().expect("a model rotates");
    (plan[table].clone(), model.weights(&plan).expect("weights")[table].clone())
}

/// The angle per position of pair `i` of a head, from the formulas of the papers. `kept`: YaRN's share of the pair's
/// own frequency.
fn frequency(model: &Model, i: u32, divisor: f64, kept: f64) -> f64 {
    let c = &model.config;
    let own = 1.0 / (c.rope_base as f64).powf(2.0 * i as f64 / c.rope_dim as f64) / divisor;
    own * kept + own / c.rope_scaling.factor as f64 * (1.0 - kept)
}

/// Rotates random vectors at the ends of the context and compares with f64 arithmetic. `frequencies`: of each pair.
fn rotates_exactly(what: &str, model: &Model, frequencies: &[f64]) {
    const POSITIONS: [u32; 8] = [0, 1, 8191, 8192, 65535, 65536, 131_070, 131_071];
    let c = &model.config;
    let cols = 2 * c.head_dim;
    let mut plan = Plan::new(KvDecl { layers: 1, slots: 16, heads: 1, head_dim: 32, ty: KvType::F32 }, 8, 1);
    let x = plan.buf("x", Rows::Tokens, cols);
    let (decl, bytes) = rope_table(model);
    let table = plan.weight(decl);
    plan.push(Rope { x, table, head_dim: c.head_dim, pairing: Pairing::Neighbours }).expect("shapes fit");
    let mut step = Step::sequence(&[0; POSITIONS.len()], 0, &[]);
    step.rows.iter_mut().zip(POSITIONS).for_each(|(row, position)| row.position = position);
    let mut random = Random::new(5);
    let values: Vec<f32> = (0..POSITIONS.len() as u32 * cols).map(|_| random.uniform(1.0)).collect();
    let weights = Weights(vec![bytes]);
    on_all(|device| {
        device.load(&plan, &weights, &mut |_| {}).unwrap_or_else(|e| panic!("{what}: {e}"));
        device.write(x, &values).expect("writes");
        device.run(&step).unwrap_or_else(|e| panic!("{what}: {e}"));
        let mut got = vec![0.0; values.len()];
        device.read(x, &mut got).expect("reads");
        let mut worst = 0.0f64;
        for (pair, (v, got)) in values.chunks_exact(2).zip(got.chunks_exact(2)).enumerate() {
            let (row, in_head) = (2 * pair / cols as usize, pair % (c.head_dim as usize / 2));
            let (v0, v1) = (v[0] as f64, v[1] as f64);
            let want = match frequencies.get(in_head) {
                Some(frequency) => {
                    let (sin, cos) = (POSITIONS[row] as f64 * frequency).sin_cos();
                    let magnitude = c.rope_scaling.magnitude as f64;
                    [magnitude * (v0 * cos - v1 * sin), magnitude * (v0 * sin + v1 * cos)]
                }
                None => [v0, v1],
            };
            for (want, got) in want.into_iter().zip(got) {
                worst = worst.max((want - *got as f64).abs());
            }
        }
        println!("{what} on {}: largest error {worst:.1e}", device.name());
        assert!(worst <= 1e-5, "{what} on {}: {worst:e}", device.name());
    });
}

#[test]
fn rotations_at_the_far_end_are_exact() {
    let pairs = |model: &Model| 0..model.config.rope_dim / 2;
    let mut llama3 = model("tiny-llama3.q4_0.gguf");
    let plain: Vec<f64> = pairs(&llama3).map(|i| frequency(&llama3, i, 1.0, 1.0)).collect();
    rotates_exactly("plain", &llama3, &plain);

    llama3.config.rope_scaling = RopeScaling { factor: 4.0, ..RopeScaling::NONE };
    let linear: Vec<f64> = plain.iter().map(|f| f / 4.0).collect();
    rotates_exactly("linear", &llama3, &linear);

    // From the paper: a pair keeps its frequency with at least 32 turns in the original context, and keeps none of it
    // with at most one turn; between them the share is linear in the index of the pair.
    let yarn = Yarn { extrapolation: 1.0, beta_fast: 32.0, beta_slow: 1.0, original_context: 8192 };
    llama3.config.rope_scaling = RopeScaling { factor: 16.0, magnitude: 1.25, yarn: Some(yarn) };
    let turning = |turns: f64| {
        let c = &llama3.config;
        let ratio = 8192.0 / (turns * 2.0 * std::f64::consts::PI);
        c.rope_dim as f64 * ratio.ln() / (2.0 * (c.rope_base as f64).ln())
    };
    let (fast, slow) = (turning(32.0).floor(), turning(1.0).ceil());
    assert!(fast > 0.0 && slow > fast && slow < llama3.config.rope_dim as f64 / 2.0, "all three kinds: {fast}, {slow}");
    let kept = |i: u32| 1.0 - ((i as f64 - fast) / (slow - fast)).clamp(0.0, 1.0);
    let yarn: Vec<f64> = pairs(&llama3).map(|i| frequency(&llama3, i, 1.0, kept(i))).collect();
    rotates_exactly("YaRN", &llama3, &yarn);

    let llama31 = model("tiny-llama31.q4_0.gguf");
    let file = llama31.gguf().expect("a file");
    let data = &file.tensor("rope_freqs.weight").expect("Llama 3.1's divisors").data;
    let divisors = data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]) as f64);
    let divided: Vec<f64> = pairs(&llama31).zip(divisors).map(|(i, d)| frequency(&llama31, i, d, 1.0)).collect();
    assert!(divided.len() == llama31.config.rope_dim as usize / 2 && divided[63] < frequency(&llama31, 63, 1.0, 1.0));
    rotates_exactly("rope_freqs", &llama31, &divided);
}

/// One query over all slots of a long cache, and one over its last half, against the reference.
fn attends_to_all(ty: KvType) {
    // Not a divisor of 2^16: slots that differ only in their upper bits hold different keys.
    const CHUNK: u32 = 12_345;
    const HEAD_DIM: u32 = 64;
    const GROUP: u32 = 2;
    let mut plan = Plan::new(KvDecl { layers: 1, slots: LONG, heads: 1, head_dim: HEAD_DIM, ty }, CHUNK, 1);
    let k = plan.buf("k", Rows::Tokens, HEAD_DIM);
    let v = plan.buf("v", Rows::Tokens, HEAD_DIM);
    let q = plan.buf("q", Rows::Tokens, GROUP * HEAD_DIM);
    let out = plan.buf("out", Rows::Tokens, GROUP * HEAD_DIM);
    plan.push(KvStore { k, v, layer: 0 }).expect("shapes fit");
    plan.push(Attention { out, q, layer: 0, scale: 0.125 }).expect("shapes fit");
    let mut random = Random::new(9);
    let mut fill =
        |buf: Buf, scale: f32| -> Vec<f32> { (0..plan.buf_len(buf)).map(|_| random.uniform(scale)).collect() };
    // Values around 1, so that the size of rounding is known.
    let values = fill(v, 0.5).into_iter().map(|v| v + 1.0).collect();
    let inputs = [(k, fill(k, 1.0)), (v, values), (q, fill(q, 4.0))];

    let run = |device: &mut dyn Backend| -> Vec<f32> {
        let fails = |e| panic!("{ty:?}: {e}");
        device.load(&plan, &Weights(vec![]), &mut |_| {}).unwrap_or_else(fails);
        inputs.iter().for_each(|(buf, values)| device.write(*buf, values).unwrap_or_else(fails));
        for start in (0..LONG).step_by(CHUNK as usize) {
            let tokens = vec![0; CHUNK.min(LONG - start) as usize];
            let step = Step { ops: Some(0..1), ..Step::sequence(&tokens, start, &[]) };
            device.run(&step).unwrap_or_else(fails);
        }
        let mut step = Step::sequence(&[0, 0], LONG - 2, &[]);
        step.rows[0].kv_len = LONG; // the key of the next row is there already
        (step.rows[1].kv_start, step.rows[1].kv_len) = (LONG / 2, LONG / 2);
        device.run(&step).unwrap_or_else(fails);
        let mut got = vec![0.0; 2 * (GROUP * HEAD_DIM) as usize];
        device.read(out, &mut got).unwrap_or_else(fails);
        got
    };
    let want = run(&mut Reference::default());
    // The difference of a mean from 1 depends on all values: other slots would give another mean.
    let spread = (want.iter().map(|v| (v - 1.0) * (v - 1.0)).sum::<f32>() / want.len() as f32).sqrt();
    assert!((5e-4..5e-2).contains(&spread), "{spread}");
    on_all(|device| {
        let got = run(device);
        let worst = got.iter().zip(&want).map(|(got, want)| (got - want).abs()).fold(0.0, f32::max);
        println!("{ty:?} cache of {LONG} slots on {}: largest error {worst:.1e}, spread {spread:.1e}", device.name());
        // A running sum of 2^17 numbers: each addition rounds by 2^-25 of it on average, 1e-5 by chance.
        assert!(worst <= 5e-5, "{ty:?} cache on {}: {worst:e}", device.name());
    });
}

#[test]
fn attention_sees_every_slot_of_a_long_cache() {
    attends_to_all(KvType::F16);
    attends_to_all(KvType::Q8_0);
}

/// Weights stay in the file.
const UNPACKED: BackendOptions = BackendOptions { repack: false, precise: false };

/// The memory that a backend estimates for a plan is what it allocates, within 1%.
#[test]
fn memory_is_what_was_said() {
    let model = model("tiny-llama31.q4_0.gguf");
    for (n_ctx, kv) in
        [2048, 16384].into_iter().flat_map(|n| [KvType::F32, KvType::F16, KvType::Q8_0].map(|kv| (n, kv)))
    {
        let options = PlanOptions { n_ctx, max_tokens: 256, max_outputs: 8, kv };
        let plan = model.plan(&options).expect("a plan");
        let weights = model.weights(&plan).expect("weights");
        let loaded = |device: &mut dyn Backend| -> u64 {
            let mut plan = plan.clone();
            fuse(&mut plan, |plan, op, phase| device.supports(plan, op, phase).is_ok());
            device.load(&plan, &weights, &mut |_| {}).unwrap_or_else(|e| panic!("{e}"));
            device.footprint(&plan).total()
        };
        let agree = |device: &str, said: u64, took: u64| {
            println!("{device}, context {n_ctx}, {kv:?} cache: {said} bytes said, {took} allocated");
            assert!(
                said.abs_diff(took) * 100 <= took,
                "{device}, context {n_ctx}, {kv:?}: {said} said, {took} allocated"
            );
        };
        // The rotation table is the only weight that is not in the file.
        let table = weights[plan.rope_table().expect("a table")].len() as u64;
        let mut reference = Reference::default();
        let said = loaded(&mut reference);
        agree("ref", said, reference.allocated() + table);
        for options in [BackendOptions::default(), BackendOptions { precise: true, ..UNPACKED }, UNPACKED] {
            let mut cpu = Cpu::default();
            cpu.configure(options);
            let said = loaded(&mut cpu);
            agree("cpu", said, cpu.allocated() + table);
        }
        let mut sim = Cuda::sim();
        let said = loaded(&mut sim);
        let memory = sim.driver().memory().expect("the simulator tells");
        agree("sim", said, memory.total - memory.free);
        #[cfg(feature = "wgpu")]
        if let Some(mut wgpu) = common::is_here("wgpu", Wgpu::open(None)) {
            let said = loaded(&mut wgpu);
            agree("wgpu", said, wgpu.allocated());
        }
    }
}

/// A context of 1 GiB is announced before it is allocated. Pages that are not touched take no memory.
#[test]
fn a_large_context_is_stated_first() {
    let options = LoadOptions { device: DeviceChoice::CPU, n_ctx: Some(1 << 20), ..LoadOptions::default() };
    let (mut stated, mut done) = (vec![], false);
    let loaded = load_model(model("tiny-llama3.q4_0.gguf"), &options, &mut |event| match event {
        LoadEvent::Weights { .. } => done = true,
        LoadEvent::LargeContext { .. } => {
            assert!(!done, "before the weights");
            stated.push(event.to_string());
        }
    });
    loaded.map_or_else(|e| panic!("{e}"), drop);
    assert!(done);
    assert!(stated.len() == 1 && stated[0].starts_with("a context of 1048576 tokens takes 1.3 GiB ("), "{stated:?}");
    assert!(stated[0].contains(" + 1.0 GiB KV cache + ") && stated[0].ends_with(" free on cpu"), "{stated:?}");
}

#[test]
fn a_shifted_context_is_a_fresh_one_of_what_was_kept() {
    let wgpu = common::device("wgpu");
    let wgpu = common::is_here("wgpu", pronk::backend::open(wgpu)).map(|_| wgpu);
    let sim = Some(common::device("sim"));
    for device in [Some(DeviceChoice::CPU), sim, wgpu].into_iter().flatten() {
        let options = LoadOptions {
            device,
            n_ctx: Some(16),
            kv: KvType::F16,
            chunk: 16,
            max_outputs: 1,
            ..LoadOptions::default()
        };
        let path = common::data("models/tiny-llama3.q4_0.gguf");
        let session = || load(&path, &options, &mut |_| {}).unwrap_or_else(|e| panic!("{e}")).session;
        let feed = |session: &mut pronk::generate::Session, tokens: &[u32]| {
            session.feed(tokens, Outputs::Last, |_, _| true).unwrap_or_else(|e| panic!("{e}"));
        };
        const KEEP: usize = 3;
        let mut long = session();
        let mut held = vec![405, 42, 89, 118, 90];
        feed(&mut long, &held);
        let (mut got, mut want, mut shifts) = (vec![], vec![], 0);
        for i in 0..40 {
            if long.room() == 0 {
                let before = held.clone();
                let dropped = long.shift(&mut held, KEEP, |_, _| true).unwrap_or_else(|e| panic!("{e}"));
                assert_eq!(dropped, (before.len() - KEEP) / 2);
                assert_eq!(held, [&before[..KEEP], &before[KEEP + dropped..]].concat());
                shifts += 1;

                let mut fresh = session();
                feed(&mut fresh, &held[..KEEP]);
                feed(&mut fresh, &held[KEEP..]);
                let next = 7 * i % 500;
                feed(&mut fresh, &[next]);
                fresh.logits(&mut want).expect("logits");
                feed(&mut long, &[next]);
                held.push(next);
                long.logits(&mut got).expect("logits");
                assert_eq!(got, want, "{device:?}");
            }
            let next = long.argmax().expect("a choice");
            if long.room() > 0 {
                feed(&mut long, &[next]);
                held.push(next);
            }
            assert_eq!(long.n_past() as usize, held.len());
        }
        assert!(shifts >= 3, "{shifts} shifts");
        // All tokens are kept: there is nothing to drop.
        let n = held.len();
        assert_eq!(long.shift(&mut held, n, |_, _| true).ok(), Some(0));
        assert_eq!(held.len(), n);
    }
}
