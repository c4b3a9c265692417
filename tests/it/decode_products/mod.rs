//! Products of 1 to 8 rows on the CUDA backend: their bits, their widths, and what they cost by the simulator's counters at the shapes of
//! Llama 3 8B on an H100, which bounds what a GPU can reach. Results of usual shapes: conformance.rs.

mod cost;
mod rows;
mod sources;

use pronk::backend::Backend;
use pronk::backend::cuda::{Cuda, Sim};
use pronk::plan::*;
use pronk::quant::{self, GgmlType, Random, random_blocks};

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
