//! Products of 1 to 8 rows with quantized weights on the CUDA backend: their bits, their widths, and what they cost by the simulator's
//! counters at the shapes of Llama 3 8B on an H100, which bounds what a GPU can reach. Results of usual shapes: conformance.rs.

use pronk::backend::Backend;
use pronk::backend::cuda::{Arch, Cuda, Division, Pairs, Sim, ptx};
use pronk::backend::reference::Reference;
use pronk::conformance::nmse;
use pronk::plan::*;
use pronk::quant::{self, GgmlType, Random, random_blocks};
use std::collections::HashMap;

/// An H100's streaming multiprocessors.
const H100_SMS: u32 = 132;
/// Those of a device with fewer rows: the work of a block stays what it is on an H100 if rows are divided by 33.
const FEW_SMS: u32 = 4;
const WARPS_PER_SM: f64 = 16.0;

/// Types with integers for elements.
fn quantized() -> impl Iterator<Item = GgmlType> {
    use GgmlType::*;
    quant::FORMATS.iter().map(|format| format.ty).filter(|ty| !matches!(ty, F32 | F16 | BF16))
}

/// A plan whose operations have random weights and inputs.
struct Layer {
    plan: Plan,
    weights: Vec<bytes::Bytes>,
    inputs: Vec<Buf>,
    rng: Random,
}

impl Layer {
    fn new(kv: KvDecl, max_tokens: u32) -> Layer {
        Layer { plan: Plan::new(kv, max_tokens, 1), weights: vec![], inputs: vec![], rng: Random::new(7) }
    }

    fn no_kv() -> KvDecl {
        KvDecl { layers: 1, slots: 64, heads: 1, head_dim: 2, ty: KvType::F16 }
    }

    fn weight(&mut self, ty: GgmlType, rows: u32, cols: u32) -> Weight {
        let (rows, cols) = (rows as u64, cols as u64);
        self.weights.push(random_blocks(ty, rows * cols, &mut self.rng).into());
        self.plan.weight(WeightDecl { name: format!("w{}", self.weights.len()), ty, rows, cols })
    }

    fn buf(&mut self, name: &str, cols: u32) -> Buf {
        self.plan.buf(name, Rows::Tokens, cols)
    }

    fn input(&mut self, name: &str, cols: u32) -> Buf {
        let buf = self.buf(name, cols);
        self.inputs.push(buf);
        buf
    }

    fn push(&mut self, op: impl Into<Op>) {
        self.plan.push(op).expect("shapes fit");
    }

    fn product(&mut self, out: Buf, x: Buf, ty: GgmlType) {
        let (rows, cols) = (self.plan[out].cols, self.plan[x].cols);
        let w = self.weight(ty, rows, cols);
        self.push(MatMul { out, x, w, first_row: 0 });
    }

    fn norm(&mut self, x: Buf) -> Buf {
        let cols = self.plan[x].cols;
        let w = self.weight(GgmlType::F32, 1, cols);
        let out = self.buf("h", cols);
        self.push(RmsNorm { out, x, w, eps: 1e-5 });
        out
    }

    /// Fused and loaded on `device`.
    fn load(mut self, device: &mut dyn Backend) -> Loaded {
        fuse(&mut self.plan, |plan, op, phase| device.supports(plan, op, phase).is_ok());
        device.load(&self.plan, &Weights(self.weights), &mut |_| {}).expect("loads");
        Loaded { plan: self.plan, inputs: self.inputs }
    }
}

struct Loaded {
    plan: Plan,
    inputs: Vec<Buf>,
}

impl Loaded {
    /// Element `i` of row `row` of every input.
    fn value(row: usize, i: usize) -> f32 {
        let bits = ((row * 7919 + i) as u32).wrapping_mul(0x9e37_79b9);
        (bits ^ bits >> 15) as f32 / u32::MAX as f32 * 2.0 - 1.0
    }

