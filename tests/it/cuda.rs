//! The CUDA backend as a device: errors, the debugging loop, what a step costs. Results: conformance.rs, golden.rs.

use crate::common;
use crate::common::program::{fails, run};
use pronk::backend::cuda::{Cuda, Driver, Entry, MIXED_TYPES, Sim, entries};
use pronk::backend::reference::Reference;
use pronk::backend::{Backend, DeviceChoice, Error, Precision, available, check_supported, open};
use pronk::conformance::{Case, cases, nmse, single_cases};
use pronk::gguf::Gguf;
use pronk::model::{Model, PlanOptions, Shape};
use pronk::plan::*;
use pronk::quant::{self, GgmlType, Random, random_blocks};
use std::collections::BTreeSet;

fn tiny() -> String {
    common::data("models/tiny-llama3.q4_0.gguf").display().to_string()
}

/// The tiny model's plan and weights.
fn model(max_tokens: u32) -> (Plan, Weights) {
    model_with(KvType::F16, max_tokens)
}

fn model_with(kv: KvType, max_tokens: u32) -> (Plan, Weights) {
    let gguf = Gguf::open(tiny().as_ref()).expect("the tiny model");
    let model = Model::new(gguf).expect("its hyperparameters");
    let options = PlanOptions { n_ctx: 64, max_tokens, max_outputs: 4, kv };
    let plan = model.plan(&options).expect("its plan");
    let weights = model.weights(&plan).expect("its weights");
    (plan, weights)
}

fn fused(mut plan: Plan, device: &dyn Backend) -> Plan {
    fuse(&mut plan, |plan, op, phase| device.supports(plan, op, phase).is_ok());
    plan
}

#[test]
fn names_are_parsed() {
    for name in ["cuda", "cuda:3", "sim", "cuda:1+ref"] {
        let Ok(DeviceChoice::Named(parsed)) = name.parse() else { panic!("{name} is a device's name") };
        assert_eq!(parsed.to_string(), name);
    }
    for wrong in [
        "cuda:",
        "cuda:-1",
        "cuda:x",
        "sim:0",
        "CUDA",
        "+ref",
        "cuda+",
        "cuda+ref:1",
        "cuda:+1",
        "cuda:01",
        "ref+ref",
        "auto+ref",
    ] {
        let error = wrong.parse::<DeviceChoice>().expect_err(wrong).to_string();
        assert!(error.starts_with(wrong) && error.contains("cuda:N"), "{error}");
    }
}

#[test]
fn a_missing_driver_is_one_line_that_says_what_was_looked_for() {
    if let Ok(gpu) = open(common::device("cuda")) {
        return println!("skipped: this machine has a CUDA driver and {}", gpu.name());
    }
    let with = |device: &str, parts: &[&str]| {
        fails(&["run", "-m", &tiny(), "-p", "x", "--device", device], parts);
    };
    with("cuda", &["--device cuda: ", "; available: cpu, "]);
    with("cuda:1", &["--device cuda:1: ", "; available: cpu, "]);
    let error = Cuda::open(None).err().expect("no GPU");
    let known = ["no CUDA driver (libcuda.so.1 not found)", "CUDA_ERROR_NO_DEVICE", "the driver lists 0 GPUs"];
    assert!(known.iter().any(|k| error.contains(k)) || error.contains("the driver is for CUDA"), "{error}");
    assert!(open(DeviceChoice::Auto).is_ok(), "auto goes on to the next device");
}

#[test]
fn the_simulator_is_listed_and_never_chosen_by_itself() {
    let sim = available().into_iter().find(|d| d.id == "sim").expect("sim is listed");
    assert!(!sim.is_gpu);
    assert_ne!(open(DeviceChoice::Auto).expect("a device").name(), "sim");
}

#[test]
fn the_program_runs_on_the_simulator() {
    let on =
        |device: &str| run(&["run", "-m", &tiny(), "-p", "Hello", "-n", "3", "--temp", "0", "--device", device]).stdout;
    assert_eq!(on("sim"), on("ref"));
}

