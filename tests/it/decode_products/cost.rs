//! What decode products cost by the simulator's counters, and what keeps memory busy, at the shapes of Llama 3 8B on an H100.

use super::*;
use pronk::backend::cuda::{Arch, Division, Pairs, ptx};
use ptx_sim::Counters;

/// An H100's streaming multiprocessors.
const H100_SMS: u32 = 132;
/// Those of a device with fewer rows: the work of a block stays what it is on an H100 if rows are divided by 33.
const FEW_SMS: u32 = 4;
/// Two blocks of 256 threads.
const WARPS_PER_SM: f64 = 16.0;
/// Lane instructions a second: 60% of an H100's issue slots, 132 x 128 at 1.98 GHz.
const ISSUED: f64 = 20.07e12;
/// Bytes a second that an H100 streams.
const STREAMED: f64 = 3.089e12;

/// A product: rows, columns and how often a token needs it.
struct Shape {
    what: &'static str,
    pairs: u32,
    cols: u32,
    times: u32,
    layer: fn(GgmlType, u32, u32) -> Layer,
}

impl Shape {
    /// Blocks with so many rows that normalizing x and bringing it to shared memory costs little.
    fn has_many_rows(&self) -> bool {
        self.pairs > 10_000
    }

    fn weights(&self) -> f64 {
        2.0 * self.pairs as f64 * self.cols as f64
    }

    fn pairs(&self, ty: GgmlType) -> Pairs {
        let chunk = if ty == GgmlType::Q8_0 { 16 } else { 32 };
        let row_bytes = self.cols as u64 / ty.block_size() * ty.block_bytes();
        Pairs { pairs: self.pairs, steps: self.cols.div_ceil(32 * chunk), row_bytes }
    }
}

/// `layer(ty, n, max_tokens)`: with an nth of the rows.
const SHAPES: [Shape; 5] = [
    Shape {
        what: "qkv",
        pairs: 3072,
        cols: 4096,
        times: 32,
        layer: |ty, n, rows| qkv([ty; 2], (4096 / n).next_multiple_of(32), 1024 / n / 32 + 1, 4096, rows),
    },
    Shape { what: "o", pairs: 2048, cols: 4096, times: 32, layer: |ty, n, rows| mat_mul_add(ty, 4096 / n, 4096, rows) },
    Shape {
        what: "gate_up",
        pairs: 14336,
        cols: 4096,
        times: 32,
        layer: |ty, n, rows| gate_up(ty, (14336 / n).next_multiple_of(4), 4096, rows),
    },
    Shape {
        what: "down",
        pairs: 2048,
        cols: 14336,
        times: 32,
        layer: |ty, n, rows| mat_mul_add(ty, 4096 / n, 14336, rows),
    },
    Shape {
        what: "head",
        pairs: 64128,
        cols: 4096,
        times: 1,
        layer: |ty, n, rows| mat_mul(ty, 128256 / n, 4096, rows),
    },
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
    /// Lane instructions per weight (SASS) of llama.cpp's kernels, run by the same simulator: qkv, o, gate_up, down, head.
    llama_cpp: [f64; 5],
    /// The time of a token over that of llama.cpp.
    of_llama_cpp: f64,
    /// Lane instructions of 4 tokens and of 8 in one step over those of one.
    more_rows: [f64; 2],
}

const LIMITS: [Limits; 5] = [
    Limits {
        ty: GgmlType::Q4_0,
        many_rows: 2.2,
        few_rows: 4.0,
        token: 20.0,
        in_flight: 65536.0,
        llama_cpp: [5.40, 6.51, 4.15, 4.49, 5.40],
        of_llama_cpp: 0.80,
        more_rows: [1.5, 2.5],
    },
    Limits {
        ty: GgmlType::Q4_K,
        many_rows: 2.8,
        few_rows: 4.5,
        token: 24.0,
        in_flight: 65536.0,
        llama_cpp: [7.74, 8.99, 6.37, 6.99, 7.74],
        of_llama_cpp: 0.56,
        more_rows: [1.5, 2.5],
    },
    Limits {
        ty: GgmlType::Q6_K,
        many_rows: 3.7,
        few_rows: 5.3,
        token: 31.0,
        in_flight: 57344.0,
        llama_cpp: [10.37, 12.71, 9.27, 10.33, 10.37],
        of_llama_cpp: 0.55,
        more_rows: [1.5, 2.5],
    },
    Limits {
        ty: GgmlType::Q8_0,
        many_rows: 1.9,
        few_rows: 3.7,
        token: 17.0,
        in_flight: 65536.0,
        llama_cpp: [6.46, 8.12, 5.15, 5.76, 6.46],
        of_llama_cpp: 1.0,
        // Its chunks have 16 elements: twice as many products of tensor cores and scales for as many weights.
        more_rows: [1.8, 2.6],
    },
    // Exact products, not streams: two buffers of 64 bytes a row and lane.
    Limits {
        ty: GgmlType::F16,
        many_rows: 8.5,
        few_rows: 8.7,
        token: 60.0,
        in_flight: 65536.0,
        llama_cpp: [10.46, 12.14, 7.41, 5.79, 10.46],
        of_llama_cpp: 1.0,
        more_rows: [f64::INFINITY; 2], // exact: not counted
    },
];

