//! A model as data: a list of operations over named buffers and weights, every shape checked once.
//!
//! A plan never changes after a backend has loaded it. What varies from step to step (tokens, positions, KV slots, lengths)
//! is the [`Step`], one small table that kernels read from device memory.

mod cost;
mod fused;
mod op;
mod step;

pub use cost::{Cost, StepSize};
pub use fused::*;
pub use op::*;
pub use step::{NEXT_TOKEN, Step, StepRow};

use crate::quant::GgmlType;
use bytes::Bytes;
use thiserror::Error;

/// Steps of at most this many tokens use [`Plan::decode`], larger ones [`Plan::prefill`].
pub const DECODE_TOKENS: u32 = 8;

/// An activation buffer of a plan.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Buf(pub u32);

/// A weight of a plan: a matrix or vector that never changes after loading.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Weight(pub u32);

/// What a buffer has one row of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rows {
    /// One row per token of the step.
    Tokens,
    /// One row per token whose logits the step wants.
    Outputs,
}

/// What a buffer's elements are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Elem {
    /// Activations.
    F32,
    /// Token ids. `Backend::read` shows them as floats: vocabularies stay below 2^24.
    U32,
}

/// A buffer's shape: one row for each of `rows`, row-major.
#[derive(Clone, PartialEq, Debug)]
pub struct BufDecl {
    /// What errors call it.
    pub name: String,
    /// What it has one row of.
    pub rows: Rows,
    /// Elements per row.
    pub cols: u32,
    /// What its elements are.
    pub elem: Elem,
}

/// A weight's shape, row-major: `rows` rows of `cols` contiguous elements, stored in blocks of `ty`. A vector has one row.
#[derive(Clone, PartialEq, Debug)]
pub struct WeightDecl {
    /// As the file calls it: `blk.0.attn_q.weight`.
    pub name: String,
    /// The type of its blocks.
    pub ty: GgmlType,
    /// Outputs of a product; 1 for a vector.
    pub rows: u64,
    /// Elements of a row: inputs of a product.
    pub cols: u64,
}

impl WeightDecl {
    /// `rows * cols`.
    pub fn elements(&self) -> u64 {
        self.rows * self.cols
    }

    /// Bytes of one row as stored in the file. `cols` is a whole number of blocks (checked when the file is parsed).
    pub fn row_bytes(&self) -> u64 {
        self.cols / self.ty.block_size() * self.ty.block_bytes()
    }

    /// Bytes as stored in the file.
    pub fn bytes(&self) -> u64 {
        self.rows * self.row_bytes()
    }
}

/// Number format of the KV cache.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum KvType {
    /// 4 bytes an element, exact.
    F32,
    /// IEEE half precision.
    F16,
    /// Blocks of [`KV_BLOCK`] consecutive elements of a head, as GGML's Q8_0: with `d = max|x| / 127`, 8-bit quants
    /// `round(x * (1 / d))`, halves away from zero, and d rounded to f16, by which quants are multiplied when they are read.
    /// Where that f16 is zero, so are the quants.
    Q8_0,
}

/// Elements that share a scale in a cache of 8-bit quants.
pub const KV_BLOCK: u32 = 32;

/// Elements of a head, at most, that attention takes.
pub const MAX_HEAD_DIM: u32 = 256;

impl KvType {
    /// All of them, the default first.
    pub const ALL: [KvType; 3] = [KvType::F16, KvType::Q8_0, KvType::F32];

    /// What the command line and errors call it.
    pub fn name(self) -> &'static str {
        match self {
            KvType::F32 => "f32",
            KvType::F16 => "f16",
            KvType::Q8_0 => "q8_0",
        }
    }

    /// Bytes of `elements` elements of whole heads; u64::MAX if they are more.
    pub fn bytes(self, elements: u64) -> u64 {
        match self {
            KvType::F32 => elements.saturating_mul(4),
            KvType::F16 => elements.saturating_mul(2),
            KvType::Q8_0 => (elements / KV_BLOCK as u64).saturating_mul(KV_BLOCK as u64 + 2),
        }
    }
}

