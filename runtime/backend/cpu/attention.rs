//! Attention over tiles of the KV cache, without a buffer for all scores (Dao et al., 2022): each tile's keys and values are decoded
//! once for all queries that share them.

use super::kv::{SLOTS, TILE};
use super::run::{Counters, Run};
use super::team::Member;
use super::{Sizes, vector};
use crate::plan::{Attention, DECODE_TOKENS, Phase, StepRow};
use std::ops::Range;

/// Queries that share a tile, about. Unmeasured.
const QUERIES: usize = 64;

/// Slots of a part, at least. Each part has a softmax of its own, and a token's parts are summed in their order, whether one thread
/// computes all or several. Unmeasured.
const PART: usize = 256;

/// Parts of a context, at most.
const PARTS: usize = 64;

/// What one thread's attention works with.
pub struct Scratch {
    /// (queries, head_dim).
    q: Vec<f32>,
    /// ([`TILE`], width): width is head_dim of whole vectors.
    values: Vec<f32>,
    /// (queries, [`TILE`]).
    scores: Vec<f32>,
    /// A part's sums, and those of all parts so far: (queries, width).
    sums: Vec<f32>,
    totals: Vec<f32>,
    /// For each query.
    softmax: Vec<Softmax>,
    total_softmax: Vec<Softmax>,
}

/// A softmax on its way.
#[derive(Clone, Copy)]
struct Softmax {
    /// The largest score so far.
    largest: f32,
    /// The sum of `exp(score - largest)`; 0 without a score.
    sum: f32,
}

impl Softmax {
    const EMPTY: Softmax = Softmax { largest: f32::NEG_INFINITY, sum: 0.0 };

    /// Adds a part that has this softmax and the weighted sums `part` to the sums `total`.
    fn add(&mut self, total: &mut [f32], other: Softmax, part: &[f32]) {
        if other.sum == 0.0 {
            return;
        }
        if self.sum == 0.0 {
            *self = other;
            return total.copy_from_slice(part);
        }
        let largest = self.largest.max(other.largest);
        let (ours, theirs) = (vector::exp(self.largest - largest), vector::exp(other.largest - largest));
        *self = Softmax { largest, sum: ours * self.sum + theirs * other.sum };
        total.iter_mut().zip(part).for_each(|(total, part)| *total = ours * *total + theirs * part);
    }
}

/// Elements of a row of sums.
fn width(head_dim: usize) -> usize {
    head_dim.next_multiple_of(16)
}

/// Tokens whose queries share a tile.
fn tokens_of_tile(group: usize) -> usize {
    (QUERIES / group).max(1)
}

/// Slots of each part of a context of `slots`: whole tiles.
fn part(slots: usize) -> usize {
    slots.div_ceil(PARTS).next_multiple_of(PART)
}

/// Queries of the largest tile.
fn queries(sizes: &Sizes) -> usize {
    tokens_of_tile(sizes.group) * sizes.group
}

impl Scratch {
    pub fn new(sizes: &Sizes) -> Scratch {
        let queries = queries(sizes);
        let [q, values, scores, sums, totals] = Scratch::floats(sizes).map(|len| vec![0.0; len]);
        let (softmax, total_softmax) = (vec![Softmax::EMPTY; queries], vec![Softmax::EMPTY; queries]);
        Scratch { q, values, scores, sums, totals, softmax, total_softmax }
    }

    /// Elements of its buffers.
    fn floats(sizes: &Sizes) -> [usize; 5] {
        let (queries, width) = (queries(sizes), width(sizes.head_dim));
        [queries * sizes.head_dim, TILE * width, queries * TILE, queries * width, queries * width]
    }

    /// Its size in bytes.
    pub fn bytes(sizes: &Sizes) -> usize {
        4 * Scratch::floats(sizes).iter().sum::<usize>() + 2 * queries(sizes) * size_of::<Softmax>()
    }
}

/// Elements of the buffer for partial results of a decode step: (tokens, heads, parts, 2 + head_dim).
pub fn parts_len(sizes: &Sizes) -> usize {
    let parts = sizes.slots.div_ceil(part(sizes.slots));
    sizes.tokens.min(DECODE_TOKENS as usize) * sizes.heads * parts * (2 + sizes.head_dim)
}

