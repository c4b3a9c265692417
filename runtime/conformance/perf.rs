//! What benchmarks run: each operation alone, at the shapes of a model's layer, loaded and run as a model is.

use super::{Setup, fused_into, no_kv};
use crate::backend::{Backend, Error, Unsupported};
use crate::model::{Shape, matrix_type};
use crate::plan::*;
use crate::quant::GgmlType;
use crate::quant::Random;
use std::time::{Duration, Instant};

/// One operation at one shape, repeated over enough different weights or KV layers that no cache holds them all.
pub struct PerfCase {
    pub stem: &'static str,
    /// What part of the model it is, and its sizes.
    pub name: String,
    /// Repetitions in one step.
    pub copies: u32,
    setup: Setup,
}

/// Bytes that the copies of a case read in all: more than the caches of most CPUs and GPUs (an H100's is 50 MB).
const WORKING_SET: u64 = 128 << 20;
/// No case needs more repetitions than this to drown the cost of starting a step.
const MAX_COPIES: u32 = 32;

impl PerfCase {
    /// Loads the case on `backend` and fills its inputs. The refusal of a backend without the operation is an error.
    pub fn load(&mut self, backend: &mut dyn Backend) -> Result<(), Error> {
        let plan = &mut self.setup.plan;
        if fused_stems().any(|s| s == self.stem) {
            fused_into(plan, self.stem, backend);
            let found = plan.decode.iter().any(|op| op.stem() == self.stem);
            if !found {
                let what = Unsupported("is not fused on this device".to_string());
                return Err(Error::Unsupported { device: backend.name(), op: self.stem, what });
            }
        }
        crate::backend::check_supported(backend, plan)?;
        backend.load(plan, &Weights(self.setup.weights.clone()), &mut |_| {})?;
        for (buf, values) in &self.setup.inputs {
            backend.write(*buf, values)?;
        }
        Ok(())
    }

    /// Runs all copies once and waits for the result.
    pub fn run(&self, backend: &mut dyn Backend) -> Result<(), Error> {
        backend.run(self.step())?;
        backend.read(Buf(0), &mut [0.0]) // waits
    }

    /// Seconds of one run of all copies: the median of at least 5 runs, as many as fit into `time`, after one that does not
    /// count.
    pub fn median_seconds(&self, backend: &mut dyn Backend, time: Duration) -> Result<f64, Error> {
        self.run(backend)?;
        let (begin, mut seconds) = (Instant::now(), vec![]);
        while seconds.len() < 5 || begin.elapsed() < time {
            let start = Instant::now();
            self.run(backend)?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        seconds.sort_by(f64::total_cmp);
        Ok(seconds[seconds.len() / 2])
    }

    fn step(&self) -> &Step {
        &self.setup.steps[0]
    }

    /// Elements of the matrices that one copy multiplies or looks up: 0 for operations without.
    pub fn matrix_elements(&self) -> u64 {
        let plan = &self.setup.plan;
        let ops = plan.ops(plan.phase(self.step().n_tokens()));
        let elements = |op: &Op| match op {
            Op::MatMul(op) => plan[op.out].cols as u64 * plan[op.w].cols,
            Op::Embed(op) => self.step().n_tokens() as u64 * plan[op.table].cols,
            _ => 0,
        };
        ops.iter().flat_map(Op::expand).map(|op| elements(&op)).sum::<u64>() / self.copies as u64
    }

    /// What all copies together must move and compute.
    pub fn cost(&self) -> Cost {
        let step = self.step();
        let kv_len = step.rows.iter().map(|r| r.kv_len as u64).max().unwrap_or(0);
        let load = Load { n_tokens: step.n_tokens() as u64, n_outputs: step.n_outputs as u64, kv_len };
        self.setup.plan.cost(load)
    }
}

/// The device's bandwidth, in bytes per second: the STREAM addition (McCalpin, 1995), `out = x + y` on buffers that no cache
/// holds, as the backend's own `Add` does it. The median of several passes.
pub fn stream_bandwidth(backend: &mut dyn Backend) -> Result<f64, Error> {
    /// 64 MiB a buffer: half of the binding limit of a software Vulkan device.
    const ROWS: u32 = 64;
    const COLS: u32 = 1 << 18;
    let mut setup = Setup::new(no_kv(), ROWS, 1, 7);
    let (x, y) = (setup.input("x", Rows::Tokens, COLS, 1.0), setup.input("y", Rows::Tokens, COLS, 1.0));
    let out = setup.output("out", Rows::Tokens, COLS);
    setup.push(Add { out, x, y });
    setup.plain_step(ROWS);
    let mut case = PerfCase { stem: "add", name: "stream".to_string(), copies: 1, setup };
    case.load(backend)?;
    let seconds = case.median_seconds(backend, Duration::from_millis(500))?;
    Ok(case.cost().bytes() as f64 / seconds)
}

/// Every operation of one layer of `shape` with weights of `ty`, for `n_tokens` tokens that see `kv_len` slots.
pub fn perf_cases(shape: &Shape, ty: GgmlType, n_tokens: u32, kv_len: u32) -> Vec<PerfCase> {
    layer_cases(shape, ty, n_tokens, kv_len, MAX_COPIES)
}

/// The same, each once: for counting what it does, not how long that takes.
pub fn single_cases(shape: &Shape, ty: GgmlType, n_tokens: u32, kv_len: u32) -> Vec<PerfCase> {
    layer_cases(shape, ty, n_tokens, kv_len, 1)
}

fn layer_cases(shape: &Shape, ty: GgmlType, n_tokens: u32, kv_len: u32, most_copies: u32) -> Vec<PerfCase> {
    let (embd, ff, head_dim) = (shape.n_embd, shape.n_ff, shape.head_dim);
    let (q_dim, kv_dim) = (shape.n_heads * head_dim, shape.n_kv_heads * head_dim);
    let kv = KvDecl { layers: 1, slots: kv_len.max(n_tokens), heads: shape.n_kv_heads, head_dim, ty: KvType::F16 };
    let mut cases = vec![];
    let mut case = |stem: &'static str, part: &str, bytes: u64, build: &dyn Fn(&mut Setup, u32)| {
        let copies = (WORKING_SET / bytes.max(1)).clamp(1, most_copies as u64) as u32;
        let mut setup = Setup::new(no_kv(), n_tokens, 1, 7);
        setup.size(KvDecl { layers: copies, ..kv }, n_tokens, 1);
        let tokens: Vec<u32> = (0..n_tokens).collect();
        setup.steps.push(Step::sequence(&tokens, kv.slots - n_tokens, &[n_tokens - 1]));
        (0..copies).for_each(|copy| build(&mut setup, copy));
        cases.push(PerfCase { stem, name: format!("{part} tokens={n_tokens}"), copies, setup });
    };
    // In rows that are no whole blocks of `ty` another type stands in, as in files.
    let ty_of = |cols: u32| matrix_type(ty, cols as u64);
    let matrix_bytes =
        |rows: u32, cols: u32| rows as u64 * cols as u64 * ty_of(cols).block_bytes() / ty_of(cols).block_size();
    let floats = |n: u32| 4 * n_tokens as u64 * n as u64;