/// The KV cache: for each layer, keys and values of `slots` tokens, (slots, heads, head_dim) each. The backend chooses the
/// layout it keeps them in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KvDecl {
    /// Decoder layers.
    pub layers: u32,
    /// Tokens that the cache holds: the context.
    pub slots: u32,
    /// KV heads: query heads come in groups of `n_heads / heads` that share one.
    pub heads: u32,
    /// Elements of a head.
    pub head_dim: u32,
    /// Number format of the elements.
    pub ty: KvType,
}

impl KvDecl {
    /// Elements of one token's keys (or values) in one layer.
    pub fn row(&self) -> u32 {
        self.heads * self.head_dim
    }

    /// Bytes of keys and values of all layers and slots; u64::MAX if they are more.
    pub fn bytes(&self) -> u64 {
        let sizes = [self.layers as u64, self.slots as u64, self.ty.bytes(self.row() as u64)];
        sizes.into_iter().fold(2, u64::saturating_mul)
    }

    /// Errors: heads that are not whole blocks of the cache's type.
    pub fn check(&self) -> Result<(), String> {
        match self.ty {
            KvType::Q8_0 if !self.head_dim.is_multiple_of(KV_BLOCK) => Err(format!(
                "a {} KV cache takes heads of a multiple of {KV_BLOCK} elements, head_dim is {}",
                self.ty.name(),
                self.head_dim
            )),
            _ => Ok(()),
        }
    }
}

/// Which of a plan's lists a step runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// 1 to [`DECODE_TOKENS`] tokens: bound by the bytes of the weights.
    Decode,
    /// More tokens: bound by arithmetic.
    Prefill,
}

impl Phase {
    /// Both.
    pub const ALL: [Phase; 2] = [Phase::Decode, Phase::Prefill];

    /// The phase of a step of this many tokens.
    pub fn of(n_tokens: u32) -> Phase {
        if n_tokens <= DECODE_TOKENS { Phase::Decode } else { Phase::Prefill }
    }
}

/// A model, ready to load: declarations shared by two lists of operations.
#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// Activation buffers: [`Buf`] is an index into them.
    pub bufs: Vec<BufDecl>,
    /// Weights: [`Weight`] is an index into them.
    pub weights: Vec<WeightDecl>,
    /// The KV cache.
    pub kv: KvDecl,
    /// The most tokens of one step.
    pub max_tokens: u32,
    /// The most rows of one step whose logits are wanted.
    pub max_outputs: u32,
    /// Rows of the smallest embedding table: tokens are below.
    pub n_vocab: u64,
    /// Slots that a token attends to, its own included, at most; None: no limit. Steps apply it with [`Step::within`].
    pub window: Option<u32>,
    /// Whether a step may take its tokens from what the device chose: [`NEXT_TOKEN`].
    pub feeds_back: bool,
    /// Where a language model's results are; None in other plans.
    pub head: Option<Head>,
    /// Rows of the shortest rotation table: positions are below.
    pub n_positions: u64,
    /// Operations of a step of at most [`DECODE_TOKENS`] tokens, in order.
    pub decode: Vec<Op>,
    /// Operations of a larger step, in order.
    pub prefill: Vec<Op>,
}

/// An operation whose shapes do not fit the plan's declarations.
#[derive(Debug, Error, PartialEq)]
#[error("{op}: {what}")]
pub struct PlanError {
    /// The operation.
    pub op: OpKind,
    /// The buffer or weight, its shape, and the one expected.
    pub what: String,
}

/// The results of a language model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// (n_outputs, n_vocab).
    pub logits: Buf,
    /// (n_outputs): the most likely token of each row.
    pub next: Buf,
}

impl Plan {
    /// A plan without operations, for steps of at most `max_tokens` tokens and `max_outputs` rows of logits.
    pub fn new(kv: KvDecl, max_tokens: u32, max_outputs: u32) -> Plan {
        Plan {
            bufs: vec![],
            weights: vec![],
            kv,
            max_tokens,
            max_outputs,
            n_vocab: u64::MAX,
            window: None,
            feeds_back: false,
            head: None,
            n_positions: u64::MAX,
            decode: vec![],
            prefill: vec![],
        }
    }