/// The shapes of one operation in one step.
#[derive(Clone)]
struct Shape {
    heads: usize,
    group: usize,
    head_dim: usize,
    /// Tokens that share a tile.
    tokens: usize,
    /// Slots of each part, and the parts that the step attends to.
    part: usize,
    parts: Range<usize>,
}

/// Slots that any of `rows` attends to, from the first to the last.
fn slots(rows: &[StepRow]) -> Range<usize> {
    let start = rows.iter().map(|row| row.kv_start).min().unwrap_or(0) as usize;
    let end = rows.iter().map(|row| row.kv_start + row.kv_len).max().unwrap_or(0) as usize;
    start..end
}

/// The parts of `part` slots that have any of `slots`.
fn parts_of(slots: &Range<usize>, part: usize) -> Range<usize> {
    slots.start / part..slots.end.div_ceil(part)
}

impl Run<'_> {
    fn shape(&self, op: &Attention) -> Shape {
        let kv = &self.loaded.plan.kv;
        let head_dim = kv.head_dim as usize;
        let heads = self.loaded.plan[op.q].cols as usize / head_dim;
        let group = heads / kv.heads as usize;
        let part = part(kv.slots as usize);
        let parts = parts_of(&slots(&self.step.rows), part);
        Shape { heads, group, head_dim, tokens: tokens_of_tile(group), part, parts }
    }

    pub fn attention(&self, op: &Attention, counters: &Counters, member: Member, scratch: &mut Scratch) {
        let shape = self.shape(op);
        let (kv_heads, rows) = (self.loaded.plan.kv.heads as usize, &self.step.rows);
        let tiles = rows.len().div_ceil(shape.tokens);
        // A decode step has few queries: its parts are divided among the threads.
        let divided = self.step.phase() == Phase::Decode && shape.parts.len() > 1;
        let parts = if divided { shape.parts.len() } else { 1 };
        while let Some(i) = counters[0].next(tiles * kv_heads * parts) {
            // The last tiles see the most slots: they come first.
            let (tile, rest) = (tiles - 1 - i / (kv_heads * parts), i % (kv_heads * parts));
            let (first, kv_head) = (tile * shape.tokens, rest / parts);
            let part = divided.then_some(rest % parts);
            self.tile(op, &shape, first, kv_head, part, scratch);
        }
        if divided {
            member.wait();
            while let Some(i) = counters[1].next(rows.len() * shape.heads) {
                self.combine(op, &shape, i, scratch);
            }
        }
    }

    /// The queries of a KV head's group from token `first` on: with all their slots, or with a part of them, counted among the step's.
    fn tile(
        &self,
        op: &Attention,
        shape: &Shape,
        first: usize,
        kv_head: usize,
        part: Option<usize>,
        scratch: &mut Scratch,
    ) {
        let &Shape { heads, group, head_dim, .. } = shape;
        let rows = &self.step.rows[first..self.step.rows.len().min(first + shape.tokens)];
        let (n, width) = (rows.len() * group, width(head_dim));
        // A token's queries of a group lie together.
        let at = |t: usize| ((first + t) * heads + kv_head * group) * head_dim;
        for (t, q) in scratch.q[..n * head_dim].chunks_exact_mut(group * head_dim).enumerate() {
            self.loaded.buf(op.q).load(at(t), q);
        }
        let all = slots(rows);
        let slots_of = |part: usize| (part * shape.part).max(all.start)..((part + 1) * shape.part).min(all.end);
        let head_of = |i: usize| (first + i / group) * heads + kv_head * group + i % group;
        if let Some(part) = part {
            self.part(op, rows, kv_head, group, slots_of(shape.parts.start + part), scratch);
            let sums = scratch.sums[..n * width].chunks_exact(width);
            for (i, (softmax, sums)) in scratch.softmax[..n].iter().zip(sums).enumerate() {
                let at = (head_of(i) * shape.parts.len() + part) * (2 + head_dim);
                self.loaded.parts.store(at, &[softmax.largest, softmax.sum]);
                self.loaded.parts.store(at + 2, &sums[..head_dim]);
            }
            return;
        }
        scratch.total_softmax[..n].fill(Softmax::EMPTY);
        for part in parts_of(&all, shape.part) {
            self.part(op, rows, kv_head, group, slots_of(part), scratch);
            let Scratch { sums, totals, softmax, total_softmax, .. } = scratch;
            let sums = totals.chunks_exact_mut(width).zip(sums.chunks_exact(width));
            for ((total, part), (totals, sums)) in total_softmax[..n].iter_mut().zip(&*softmax).zip(sums) {
                total.add(totals, *part, sums);
            }
        }
        let totals = scratch.totals[..n * width].chunks_exact_mut(width);
        for (i, (softmax, totals)) in scratch.total_softmax[..n].iter().zip(totals).enumerate() {
            let totals = &mut totals[..head_dim];
            totals.iter_mut().for_each(|total| *total /= softmax.sum);
            self.loaded.buf(op.out).store(head_of(i) * head_dim, totals);
        }
    }

    /// The queries in `scratch`, of the tokens `rows`, with the slots `range` of a part: their sums, and what these are in proportion to.
    fn part(
        &self,
        op: &Attention,
        rows: &[StepRow],
        kv_head: usize,
        group: usize,
        range: Range<usize>,
        scratch: &mut Scratch,
    ) {
        let (level, head_dim) = (self.loaded.level, self.loaded.plan.kv.head_dim as usize);
        let (n, width) = (rows.len() * group, width(head_dim));
        let Scratch { q, values, scores, sums, softmax, .. } = scratch;
        let (q, scores, sums) = (&q[..n * head_dim], &mut scores[..n * TILE], &mut sums[..n * width]);
        softmax[..n].fill(Softmax::EMPTY);
        sums.fill(0.0);
        let head = self.loaded.cache.head(op.layer, kv_head);
        for base in (range.start / TILE * TILE..range.end).step_by(TILE) {
            let end = (range.end - base).min(TILE);
            head.scores(level, base, end.div_ceil(SLOTS), q, scores);
            let queries = softmax[..n].iter_mut().zip(scores.chunks_exact_mut(TILE)).zip(sums.chunks_exact_mut(width));
            for (i, ((softmax, scores), sums)) in queries.enumerate() {
                let row = &rows[i / group];
                let visible = (row.kv_start as usize).saturating_sub(base)
                    ..((row.kv_start + row.kv_len) as usize).saturating_sub(base).min(end);
                if visible.is_empty() {
                    scores.fill(0.0);
                    continue;
                }
                scores[..visible.start].fill(0.0);
                scores[visible.end..].fill(0.0);
                let (largest, sum) = vector::softmax(&mut scores[visible], op.scale, softmax.largest);
                if largest != softmax.largest {
                    let shrunk = vector::exp(softmax.largest - largest);
                    softmax.sum *= shrunk;
                    sums.iter_mut().for_each(|sum| *sum *= shrunk);
                }
                *softmax = Softmax { largest, sum: softmax.sum + sum };
            }
            head.add_weighted(level, base, end, scores, values, sums);
        }
    }

    /// Sums the parts of one head of one token, `head` counted over all tokens.
    fn combine(&self, op: &Attention, shape: &Shape, head: usize, scratch: &mut Scratch) {
        let head_dim = shape.head_dim;
        let (total, part) = (&mut scratch.totals[..head_dim], &mut scratch.sums[..head_dim]);
        let mut softmax = Softmax::EMPTY;
        for i in 0..shape.parts.len() {
            let at = (head * shape.parts.len() + i) * (2 + head_dim);
            let mut state = [0.0; 2];
            self.loaded.parts.load(at, &mut state);
            self.loaded.parts.load(at + 2, part);
            softmax.add(total, Softmax { largest: state[0], sum: state[1] }, part);
        }
        total.iter_mut().for_each(|total| *total /= softmax.sum);
        self.loaded.buf(op.out).store(head * head_dim, total);
    }
}
