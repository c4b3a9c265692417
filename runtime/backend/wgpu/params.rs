//! What each kernel gets once, at load: the uniform `Params` of its shader, field for field (a test compares them).

use bytemuck::{Pod, Zeroable};

/// Elements of the KV cache that kernels move at a time: heads are padded to whole units.
pub const KV_UNIT: u32 = 8;

/// Where the fields of a shader's `Params` lie.
pub struct Layout {
    /// The piece that declares the struct.
    pub piece: &'static str,
    pub size: usize,
    /// Names and byte offsets.
    pub fields: &'static [(&'static str, usize)],
}

macro_rules! params {
    ($($name:ident in $piece:literal { $($field:ident: $ty:ty,)* })*) => {
        $(
            #[repr(C)]
            #[derive(Clone, Copy, Debug, Pod, Zeroable)]
            pub struct $name {
                $(pub $field: $ty,)*
            }
        )*
        /// Every struct of this module.
        pub const LAYOUTS: &[Layout] = &[$(Layout {
            piece: $piece,
            size: size_of::<$name>(),
            fields: &[$((stringify!($field), std::mem::offset_of!($name, $field)),)*],
        },)*];
    };
}

// The shader says what each field means, where it declares it.
params! {
    Embed in "ops/embed" {
        units: u32,
        first_row: u32,
        n_rows: u32,
    }
    Gather in "ops/gather" {
        stride: u32,
    }
    RmsNorm in "ops/rms_norm" {
        n: u32,
        stride: u32,
        eps: f32,
    }
    MatMul in "products/mat_mul_out" {
        n_pairs: u32,
        units: u32,
        first_row: u32,
        of_outputs: u32,
        n_out: u32,
        stride: u32,
        first_col: u32,
    }
    GateUpSwiGlu in "products/norm_gate_up_swi_glu" {
        n_pairs: u32,
        units: u32,
        first_row: u32,
        of_outputs: u32,
        stride: u32,
    }
    QkvRopeStore in "products/norm_qkv_rope_store" {
        n_pairs: u32,
        units: u32,
        first_row: u32,
        of_outputs: u32,
        q_pairs: u32,
        k_pairs: u32,
        stride: u32,
        head_pairs: u32,
        rope_pairs: u32,
        table_stride: u32,
        head_units: u32,
    }
    Rope in "ops/rope" {
        stride: u32,
        pairs: u32,
        head_pairs: u32,
        rope_pairs: u32,
        table_stride: u32,
        first_row: u32,
        n_rows: u32,
        halves: u32,
    }
    KvStore in "attention/kv_store" {
        stride: u32,
        heads: u32,
        head_pairs: u32,
        head_units: u32,
    }
    KvStoreQ8_0 in "attention/kv_store_q8_0" {
        stride: u32,
        words: u32,
    }
    Attention in "attention/attention_query" {
        stride: u32,
        heads: u32,
        group: u32,
        head_dim: u32,
        head_units: u32,
        scale: f32,
    }
    SwiGlu in "ops/swi_glu" {
        stride: u32,
    }
    Add in "ops/add" {
        stride: u32,
    }
    AddBias in "ops/add_bias" {
        stride: u32,
    }
    Argmax in "ops/argmax" {
        n_cols: u32,
        stride: u32,
    }
}
