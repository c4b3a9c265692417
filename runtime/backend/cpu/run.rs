//! How the threads run a stage.

use super::attention::Scratch;
use super::kv::Half;
use super::operands::{Block, Needs, Weights};
use super::products::DECODED;
use super::stages::{Finish, Job, Matrix, Products, Stage};
use super::team::{Counter, Member};
use super::{Loaded, Sizes, argmax, vector};
use crate::plan::{Buf, DECODE_TOKENS, NEXT_TOKEN, Op, Rope, Rows, Step, Weight};
use crate::quant;
use std::ops::Range;
use std::sync::PoisonError;

/// Rows of activations, at most, that are prepared together, and multiplied by a chunk of weights together. Unmeasured.
pub const BLOCK: usize = 32;

/// Rows up to which each thread prepares all of them for itself: that takes no longer than to wait for another.
pub const OWN: usize = DECODE_TOKENS as usize;

/// Rows of weights in the smallest chunk that a thread takes: a multiple of a product's groups of rows, of blocks of the KV cache
/// and of pairs that are rotated together.
const CHUNK: usize = 32;

/// Results of a chunk, at most.
pub const TILE: usize = 4096;

/// What one thread works with.
pub struct Local {
    /// Rows of f32.
    x: Vec<f32>,
    y: Vec<f32>,
    /// Results of one chunk, of gates and of the other half.
    tile: Vec<f32>,
    other: Vec<f32>,
    /// Decoded rows of weights.
    decoded: Vec<f32>,
    own: Block,
    pub attention: Scratch,
}

impl Local {
    pub fn new(sizes: &Sizes) -> Local {
        let [x, y, tile, other, decoded] = Local::floats(sizes).map(|len| vec![0.0; len]);
        let own = Block::new(OWN.min(sizes.tokens), sizes.x_row, sizes.needs);
        Local { x, y, tile, other, decoded, own, attention: Scratch::new(sizes) }
    }

    /// Elements of its buffers.
    fn floats(sizes: &Sizes) -> [usize; 5] {
        let x = sizes.row.max(sizes.x_row * BLOCK.min(sizes.tokens)).max(argmax::CHUNK);
        [x, sizes.row, TILE, TILE, DECODED * sizes.x_row]
    }

    /// Its size in bytes.
    pub fn bytes(sizes: &Sizes) -> usize {
        let own = Block::size(OWN.min(sizes.tokens), sizes.x_row, sizes.needs);
        4 * Local::floats(sizes).iter().sum::<usize>() + own + Scratch::bytes(sizes)
    }
}

/// Where the results of a chunk are at first.
struct Results<'a> {
    tile: &'a mut [f32],
    other: &'a mut [f32],
    decoded: &'a mut [f32],
}

/// The counters of a stage: for what comes before products, or attention, and for these.
pub type Counters = [Counter; 2];

/// A step as it runs.
pub struct Run<'a> {
    pub loaded: &'a Loaded,
    pub step: &'a Step,
    pub stages: &'a [Stage],
    pub counters: &'a [Counters],
    pub threads: usize,
}