    /// What the plan writes, after a step with these rows.
    fn run(&self, device: &mut dyn Backend, rows: &[usize]) -> Vec<(Buf, Vec<f32>)> {
        for buf in &self.inputs {
            let cols = self.plan[*buf].cols as usize;
            let values: Vec<f32> = rows.iter().flat_map(|row| (0..cols).map(|i| Self::value(*row, i))).collect();
            device.write(*buf, &values).expect("writes");
        }
        device.run(&Step::sequence(&vec![0; rows.len()], 0, &[])).expect("runs");
        let written: Vec<Buf> = self.plan.decode.iter().flat_map(Op::writes).collect();
        let read = |buf: Buf| {
            let mut values = vec![0.0; rows.len() * self.plan[buf].cols as usize];
            device.read(buf, &mut values).expect("reads");
            (buf, values)
        };
        written.into_iter().map(read).collect()
    }
}

fn mat_mul(ty: GgmlType, rows: u32, cols: u32, max_tokens: u32) -> Layer {
    let mut layer = Layer::new(Layer::no_kv(), max_tokens);
    let (x, out) = (layer.input("x", cols), layer.buf("out", rows));
    layer.product(out, x, ty);
    layer
}

fn mat_mul_add(ty: GgmlType, rows: u32, cols: u32, max_tokens: u32) -> Layer {
    let mut layer = Layer::new(Layer::no_kv(), max_tokens);
    let (x, out, residual) = (layer.input("x", cols), layer.buf("out", rows), layer.input("residual", rows));
    layer.product(out, x, ty);
    layer.push(Add { out: residual, x: residual, y: out });
    layer
}

fn gate_up(ty: GgmlType, rows: u32, cols: u32, max_tokens: u32) -> Layer {
    let mut layer = Layer::new(Layer::no_kv(), max_tokens);
    let x = layer.input("x", cols);
    let (gate, up) = (layer.buf("gate", rows), layer.buf("up", rows));
    let h = layer.norm(x);
    layer.product(gate, h, ty);
    layer.product(up, h, ty);
    layer.push(SwiGlu { out: gate, gate, up });
    layer
}

/// Queries of `rows` rows, keys and values of heads of 32 elements, V of type `v`.
fn qkv([ty, v]: [GgmlType; 2], rows: u32, heads: u32, cols: u32, max_tokens: u32) -> Layer {
    let kv = KvDecl { layers: 1, slots: 64, heads, head_dim: 32, ty: KvType::F16 };
    let mut layer = Layer::new(kv, max_tokens);
    let x = layer.input("x", cols);
    let (q, k, value) = (layer.buf("q", rows), layer.buf("k", 32 * heads), layer.buf("v", 32 * heads));
    let h = layer.norm(x);
    layer.product(q, h, ty);
    layer.product(k, h, ty);
    layer.product(value, h, v);
    // The same angles at all positions: a row alone is at another one than among others.
    let angles = random_blocks(GgmlType::F32, 32, &mut layer.rng).repeat(64);
    let table = layer.weight(GgmlType::F32, 64, 32);
    layer.weights[table.0 as usize] = angles.into();
    layer.push(Rope { x: q, table, head_dim: 32, pairing: Pairing::Neighbours });
    layer.push(Rope { x: k, table, head_dim: 32, pairing: Pairing::Neighbours });
    layer.push(KvStore { k, v: value, layer: 0 });
    layer
}

/// Speculation and batches stand on this: what a row gives does not depend on the rows beside it.
#[test]
fn rows_have_the_bits_that_they_have_alone() {
    let check = |name: String, layer: Layer, device: &mut Cuda<Sim>, compared: &str| {
        let loaded = layer.load(device);
        let alone: Vec<_> = (0..8).map(|row| loaded.run(device, &[row])).collect();
        for rows in [vec![0, 1], vec![5, 2, 7], (0..8).collect()] {
            let together = loaded.run(device, &rows);
            let (at, (buf, values)) = together
                .iter()
                .enumerate()
                .find(|(_, (b, _))| loaded.plan[*b].name == compared)
                .expect("it is written");
            let cols = loaded.plan[*buf].cols as usize;
            for (row, values) in rows.iter().zip(values.chunks(cols)) {
                let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&alone[*row][at].1), bits(values), "{name}: row {row} of {rows:?}");
            }
        }
    };
    // Few and many multiprocessors: rows whole and in parts.
    for n_sms in [2, 64] {
        let device = &mut Cuda::sim_like((9, 0), n_sms);
        for ty in quantized() {
            check(format!("{ty}, {n_sms} SMs"), mat_mul(ty, 38, 2304, 8), device, "out");
        }
        for ty in [GgmlType::Q4_0, GgmlType::Q8_0, GgmlType::Q6_K, GgmlType::Q4_K] {
            check(format!("added, {ty}"), mat_mul_add(ty, 20, 1280, 8), device, "residual");
            check(format!("gate and up, {ty}"), gate_up(ty, 36, 2304, 8), device, "gate");
            check(format!("q, k and v, {ty}"), qkv([ty; 2], 96, 1, 1536, 8), device, "q");
        }
        check(
            "q, k and v of two types".to_string(),
            qkv([GgmlType::Q4_K, GgmlType::Q6_K], 96, 1, 1536, 8),
            device,
            "q",
        );
    }
}

