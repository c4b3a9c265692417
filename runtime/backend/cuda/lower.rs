//! From operations to kernel launches: which entry, on which grid, with which parameters. Nothing here touches the device.

use super::driver::{Launch, Ptr};
use super::kernels::Kernels;
use super::params::*;
use super::supports;
use super::weights::{Tensors, row_chunks, type_name};
use crate::plan::*;
use crate::quant::GgmlType;
use bytemuck::Pod;

/// Rows of x above which matrix products and attention run on tensor cores, where they can.
pub const VEC_MOST: u32 = DECODE_TOKENS;

/// Addresses of everything that kernels read and write.
pub struct Memory {
    pub bufs: Vec<Ptr>,
    pub tensors: Tensors,
    /// Per layer.
    pub keys: Vec<Ptr>,
    pub values: Vec<Ptr>,
    pub step: Ptr,
    pub scratch: ScratchPtrs,
}

/// What lies between two launches of one operation.
#[derive(Clone, Copy, Default)]
pub struct ScratchPtrs {
    pub staged: Ptr,
    pub row_scale: Ptr,
    pub partial: Ptr,
    pub weights: Ptr,
    pub parts: Ptr,
}

/// Rows of the step that launches are made for. Kernels leave out those beyond the step's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counts {
    pub n_tokens: u32,
    pub n_outputs: u32,
}

impl Counts {
    pub fn of(&self, rows: Rows) -> u32 {
        match rows {
            Rows::Tokens => self.n_tokens,
            Rows::Outputs => self.n_outputs,
        }
    }
}

/// One launch, before its kernel is looked up.
#[derive(Clone, PartialEq, Debug)]
pub struct Call {
    pub entry: String,
    pub grid: [u32; 3],
    pub threads: u32,
    pub params: Vec<u8>,
}

impl Call {
    pub fn new(entry: impl Into<String>, grid: [u32; 3], threads: u32, params: &impl Pod) -> Call {
        Call { entry: entry.into(), grid, threads, params: bytemuck::bytes_of(params).to_vec() }
    }

    /// `serves`: what errors say that the kernel runs for.
    pub fn launch(self, kernels: &Kernels, serves: &str, dependent: bool) -> Result<Launch, String> {
        Ok(Launch {
            kernel: kernels.get(&self.entry)?,
            label: format!("{} for {serves}", self.entry),
            grid: self.grid,
            block: [self.threads, 1, 1],
            params: self.params,
            dependent,
        })
    }
}

/// The launches of `op`, which `supports` accepted; none where the step has no rows for it.
pub fn lower(plan: &Plan, memory: &Memory, n_sms: u32, counts: Counts, op: &Op) -> Vec<Call> {
    let mut lowering = Lowering { plan, memory, n_sms, counts, calls: vec![] };
    lowering.op(op);
    lowering.calls.retain(|call| call.grid.iter().all(|n| *n > 0));
    lowering.calls
}

/// Parts that attention of `rows` tokens divides each row's slots into: as many as give every SM two blocks, and none of fewer
/// slots than pay. Many rows are enough blocks by themselves.
pub fn attention_splits(plan: &Plan, q: Buf, n_sms: u32, rows: u32) -> u32 {
    if rows > VEC_MOST {
        return 1;
    }
    let blocks = split_blocks(plan, q);
    let wanted = (2 * n_sms).div_ceil(blocks * rows.max(1));
    wanted.clamp(1, plan.kv.slots.div_ceil(SPLIT_SLOTS))
}

/// Blocks of attention_split for all heads of one token and part.
fn split_blocks(plan: &Plan, q: Buf) -> u32 {
    let group = plan[q].cols / plan.kv.row();
    plan.kv.heads * group.div_ceil(supports::split_heads(plan, q))
}

/// Halves of a staged row: see kernels/products/stage.cu.
pub fn staged_cols(ty: GgmlType, n_cols: u64) -> u64 {
    let cols = if is_split(ty) { STAGE_COLS / 2 } else { STAGE_COLS };
    n_cols.div_ceil(cols as u64) * STAGE_COLS as u64
}

/// Whether tensor cores take the type as bf16, and x as the sum of two.
fn is_split(ty: GgmlType) -> bool {
    matches!(ty, GgmlType::F32 | GgmlType::BF16)
}