impl Run<'_> {
    /// Runs all stages, as one of the threads.
    pub fn work(&self, member: Member) {
        let mut local = self.loaded.locals[member.index].lock().unwrap_or_else(PoisonError::into_inner);
        for (stage, counters) in self.stages.iter().zip(self.counters) {
            match stage {
                Stage::Products(products) => self.products(products, counters, member, &mut local),
                Stage::Attention(op) => self.attention(op, counters, member, &mut local.attention),
                Stage::Argmax(op) => self.argmax(op, counters, member, &mut local.x),
                Stage::Rows(rows, ops) => self.rows(*rows, ops, &counters[0], &mut local),
            }
            member.wait();
        }
    }

    /// Number of rows of a step's buffer.
    fn n_rows(&self, rows: Rows) -> usize {
        match rows {
            Rows::Tokens => self.step.rows.len(),
            Rows::Outputs => self.step.n_outputs as usize,
        }
    }

    /// Rows `t` of `products.x`, ready to be multiplied; also to `local.x`.
    fn prepare(&self, products: &Products, t: Range<usize>, x: &mut [f32], out: &mut Block) {
        let cols = self.loaded.plan[products.x].cols as usize;
        let x = &mut x[..t.len() * cols];
        self.loaded.buf(products.x).load(t.start * cols, x);
        if let Some(norm) = products.norm {
            vector::rms_norm(x, self.loaded.vector(norm.op.w), norm.op.eps);
        }
        let weights = products.jobs.iter().flat_map(|job| job.matrices()).map(|m| self.loaded.matrix(m));
        out.fill(
            self.loaded.level,
            Needs::of(weights, self.loaded.rounding[products.multiplied().0 as usize]),
            x,
            t.len(),
        );
    }

    fn products(&self, products: &Products, counters: &Counters, member: Member, local: &mut Local) {
        let loaded = self.loaded;
        let (n, cols) = (self.n_rows(loaded.plan[products.x].rows), loaded.plan[products.x].cols as usize);
        let kept = products.norm.filter(|norm| norm.kept).map(|norm| loaded.buf(norm.op.out));
        let own = n <= OWN;
        let block_rows = n.div_ceil(self.threads).clamp(OWN, BLOCK);
        let Local { x, tile, other, decoded, own: activations, .. } = local;
        let mut scratch = Results { tile, other, decoded };
        if own {
            self.prepare(products, 0..n, x, activations);
            if let Some(kept) = kept.filter(|_| member.index == 0) {
                kept.store(0, &x[..n * cols]);
            }
        } else {
            while let Some(i) = counters[0].next(n.div_ceil(block_rows)) {
                let t = i * block_rows..n.min((i + 1) * block_rows);
                let mut block = loaded.blocks[i].write().unwrap_or_else(PoisonError::into_inner);
                self.prepare(products, t.clone(), x, &mut block);
                if let Some(kept) = kept {
                    kept.store(t.start * cols, &x[..t.len() * cols]);
                }
            }
            member.wait();
        }
        let chunks = Chunks::of(&products.jobs, n, self.threads);
        while let Some(i) = counters[1].next(chunks.len()) {
            let (job, range) = chunks.get(i);
            if own {
                self.product(job, range, 0, activations, &mut scratch);
                continue;
            }
            for (i, block) in loaded.blocks[..n.div_ceil(block_rows)].iter().enumerate() {
                let block = block.read().unwrap_or_else(PoisonError::into_inner);
                self.product(job, range.clone(), i * block_rows, &block, &mut scratch);
            }
        }
    }

    /// The rows `range` of a product with `x`, whose first row is the step's row `first`.
    fn product(&self, job: &Job, range: Range<usize>, first: usize, x: &Block, results: &mut Results) {
        let loaded = self.loaded;
        let n = range.len();
        let Results { tile, other, decoded } = results;
        let tile = &mut tile[..x.tokens() * n];
        loaded.matrix(job.matrix).product(loaded.level, range.clone(), x, decoded, tile);
        if let Finish::SwiGlu { up, .. } = job.finish {
            let other = &mut other[..tile.len()];
            loaded.matrix(up).product(loaded.level, range.clone(), x, decoded, other);
            vector::swi_glu(tile, other);
        }
        let cols = job.matrix.rows as usize;
        for (t, tile) in (first..).zip(tile.chunks_exact_mut(n)) {
            let at = t * cols + range.start;
            match job.finish {
                Finish::Store { out, bias } => {
                    if let Some(bias) = bias {
                        vector::add(tile, &loaded.vector(bias)[range.clone()]);
                    }
                    loaded.buf(out).store(at, tile);
                }
                Finish::Add { residual, out } => {
                    let other = &mut other[..n];
                    loaded.buf(residual).load(at, other);
                    vector::add(tile, other);
                    loaded.buf(out).store(at, tile);
                }
                Finish::SwiGlu { out, .. } => loaded.buf(out).store(at, tile),
                Finish::Rotate { rope, out } => {
                    self.rotate(&rope, t, range.start, tile, other);
                    loaded.buf(out).store(at, tile);
                }
                Finish::Keys { rope, layer } => {
                    self.rotate(&rope, t, range.start, tile, other);
                    loaded.cache.store(layer, Half::Keys, self.step.rows[t].slot, range.start, tile);
                }
                Finish::Values { layer } => {
                    loaded.cache.store(layer, Half::Values, self.step.rows[t].slot, range.start, tile);
                }
            }
        }
    }

    /// Rotates the elements `x` of row `t`, which begin with element `first`.
    fn rotate(&self, rope: &Rope, t: usize, first: usize, x: &mut [f32], angles: &mut [f32]) {
        let angles = self.weight_row(rope.table, self.step.rows[t].position as usize, angles);
        vector::rope(x, first, angles, rope.head_dim as usize, rope.pairing);
    }

    /// Decodes row `row` of a weight to the beginning of `out`.
    fn weight_row<'a>(&self, w: Weight, row: usize, out: &'a mut [f32]) -> &'a [f32] {
        let decl = &self.loaded.plan[w];
        let n = decl.row_bytes() as usize;
        let out = &mut out[..decl.cols as usize];
        quant::decode(decl.ty, &self.loaded.weights[w][row * n..][..n], out);
        out
    }

    fn rows(&self, rows: Rows, ops: &[Op], counter: &Counter, local: &mut Local) {
        while let Some(t) = counter.next(self.n_rows(rows)) {
            ops.iter().for_each(|op| self.row(op, t, local));
        }
    }

    /// Runs an operation on row `t`.
    fn row(&self, op: &Op, t: usize, local: &mut Local) {
        let loaded = self.loaded;
        let cols = |b: Buf| loaded.plan[b].cols as usize;
        let (x, y) = (&mut local.x[..], &mut local.y[..]);
        let load = |b: Buf, row: usize, x: &mut [f32]| loaded.buf(b).load(row * cols(b), x);
        let store = |b: Buf, x: &[f32]| loaded.buf(b).store(t * cols(b), x);
        match op {
            Op::Embed(op) => {
                let x = &mut x[..cols(op.out)];
                let mut token = self.step.rows[t].token as usize;
                if let Some(next) = op.next.filter(|_| token == NEXT_TOKEN as usize) {
                    let mut id = [0.0];
                    loaded.buf(next).load(t, &mut id);
                    token = id[0] as usize;
                }
                // An earlier step's choice may be `NOT_FINITE`.
                match (token as u64) < loaded.plan[op.table].rows {
                    true => _ = self.weight_row(op.table, token, x),
                    false => x.fill(0.0),
                }
                store(op.out, x);
            }
            Op::Gather(op) => {
                let x = &mut x[..cols(op.out)];
                load(op.x, self.step.rows[t].output as usize, x);
                store(op.out, x);
            }
            Op::RmsNorm(op) => {
                let x = &mut x[..cols(op.out)];
                load(op.x, t, x);
                vector::rms_norm(x, loaded.vector(op.w), op.eps);
                store(op.out, x);
            }
            Op::Rope(op) => {
                let x = &mut x[..cols(op.x)];
                load(op.x, t, x);
                self.rotate(op, t, 0, x, y);
                store(op.x, x);
            }
            Op::KvStore(op) => {
                for (b, half) in [(op.k, Half::Keys), (op.v, Half::Values)] {
                    let x = &mut x[..cols(b)];
                    load(b, t, x);
                    loaded.cache.store(op.layer, half, self.step.rows[t].slot, 0, x);
                }
            }
            Op::SwiGlu(op) => {
                let (x, y) = (&mut x[..cols(op.out)], &mut y[..cols(op.out)]);
                load(op.gate, t, x);
                load(op.up, t, y);
                vector::swi_glu(x, y);
                store(op.out, x);
            }
            Op::Add(op) => {
                let (x, y) = (&mut x[..cols(op.out)], &mut y[..cols(op.out)]);
                load(op.x, t, x);
                load(op.y, t, y);
                vector::add(x, y);
                store(op.out, x);
            }
            Op::AddBias(op) => {
                let x = &mut x[..cols(op.x)];
                load(op.x, t, x);
                vector::add(x, loaded.vector(op.b));
                store(op.x, x);
            }
            Op::MatMul(_) | Op::Attention(_) | Op::Argmax(_) | Op::Fused(_) => unreachable!("a stage of its own"),
        }
    }
}