/// One and three rows of `cols` columns: the normalized squared errors.
fn errors_at(ty: GgmlType, cols: u32, device: &mut Cuda<Sim>) -> [f64; 2] {
    let loaded = mat_mul(ty, 24, cols, 3).load(device);
    let mut reference = Reference::default();
    mat_mul(ty, 24, cols, 3).load(&mut reference);
    [vec![0], vec![0, 1, 2]].map(|rows| {
        let [got, want] = [&mut *device as &mut dyn Backend, &mut reference].map(|backend| loaded.run(backend, &rows));
        nmse(&got[0].1, &want[0].1)
    })
}

fn check_widths(widths: impl Iterator<Item = u32>) {
    let device = &mut Cuda::sim_like((9, 0), 1);
    for cols in widths {
        for ty in quantized().filter(|ty| (cols as u64).is_multiple_of(ty.block_size())) {
            let errors = errors_at(ty, cols, device);
            assert!(errors.iter().all(|error| *error < 1e-8), "{ty}, {cols} columns: {errors:?}");
        }
    }
}

/// Widths at the edges of what kernels take at a time, and those of models: a row that is not a whole number of steps or buffers, that
/// fits shared memory just so, and not at all.
#[test]
fn widths_that_no_model_has() {
    check_widths([32, 64, 256, 480, 1024, 1056, 1280, 2080, 3328, 4096, 8224, 14336, 16384, 16416, 53248].into_iter());
}

/// Every width: `make widths`.
#[test]
#[ignore = "takes minutes: make widths"]
fn every_width() {
    check_widths((1..=128).map(|n| 32 * n).chain([8192 + 32, 14336, 53248]));
}

/// A product of Llama 3 8B: rows, columns and how often a token needs it.
struct Shape {
    what: &'static str,
    pairs: u32,
    cols: u32,
    times: u32,
    layer: fn(GgmlType, u32) -> Layer,
}

/// `layer(ty, n)`: with an nth of the rows.
const SHAPES: [Shape; 5] = [
    Shape {
        what: "qkv",
        pairs: 3072,
        cols: 4096,
        times: 32,
        layer: |ty, n| qkv([ty; 2], (4096 / n).next_multiple_of(32), 1024 / n / 32 + 1, 4096, 1),
    },
    Shape { what: "o", pairs: 2048, cols: 4096, times: 32, layer: |ty, n| mat_mul_add(ty, 4096 / n, 4096, 1) },
    Shape {
        what: "gate_up",
        pairs: 14336,
        cols: 4096,
        times: 32,
        layer: |ty, n| gate_up(ty, (14336 / n).next_multiple_of(4), 4096, 1),
    },
    Shape { what: "down", pairs: 2048, cols: 14336, times: 32, layer: |ty, n| mat_mul_add(ty, 4096 / n, 14336, 1) },
    Shape { what: "head", pairs: 64128, cols: 4096, times: 1, layer: |ty, n| mat_mul(ty, 128256 / n, 4096, 1) },
];

/// What may be spent: see [`what_a_token_costs`].
struct Limits {
    ty: GgmlType,
    /// Lane instructions per weight (PTX) of gate_up and head; of the others.
    many_rows: f64,
    few_rows: f64,
    /// Of a token of the 8B, in units of 10^9.
    token: f64,
    /// Weight bytes under way per SM.
    in_flight: f64,
}

