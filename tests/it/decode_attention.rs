//! Attention of 1 to 8 rows on the CUDA backend: its bits, and what it costs by the simulator's counters. Results of usual shapes:
//! conformance.rs.

use crate::common;
use pronk::backend::Backend;
use pronk::backend::cuda::{Cuda, Sim};
use pronk::gguf::Gguf;
use pronk::model::{Model, PlanOptions};
use pronk::plan::*;
use pronk::quant::Random;

/// Slots of a row at and around the borders of parts, of tiles and of rounds; from 1025 on, each of 16 parts is larger.
const LENGTHS: [u32; 8] = [1, 60, 128, 253, 255, 257, 1000, 1020];
/// Slots of the cache.
const SLOTS: u32 = 1040;

/// Attention alone, on a cache full of random keys and values.
struct Attending {
    plan: Plan,
    /// The queries, and the result.
    q: Buf,
    out: Buf,
    queries: Vec<f32>,
}

impl Attending {
    /// `group`: query heads for the KV head.
    fn load(device: &mut Cuda<Sim>, ty: KvType, head_dim: u32, group: u32) -> Attending {
        let mut plan = Plan::new(KvDecl { layers: 1, slots: SLOTS, heads: 1, head_dim, ty }, SLOTS, 1);
        let [k, v] = ["k", "v"].map(|name| plan.buf(name, Rows::Tokens, head_dim));
        let [q, out] = ["q", "out"].map(|name| plan.buf(name, Rows::Tokens, group * head_dim));
        plan.push(KvStore { k, v, layer: 0 }).expect("shapes fit");
        plan.push(Attention { out, q, layer: 0, scale: 1.0 / (head_dim as f32).sqrt() }).expect("shapes fit");
        device.load(&plan, &Weights(vec![]), &mut |_| {}).expect("loads");
        let mut random = Random::new(3);
        let mut fill =
            |buf: Buf, scale: f32| -> Vec<f32> { (0..plan.buf_len(buf)).map(|_| random.uniform(scale)).collect() };
        for buf in [k, v] {
            device.write(buf, &fill(buf, 1.0)).expect("writes");
        }
        let queries = fill(q, 3.0);
        let step = Step { ops: Some(0..1), ..Step::sequence(&vec![0; SLOTS as usize], 0, &[]) };
        device.run(&step).expect("runs");
        Attending { plan, q, out, queries }
    }

    /// The bits of the results of some rows of a step, of which row `i` has queries of its own: those of `ids[i]`.
    fn run(&self, device: &mut Cuda<Sim>, rows: &[StepRow], ids: &[usize]) -> Vec<Vec<u32>> {
        let cols = self.plan[self.q].cols as usize;
        let queries: Vec<f32> = ids.iter().flat_map(|id| &self.queries[id * cols..][..cols]).copied().collect();
        device.write(self.q, &queries).expect("writes");
        device.run(&Step { rows: rows.to_vec(), n_outputs: 0, ops: Some(1..2) }).expect("runs");
        let mut out = vec![0.0f32; queries.len()];
        device.read(self.out, &mut out).expect("reads");
        out.chunks(cols).map(|row| row.iter().map(|v| v.to_bits()).collect()).collect()
    }

    /// Each row has the same bits among the first `k` rows, for each `k`, as in a step of its own.
    fn same_alone(&self, device: &mut Cuda<Sim>, what: &str, rows: &[StepRow]) {
        let ids: Vec<usize> = (0..rows.len()).collect();
        let alone: Vec<Vec<u32>> = ids.iter().flat_map(|i| self.run(device, &rows[*i..=*i], &ids[*i..=*i])).collect();
        for k in [2, 3, 5, 8] {
            let together = self.run(device, &rows[..k], &ids[..k]);
            for (i, (alone, together)) in alone.iter().zip(&together).enumerate() {
                assert!(alone == together, "{what}: row {i} of {k}");
            }
        }
    }
}

/// A row that attends to these slots.
fn row(kv_start: u32, kv_len: u32) -> StepRow {
    StepRow { position: 0, slot: kv_start + kv_len - 1, kv_start, kv_len, ..StepRow::default() }
}

/// Heads of each kind of kernel, and the number of query heads that share one.
fn heads(ty: KvType) -> Vec<(u32, u32)> {
    match ty {
        KvType::Q8_0 => vec![(64, 1), (96, 3), (128, 4), (160, 2)],
        _ => vec![(64, 1), (96, 3), (128, 4), (40, 8), (80, 2)],
    }
}