    case("rms_norm", &format!("embd={embd}"), 3 * floats(embd), &|s, _| {
        let x = s.input("x", Rows::Tokens, embd, 1.0);
        let (w, out) = (s.weight(GgmlType::F32, 1, embd as u64), s.output("out", Rows::Tokens, embd));
        s.push(RmsNorm { out, x, w, eps: 1e-5 });
    });
    let matrices = [
        ("attn_q", q_dim, embd),
        ("attn_kv", kv_dim, embd),
        ("attn_output", embd, q_dim),
        ("ffn_gate", ff, embd),
        ("ffn_down", embd, ff),
    ];
    for (part, rows, cols) in matrices {
        let name = format!("{part} {rows}x{cols} {}", ty_of(cols));
        case("mat_mul", &name, matrix_bytes(rows, cols), &|s, _| {
            let x = s.input("x", Rows::Tokens, cols, 1.0);
            let (w, out) = (s.weight(ty_of(cols), rows as u64, cols as u64), s.output("out", Rows::Tokens, rows));
            s.push(MatMul { out, x, w, first_row: 0 });
        });
    }
    let name = format!("output {}x{embd} {}", shape.n_vocab, ty_of(embd));
    case("mat_mul", &name, matrix_bytes(shape.n_vocab, embd), &|s, _| {
        let x = s.input("x", Rows::Outputs, embd, 1.0);
        let w = s.weight(ty_of(embd), shape.n_vocab as u64, embd as u64);
        let out = s.output("out", Rows::Outputs, shape.n_vocab);
        s.push(MatMul { out, x, w, first_row: 0 });
    });
    case("mat_mul_add", &format!("ffn_down {embd}x{ff} {}", ty_of(ff)), matrix_bytes(embd, ff), &|s, _| {
        let h = s.input("h", Rows::Tokens, ff, 1.0);
        let x = s.input("x", Rows::Tokens, embd, 1.0);
        let (w, y) = (s.weight(ty_of(ff), embd as u64, ff as u64), s.output("y", Rows::Tokens, embd));
        s.push(MatMul { out: y, x: h, w, first_row: 0 });
        s.push(Add { out: x, x, y });
    });
    case("norm_gate_up_swi_glu", &format!("2x{ff}x{embd} {}", ty_of(embd)), 2 * matrix_bytes(ff, embd), &|s, _| {
        let x = s.input("x", Rows::Tokens, embd, 1.0);
        let norm = s.weight(GgmlType::F32, 1, embd as u64);
        let (w_gate, w_up) =
            (s.weight(ty_of(embd), ff as u64, embd as u64), s.weight(ty_of(embd), ff as u64, embd as u64));
        let h = s.output("h", Rows::Tokens, embd);
        let (gate, up) = (s.output("gate", Rows::Tokens, ff), s.output("up", Rows::Tokens, ff));
        s.push(RmsNorm { out: h, x, w: norm, eps: 1e-5 });
        s.push(MatMul { out: gate, x: h, w: w_gate, first_row: 0 });
        s.push(MatMul { out: up, x: h, w: w_up, first_row: 0 });
        s.push(SwiGlu { out: gate, gate, up });
    });
    let rope_table = |s: &mut Setup| {
        let mut random = Random::new(3);
        let angles: Vec<f32> = (0..kv.slots * head_dim / 2).map(|_| random.uniform(3.0)).collect();
        let table: Vec<f32> = angles.iter().flat_map(|a| [a.cos(), a.sin()]).collect();
        s.weight_of(&table, head_dim as u64)
    };
    let qkv_bytes = matrix_bytes(q_dim + 2 * kv_dim, embd);
    let name = format!("({q_dim}+2x{kv_dim})x{embd} {}", ty_of(embd));
    case("norm_qkv_rope_store", &name, qkv_bytes, &|s, layer| {
        let x = s.input("x", Rows::Tokens, embd, 1.0);
        let norm = s.weight(GgmlType::F32, 1, embd as u64);
        let [wq, wk, wv] = [q_dim, kv_dim, kv_dim].map(|rows| s.weight(ty_of(embd), rows as u64, embd as u64));
        let table = rope_table(s);
        let h = s.output("h", Rows::Tokens, embd);
        let q = s.output("q", Rows::Tokens, q_dim);
        let [k, v] = ["k", "v"].map(|name| s.output(name, Rows::Tokens, kv_dim));
        s.push(RmsNorm { out: h, x, w: norm, eps: 1e-5 });
        for (out, w) in [(q, wq), (k, wk), (v, wv)] {
            s.push(MatMul { out, x: h, w, first_row: 0 });
        }
        for x in [q, k] {
            s.push(Rope { x, table, head_dim, pairing: Pairing::Neighbours });
        }
        s.push(KvStore { k, v, layer });
    });
    case("rope", &format!("heads={} head_dim={head_dim}", shape.n_heads), 2 * floats(q_dim), &|s, _| {
        let x = s.input("x", Rows::Tokens, q_dim, 1.0);
        let table = rope_table(s);
        s.push(Rope { x, table, head_dim, pairing: Pairing::Neighbours });
    });
    case("kv_store", &format!("heads={} head_dim={head_dim}", shape.n_kv_heads), 2 * floats(kv_dim), &|s, layer| {
        let k = s.input("k", Rows::Tokens, kv_dim, 1.0);
        let v = s.input("v", Rows::Tokens, kv_dim, 1.0);
        s.push(KvStore { k, v, layer });
    });
    let name = format!("heads={}/{} head_dim={head_dim} kv_len={kv_len}", shape.n_heads, shape.n_kv_heads);
    case("attention", &name, 4 * kv_len as u64 * kv_dim as u64, &|s, layer| {
        let q = s.input("q", Rows::Tokens, q_dim, 1.0);
        let out = s.output("out", Rows::Tokens, q_dim);
        s.push(Attention { out, q, layer, scale: 1.0 / (head_dim as f32).sqrt() });
    });
    case("swi_glu", &format!("ff={ff}"), 3 * floats(ff), &|s, _| {
        let (gate, up) = (s.input("gate", Rows::Tokens, ff, 1.0), s.input("up", Rows::Tokens, ff, 1.0));
        let out = s.output("out", Rows::Tokens, ff);
        s.push(SwiGlu { out, gate, up });
    });
    case("add", &format!("embd={embd}"), 3 * floats(embd), &|s, _| {
        let (x, y) = (s.input("x", Rows::Tokens, embd, 1.0), s.input("y", Rows::Tokens, embd, 1.0));
        let out = s.output("out", Rows::Tokens, embd);
        s.push(Add { out, x, y });
    });
    case("add_bias", &format!("embd={embd}"), 3 * floats(embd), &|s, _| {
        let (x, b) = (s.input("x", Rows::Tokens, embd, 1.0), s.weight(GgmlType::F32, 1, embd as u64));
        s.push(AddBias { x, b });
    });
    case("embed", &format!("vocab={} embd={embd} {}", shape.n_vocab, ty_of(embd)), WORKING_SET, &|s, _| {
        let (table, out) =
            (s.weight(ty_of(embd), shape.n_vocab as u64, embd as u64), s.output("out", Rows::Tokens, embd));
        s.push(Embed { out, table, next: None });
    });
    case("gather", &format!("embd={embd}"), 2 * floats(embd), &|s, _| {
        let (x, out) = (s.input("x", Rows::Tokens, embd, 1.0), s.output("out", Rows::Outputs, embd));
        s.push(Gather { out, x });
    });
    case("argmax", &format!("vocab={}", shape.n_vocab), 4 * shape.n_vocab as u64, &|s, _| {
        let x = s.input("x", Rows::Outputs, shape.n_vocab, 1.0);
        let out = s.plan.token_buf("out");
        s.push(Argmax { out, x });
    });
    cases
}