const LIMITS: [Limits; 4] = [
    Limits { ty: GgmlType::Q4_0, many_rows: 2.2, few_rows: 4.0, token: 20.0, in_flight: 65536.0 },
    Limits { ty: GgmlType::Q4_K, many_rows: 2.8, few_rows: 4.5, token: 24.0, in_flight: 65536.0 },
    Limits { ty: GgmlType::Q6_K, many_rows: 3.7, few_rows: 5.3, token: 31.0, in_flight: 57344.0 },
    // Of Q8_0's, 0.2 are copies of registers where two ways of loading meet, which the assembler leaves out.
    Limits { ty: GgmlType::Q8_0, many_rows: 2.15, few_rows: 3.7, token: 19.0, in_flight: 65536.0 },
];

fn pairs(ty: GgmlType, shape: &Shape) -> Pairs {
    let chunk = if ty == GgmlType::Q8_0 { 16 } else { 32 };
    let row_bytes = shape.cols as u64 / ty.block_size() * ty.block_bytes();
    Pairs { pairs: shape.pairs, steps: shape.cols.div_ceil(32 * chunk), row_bytes }
}

/// A GPU issues at most 128 lane instructions a clock and SM: with more of them per weight than these, they and not the bytes of the
/// weights would set the time of a token (by 60% of an H100's issue slots: 4.1 for Q4_0 and Q4_K, 5.9 for Q6_K, 7.7 for Q8_0). The
/// rest is what keeps memory busy. Counted on 4 SMs with a 33rd of the rows: as many rows per block as on 132.
#[test]
fn what_a_token_costs() {
    for Limits { ty, many_rows, few_rows, token, in_flight } in LIMITS {
        let mut lanes_of_token = 0.0;
        for shape in &SHAPES {
            let mut device = Cuda::sim_like((9, 0), FEW_SMS);
            let layer = (shape.layer)(ty, H100_SMS / FEW_SMS);
            let matrix = |op: &Op| match op {
                Op::MatMul(op) => layer.plan[op.out].cols as u64 * layer.plan[op.w].cols,
                _ => 0,
            };
            let weights: u64 = layer.plan.decode.iter().map(matrix).sum();
            let loaded = layer.load(&mut device);
            loaded.run(&mut device, &[0]);
            let counted: HashMap<_, _> =
                device.driver().counted().iter().filter(|(e, _)| e.ends_with("_stream")).collect();
            let (entry, (_, c)) = counted.iter().next().expect("one product");
            let [(_, division)] = device.divisions()[..] else { panic!("one product") };
            let wanted = Division::of(H100_SMS, pairs(ty, shape), None, true);
            assert_eq!(division.parts, wanted.parts, "{ty} {}: divided as on {H100_SMS} SMs", shape.what);

            let per_weight = c.lane_instructions_per(weights);
            let limit = if shape.pairs > 10_000 { many_rows } else { few_rows };
            let barriers = c.barriers as f64 / c.warps as f64;
            let bytes = c.in_flight_mean() * WARPS_PER_SM;
            let sectors = 32.0 * c.sectors_asked as f64 / c.dram_bytes() as f64;
            println!(
                "{ty:5} {:8} {per_weight:.2} lane instructions per weight (at most {limit}), {barriers} barriers, {:.1} KiB in flight, \
                 sectors / DRAM {sectors:.2}, {} conflicts, {wanted}; {entry}",
                shape.what,
                bytes / 1024.0,
                c.shared_conflicts
            );
            assert!(per_weight <= limit, "{ty} {}", shape.what);
            assert!(barriers <= 2.0, "{ty} {}", shape.what);
            // With few rows a block has one or two items a warp: no loop that is steady, but what is under way before the wait.
            if shape.pairs > 10_000 {
                assert!(bytes >= in_flight, "{ty} {}", shape.what);
                assert!(sectors <= 1.15, "{ty} {}", shape.what);
            }
            // Results in parts are read two by two at a block's end.
            assert!(c.shared_conflicts <= c.warps * u64::from(division.parts - 1), "{ty} {}", shape.what);
            lanes_of_token += per_weight * 2.0 * shape.pairs as f64 * shape.cols as f64 * shape.times as f64;
        }
        println!("{ty:5} a token: {:.1} G lane instructions (at most {token})", lanes_of_token / 1e9);
        assert!(lanes_of_token <= token * 1e9, "{ty}");
    }
}