/// Speculation and batches stand on this: what a row gives does not depend on the rows beside it. The few multiprocessors give parts of
/// many sizes, the many the parts that an H100 has.
#[test]
fn rows_attend_as_they_do_alone() {
    for n_sms in [8, 132] {
        let device = &mut Cuda::sim_like((9, 0), n_sms);
        for ty in KvType::ALL {
            for (head_dim, group) in heads(ty) {
                let attending = Attending::load(device, ty, head_dim, group);
                for len in LENGTHS {
                    let rows: Vec<StepRow> = (0..8).map(|i| row(0, len + i)).collect();
                    let what = format!("{ty:?}, {head_dim} elements, {group} heads, {len} slots, {n_sms} SMs");
                    attending.same_alone(device, &what, &rows);
                }
            }
        }
    }
}

/// Rows of several sequences, windows and lengths in one step: next to each other they may have the same parts or not.
#[test]
fn rows_of_several_sequences_attend_as_they_do_alone() {
    let device = &mut Cuda::sim_like((9, 0), 8);
    let steps = [
        ("windows", [300, 301, 302, 303, 304, 305, 306, 307].map(|start| row(start, 200))),
        (
            "two sequences",
            [row(0, 130), row(512, 70), row(0, 131), row(0, 132), row(512, 71), row(512, 72), row(0, 9), row(0, 10)],
        ),
        ("a shorter one after a longer", [700, 699, 20, 1030, 65, 64, 1, 1000].map(|len| row(0, len))),
    ];
    for ty in KvType::ALL {
        for (head_dim, group) in heads(ty) {
            let attending = Attending::load(device, ty, head_dim, group);
            for (what, rows) in &steps {
                let what = format!("{what}, {ty:?}, {head_dim} elements, {group} heads");
                attending.same_alone(device, &what, rows);
            }
        }
    }
}

/// The bits of the logits of each of these tokens, fed to a model from position `start` on in one step.
fn logits(device: &mut Cuda<Sim>, plan: &Plan, tokens: &[u32], start: u32) -> Vec<Vec<u32>> {
    let outputs: Vec<u32> = (0..tokens.len() as u32).collect();
    device.run(&Step::sequence(tokens, start, &outputs)).expect("runs");
    let logits = plan.head.expect("a language model").logits;
    let cols = plan[logits].cols as usize;
    let mut values = vec![0.0f32; tokens.len() * cols];
    device.read(logits, &mut values).expect("reads");
    values.chunks(cols).map(|row| row.iter().map(|v| v.to_bits()).collect()).collect()
}

/// Logits of whole models: products, norms and rotations give each row its own bits too.
#[test]
fn models_give_a_row_the_logits_that_it_has_alone() {
    const START: u32 = 63; // the first row has one part, the others have two
    let folder = common::data("models");
    let files = std::fs::read_dir(&folder).expect("a folder").map(|file| file.expect("an entry").path());
    let files: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "gguf")).collect();
    assert!(files.len() >= 11, "{files:?}");
    for path in files {
        let device = &mut Cuda::sim_like((9, 0), 8);
        // Other caches once for each kind of head: the products are the same beside all of them but f32.
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let all = ["tiny-llama31.q4_0.gguf", "tiny-qwen3.q4_0.gguf"].contains(&name.as_str());
        for kv in KvType::ALL.into_iter().filter(|kv| all || *kv == KvType::F16) {
            let model = Model::new(Gguf::open(&path).expect("a model")).expect("its hyperparameters");
            let options = PlanOptions { n_ctx: 128, max_tokens: START, max_outputs: 8, kv };
            let mut plan = model.plan(&options).expect("its plan");
            fuse(&mut plan, |plan, op, phase| device.supports(plan, op, phase).is_ok());
            device.load(&plan, &model.weights(&plan).expect("its weights"), &mut |_| {}).expect("loads");
            let tokens: Vec<u32> = (0..START + 8).map(|i| i * 37 % 300).collect();
            let (before, now) = tokens.split_at(START as usize);
            device.run(&Step::sequence(before, 0, &[])).expect("runs");
            let alone: Vec<_> =
                (START..).zip(now).flat_map(|(at, token)| logits(device, &plan, &[*token], at)).collect();
            for k in [2, 3, 5, 8] {
                let together = logits(device, &plan, &now[..k], START);
                for (i, (alone, together)) in alone.iter().zip(&together).enumerate() {
                    assert!(alone == together, "{name}, {kv:?} cache: row {i} of {k}");
                }
            }
        }
    }
}

