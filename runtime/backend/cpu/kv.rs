//! The KV cache: for each head, keys by slots and values by elements, as attention multiplies them.

use crate::plan::{KV_BLOCK, KvDecl, KvType};
use half::f16;
use half::slice::HalfFloatSliceExt;
use multiversion::multiversion;
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

    /// The keys of the group of slots from `slot` on, which is a multiple of [`SLOTS`]: `out[element][slot]`.
    ///
    /// `out`: (head_dim, [`SLOTS`]).
    pub fn keys(&self, slot: usize, out: &mut [f32]) {
        let at = slot * self.head_dim;
        match &self.keys {
            Elements::F32(kv) => out.copy_from_slice(&kv[at..][..out.len()]),
            Elements::F16(kv) => kv[at..][..out.len()].convert_to_f32_slice(out),
            Elements::Q8_0 { quants, scales } => {
                let block = KV_BLOCK as usize * SLOTS;
                keys_of_blocks(
                    &quants[at..][..out.len()],
                    &scales[at / KV_BLOCK as usize..][..out.len() / block * SLOTS],
                    out,
                );
            }
        }
    }

    /// The values of `n` slots from `slot` on: `out[slot][element]`.
    ///
    /// `out`: (n, `stride`), of which each row's first head_dim elements are written.
    pub fn values(&self, slot: usize, n: usize, stride: usize, out: &mut [f32]) {
        let head_dim = self.head_dim;
        if stride == head_dim {
            return self.decode_values(slot * head_dim, &mut out[..n * head_dim]);
        }
        for (i, out) in out.chunks_exact_mut(stride).take(n).enumerate() {
            self.decode_values((slot + i) * head_dim, &mut out[..head_dim]);
        }
    }

    fn decode_values(&self, at: usize, out: &mut [f32]) {
        match &self.values {
            Elements::F32(kv) => out.copy_from_slice(&kv[at..][..out.len()]),
            Elements::F16(kv) => kv[at..][..out.len()].convert_to_f32_slice(out),
            Elements::Q8_0 { quants, scales } => {
                let block = KV_BLOCK as usize;
                values_of_blocks(&quants[at..][..out.len()], &scales[at / block..][..out.len() / block], out);
            }
        }
    }
}

/// Blocks of [`KV_BLOCK`] quants, each with its scale.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn values_of_blocks(quants: &[i8], scales: &[f16], out: &mut [f32]) {
    let block = KV_BLOCK as usize;
    for ((out, quants), scale) in out.chunks_exact_mut(block).zip(quants.chunks_exact(block)).zip(scales) {
        let scale = scale.to_f32();
        out.iter_mut().zip(quants).for_each(|(out, q)| *out = *q as f32 * scale);
    }
}

/// Blocks of [`KV_BLOCK`] elements of [`SLOTS`] slots, each slot with its scale.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn keys_of_blocks(quants: &[i8], scales: &[f16], out: &mut [f32]) {
    let block = KV_BLOCK as usize * SLOTS;
    let blocks = out.chunks_exact_mut(block).zip(quants.chunks_exact(block)).zip(scales.chunks_exact(SLOTS));
    for ((out, quants), scales) in blocks {
        let mut scale = [0.0; SLOTS];
        scales.convert_to_f32_slice(&mut scale);
        for (out, quants) in out.chunks_exact_mut(SLOTS).zip(quants.chunks_exact(SLOTS)) {
            for ((out, q), scale) in out.iter_mut().zip(quants).zip(&scale) {
                *out = *q as f32 * scale;
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