impl Limits {
    fn is_stream(&self) -> bool {
        self.ty != GgmlType::F16
    }
}

/// A step of `rows` rows: what its product counted per weight, its counters, and how it is divided.
fn counted(ty: GgmlType, shape: &Shape, rows: u32) -> (f64, Counters, Option<Division>) {
    let mut device = Cuda::sim_like((9, 0), FEW_SMS);
    let layer = (shape.layer)(ty, H100_SMS / FEW_SMS, rows);
    let matrix = |op: &Op| match op {
        Op::MatMul(op) => layer.plan[op.out].cols as u64 * layer.plan[op.w].cols,
        _ => 0,
    };
    let weights: u64 = layer.plan.decode.iter().map(matrix).sum();
    let loaded = layer.load(&mut device);
    loaded.run(&mut device, &(0..rows as usize).collect::<Vec<_>>());
    let is_product = |entry: &str| ["_stream", "_rows", "_t1"].iter().any(|form| entry.ends_with(form));
    let products: Vec<_> = device.driver().counted().iter().filter(|(entry, _)| is_product(entry)).collect();
    let [(_, (1, counters))] = products[..] else { panic!("one launch of one product") };
    let division = device.divisions().first().map(|(_, division)| *division);
    (counters.lane_instructions_per(weights), counters.clone(), division)
}

/// A GPU issues at most 128 lane instructions a clock and SM: with more of them per weight than these, they and not the bytes of the
/// weights would set the time of a token (by 60% of an H100's issue slots: 4.1 for Q4_0 and Q4_K, 5.9 for Q6_K, 7.7 for Q8_0, 14.4 for
/// F16). The rest is what keeps memory busy. Counted on 4 SMs with a 33rd of the rows: as many rows per block as on 132. The time of a
/// token is that of its products, one after another, each as long as its instructions or its bytes take, whatever is more; launches are
/// left out.
#[test]
fn what_a_token_costs() {
    for limits in &LIMITS {
        let Limits { ty, many_rows, few_rows, token, in_flight, llama_cpp, of_llama_cpp, .. } = *limits;
        let (mut lanes_of_token, mut times) = (0.0, [0.0, 0.0]);
        for (shape, llama_cpp) in SHAPES.iter().zip(llama_cpp) {
            let (per_weight, c, division) = counted(ty, shape, 1);
            if let Some(division) = division {
                let wanted = Division::of(H100_SMS, shape.pairs(ty), None, true);
                assert_eq!(division.parts, wanted.parts, "{ty} {}: divided as on {H100_SMS} SMs", shape.what);
            }
            let limit = if shape.has_many_rows() { many_rows } else { few_rows };
            let barriers = c.barriers as f64 / c.warps as f64;
            let [steady, most] = [c.in_flight_mean(), c.in_flight_max as f64].map(|bytes| bytes * WARPS_PER_SM);
            let sectors = 32.0 * c.sectors_asked as f64 / c.dram_bytes() as f64;
            println!(
                "{ty:5} {:8} {per_weight:.2} lane instructions per weight (at most {limit}), {barriers} barriers, {:.1} KiB in flight, \
                 {:.1} at most, sectors / DRAM {sectors:.2}, {} conflicts",
                shape.what,
                steady / 1024.0,
                most / 1024.0,
                c.shared_conflicts
            );
            if per_weight > limit {
                println!("OVER");
            }
            // With few rows a block has one or two items a warp: no loop that is steady, but what is under way before the wait.
            assert!(most >= in_flight, "{ty} {}", shape.what);
            if limits.is_stream() {
                assert!(barriers <= 2.0, "{ty} {}", shape.what);
                if shape.has_many_rows() {
                    assert!(steady >= in_flight, "{ty} {}", shape.what);
                    assert!(sectors <= 1.15, "{ty} {}", shape.what);
                }
                // Results in parts are read two by two at a block's end.
                let parts = division.expect("streams are divided").parts;
                assert!(c.shared_conflicts <= c.warps * u64::from(parts - 1), "{ty} {}", shape.what);
            }
            let n = shape.weights() * shape.times as f64;
            lanes_of_token += per_weight * n;
            let bytes = n / ty.block_size() as f64 * ty.block_bytes() as f64 / STREAMED;
            for (time, per_weight) in times.iter_mut().zip([per_weight, llama_cpp]) {
                *time += (per_weight * n / ISSUED).max(bytes);
            }
        }
        let ratio = times[0] / times[1];
        println!(
            "{ty:5} a token: {:.1} G lane instructions (at most {token}), {:.2} ms, {ratio:.3} of llama.cpp's (at most {of_llama_cpp})",
            lanes_of_token / 1e9,
            times[0] * 1e3
        );
        assert!(lanes_of_token <= token * 1e9, "{ty}");
        assert!(ratio <= of_llama_cpp, "{ty}");
    }
}

