//! The entries of the PTX that the backend may launch, and the only place that knows their names. `tests/it/ptx.rs` compares them and
//! the tables of this file with the kernels.

use crate::plan::{CoreKind, FusedKind, KV_BLOCK, KvType, OpKind};
use crate::quant::{GgmlType, pack};

/// Types that the exact and the tiled fused products read: `FUSED_TYPES` of kernels/formats/types.cuh.
pub const FUSED_TYPES: [GgmlType; 15] = {
    use GgmlType::*;
    [F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS]
};

/// Types of Q and K, and of V, that decode multiplies in one launch: `MIXED` of kernels/products/norm_qkv_rope_store.cu.
pub const MIXED_TYPES: [(GgmlType, GgmlType); 8] = {
    use GgmlType::*;
    [(Q2_K, Q4_K), (Q3_K, Q4_K), (Q3_K, Q5_K), (Q4_K, Q5_K), (Q4_K, Q6_K), (Q5_K, Q6_K), (IQ4_NL, Q5_K), (IQ4_XS, Q5_K)]
};

/// Query heads that a block of attention_split takes; not on tensor cores.
pub const SPLIT_HEADS: [u32; 4] = [1, 2, 4, 8];

/// Sizes of heads that attention of few tokens on tensor cores is compiled for; in a q8_0 cache those of them that are whole blocks.
pub const MMA_HEAD_DIMS: [u32; 4] = [64, 80, 96, 128];

/// Query heads, of one row or of several, that a block of attention of few tokens on tensor cores takes: `MMA_COLUMNS` of
/// kernels/attention/attention_mma.cuh.
pub const MMA_COLUMNS: u32 = 8;

/// Sizes of heads that attention of many tokens on tensor cores is compiled for; in a q8_0 cache those of them that are whole blocks.
pub const FLASH_HEAD_DIMS: [u32; 5] = [32, 64, 80, 96, 128];

/// Whether the kernels read matrices of this type.
pub fn reads(ty: GgmlType) -> bool {
    pack::layout(ty).is_some()
}

/// Whether elements of this type are integers with scales: `QUANTIZED_TYPES` of kernels/formats/types.cuh.
pub fn is_quantized(ty: GgmlType) -> bool {
    reads(ty) && !matches!(ty, GgmlType::F32 | GgmlType::F16 | GgmlType::BF16)
}

/// Whether attention of few tokens on tensor cores reads heads of this size from such a cache.
pub fn has_mma(kv: KvType, head_dim: u32) -> bool {
    has_halves(kv, head_dim) && MMA_HEAD_DIMS.contains(&head_dim)
}

/// Whether attention of many tokens on tensor cores reads heads of this size from such a cache.
pub fn has_flash(kv: KvType, head_dim: u32) -> bool {
    has_halves(kv, head_dim) && FLASH_HEAD_DIMS.contains(&head_dim)
}

/// Whether heads of this size lie in such a cache as halves, or as whole blocks that become halves.
fn has_halves(kv: KvType, head_dim: u32) -> bool {
    match kv {
        KvType::F32 => false,
        KvType::F16 => true,
        KvType::Q8_0 => head_dim.is_multiple_of(KV_BLOCK),
    }
}

/// How many rows of x a kernel multiplies.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Form {
    /// One, in 16-bit integers.
    Stream,
    /// 2 to 8, in 16-bit integers.
    Rows,
    /// One, exactly.
    T1,
    /// Up to 4 a block, exactly.
    T4,
    /// A tile of them on tensor cores.
    Tiled,
}

impl Form {
    const ALL: [Form; 5] = [Form::Stream, Form::Rows, Form::T1, Form::T4, Form::Tiled];

    /// Whether it multiplies rows as 16-bit integers, which it does for quantized types alone.
    fn is_16_bit(self) -> bool {
        matches!(self, Form::Stream | Form::Rows)
    }
}

/// A matrix product, alone or fused, and the types of its matrices.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Product {
    /// `MatMul` or a fused operation.
    pub kind: OpKind,
    /// The type of all matrices but the last.
    pub first: GgmlType,
    /// The type of the last matrix, which may be the same.
    pub last: GgmlType,
}

impl Product {
    /// Whether the kernels have it in this form.
    pub fn has(self, form: Form) -> bool {
        let Product { kind, first, last } = self;
        if form.is_16_bit() && !is_quantized(first) {
            return false;
        }
        match kind {
            OpKind::Core(kind) => kind == CoreKind::MatMul && first == last && reads(first),
            OpKind::Fused(_) if first == last => FUSED_TYPES.contains(&first) || form.is_16_bit() && reads(first),
            OpKind::Fused(kind) => {
                kind == FusedKind::NormQkvRopeStore && form != Form::Tiled && MIXED_TYPES.contains(&(first, last))
            }
        }
    }
}

/// How rows of x are prepared for tensor cores: kernels/products/stage.cu.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Staging {
    /// Halves.
    F16,
    /// Sums of two bf16.
    Bf16x2,
    /// Planes of bytes, for [`Form::Rows`].
    I8x2,
}

