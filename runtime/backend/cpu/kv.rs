//! The KV cache: for each head, keys by slots and values by elements, as attention multiplies them.

use super::products::Level;
use super::tile::{F16Lanes, F32Lanes, ScaledLanes, ScaledVectors, Scores, Weighted};
use crate::plan::{KV_BLOCK, KvDecl, KvType};
use bytemuck::cast_slice;
use half::f16;
use half::slice::HalfFloatSliceExt;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Slots whose keys lie together: element by element, each of all these slots.
pub const SLOTS: usize = 16;

/// Slots that attention takes at once.
pub const TILE: usize = 64;

/// Elements in the number format of the cache.
enum Elements {
    F32(Vec<f32>),
    F16(Vec<f16>),
    /// See [`KvType::Q8_0`].
    Q8_0 {
        quants: Vec<i8>,
        scales: Vec<f16>,
    },
}

impl Elements {
    /// `len` zeros. Pages that no token has reached yet take no memory.
    fn new(ty: KvType, len: usize) -> Elements {
        match ty {
            KvType::F32 => Elements::F32(bytemuck::zeroed_vec(len)),
            KvType::F16 => Elements::F16(bytemuck::zeroed_vec(len)),
            KvType::Q8_0 => Elements::Q8_0 {
                quants: bytemuck::zeroed_vec(len),
                scales: bytemuck::zeroed_vec(len / KV_BLOCK as usize),
            },
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Elements::F32(kv) => size_of_val(&kv[..]),
            Elements::F16(kv) => size_of_val(&kv[..]),
            Elements::Q8_0 { quants, scales } => size_of_val(&quants[..]) + size_of_val(&scales[..]),
        }
    }
}

/// Keys and values of one KV head of one layer.
pub struct Head {
    head_dim: usize,
    /// (slots / [`SLOTS`], head_dim, [`SLOTS`]); scales: (slots / [`SLOTS`], head_dim / [`KV_BLOCK`], [`SLOTS`]).
    keys: Elements,
    /// (slots, head_dim); scales: (slots, head_dim / [`KV_BLOCK`]).
    values: Elements,
}

/// Which half of a [`Head`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Half {
    Keys,
    Values,
}

/// The cache of a plan. Threads write different heads or different tokens, and read heads when all are written.
pub struct Cache {
    heads: Vec<RwLock<Head>>,
    kv: KvDecl,
}

impl Cache {
    /// A cache of zeros.
    pub fn new(kv: &KvDecl) -> Cache {
        let head = || {
            let len = padded_slots(kv) * kv.head_dim as usize;
            let (keys, values) = (Elements::new(kv.ty, len), Elements::new(kv.ty, len));
            RwLock::new(Head { head_dim: kv.head_dim as usize, keys, values })
        };
        Cache { heads: (0..kv.layers * kv.heads).map(|_| head()).collect(), kv: *kv }
    }

    /// What [`Cache::new`] allocates for `kv`; u64::MAX if it is more.
    pub fn size(kv: &KvDecl) -> u64 {
        KvDecl { slots: padded_slots(kv).try_into().unwrap_or(u32::MAX), ..*kv }.bytes()
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> usize {
        let heads = self.heads.iter().map(|head| head.read().unwrap_or_else(PoisonError::into_inner));
        heads.map(|head| head.keys.bytes() + head.values.bytes()).sum()
    }

    fn index(&self, layer: u32, head: usize) -> usize {
        layer as usize * self.kv.heads as usize + head
    }

    /// One head, to read.
    pub fn head(&self, layer: u32, head: usize) -> RwLockReadGuard<'_, Head> {
        self.heads[self.index(layer, head)].read().unwrap_or_else(PoisonError::into_inner)
    }

    fn head_mut(&self, layer: u32, head: usize) -> RwLockWriteGuard<'_, Head> {
        self.heads[self.index(layer, head)].write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a token's keys or values of a layer, `x`, from element `first` of the row of all heads on. In a cache of blocks `first`
    /// and the length are whole blocks.
    pub fn store(&self, layer: u32, half: Half, slot: u32, first: usize, x: &[f32]) {
        let head_dim = self.kv.head_dim as usize;
        let (mut at, mut rest) = (first, x);
        while !rest.is_empty() {
            let element = at % head_dim;
            let n = rest.len().min(head_dim - element);
            self.head_mut(layer, at / head_dim).store(half, slot as usize, element, &rest[..n]);
            (at, rest) = (at + n, &rest[n..]);
        }
    }
}

/// Slots of whole groups.
fn padded_slots(kv: &KvDecl) -> usize {
    (kv.slots as usize).next_multiple_of(SLOTS)
}