/// Bytes of weights that a warp has asked for when it first waits for what other kernels write.
#[test]
fn weights_are_under_way_before_the_wait() {
    let text = ptx("mat_mul", Arch::Sm90).expect("it is compiled in");
    for Limits { ty, in_flight, .. } in LIMITS {
        let name = format!(".entry mat_mul_{}_stream(", ty.name().to_lowercase());
        let (_, body) = text.split_once(&name).expect("an entry");
        let (before, _) = body.split_once("griddepcontrol.wait").expect("it waits");
        let size = |line: &str| match line.split_once("ld.global.nc.") {
            Some((_, load)) if load.contains("v4.u32") => 16,
            Some((_, load)) if load.contains("v2.u32") => 8,
            Some((_, load)) if load.contains("u16") => 2,
            Some((_, load)) if load.contains("u8") => 1,
            Some(_) => 4,
            None => 0,
        };
        // Each load is there twice: for whole buffers, and for those at the end of a row.
        let bytes: u32 = before.lines().map(size).sum::<u32>() / 2;
        let of_sm = bytes as f64 * 32.0 * WARPS_PER_SM;
        println!("{ty}: {bytes} bytes a lane, {:.0} KiB per SM before the wait", of_sm / 1024.0);
        assert!(of_sm >= in_flight, "{ty}");
    }
}

/// On GPUs of any size: multiprocessors have nearly the same number of rows.
#[test]
fn rows_are_divided_evenly() {
    for n_sms in [132, 114, 108, 128] {
        for Limits { ty, .. } in LIMITS {
            for shape in &SHAPES {
                let pairs = pairs(ty, shape);
                let division = Division::of(n_sms, pairs, None, true);
                let balance = division.balance(pairs);
                println!(
                    "{n_sms} SMs, {ty} {}: {division}; SMs {:.3}, warps {:.3}",
                    shape.what, balance.of_sms, balance.of_warps
                );
                assert!(balance.of_sms >= 0.95, "{n_sms} SMs, {ty} {}", shape.what);
            }
        }
    }
}

/// The host counts steps by chunks: of 32 elements, but for Q8_0.
#[test]
fn chunks_of_quantized_types_are_as_the_host_counts_them() {
    let formats = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels/formats");
    let text = |file: &str| std::fs::read_to_string(formats.join(file)).expect("a source");
    let all = ["plain.cuh", "k.cuh", "table.cuh", "codebook.cuh"].map(text).concat();
    let structs = all.split("\nstruct ").filter_map(|text| text.split_once(" : Quantized<"));
    let mut others: Vec<_> = structs.filter(|(_, body)| body.contains("CHUNK = ")).collect();
    let (name, body) = others.pop().expect("one of them");
    assert!(others.is_empty() && name == "Q8_0" && body.contains("CHUNK = 16"), "{name}, {others:?}");
    assert!(text("decode.cuh").contains("static constexpr u32 CHUNK = 32"));
}

/// `__restrict__` on an argument lets the compiler load through the read-only cache what a kernel before may still write.
#[test]
fn nothing_is_restrict() {
    let kernels = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    for folder in ["attention", "formats", "ops", "products", "shared"] {
        for file in std::fs::read_dir(kernels.join(folder)).expect("a folder") {
            let path = file.expect("an entry").path();
            let text = std::fs::read_to_string(&path).expect("text");
            assert!(!text.contains("__restrict"), "{}", path.display());
        }
    }
}

/// Two blocks of 256 threads fit an SM.
#[test]
fn registers_leave_room_for_two_blocks() {
    let resources = include_str!("../../kernels/ptx/resources.md");
    let rows = resources.lines().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    let streams: Vec<_> = rows.filter(|row| row.len() > 6 && row[1].ends_with("_stream")).collect();
    assert!(streams.len() > 200, "{}", streams.len());
    for row in streams {
        let number = |i: usize| row[i].parse::<u32>().expect("a number");
        assert!(number(3) <= 128 && number(4) <= 49152 && number(6) == 0, "{row:?}");
    }
}