/// The rows of all products of a stage in chunks, each for one thread.
struct Chunks<'a> {
    jobs: &'a [Job],
    /// Number of chunks up to the end of each job, and rows of its chunks.
    ends: Vec<(usize, usize)>,
}

impl<'a> Chunks<'a> {
    /// For products of `n` rows of activations: about eight chunks a thread and job, so that a thread that starts late or is slow takes fewer.
    fn of(jobs: &'a [Job], n: usize, threads: usize) -> Chunks<'a> {
        let most = TILE / n.clamp(1, BLOCK) / CHUNK * CHUNK;
        let mut end = 0;
        let ends = jobs.iter().map(|job| {
            let rows = job.matrix.rows as usize;
            let chunk = (rows / (8 * threads)).next_multiple_of(CHUNK).clamp(CHUNK, most);
            end += if n == 0 { 0 } else { rows.div_ceil(chunk) };
            (end, chunk)
        });
        Chunks { ends: ends.collect(), jobs }
    }

    fn len(&self) -> usize {
        self.ends.last().map_or(0, |(end, _)| *end)
    }

    /// A chunk: its job, and the rows of its product.
    fn get(&self, i: usize) -> (&'a Job, Range<usize>) {
        let index = self.ends.partition_point(|(end, _)| *end <= i);
        let (first, chunk) = (if index == 0 { 0 } else { self.ends[index - 1].0 }, self.ends[index].1);
        let job = &self.jobs[index];
        let start = (i - first) * chunk;
        (job, start..(start + chunk).min(job.matrix.rows as usize))
    }
}

impl Loaded {
    fn vector(&self, w: Weight) -> &[f32] {
        &self.vectors[&w]
    }

    fn matrix(&self, matrix: Matrix) -> &Weights {
        &self.matrices[&matrix]
    }
}