impl Head {
    fn store(&mut self, half: Half, slot: usize, element: usize, x: &[f32]) {
        let (head_dim, block) = (self.head_dim, KV_BLOCK as usize);
        let (elements, at, stride) = match half {
            Half::Values => (&mut self.values, slot * head_dim + element, 1),
            Half::Keys => (&mut self.keys, (slot / SLOTS * head_dim + element) * SLOTS + slot % SLOTS, SLOTS),
        };
        match elements {
            Elements::F32(kv) => kv[at..].iter_mut().step_by(stride).zip(x).for_each(|(kv, x)| *kv = *x),
            Elements::F16(kv) => {
                kv[at..].iter_mut().step_by(stride).zip(x).for_each(|(kv, x)| *kv = f16::from_f32(*x));
            }
            Elements::Q8_0 { quants, scales } => {
                // The scale of an element's block lies where its first element would, with blocks in the place of elements.
                let scale_at = match half {
                    Half::Values => (slot * head_dim + element) / block,
                    Half::Keys => (slot / SLOTS * (head_dim / block) + element / block) * SLOTS + slot % SLOTS,
                };
                for (i, x) in x.chunks_exact(block).enumerate() {
                    let quants = quants[at + i * block * stride..].iter_mut().step_by(stride);
                    scales[scale_at + i * stride] = quantize(quants, x);
                }
            }
        }
    }

    /// The scores of queries with the keys of `groups` groups of slots from `slot` on, which is a multiple of [`SLOTS`].
    ///
    /// `q`: (n, head_dim). `out`: (n, [`TILE`]).
    pub fn scores(&self, level: Level, slot: usize, groups: usize, q: &[f32], out: &mut [f32]) {
        let head_dim = self.head_dim;
        let (at, n) = (slot * head_dim, groups * SLOTS * head_dim);
        match &self.keys {
            Elements::F32(kv) => {
                Scores { q, keys: F32Lanes(cast_slice(&kv[at..][..n])), groups, head_dim, out }.run(level);
            }
            Elements::F16(kv) => {
                Scores { q, keys: F16Lanes(cast_slice(&kv[at..][..n])), groups, head_dim, out }.run(level);
            }
            Elements::Q8_0 { quants, scales } => {
                let block = KV_BLOCK as usize;
                let (quants, scales) = (&quants[at..][..n], &scales[at / block..][..n / block]);
                let keys = ScaledLanes { quants: cast_slice(quants), scales: cast_slice(scales), vectors: block };
                Scores { q, keys, groups, head_dim, out }.run(level);
            }
        }
    }

    /// Adds the weighted values of `n` slots from `slot` on.
    ///
    /// `p`: (queries, [`TILE`]). `out`: (queries, width), head_dim of whole vectors. `padded`: room for values of [`TILE`] slots of that width.
    pub fn add_weighted(&self, level: Level, slot: usize, n: usize, p: &[f32], padded: &mut [f32], out: &mut [f32]) {
        let (head_dim, slots) = (self.head_dim, n);
        let width = head_dim.next_multiple_of(16);
        let (at, n) = (slot * head_dim, slots * head_dim);
        match &self.values {
            Elements::F32(kv) if width == head_dim => {
                Weighted { p, values: F32Lanes(cast_slice(&kv[at..][..n])), slots, width, out }.run(level);
            }
            Elements::F16(kv) if width == head_dim => {
                Weighted { p, values: F16Lanes(cast_slice(&kv[at..][..n])), slots, width, out }.run(level);
            }
            Elements::Q8_0 { quants, scales } => {
                let block = KV_BLOCK as usize;
                let (quants, scales) = (&quants[at..][..n], &scales[at / block..][..n / block]);
                let values = ScaledVectors { quants: cast_slice(quants), scales, vectors: block / 16 };
                Weighted { p, values, slots, width, out }.run(level);
            }
            Elements::F32(_) | Elements::F16(_) => {
                for (i, row) in padded.chunks_exact_mut(width).take(slots).enumerate() {
                    let row = &mut row[..head_dim];
                    match &self.values {
                        Elements::F16(kv) => kv[at + i * head_dim..][..head_dim].convert_to_f32_slice(row),
                        Elements::F32(kv) => row.copy_from_slice(&kv[at + i * head_dim..][..head_dim]),
                        Elements::Q8_0 { .. } => unreachable!("blocks are whole vectors"),
                    }
                }
                let values = F32Lanes(cast_slice(&padded[..slots * width]));
                Weighted { p, values, slots, width, out }.run(level);
            }
        }
    }
}

/// One block of [`KvType::Q8_0`]: its quants, and the scale to read them with.
fn quantize<'a>(quants: impl Iterator<Item = &'a mut i8>, x: &[f32]) -> f16 {
    let d = x.iter().fold(0.0f32, |most, x| most.max(x.abs())) / 127.0;
    let scale = f16::from_f32(d);
    let inverse = if scale == f16::ZERO { 0.0 } else { 1.0 / d };
    quants.zip(x).for_each(|(q, x)| *q = (x * inverse).round() as i8);
    scale
}