/// One token and several, after every operation: every buffer that it wrote, against the reference's.
fn stops_anywhere(device: &mut dyn Backend) {
    let (plan, weights) = model(12);
    let mut cpu = Reference::default();
    cpu.load(&plan, &weights, &mut |_| {}).expect("loads");
    device.load(&plan, &weights, &mut |_| {}).expect("loads");
    for (tokens, outputs) in [(&[1][..], &[0][..]), (&[5, 6, 7], &[2, 0]), (&[9; 12], &[11])] {
        let step = Step::sequence(tokens, 0, outputs);
        let phase = step.phase();
        for (i, op) in plan.ops(phase).iter().enumerate() {
            let stopped = Step { ops: Some(0..i + 1), ..step.clone() };
            cpu.run(&stopped).expect("runs");
            device.run(&stopped).unwrap_or_else(|e| panic!("{e}"));
            for b in op.writes() {
                let rows = if plan[b].rows == Rows::Tokens { step.n_tokens() } else { step.n_outputs };
                let mut want = vec![0.0; (rows * plan[b].cols) as usize];
                let mut got = want.clone();
                cpu.read(b, &mut want).expect("reads");
                device.read(b, &mut got).unwrap_or_else(|e| panic!("{e}"));
                let error = nmse(&got, &want);
                let what = format!("{} tokens, op {i} ({}), buffer {}", tokens.len(), op.kind(), plan[b].name);
                assert!(error < 1e-5, "{what}: {error:e}");
            }
        }
    }
}

#[test]
fn sim_stops_anywhere() {
    stops_anywhere(&mut Cuda::sim());
}

#[test]
fn cuda_stops_anywhere() {
    if let Some(mut gpu) = common::is_here("cuda", Cuda::open(None)) {
        stops_anywhere(&mut gpu);
    }
}

/// Launches, and warp instructions of all of them, since the last call.
fn counted(device: &Cuda<Sim>, before: &mut (u64, u64)) -> (u64, u64) {
    let all = device.driver().counted().values();
    let now = all.fold((0, 0), |(n, i), (launches, c)| (n + launches, i + c.total_instructions()));
    let since = (now.0 - before.0, now.1 - before.1);
    *before = now;
    since
}

/// What a token costs in launches is known: the step, the embedding, per layer two fused products, attention and two projections, then
/// the head with its norm and its choice. At most 5 per layer and 4.
#[test]
fn a_decoded_token_is_five_launches_a_layer() {
    let mut device = Cuda::sim();
    let (plan, weights) = model(12);
    let plan = fused(plan, &device);
    device.load(&plan, &weights, &mut |_| {}).expect("loads");
    let mut before = (0, 0);
    counted(&device, &mut before); // repacking
    device.run(&Step::sequence(&[3], 0, &[0])).expect("runs");
    let (launches, instructions) = counted(&device, &mut before);
    assert_eq!(launches, 5 * plan.kv.layers as u64 + 3);
    // The same again through launches made for the step.
    let all = Step { ops: Some(0..plan.decode.len()), ..Step::sequence(&[4], 1, &[0]) };
    device.run(&all).expect("runs");
    assert_eq!(counted(&device, &mut before).0, launches);
    println!("a token: {launches} launches, {instructions} warp instructions; {}", device.driver().summary());
}

/// Blocks for parts of a long cache that a short context does not reach end at once, and nothing reads their parts.
#[test]
fn a_short_context_in_a_long_cache_costs_little_more() {
    let cost = |slots: u32| {
        let mut device = Cuda::sim_like((9, 0), 108);
        let mut plan = Plan::new(KvDecl { layers: 1, slots, heads: 2, head_dim: 64, ty: KvType::F16 }, 1, 1);
        let [k, v] = ["k", "v"].map(|name| plan.buf(name, Rows::Tokens, 128));
        let [q, out] = ["q", "out"].map(|name| plan.buf(name, Rows::Tokens, 512));
        plan.push(KvStore { k, v, layer: 0 }).expect("shapes fit");
        plan.push(Attention { out, q, layer: 0, scale: 0.125 }).expect("shapes fit");
        device.load(&plan, &Weights(vec![]), &mut |_| {}).expect("loads");
        [k, v, q].iter().for_each(|b| device.write(*b, &vec![0.5; plan.buf_len(*b)]).expect("writes"));
        device.run(&Step::sequence(&[0], 60, &[])).expect("runs");
        device.driver().counted()["attention_mma_f16_d64"].1.total_instructions()
    };
    let (short, long) = (cost(64), cost(1 << 16));
    println!("instructions of attention: {short} of 64 slots, {long} of 65536");
    // 108 parts for each of two KV heads, all but the first empty, 4 warps each.
    let empty = 2 * 107 * 4;
    assert!(long > short && long - short < 64 * empty, "{short}, {long}");
}

