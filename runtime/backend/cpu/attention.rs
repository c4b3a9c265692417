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

/// Slots of a part: decode's attention over more slots is computed in parts by several threads. Unmeasured.
const PART: usize = 256;

/// Parts of a context, at most.
const PARTS: usize = 32;

/// What one thread's attention works with.
pub struct Scratch {
    /// (queries, head_dim).
    q: Vec<f32>,
    /// ([`TILE`], width): width is head_dim of whole vectors.
    values: Vec<f32>,
    /// (queries, [`TILE`]).
    scores: Vec<f32>,
    /// (queries, width).
    sums: Vec<f32>,
    /// For each query the largest score so far, and the sum of what all are in proportion to it.
    softmax: Vec<(f32, f32)>,
}

/// Elements of a row of sums.
fn width(head_dim: usize) -> usize {
    head_dim.next_multiple_of(16)
}

/// Tokens whose queries share a tile.
fn tokens_of_tile(group: usize) -> usize {
    (QUERIES / group).max(1)
}

/// Parts of a context of this many slots.
fn parts(slots: usize) -> usize {
    slots.div_ceil(PART).clamp(1, PARTS)
}

impl Scratch {
    pub fn new(sizes: &Sizes) -> Scratch {
        let (head_dim, group) = (sizes.head_dim, sizes.group);
        let queries = tokens_of_tile(group) * group;
        Scratch {
            q: vec![0.0; queries * head_dim],
            values: vec![0.0; TILE * width(head_dim)],
            scores: vec![0.0; queries * TILE],
            sums: vec![0.0; queries * width(head_dim)],
            softmax: vec![(0.0, 0.0); queries],
        }
    }
}

impl Scratch {
    /// Its size in bytes.
    pub fn bytes(&self) -> usize {
        let floats = [&self.q, &self.values, &self.scores, &self.sums].map(|v| size_of_val(&v[..]));
        floats.into_iter().sum::<usize>() + size_of_val(&self.softmax[..])
    }
}

/// Elements of the buffer for partial results of a decode step: (tokens, heads, parts, 2 + head_dim).
pub fn parts_len(sizes: &Sizes) -> usize {
    sizes.tokens.min(DECODE_TOKENS as usize) * sizes.heads * parts(sizes.slots) * (2 + sizes.head_dim)
}

/// The shapes of one operation in one step.
#[derive(Clone, Copy)]
struct Shape {
    heads: usize,
    group: usize,
    head_dim: usize,
    /// Tokens that share a tile.
    tokens: usize,
    /// Parts of each token's slots, and the number of slots in each.
    parts: usize,
    part: usize,
}

/// Slots that any of `rows` attends to, from the first to the last.
fn slots(rows: &[StepRow]) -> Range<usize> {
    let start = rows.iter().map(|row| row.kv_start).min().unwrap_or(0) as usize;
    let end = rows.iter().map(|row| row.kv_start + row.kv_len).max().unwrap_or(0) as usize;
    start..end
}