/// An entry of the PTX.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Entry {
    /// The entry that is called as its operation.
    Op(CoreKind),
    /// The first half of argmax.
    ArgmaxParts,
    /// Rows of an embedding table of this type.
    Embed(GgmlType),
    /// A matrix product.
    Product(Product, Form),
    /// Attention of few tokens.
    AttentionSplit {
        /// Format of the KV cache.
        kv: KvType,
        /// Query heads that one block takes.
        heads: u32,
    },
    /// Attention of few tokens, on tensor cores.
    AttentionMma {
        /// Format of the KV cache.
        kv: KvType,
        /// Elements of a head.
        head_dim: u32,
    },
    /// Attention of many tokens, on tensor cores.
    AttentionFlash {
        /// Format of the KV cache.
        kv: KvType,
        /// Elements of a head.
        head_dim: u32,
    },
    /// Prepares rows of x for tensor cores.
    Stage(Staging),
    /// Brings blocks of a file into planes.
    Repack(GgmlType),
    /// Writes the step of a decode.
    SetStep,
    /// The largest elements of each part of a row.
    TopKParts,
    /// The largest elements of a row.
    TopK,
}

impl Entry {
    /// The stem of the module that has it, and its name there.
    pub fn symbol(self) -> (&'static str, String) {
        let lower = |ty: GgmlType| ty.name().to_lowercase();
        let attention = CoreKind::Attention.stem();
        match self {
            Entry::Op(kind) => (kind.stem(), kind.stem().to_string()),
            Entry::ArgmaxParts => (CoreKind::Argmax.stem(), "argmax_parts".to_string()),
            Entry::Embed(ty) => (CoreKind::Embed.stem(), format!("embed_{}", lower(ty))),
            Entry::Product(Product { kind, first, last }, form) => {
                let types = if first == last { lower(first) } else { format!("{}_{}", lower(first), lower(last)) };
                let form = match form {
                    Form::Stream => "stream",
                    Form::Rows => "rows",
                    Form::T1 => "t1",
                    Form::T4 => "t4",
                    Form::Tiled => "tiled",
                };
                (kind.stem(), format!("{kind}_{types}_{form}"))
            }
            Entry::AttentionSplit { kv, heads } => (attention, format!("attention_split_{}_h{heads}", kv.name())),
            Entry::AttentionMma { kv, head_dim } => (attention, format!("attention_mma_{}_d{head_dim}", kv.name())),
            Entry::AttentionFlash { kv: KvType::Q8_0, head_dim } => {
                (attention, format!("attention_flash_q8_0_d{head_dim}"))
            }
            Entry::AttentionFlash { head_dim, .. } => (attention, format!("attention_flash_d{head_dim}")),
            Entry::Stage(Staging::F16) => ("stage", "stage_f16".to_string()),
            Entry::Stage(Staging::Bf16x2) => ("stage", "stage_bf16x2".to_string()),
            Entry::Stage(Staging::I8x2) => ("stage", "stage_i8x2".to_string()),
            Entry::Repack(ty) => ("repack", format!("repack_{}", lower(ty))),
            Entry::SetStep => ("set_step", "set_step".to_string()),
            Entry::TopKParts => ("top_k", "top_k_parts".to_string()),
            Entry::TopK => ("top_k", "top_k".to_string()),
        }
    }

    /// Every entry that a plan may need.
    pub fn all() -> Vec<Entry> {
        let by_variant = [CoreKind::Embed, CoreKind::MatMul, CoreKind::Attention];
        let plain = CoreKind::ALL.iter().copied().filter(|kind| !by_variant.contains(kind)).map(Entry::Op);
        let mut all: Vec<Entry> = plain.collect();
        all.extend([Entry::ArgmaxParts, Entry::SetStep, Entry::TopKParts, Entry::TopK]);
        all.extend([Staging::F16, Staging::Bf16x2, Staging::I8x2].map(Entry::Stage));

        let types: Vec<GgmlType> = GgmlType::all().filter(|ty| reads(*ty)).collect();
        all.extend(types.iter().flat_map(|ty| [Entry::Embed(*ty), Entry::Repack(*ty)]));
        for kind in OpKind::all() {
            let pairs = types.iter().map(|ty| (*ty, *ty)).chain(MIXED_TYPES);
            for (first, last) in pairs {
                let product = Product { kind, first, last };
                let forms = Form::ALL.into_iter().filter(|form| product.has(*form));
                all.extend(forms.map(|form| Entry::Product(product, form)));
            }
        }
        for kv in KvType::ALL {
            all.extend(SPLIT_HEADS.map(|heads| Entry::AttentionSplit { kv, heads }));
            let head_dims = MMA_HEAD_DIMS.into_iter().filter(|head_dim| has_mma(kv, *head_dim));
            all.extend(head_dims.map(|head_dim| Entry::AttentionMma { kv, head_dim }));
            let head_dims = FLASH_HEAD_DIMS.into_iter().filter(|head_dim| has_flash(kv, *head_dim));
            all.extend(head_dims.map(|head_dim| Entry::AttentionFlash { kv, head_dim }));
        }
        all
    }
}