/// Attention of one token reads keys and values once per group, with few instructions per byte and no bank conflicts: at the heads of
/// an 8B, with as many slots a block as 32768 give on 132 multiprocessors.
#[test]
fn attention_of_one_token_takes_few_instructions_per_byte() {
    let slots = 4096;
    let shape = Shape::find("llama3-8b").expect("a shape of the list");
    let cases = single_cases(&shape, GgmlType::Q4_0, 1, slots);
    let mut case = cases.into_iter().find(|case| case.op == CoreKind::Attention.into()).expect("a case of attention");
    let mut device = Cuda::sim_like((9, 0), 16);
    case.load(&mut device).expect("loads");
    case.run(&mut device).expect("runs");
    let counters = &device.driver().counted()["attention_mma_f16_d128"].1;
    let bytes = 2 * 2 * u64::from(slots) * 8 * 128; // halves of keys and of values
    let per_byte = counters.lane_instructions_per(bytes);
    let asked = 32.0 * counters.sectors_asked as f64 / counters.dram_bytes() as f64;
    println!("{per_byte:.2} lane-instructions per byte, {asked:.3} bytes asked per byte of DRAM");
    assert!(per_byte <= 1.2, "{per_byte} lane-instructions per byte of keys and values");
    assert!(asked <= 1.1, "{asked} bytes asked per byte of DRAM");
    assert_eq!(counters.shared_conflicts, 0, "bank conflicts");
    assert!(counters.in_flight_mean() >= 4096.0, "{} bytes in flight", counters.in_flight_mean());
}

/// A buffer that nobody wrote: the kernel and the operation, and where in it.
#[test]
fn findings_name_the_kernel_and_the_operation() {
    let mut device = Cuda::sim();
    let (plan, weights) = product(GgmlType::Q4_0, 8, 32);
    device.load(&plan, &weights, &mut |_| {}).expect("loads");
    let error = device.run(&Step::sequence(&[0], 0, &[])).expect_err("x was never written").to_string();
    for part in ["sim: ", "mat_mul_q4_0_stream for mat_mul (op 0)", "ninitialized", "block (", "thread ("] {
        assert!(error.contains(part), "{part} in {error}");
    }
    assert_eq!(error.lines().count(), 1);
}

/// One product with a matrix of this type.
fn product_plan(ty: GgmlType, rows: u32, cols: u32) -> Plan {
    let mut plan = Plan::new(KvDecl { layers: 1, slots: 64, heads: 1, head_dim: 8, ty: KvType::F16 }, 16, 1);
    let x = plan.buf("x", Rows::Tokens, cols);
    let out = plan.buf("out", Rows::Tokens, rows);
    let (rows, cols) = (rows as u64, cols as u64);
    let w = plan.weight(WeightDecl { name: "blk.0.w".to_string(), ty, rows, cols });
    plan.push(MatMul { out, x, w, first_row: 0 }).expect("shapes fit");
    plan
}

/// The same, with a random matrix.
fn product(ty: GgmlType, rows: u32, cols: u32) -> (Plan, Weights) {
    let bytes = random_blocks(ty, u64::from(rows) * u64::from(cols), &mut Random::new(1));
    (product_plan(ty, rows, cols), Weights(vec![bytes.into()]))
}