impl Run<'_> {
    fn shape(&self, op: &Attention) -> Shape {
        let (kv, rows) = (&self.loaded.plan.kv, &self.step.rows);
        let head_dim = kv.head_dim as usize;
        let heads = self.loaded.plan[op.q].cols as usize / head_dim;
        let group = heads / kv.heads as usize;
        let tokens = tokens_of_tile(group);
        let longest = rows.chunks(tokens).map(|rows| slots(rows).len()).max().unwrap_or(0);
        let parts = if self.step.phase() == Phase::Decode { parts(longest) } else { 1 };
        Shape { heads, group, head_dim, tokens, parts, part: longest.div_ceil(parts) }
    }

    pub fn attention(&self, op: &Attention, counters: &Counters, member: Member, scratch: &mut Scratch) {
        let shape = self.shape(op);
        let (kv_heads, rows) = (self.loaded.plan.kv.heads as usize, &self.step.rows);
        let tiles = rows.len().div_ceil(shape.tokens);
        while let Some(i) = counters[0].next(tiles * kv_heads * shape.parts) {
            // The last tiles see the most slots: they come first.
            let (tile, rest) = (tiles - 1 - i / (kv_heads * shape.parts), i % (kv_heads * shape.parts));
            self.tile(op, shape, tile * shape.tokens, rest / shape.parts, rest % shape.parts, scratch);
        }
        if shape.parts > 1 {
            member.wait();
            while let Some(i) = counters[1].next(rows.len() * shape.heads) {
                self.combine(op, shape, i, scratch);
            }
        }
    }

    /// One part of the slots, for the queries of a KV head's group from token `first` on.
    fn tile(&self, op: &Attention, shape: Shape, first: usize, kv_head: usize, part: usize, scratch: &mut Scratch) {
        let Shape { heads, group, head_dim, .. } = shape;
        let rows = &self.step.rows[first..self.step.rows.len().min(first + shape.tokens)];
        let (n, width) = (rows.len() * group, width(head_dim));
        let all = slots(rows);
        let start = (all.start + part * shape.part).min(all.end);
        let range = start..(start + shape.part).min(all.end);
        let level = self.loaded.level;
        let Scratch { q, values, scores, sums, softmax } = scratch;
        let (q, scores, sums) = (&mut q[..n * head_dim], &mut scores[..n * TILE], &mut sums[..n * width]);
        // A token's queries of a group lie together.
        let at = |t: usize| ((first + t) * heads + kv_head * group) * head_dim;
        for (t, q) in q.chunks_exact_mut(group * head_dim).enumerate() {
            self.loaded.buf(op.q).load(at(t), q);
        }
        let softmax = &mut softmax[..n];
        softmax.fill((f32::NEG_INFINITY, 0.0));
        sums.fill(0.0);
        let head = self.loaded.cache.head(op.layer, kv_head);
        for base in (range.start / SLOTS * SLOTS..range.end).step_by(TILE) {
            let seen = base.max(range.start) - base..(range.end - base).min(TILE);
            head.scores(level, base, seen.end.div_ceil(SLOTS), q, scores);
            for (i, (largest, sum)) in softmax.iter_mut().enumerate() {
                let (row, scores) = (&rows[i / group], &mut scores[i * TILE..][..TILE]);
                let visible = (row.kv_start as usize).saturating_sub(base)
                    ..((row.kv_start + row.kv_len) as usize).saturating_sub(base);
                let visible = visible.start.max(seen.start)..visible.end.min(seen.end);
                if visible.is_empty() {
                    scores.fill(0.0);
                    continue;
                }
                scores[..visible.start].fill(0.0);
                scores[visible.end..].fill(0.0);
                let (new, more) = vector::softmax(&mut scores[visible], op.scale, *largest);
                if new != *largest {
                    let shrunk = vector::exp(*largest - new);
                    *sum *= shrunk;
                    sums[i * width..][..width].iter_mut().for_each(|sum| *sum *= shrunk);
                }
                (*largest, *sum) = (new, *sum + more);
            }
            head.add_weighted(level, base, seen.end, scores, values, sums);
        }
        for (i, ((largest, sum), sums)) in softmax.iter().zip(sums.chunks_exact_mut(width)).enumerate() {
            let head = (first + i / group) * heads + kv_head * group + i % group;
            let sums = &mut sums[..head_dim];
            if shape.parts == 1 {
                sums.iter_mut().for_each(|s| *s /= sum);
                self.loaded.buf(op.out).store(head * head_dim, sums);
            } else {
                let at = (head * shape.parts + part) * (2 + head_dim);
                self.loaded.parts.store(at, &[*largest, *sum]);
                self.loaded.parts.store(at + 2, sums);
            }
        }
    }

    /// Sums the parts of one head of one token, `head` counted over all tokens.
    fn combine(&self, op: &Attention, shape: Shape, head: usize, scratch: &mut Scratch) {
        let head_dim = shape.head_dim;
        let out = &mut scratch.q[..head_dim];
        let part = &mut scratch.sums[..head_dim];
        let at = |i: usize| (head * shape.parts + i) * (2 + head_dim);
        let state = |i: usize| {
            let mut state = [0.0; 2];
            self.loaded.parts.load(at(i), &mut state);
            state
        };
        let largest = (0..shape.parts).map(|i| state(i)[0]).fold(f32::NEG_INFINITY, f32::max);
        out.fill(0.0);
        let mut sum = 0.0;
        for i in 0..shape.parts {
            let [most, part_sum] = state(i);
            if part_sum == 0.0 {
                continue; // it has no slot that the token attends to
            }
            self.loaded.parts.load(at(i) + 2, part);
            let share = vector::exp(most - largest);
            sum += share * part_sum;
            out.iter_mut().zip(&*part).for_each(|(out, part)| *out += share * part);
        }
        out.iter_mut().for_each(|out| *out /= sum);
        self.loaded.buf(op.out).store(head * head_dim, out);
    }
}
