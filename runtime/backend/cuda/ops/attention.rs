//! Attention and the KV cache that it reads.

use super::{Lower, refuse};
use crate::backend::cuda::entry::{self, Entry, MMA_COLUMNS, SPLIT_HEADS};
use crate::backend::cuda::launch::{Lowering, Scratch};
use crate::backend::cuda::params::*;
use crate::backend::{Precision, Unsupported};
use crate::plan::*;

pub(super) const LAYOUTS: [Layout; 2] = [KvStoreParams::LAYOUT, AttentionParams::LAYOUT];

/// The cache of a layer, as kernels take it.
pub(super) fn kv_cache(to: &Lowering, layer: u32) -> KvCache {
    let kv = &to.plan.kv;
    KvCache {
        keys: to.addresses.keys[layer as usize],
        values: to.addresses.values[layer as usize],
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

mirror! {
    KvStoreParams {
        kv: KvCache,
        k: DevicePtr,
        v: DevicePtr,
        step: DevicePtr,
    }
}

impl Lower for KvStore {
    fn supports(&self, plan: &Plan, _: Phase) -> Result<(), Unsupported> {
        let n = plan.kv.head_dim;
        refuse(!n.is_multiple_of(2), || format!("cannot store heads of {n} elements, which is odd"))
    }

    fn entries(&self, _: &Plan, _: Phase) -> Vec<Entry> {
        vec![Entry::Op(CoreKind::KvStore)]
    }

    fn lower(&self, to: &mut Lowering) {
        let params = KvStoreParams {
            kv: kv_cache(to, self.layer),
            k: to.buf(self.k),
            v: to.buf(self.v),
            step: to.addresses.step,
        };
        let pairs = to.plan.kv.row() / 2;
        let grid = [pairs.div_ceil(COPY_THREADS), to.rows(self.k), 2];
        to.push(Entry::Op(CoreKind::KvStore), grid, COPY_THREADS, &params);
    }
}

mirror! {
    AttentionParams {
        out: DevicePtr,
        q: DevicePtr,
        kv: KvCache,
        partial: DevicePtr,
        weights: DevicePtr,
        arrived: DevicePtr,
        step: DevicePtr,
        n_heads: u32,
        n_splits: u32,
        scale: f32,
        reserved: u32,
    }
}

impl Lower for Attention {
    fn supports(&self, plan: &Plan, _: Phase) -> Result<(), Unsupported> {
        let n = plan.kv.head_dim;
        refuse(!n.is_multiple_of(2) || n > MAX_HEAD_DIM, || {
            format!("cannot attend with heads of {n} elements, only an even number up to {MAX_HEAD_DIM}")
        })
    }

    fn entries(&self, plan: &Plan, phase: Phase) -> Vec<Entry> {
        if phase == Phase::Prefill && has_flash(plan, self.q) {
            return vec![flash(plan)];
        }
        vec![split(plan, self.q)]
    }

    fn lower(&self, to: &mut Lowering) {
        let (plan, rows) = (to.plan, to.rows(self.q));
        let n_heads = plan[self.q].cols / plan.kv.head_dim;
        let params = AttentionParams {
            out: to.buf(self.out),
            q: to.buf(self.q),
            kv: kv_cache(to, self.layer),
            partial: to.scratch(Scratch::Partial),
            weights: to.scratch(Scratch::Weights),
            arrived: to.scratch(Scratch::Arrived),
            step: to.addresses.step,
            n_heads,
            n_splits: n_splits(plan, self.q, to.n_sms, rows),
            scale: self.scale,
            reserved: 0,
        };
        if rows > DECODE_TOKENS && has_flash(plan, self.q) {
            let tiles = rows.div_ceil(FLASH_ROWS / group(plan, self.q));
            return to.push(flash(plan), [plan.kv.heads, tiles, 1], FLASH_THREADS, &params);
        }
        let blocks = split_blocks(plan, self.q);
        to.push(split(plan, self.q), [blocks, rows, params.n_splits], SPLIT_THREADS, &params);
    }

    fn precision(&self, plan: &Plan, phase: Phase) -> Precision {
        let f16 = phase == Phase::Prefill && has_flash(plan, self.q);
        if f16 { Precision::F16 } else { Precision::F32 }
    }

    fn scratch(&self, plan: &Plan, n_sms: u32) -> Vec<(Scratch, u64)> {
        // Rows of one part, as all of a step of many tokens, need none.
        let rows = plan.max_rows(plan[self.q].rows).min(DECODE_TOKENS);
        let parts = (rows * n_splits(plan, self.q, n_sms, rows)) as u64;
        let q_cols = plan[self.q].cols as u64;
        let heads = q_cols / plan.kv.head_dim as u64;
        let arrived = (rows * split_blocks(plan, self.q)) as u64;
        vec![
            (Scratch::Partial, 4 * parts * q_cols),
            (Scratch::Weights, 8 * parts * heads),
            (Scratch::Arrived, 4 * arrived),
        ]
    }
}

/// Query heads that share a KV head.
fn group(plan: &Plan, q: Buf) -> u32 {
    plan[q].cols / plan.kv.row()
}

/// Whether attention of many rows runs on tensor cores.
fn has_flash(plan: &Plan, q: Buf) -> bool {
    entry::has_flash(plan.kv.ty, plan.kv.head_dim) && group(plan, q) <= FLASH_ROWS
}

fn flash(plan: &Plan) -> Entry {
    Entry::AttentionFlash { kv: plan.kv.ty, head_dim: plan.kv.head_dim }
}

/// Query heads that one block of attention of few tokens takes: a group, or as many of it as there is an entry for.
fn split_heads(plan: &Plan, q: Buf) -> u32 {
    if entry::has_mma(plan.kv.ty, plan.kv.head_dim) {
        return MMA_COLUMNS;
    }
    let [.., most] = SPLIT_HEADS;
    group(plan, q).next_power_of_two().min(most)
}

fn split(plan: &Plan, q: Buf) -> Entry {
    let kv = &plan.kv;
    if entry::has_mma(kv.ty, kv.head_dim) {
        return Entry::AttentionMma { kv: kv.ty, head_dim: kv.head_dim };
    }
    Entry::AttentionSplit { kv: kv.ty, heads: split_heads(plan, q) }
}

/// Blocks of attention of few tokens for all heads of one token and part.
fn split_blocks(plan: &Plan, q: Buf) -> u32 {
    plan.kv.heads * group(plan, q).div_ceil(split_heads(plan, q))
}

/// Parts that attention of `rows` tokens divides each row's slots into, at most: as many as give every SM two blocks with one row, and none
/// of fewer slots than pay. The number is the same for all steps of few rows, so that a row has the same bits in each of them; many rows
/// are enough blocks by themselves.
fn n_splits(plan: &Plan, q: Buf, n_sms: u32, rows: u32) -> u32 {
    if rows > DECODE_TOKENS {
        return 1;
    }
    let wanted = (2 * n_sms).div_ceil(split_blocks(plan, q));
    wanted.clamp(1, plan.kv.slots.div_ceil(SPLIT_SLOTS))
}