#[test]
fn refusals_name_the_tensor_and_the_type() {
    let device = Cuda::sim();
    let plan = product_plan(GgmlType::Q1_0, 8, 256);
    let error = check_supported(&device, &plan).expect_err("not in the kernels").to_string();
    assert_eq!(error, "sim: mat_mul cannot read tensor blk.0.w of type Q1_0");
    let (plan, _) = product(GgmlType::F32, 8, 33);
    let error = check_supported(&device, &plan).expect_err("not whole float4s").to_string();
    assert!(error.contains("buffer x with rows of 33 elements"), "{error}");
}

/// An embedding and a product of this type.
fn reading(ty: GgmlType) -> Plan {
    let mut plan = product_plan(ty, 256, 256);
    let out = plan.buf("embedded", Rows::Tokens, 256);
    plan.push(Embed { out, table: Weight(0), next: None }).expect("shapes fit");
    plan
}

/// The types of Q and V of a case of [`NormQkvRopeStore`], where they differ.
fn mixed(case: &Case, plan: &Plan) -> Option<(GgmlType, GgmlType)> {
    let products = plan.decode.iter().filter_map(|op| if let Op::MatMul(product) = op { Some(product) } else { None });
    let types: Vec<GgmlType> = products.map(|product| plan[product.w].ty).collect();
    let mixed = case.op == FusedKind::NormQkvRopeStore.into() && types[0] != types[2];
    mixed.then(|| (types[0], types[2]))
}

/// Attention with these heads.
fn attention(kv: KvDecl, group: u32) -> Plan {
    let mut plan = Plan::new(kv, 16, 1);
    let [k, v] = ["k", "v"].map(|name| plan.buf(name, Rows::Tokens, kv.row()));
    let [q, out] = ["q", "out"].map(|name| plan.buf(name, Rows::Tokens, group * kv.row()));
    plan.push(KvStore { k, v, layer: 0 }).expect("shapes fit");
    plan.push(Attention { out, q, layer: 0, scale: 1.0 }).expect("shapes fit");
    plan
}

/// Whatever the backend accepts needs entries of [`Entry::all`], and each of these is needed by a case of conformance: all operations,
/// all types, alone and fused, or by attention: all caches, sizes of heads and of groups. `ptx.rs` holds [`Entry::all`] against the
/// kernels.
#[test]
fn supported_plans_need_every_entry_and_no_other() {
    let device = Cuda::sim();
    let mut needed = BTreeSet::new();
    let mut add = |plan: &Plan| needed.extend(entries(plan).into_iter().map(Entry::symbol));
    for ty in GgmlType::all() {
        assert_eq!(check_supported(&device, &reading(ty)).is_ok(), quant::format(ty).is_some(), "{ty}");
    }
    let mut mixes = BTreeSet::new();
    for case in cases() {
        let plan = case.plan();
        check_supported(&device, &plan).unwrap_or_else(|e| panic!("{} {}: {e}", case.op, case.name));
        mixes.extend(mixed(&case, &plan));
        // A cache in f32 keeps exact products.
        add(&fused(Plan { kv: KvDecl { ty: KvType::F32, ..plan.kv }, ..plan.clone() }, &device));
        add(&fused(plan, &device));
    }
    assert_eq!(mixes, BTreeSet::from(MIXED_TYPES), "types of Q and V in cases that mix them");
    for ty in KvType::ALL {
        for (head_dim, group) in (2..=256).step_by(2).flat_map(|d| (1..=9).map(move |group| (d, group))) {
            let kv = KvDecl { layers: 1, slots: 64, heads: 2, head_dim, ty };
            if kv.check().is_ok() {
                let plan = attention(kv, group);
                check_supported(&device, &plan).unwrap_or_else(|e| panic!("{e}"));
                add(&fused(plan, &device));
            }
        }
    }
    add(&model(12).0); // a language model: its logits are selected from
    let all: BTreeSet<_> = Entry::all().into_iter().map(Entry::symbol).collect();
    let [missing, idle] = [needed.difference(&all), all.difference(&needed)].map(|names| names.collect::<Vec<_>>());
    assert!(missing.is_empty() && idle.is_empty(), "not listed {missing:?}, never needed {idle:?}");
}