    /// Declares a buffer of f32: one row of `cols` elements for each of `rows`.
    pub fn buf(&mut self, name: &str, rows: Rows, cols: u32) -> Buf {
        self.declare(name, rows, cols, Elem::F32)
    }

    /// A buffer of one token id per output row.
    pub fn token_buf(&mut self, name: &str) -> Buf {
        self.declare(name, Rows::Outputs, 1, Elem::U32)
    }

    fn declare(&mut self, name: &str, rows: Rows, cols: u32, elem: Elem) -> Buf {
        self.bufs.push(BufDecl { name: name.to_string(), rows, cols, elem });
        Buf(self.bufs.len() as u32 - 1)
    }

    /// Declares a weight.
    pub fn weight(&mut self, decl: WeightDecl) -> Weight {
        self.weights.push(decl);
        Weight(self.weights.len() as u32 - 1)
    }

    /// Appends `op` to both lists after checking its shapes.
    pub fn push(&mut self, op: impl Into<Op>) -> Result<(), PlanError> {
        let op = op.into();
        op.check(self)?;
        op.operation().bound(self);
        self.decode.push(op);
        self.prefill.push(op);
        Ok(())
    }

    /// The table of the first rotation, fused or not; None if the plan has none.
    pub fn rope_table(&self) -> Option<Weight> {
        self.decode.iter().flat_map(Op::parts).find_map(|op| match op {
            Op::Rope(op) => Some(op.table),
            _ => None,
        })
    }

    /// The list of a phase.
    pub fn ops(&self, phase: Phase) -> &[Op] {
        match phase {
            Phase::Decode => &self.decode,
            Phase::Prefill => &self.prefill,
        }
    }

    /// The most rows that `rows` can stand for in one step.
    pub fn max_rows(&self, rows: Rows) -> u32 {
        match rows {
            Rows::Tokens => self.max_tokens,
            Rows::Outputs => self.max_outputs,
        }
    }

    /// Elements of `buf` at the largest step.
    pub fn buf_len(&self, buf: Buf) -> usize {
        let decl = &self[buf];
        self.max_rows(decl.rows) as usize * decl.cols as usize
    }

    /// All buffers, in the order of their declaration.
    pub fn buf_ids(&self) -> impl Iterator<Item = Buf> + use<> {
        (0..self.bufs.len() as u32).map(Buf)
    }

    /// Elements of `buf` that `step` uses.
    pub fn used_len(&self, buf: Buf, step: &Step) -> usize {
        let rows = match self[buf].rows {
            Rows::Tokens => step.n_tokens(),
            Rows::Outputs => step.n_outputs,
        };
        rows as usize * self[buf].cols as usize
    }

    /// Bytes of all weights as stored in the file.
    pub fn weight_bytes(&self) -> u64 {
        self.weights.iter().map(WeightDecl::bytes).sum()
    }

    /// Bytes of all activation buffers at the largest step (4 bytes an element).
    pub fn buf_bytes(&self) -> u64 {
        self.buf_ids().map(|b| 4 * self.buf_len(b) as u64).sum()
    }
}

impl std::ops::Index<Buf> for Plan {
    type Output = BufDecl;
    fn index(&self, buf: Buf) -> &BufDecl {
        &self.bufs[buf.0 as usize]
    }
}

impl std::ops::Index<Weight> for Plan {
    type Output = WeightDecl;
    fn index(&self, weight: Weight) -> &WeightDecl {
        &self.weights[weight.0 as usize]
    }
}

/// The bytes of a plan's weights, in the order of [`Plan::weights`], each `WeightDecl::bytes` long: views of the mapped file, or
/// tables that the model computed.
pub struct Weights(pub Vec<Bytes>);

impl std::ops::Index<Weight> for Weights {
    type Output = Bytes;
    fn index(&self, weight: Weight) -> &Bytes {
        &self.0[weight.0 as usize]
    }
}