/// The input of a matrix product, by rows: x, normalized first with the weights and epsilon of `norm`.
#[derive(Clone, Copy)]
struct Rowwise<'a> {
    x: Buf,
    norm: Option<&'a RmsNorm>,
}

struct Lowering<'a> {
    plan: &'a Plan,
    memory: &'a Memory,
    n_sms: u32,
    counts: Counts,
    calls: Vec<Call>,
}

impl Lowering<'_> {
    fn buf(&self, b: Buf) -> Ptr {
        self.memory.bufs[b.0 as usize]
    }

    fn rows(&self, b: Buf) -> u32 {
        self.counts.of(self.plan[b].rows)
    }

    fn of_outputs(&self, b: Buf) -> u32 {
        (self.plan[b].rows == Rows::Outputs) as u32
    }

    fn floats(&self, w: Weight) -> Ptr {
        self.memory.tensors.floats[&w]
    }

    fn planes(&self, w: Weight) -> Planes {
        self.memory.tensors.matrices[&w]
    }

    fn push(&mut self, entry: impl Into<String>, grid: [u32; 3], threads: u32, params: &impl Pod) {
        self.calls.push(Call::new(entry, grid, threads, params));
    }

    /// A launch of one thread per column of every row of `b`.
    fn by_columns(&mut self, entry: &str, cols: u32, b: Buf, params: &impl Pod) {
        self.push(entry, [cols.div_ceil(COPY_THREADS), self.rows(b), 1], COPY_THREADS, params);
    }

    fn op(&mut self, op: &Op) {
        let step = self.memory.step;
        match op {
            Op::Embed(op) => self.embed(op),
            Op::Gather(op) => {
                let n_cols = self.plan[op.x].cols;
                let params = GatherParams { out: self.buf(op.out), x: self.buf(op.x), step, n_cols, reserved: 0 };
                self.by_columns("gather", n_cols / 4, op.out, &params);
            }
            Op::RmsNorm(op) => {
                let n = self.plan[op.w].cols as u32;
                let groups = self.plan[op.x].cols / n;
                let params = RmsNormParams {
                    out: self.buf(op.out),
                    x: self.buf(op.x),
                    w: self.floats(op.w),
                    step,
                    n,
                    groups,
                    eps: op.eps,
                    of_outputs: self.of_outputs(op.x),
                };
                self.push("rms_norm", [self.rows(op.x) * groups, 1, 1], ROW_THREADS, &params);
            }
            Op::MatMul(op) => self.mat_mul(op),
            Op::Rope(op) => {
                let rope_dim = self.plan[op.table].cols as u32;
                let n_heads = self.plan[op.x].cols / op.head_dim;
                let (x, table) = (self.buf(op.x), self.floats(op.table));
                let halves = (op.pairing == Pairing::Halves) as u32;
                let params = RopeParams { x, table, step, n_heads, head_dim: op.head_dim, rope_dim, halves };
                self.by_columns("rope", n_heads * rope_dim / 2, op.x, &params);
            }
            Op::KvStore(op) => {
                let params = KvStoreParams { kv: self.kv(op.layer), k: self.buf(op.k), v: self.buf(op.v), step };
                let pairs = self.plan.kv.row() / 2;
                self.push("kv_store", [pairs.div_ceil(COPY_THREADS), self.rows(op.k), 2], COPY_THREADS, &params);
            }
            Op::Attention(op) => self.attention(op),
            Op::SwiGlu(op) => {
                let params = SwiGluParams {
                    out: self.buf(op.out),
                    gate: self.buf(op.gate),
                    up: self.buf(op.up),
                    step,
                    n_cols: self.plan[op.out].cols,
                    of_outputs: self.of_outputs(op.out),
                };
                self.by_columns("swi_glu", params.n_cols / 4, op.out, &params);
            }
            Op::Add(op) => {
                let params = AddParams {
                    out: self.buf(op.out),
                    x: self.buf(op.x),
                    y: self.buf(op.y),
                    step,
                    n_cols: self.plan[op.out].cols,
                    of_outputs: self.of_outputs(op.out),
                };
                self.by_columns("add", params.n_cols / 4, op.out, &params);
            }
            Op::AddBias(op) => {
                let params = AddBiasParams {
                    x: self.buf(op.x),
                    b: self.floats(op.b),
                    step,
                    n_cols: self.plan[op.x].cols,
                    of_outputs: self.of_outputs(op.x),
                };
                self.by_columns("add_bias", params.n_cols / 4, op.x, &params);
            }
            Op::Argmax(op) => {
                let n_cols = self.plan[op.x].cols;
                let n_parts = n_cols.div_ceil(ARGMAX_PART);
                let (x, out, parts) = (self.buf(op.x), self.buf(op.out), self.memory.scratch.parts);
                let params = ArgmaxParams { out, x, parts, step, n_cols, n_parts };
                self.push("argmax_parts", [n_parts, self.rows(op.x), 1], ARGMAX_THREADS, &params);
                self.push("argmax", [self.rows(op.x), 1, 1], WARP, &params);
            }
            Op::Fused(op) => self.fused(op),
        }
    }

    fn embed(&mut self, op: &Embed) {
        let decl = &self.plan[op.table];
        let table = self.planes(op.table);
        let params = EmbedParams {
            out: self.buf(op.out),
            table,
            step: self.memory.step,
            next: op.next.map_or(0, |next| self.buf(next)),
            n_embd: decl.cols as u32,
            n_vocab: decl.rows as u32,
        };
        let chunks = row_chunks(decl) as u32;
        self.by_columns(&format!("embed_{}", type_name(decl.ty)), chunks, op.out, &params);
    }

    fn kv(&self, layer: u32) -> KvCache {
        let kv = &self.plan.kv;
        KvCache {
            keys: self.memory.keys[layer as usize],
            values: self.memory.values[layer as usize],
            n_heads: kv.heads,
            n_slots: kv.slots,
            head_dim: kv.head_dim,
            format: match kv.ty {
                KvType::F32 => KV_F32,
                KvType::F16 => KV_F16,
                KvType::Q8_0 => KV_Q8_0,
            },
        }
    }

    fn attention(&mut self, op: &Attention) {
        let (plan, rows) = (self.plan, self.rows(op.q));
        let n_heads = plan[op.q].cols / plan.kv.head_dim;
        let group = n_heads / plan.kv.heads;
        let params = AttentionParams {
            out: self.buf(op.out),
            q: self.buf(op.q),
            kv: self.kv(op.layer),
            partial: self.memory.scratch.partial,
            weights: self.memory.scratch.weights,
            step: self.memory.step,
            n_heads,
            n_splits: attention_splits(plan, op.q, self.n_sms, rows),
            scale: op.scale,
            reserved: 0,
        };
        if rows > VEC_MOST && supports::has_flash(plan, op.q) {
            let tiles = rows.div_ceil(FLASH_ROWS / group);
            return self.push(supports::flash_entry(plan), [plan.kv.heads, tiles, 1], FLASH_THREADS, &params);
        }
        self.push(
            supports::split_entry(plan, op.q),
            [split_blocks(plan, op.q), params.n_splits, rows],
            SPLIT_THREADS,
            &params,
        );
        self.push("attention_combine", [n_heads, rows, 1], SPLIT_THREADS, &params);
    }

    /// The launches of a product on `input`. `blocks`: of all pairs of rows of its matrices, at so many a block.
    fn product<P: Pod>(
        &mut self,
        entry: &str,
        ty: GgmlType,
        input: Rowwise,
        blocks: impl Fn(u32) -> u32,
        params: impl FnOnce(&Self, Input) -> P,
    ) {
        let rows = self.rows(input.x);
        let (x, n_cols, of_outputs) = (self.buf(input.x), self.plan[input.x].cols, self.of_outputs(input.x));
        let norm = input.norm.map_or(0, |norm| self.floats(norm.w));
        let eps = input.norm.map_or(0.0, |norm| norm.eps);
        let ScratchPtrs { staged, row_scale, .. } = self.memory.scratch;
        let tiled = rows > VEC_MOST && supports::has_tiled(self.plan);
        let (grid, threads, kind) = match rows {
            0 | 1 => ([rows, blocks(VEC_PAIRS), 1], VEC_WARPS * WARP, "t1"),
            _ if !tiled => ([rows.div_ceil(VEC_TOKENS), blocks(VEC_PAIRS), 1], VEC_WARPS * WARP, "t4"),
            _ => ([rows.div_ceil(TILED_TOKENS), blocks(TILED_PAIRS), 1], TILED_THREADS, "tiled"),
        };
        if tiled {
            let step = self.memory.step;
            let params = StageParams { staged, row_scale, x, norm, step, n_cols, eps, of_outputs, reserved: 0 };
            let stage = if is_split(ty) { "stage_bf16x2" } else { "stage_f16" };
            self.push(stage, [rows, 1, 1], ROW_THREADS, &params);
        }
        let input = Input { x, norm, staged, row_scale, n_cols, eps, of_outputs, reserved: 0 };
        let params = params(self, input);
        self.push(format!("{entry}_{kind}"), grid, threads, &params);
    }

    fn mat_mul(&mut self, op: &MatMul) {
        let (ty, n_rows) = (self.plan[op.w].ty, self.plan[op.out].cols);
        let entry = format!("mat_mul_{}", type_name(ty));
        let pairs = n_rows.div_ceil(2);
        self.product(
            &entry,
            ty,
            Rowwise { x: op.x, norm: None },
            |n| pairs.div_ceil(n),
            |on, input| MatMulParams {
                input,
                w: on.planes(op.w),
                out: on.buf(op.out),
                step: on.memory.step,
                n_rows,
                first_row: op.first_row,
            },
        );
    }

    fn fused(&mut self, fused: &Fused) {
        let Some(entry) = supports::product_entry(self.plan, fused) else { return };
        match fused {
            Fused::MatMulAdd(op) => self.mat_mul_add(&entry, op),
            Fused::NormGateUpSwiGlu(op) => self.gate_up(&entry, op),
            Fused::NormQkvRopeStore(op) => self.qkv(&entry, op),
        }
    }

    fn mat_mul_add(&mut self, entry: &str, op: &MatMulAdd) {
        let MatMulAdd { product, add } = op;
        let (ty, n_rows) = (self.plan[product.w].ty, self.plan[add.out].cols);
        let pairs = n_rows.div_ceil(2);
        self.product(
            entry,
            ty,
            Rowwise { x: product.x, norm: None },
            |n| pairs.div_ceil(n),
            |on, input| MatMulAddParams {
                input,
                w: on.planes(product.w),
                residual: on.buf(op.residual()),
                out: on.buf(add.out),
                step: on.memory.step,
                n_rows,
                first_row: product.first_row,
            },
        );
    }

    fn gate_up(&mut self, entry: &str, NormGateUpSwiGlu { norm, gate, up, act }: &NormGateUpSwiGlu) {
        let (ty, n_rows) = (self.plan[gate.w].ty, self.plan[act.out].cols);
        let input = Rowwise { x: norm.x, norm: Some(norm) };
        self.product(
            entry,
            ty,
            input,
            |n| n_rows.div_ceil(n),
            |on, input| NormGateUpSwiGluParams {
                input,
                gate: on.planes(gate.w),
                up: on.planes(up.w),
                out: on.buf(act.out),
                step: on.memory.step,
                n_rows,
                gate_row: gate.first_row,
                up_row: up.first_row,
                reserved: 0,
            },
        );
    }

    fn qkv(&mut self, entry: &str, op: &NormQkvRopeStore) {
        let NormQkvRopeStore { norm, q, k, v, rope_q, store, .. } = op;
        let (ty, n_q_rows, n_kv_rows) = (self.plan[q.w].ty, self.plan[q.out].cols, self.plan.kv.row());
        let input = Rowwise { x: norm.x, norm: Some(norm) };
        let blocks = |n| (n_q_rows / 2).div_ceil(n) + 2 * (n_kv_rows / 2).div_ceil(n);
        self.product(entry, ty, input, blocks, |on, input| NormQkvRopeStoreParams {
            input,
            q: on.planes(q.w),
            k: on.planes(k.w),
            v: on.planes(v.w),
            out: on.buf(q.out),
            kv: on.kv(store.layer),
            table: on.floats(rope_q.table),
            step: on.memory.step,
            n_q_rows,
            n_kv_rows,
            rope_dim: on.plan[rope_q.table].cols as u32,
            q_row: q.first_row,
            k_row: k.first_row,
            v_row: v.first_row,
        });
    }
}