/// Fused kernels normalize whole rows: a norm of groups before two products stays by itself.
#[test]
fn a_norm_of_groups_is_not_fused() {
    let device = Cuda::sim();
    let stems = |group: u64| -> Vec<&str> {
        let mut plan = Plan::new(KvDecl { layers: 1, slots: 64, heads: 1, head_dim: 8, ty: KvType::F16 }, 16, 1);
        let [x, h] = ["x", "h"].map(|name| plan.buf(name, Rows::Tokens, 64));
        let [gate, up] = ["gate", "up"].map(|name| plan.buf(name, Rows::Tokens, 32));
        let mut weight = |ty, rows, cols| plan.weight(WeightDecl { name: "w".to_string(), ty, rows, cols });
        let norm = weight(GgmlType::F32, 1, group);
        let w = [GgmlType::Q4_0; 2].map(|ty| weight(ty, 32, 64));
        plan.push(RmsNorm { out: h, x, w: norm, eps: 1e-5 }).expect("shapes fit");
        plan.push(MatMul { out: gate, x: h, w: w[0], first_row: 0 }).expect("shapes fit");
        plan.push(MatMul { out: up, x: h, w: w[1], first_row: 0 }).expect("shapes fit");
        plan.push(SwiGlu { out: gate, gate, up }).expect("shapes fit");
        fused(plan, &device).decode.iter().map(|op| op.kind().stem()).collect()
    };
    assert_eq!(stems(64), ["norm_gate_up_swi_glu"]);
    assert_eq!(stems(32), ["rms_norm", "mat_mul", "mat_mul", "swi_glu"]);
}

#[test]
fn a_plan_that_does_not_fit_says_what_it_needs() {
    let mut device = Cuda::sim();
    let (mut plan, weights) = product(GgmlType::Q4_0, 8, 32);
    plan.kv.slots = u32::MAX;
    plan.kv.layers = 1000;
    let error = device.load(&plan, &weights, &mut |_| {}).expect_err("too large");
    assert!(matches!(&error, Error::Memory { needs, has, .. } if needs > has), "{error}");
    assert!(device.run(&Step::sequence(&[0], 0, &[])).is_err(), "nothing is loaded");
}

/// Loading again frees what was there, and gives the bytes of the file as progress.
#[test]
fn loading_again_frees_what_was_loaded() {
    let mut device = Cuda::sim();
    let (plan, weights) = model(12);
    let plan = fused(plan, &device);
    let mut held = vec![];
    for _ in 0..2 {
        let mut done = vec![0];
        device.load(&plan, &weights, &mut |bytes| done.push(bytes)).expect("loads");
        assert!(done.is_sorted());
        assert_eq!(done.last(), Some(&plan.weight_bytes()));
        held.push(device.driver().memory().map(|m| m.total - m.free));
    }
    assert_eq!(held[0], held[1]);
    // Modules may have variables of their own.
    let footprint = device.footprint(&plan).total();
    assert!(held[0] <= Some(footprint + footprint / 100), "{held:?} bytes held, {footprint} said");
}

/// Up to 8 rows meet quantized weights as 16-bit integers, more on tensor cores; all in f32 with a cache in f32.
#[test]
fn precision_is_declared_where_tensor_cores_multiply() {
    let device = Cuda::sim();
    let plan = fused(model(12).0, &device);
    for op in &plan.decode {
        let multiplies = op.parts().iter().any(|part| matches!(part, Op::MatMul(_)));
        let wanted = if multiplies { Precision::I16 } else { Precision::F32 };
        assert_eq!(device.precision(&plan, op, Phase::Decode), wanted, "{}", op.kind());
    }
    let f16: Vec<&str> = plan
        .prefill
        .iter()
        .filter(|op| device.precision(&plan, op, Phase::Prefill) == Precision::F16)
        .map(|op| op.kind().stem())
        .collect();
    for stem in ["norm_qkv_rope_store", "attention", "mat_mul_add", "norm_gate_up_swi_glu", "mat_mul"] {
        assert!(f16.contains(&stem), "{stem} in {f16:?}");
    }
    let exact = fused(model_with(KvType::F32, 12).0, &device);
    for op in &exact.prefill {
        assert_eq!(device.precision(&exact, op, Phase::Prefill), Precision::F32, "{}", op.kind());
    }
}
