//! A list of operations as stages: what all threads do between two waits for each other.

use crate::plan::{
    AddBias, Argmax, Attention, Buf, Fused, KvStore, MatMul, MatMulAdd, NormGateUpSwiGlu, NormQkvRopeStore, Op, Plan,
    RmsNorm, Rope, Rows, Weight,
};

/// What the threads share between two waits.
#[derive(Clone, PartialEq, Debug)]
pub enum Stage {
    /// Products of the same rows.
    Products(Products),
    /// Attention over one layer's cache.
    Attention(Attention),
    /// The largest element of each row.
    Argmax(Argmax),
    /// Operations whose rows need only the same rows of other buffers, in order: a thread takes a row through all of them.
    Rows(Rows, Vec<Op>),
}

/// Products of the same rows.
#[derive(Clone, PartialEq, Debug)]
pub struct Products {
    /// The rows, before the norm.
    pub x: Buf,
    /// What is done to them first.
    pub norm: Option<Norm>,
    /// The matrices, each with what becomes of its results.
    pub jobs: Vec<Job>,
}

/// A norm in front of products.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Norm {
    pub op: RmsNorm,
    /// Whether its result is kept: it is where it is not fused.
    pub kept: bool,
}

/// A product, and what becomes of its results.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Job {
    pub matrix: Matrix,
    pub finish: Finish,
}

/// Rows of a weight that a product multiplies.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Matrix {
    pub weight: Weight,
    pub first_row: u32,
    pub rows: u32,
}

/// What becomes of the results of a product.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Finish {
    /// They go to a buffer, after a bias is added.
    Store { out: Buf, bias: Option<Weight> },
    /// They are added to another buffer.
    Add { residual: Buf, out: Buf },
    /// They are gates of another product of the same rows.
    SwiGlu { up: Matrix, out: Buf },
    /// They are rotated, and go to a buffer.
    Rotate { rope: Rope, out: Buf },
    /// They are rotated and stored in the cache as keys.
    Keys { rope: Rope, layer: u32 },
    /// They are stored in the cache as values.
    Values { layer: u32 },
}

impl Matrix {
    /// The rows that `op` multiplies.
    pub fn of(plan: &Plan, op: &MatMul) -> Matrix {
        Matrix { weight: op.w, first_row: op.first_row, rows: plan[op.out].cols }
    }
}

impl Job {
    /// The matrices that it multiplies.
    pub fn matrices(&self) -> impl Iterator<Item = Matrix> {
        let other = match self.finish {
            Finish::SwiGlu { up, .. } => Some(up),
            _ => None,
        };
        [self.matrix].into_iter().chain(other)
    }
}

impl Products {
    fn stage(x: Buf, norm: Option<Norm>, jobs: Vec<Job>) -> Stage {
        Stage::Products(Products { x, norm, jobs })
    }

    /// The buffer of the rows as they are multiplied.
    pub fn multiplied(&self) -> Buf {
        self.norm.map_or(self.x, |norm| norm.op.out)
    }

    /// Whether `out` may be written while other threads still read the stage's rows.
    fn may_write(&self, out: Buf) -> bool {
        let kept = self.norm.filter(|norm| norm.kept).map(|norm| norm.op.out);
        let written =
            self.jobs.iter().any(|job| matches!(job.finish, Finish::Store { out: other, .. } if other == out));
        out != self.x && Some(out) != kept && !written
    }
}

/// The stages of `ops`.
pub fn stages(plan: &Plan, ops: &[Op]) -> Vec<Stage> {
    let mut stages = vec![];
    let mut rest = ops;
    while let Some(op) = rest.first() {
        let (stage, taken) = match op {
            Op::Fused(Fused::NormQkvRopeStore(op)) => (qkv(plan, op), 1),
            Op::Fused(Fused::NormGateUpSwiGlu(op)) => (gate_up(plan, op), 1),
            Op::Fused(Fused::MatMulAdd(op)) => (product_add(plan, op), 1),
            Op::Attention(op) => (Stage::Attention(*op), 1),
            Op::Argmax(op) => (Stage::Argmax(*op), 1),
            Op::RmsNorm(norm) if norm.is_whole_row(plan) && norm.out != norm.x && product_of(norm.out, &rest[1..]) => {
                let norm = Norm { op: *norm, kept: true };
                let products = Products { x: norm.op.x, norm: Some(norm), jobs: vec![] };
                let (stage, taken) = joined(plan, products, &rest[1..]);
                (stage, 1 + taken)
            }
            Op::MatMul(op) => joined(plan, Products { x: op.x, norm: None, jobs: vec![] }, rest),
            Op::Fused(_) => unreachable!("the backend does not support it"),
            op => (Stage::Rows(rows_of(plan, op), vec![*op]), 1),
        };
        match (stages.last_mut(), stage) {
            (Some(Stage::Rows(rows, ops)), Stage::Rows(more, next)) if *rows == more => ops.extend(next),
            (_, stage) => stages.push(stage),
        }
        rest = &rest[taken..];
    }
    stages
}

/// Whether `ops` begin with a product of `x`, whose result is not the norm's.
fn product_of(x: Buf, ops: &[Op]) -> bool {
    matches!(ops.first(), Some(Op::MatMul(op)) if op.x == x)
}

/// Products at the beginning of `ops` that multiply the same rows, each with the bias that follows it. Returns the number of
/// operations.
fn joined(plan: &Plan, mut products: Products, ops: &[Op]) -> (Stage, usize) {
    let x = products.multiplied();
    let mut taken = 0;
    while let Some(Op::MatMul(op)) = ops.get(taken) {
        // A first product never writes its own rows, but it may write those from before the norm.
        if op.x != x || !products.may_write(op.out) {
            break;
        }
        let bias = match ops.get(taken + 1) {
            Some(Op::AddBias(AddBias { x, b })) if *x == op.out => Some(*b),
            _ => None,
        };
        products.jobs.push(Job { matrix: Matrix::of(plan, op), finish: Finish::Store { out: op.out, bias } });
        taken += 1 + usize::from(bias.is_some());
    }
    (Stage::Products(products), taken)
}

fn qkv(plan: &Plan, op: &NormQkvRopeStore) -> Stage {
    let KvStore { layer, .. } = op.store;
    let job = |product, finish| Job { matrix: Matrix::of(plan, product), finish };
    let jobs = vec![
        job(&op.q, Finish::Rotate { rope: op.rope_q, out: op.q.out }),
        job(&op.k, Finish::Keys { rope: op.rope_k, layer }),
        job(&op.v, Finish::Values { layer }),
    ];
    Products::stage(op.norm.x, Some(Norm { op: op.norm, kept: false }), jobs)
}

fn gate_up(plan: &Plan, op: &NormGateUpSwiGlu) -> Stage {
    let finish = Finish::SwiGlu { up: Matrix::of(plan, &op.up), out: op.act.out };
    let job = Job { matrix: Matrix::of(plan, &op.gate), finish };
    Products::stage(op.norm.x, Some(Norm { op: op.norm, kept: false }), vec![job])
}

fn product_add(plan: &Plan, op: &MatMulAdd) -> Stage {
    let finish = Finish::Add { residual: op.residual(), out: op.add.out };
    Products::stage(op.product.x, None, vec![Job { matrix: Matrix::of(plan, &op.product), finish }])
}

/// What the buffers that `op` writes have one row of.
fn rows_of(plan: &Plan, op: &Op) -> Rows {
    match op {
        Op::KvStore(op) => plan[op.k].rows,
        op => plan[op.writes()[0]].rows,
    }
}