/// What speculation and batches cost: lane instructions of a step of 4 and of 8 tokens over those of one token.
#[test]
fn what_more_rows_cost() {
    for Limits { ty, more_rows, .. } in LIMITS.iter().filter(|limits| limits.is_stream()) {
        let mut lanes = [0.0; 3];
        for shape in &SHAPES {
            let n = shape.weights() * shape.times as f64;
            let per_weight = [1, 4, 8].map(|rows| counted(*ty, shape, rows).0);
            println!("{ty:5} {:8} lane instructions per weight of 1, 4 and 8 rows: {per_weight:.2?}", shape.what);
            lanes.iter_mut().zip(per_weight).for_each(|(lanes, per_weight)| *lanes += per_weight * n);
        }
        let ratios = [lanes[1] / lanes[0], lanes[2] / lanes[0]];
        println!("{ty:5} a token: {ratios:.2?} times the instructions of one (at most {more_rows:?})");
        assert!(ratios.iter().zip(more_rows).all(|(ratio, limit)| ratio <= limit), "{ty}: {ratios:?}");
    }
}

/// Bytes of weights that a warp has asked for when it first waits for what other kernels write.
#[test]
fn weights_are_under_way_before_the_wait() {
    for stem in ["mat_mul", "norm_gate_up_swi_glu", "norm_qkv_rope_store"] {
        let text = ptx(stem, Arch::Sm90).expect("it is compiled in");
        for Limits { ty, in_flight, .. } in LIMITS.iter().filter(|limits| limits.is_stream()) {
            let name = format!(".entry {stem}_{}_stream(", ty.name().to_lowercase());
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
            println!("{stem} {ty}: {bytes} bytes a lane, {:.0} KiB per SM before the wait", of_sm / 1024.0);
            assert!(of_sm >= *in_flight, "{stem} {ty}");
        }
    }
}

/// On GPUs of any size: multiprocessors have nearly the same number of rows, and on those whose size fits the rows their warps too.
#[test]
fn rows_are_divided_evenly() {
    for n_sms in [132, 114, 108, 128] {
        for Limits { ty, .. } in LIMITS.iter().filter(|limits| limits.is_stream()) {
            for shape in &SHAPES {
                let pairs = shape.pairs(*ty);
                let division = Division::of(n_sms, pairs, None, true);
                let balance = division.balance(pairs);
                println!(
                    "{n_sms} SMs, {ty} {}: {division}; SMs {:.3}, warps {:.3}",
                    shape.what, balance.of_sms, balance.of_warps
                );
                assert!(balance.of_sms >= 0.95, "{n_sms} SMs, {ty} {}", shape.what);
                // Rows are divided into whole steps, of which some have 4 or 14: on GPUs where neither they nor pairs come out even, some
                // warps of a block end early, while its multiprocessor still has as many bytes to load as others.
                let of_warps = if [132, 128].contains(&n_sms) { 0.95 } else { 0.82 };
                assert!(balance.of_warps >= of_warps, "{n_sms} SMs, {ty} {}", shape.what);
            }
        }
    }
}