/// What attention of a step may cost: of `rows` rows of one sequence, over this many slots.
struct Limits {
    ty: KvType,
    head_dim: u32,
    slots: u32,
    rows: u32,
    /// Lane instructions (PTX) per byte of keys and values.
    lanes: f64,
    /// Bytes of DRAM, and bytes asked of the caches, per byte of keys and values.
    dram: f64,
    asked: f64,
}

impl Limits {
    const fn new(ty: KvType, head_dim: u32, [slots, rows]: [u32; 2], [lanes, dram, asked]: [f64; 3]) -> Limits {
        Limits { ty, head_dim, slots, rows, lanes, dram, asked }
    }
}

const LIMITS: [Limits; 12] = [
    Limits::new(KvType::F16, 128, [4096, 1], [2.4, 1.08, 1.4]),
    Limits::new(KvType::F16, 128, [32768, 1], [1.05, 1.02, 1.05]),
    Limits::new(KvType::F16, 128, [131_072, 1], [0.9, 1.01, 1.02]),
    Limits::new(KvType::Q8_0, 128, [4096, 1], [7.6, 1.15, 1.8]),
    Limits::new(KvType::Q8_0, 128, [32768, 1], [5.0, 1.02, 1.2]),
    Limits::new(KvType::Q8_0, 128, [131_072, 1], [4.7, 1.01, 1.1]),
    Limits::new(KvType::F16, 64, [32768, 1], [1.7, 1.02, 1.06]),
    Limits::new(KvType::Q8_0, 64, [32768, 1], [6.3, 1.02, 1.2]),
    // Two rows of four heads are the columns of one product; of eight rows, those next to each other read through the caches.
    Limits::new(KvType::F16, 128, [32768, 2], [1.1, 1.03, 1.1]),
    Limits::new(KvType::F16, 128, [32768, 8], [4.5, 1.08, 4.5]),
    // Without tensor cores.
    Limits::new(KvType::F32, 128, [4096, 1], [4.2, 1.05, 2.4]),
    Limits::new(KvType::Q8_0, 160, [4096, 1], [30.0, 1.15, 2.4]),
];

/// Attention of long contexts takes the time of reading keys and values once: few instructions per byte, and hardly any other bytes.
/// Heads of an 8B, of which a quarter runs on a quarter of an H100's multiprocessors: as many slots a block as on all of them.
#[test]
fn what_a_long_context_costs() {
    for Limits { ty, head_dim, slots, rows, lanes, dram, asked } in LIMITS {
        let mut device = Cuda::sim_like((9, 0), 132 / 4);
        let mut plan = Plan::new(KvDecl { layers: 1, slots, heads: 2, head_dim, ty }, rows, 1);
        let [q, out] = ["q", "out"].map(|name| plan.buf(name, Rows::Tokens, 2 * 4 * head_dim));
        plan.push(Attention { out, q, layer: 0, scale: 1.0 / (head_dim as f32).sqrt() }).expect("shapes fit");
        device.load(&plan, &Weights(vec![]), &mut |_| {}).expect("loads");
        device.write(q, &vec![0.5; plan.buf_len(q)]).expect("writes");
        device.run(&Step::sequence(&vec![0; rows as usize], slots - rows, &[])).expect("runs");

        let counted = device.driver().counted();
        let (entry, (_, counters)) = counted.iter().find(|(entry, _)| entry.starts_with("attention")).expect("ran");
        let elements = 2 * 2 * u64::from(slots) * u64::from(head_dim);
        let bytes = match ty {
            KvType::F32 => 4 * elements,
            KvType::F16 => 2 * elements,
            KvType::Q8_0 => elements + elements / 16,
        };
        let per_byte = counters.lane_instructions_per(bytes);
        let of_dram = counters.dram_bytes() as f64 / bytes as f64;
        let of_caches = 32.0 * counters.sectors_asked as f64 / bytes as f64;
        println!(
            "{entry}, {slots} slots, {rows} rows: {per_byte:.2} lane instructions per byte (at most {lanes}), DRAM {of_dram:.3} ({dram}), \
             asked {of_caches:.3} ({asked}), {:.0} bytes in flight of a warp, {} conflicts",
            counters.in_flight_mean(),
            counters.shared_conflicts
        );
        assert!(per_byte <= lanes && of_dram <= dram && of_caches <= asked, "{entry}, {slots} slots, {rows} rows");
        assert!(counters.shared_conflicts == 0, "{entry}, {slots} slots, {rows} rows");
    }
}
