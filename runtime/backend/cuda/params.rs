//! What the CUDA kernels take, by value: mirrors of the structs `<Op>Params` in each kernel's source, which says what each field
//! means and how it is shaped, and of kernels/shared/params.h. And the numbers of kernels/shared/tuning.h that grid sizes are made of.

use bytemuck::{Pod, Zeroable};

/// Address of device memory, 16-byte aligned; 0 is null.
pub type DevicePtr = u64;

/// How a struct lies in memory, for comparing it with the kernels' sources.
pub struct Layout {
    pub name: &'static str,
    pub size: usize,
    /// Name, type as written here, and offset in bytes.
    pub fields: &'static [(&'static str, &'static str, usize)],
}

macro_rules! mirrors {
    ($($name:ident { $($field:ident: $ty:ty,)* })*) => {
        $(
            #[repr(C)]
            #[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
            pub struct $name {
                $(pub $field: $ty,)*
            }
        )*

        /// Every struct of this file.
        pub const LAYOUTS: &[Layout] = &[$(
            Layout {
                name: stringify!($name),
                size: size_of::<$name>(),
                fields: &[$((stringify!($field), stringify!($ty), std::mem::offset_of!($name, $field)),)*],
            },
        )*];
    };
}

mirrors! {
    Step {
        n_tokens: u32,
        n_outputs: u32,
        reserved: [u32; 6],
    }

    Planes {
        quants: DevicePtr,
        high: DevicePtr,
        scales: DevicePtr,
        supers: DevicePtr,
        units: u32,
        reserved: u32,
    }

    Input {
        x: DevicePtr,
        norm: DevicePtr,
        staged: DevicePtr,
        row_scale: DevicePtr,
        n_cols: u32,
        eps: f32,
        of_outputs: u32,
        reserved: u32,
    }

    KvCache {
        keys: DevicePtr,
        values: DevicePtr,
        n_heads: u32,
        n_slots: u32,
        head_dim: u32,
        format: u32,
    }

    EmbedParams {
        out: DevicePtr,
        table: Planes,
        step: DevicePtr,
        next: DevicePtr,
        n_embd: u32,
        n_vocab: u32,
    }

    GatherParams {
        out: DevicePtr,
        x: DevicePtr,
        step: DevicePtr,
        n_cols: u32,
        reserved: u32,
    }

    RmsNormParams {
        out: DevicePtr,
        x: DevicePtr,
        w: DevicePtr,
        step: DevicePtr,
        n: u32,
        groups: u32,
        eps: f32,
        of_outputs: u32,
    }

    MatMulParams {
        input: Input,
        w: Planes,
        out: DevicePtr,
        step: DevicePtr,
        n_rows: u32,
        first_row: u32,
    }

    MatMulAddParams {
        input: Input,
        w: Planes,
        residual: DevicePtr,
        out: DevicePtr,
        step: DevicePtr,
        n_rows: u32,
        first_row: u32,
    }

    NormGateUpSwiGluParams {
        input: Input,
        gate: Planes,
        up: Planes,
        out: DevicePtr,
        step: DevicePtr,
        n_rows: u32,
        gate_row: u32,
        up_row: u32,
        reserved: u32,
    }

    NormQkvRopeStoreParams {
        input: Input,
        q: Planes,
        k: Planes,
        v: Planes,
        out: DevicePtr,
        kv: KvCache,
        table: DevicePtr,
        step: DevicePtr,
        n_q_rows: u32,
        n_kv_rows: u32,
        rope_dim: u32,
        q_row: u32,
        k_row: u32,
        v_row: u32,
    }

    StageParams {
        staged: DevicePtr,
        row_scale: DevicePtr,
        x: DevicePtr,
        norm: DevicePtr,
        step: DevicePtr,
        n_cols: u32,
        eps: f32,
        of_outputs: u32,
        reserved: u32,
    }

    RopeParams {
        x: DevicePtr,
        table: DevicePtr,
        step: DevicePtr,
        n_heads: u32,
        head_dim: u32,
        rope_dim: u32,
        halves: u32,
    }

    KvStoreParams {
        kv: KvCache,
        k: DevicePtr,
        v: DevicePtr,
        step: DevicePtr,
    }

    AttentionParams {
        out: DevicePtr,
        q: DevicePtr,
        kv: KvCache,
        partial: DevicePtr,
        weights: DevicePtr,
        step: DevicePtr,
        n_heads: u32,
        n_splits: u32,
        scale: f32,
        reserved: u32,
    }

    SwiGluParams {
        out: DevicePtr,
        gate: DevicePtr,
        up: DevicePtr,
        step: DevicePtr,
        n_cols: u32,
        of_outputs: u32,
    }

    AddParams {
        out: DevicePtr,
        x: DevicePtr,
        y: DevicePtr,
        step: DevicePtr,
        n_cols: u32,
        of_outputs: u32,
    }

    AddBiasParams {
        x: DevicePtr,
        b: DevicePtr,
        step: DevicePtr,
        n_cols: u32,
        of_outputs: u32,
    }

    ArgmaxParams {
        out: DevicePtr,
        x: DevicePtr,
        parts: DevicePtr,
        step: DevicePtr,
        n_cols: u32,
        n_parts: u32,
    }

    TopKParams {
        values: DevicePtr,
        ids: DevicePtr,
        x: DevicePtr,
        parts: DevicePtr,
        step: DevicePtr,
        n_cols: u32,
        n_parts: u32,
        k: u32,
        reserved: u32,
    }

    RepackParams {
        quants: DevicePtr,
        high: DevicePtr,
        scales: DevicePtr,
        supers: DevicePtr,
        blocks: DevicePtr,
        n_rows: u64,
        n_cols: u32,
        units: u32,
    }
}

const TUNING: &[u8] = include_bytes!("../../../kernels/shared/tuning.h");

/// The number of the line `constexpr u32 <name> = <number>;` of kernels/shared/tuning.h. Evaluated by the compiler, which fails if
/// there is none.
const fn tuning(name: &str) -> u32 {
    let mut line = 0;
    while line < TUNING.len() {
        if let Some(mut at) = skip(skip(skip(Some(line), b"constexpr u32 "), name.as_bytes()), b" = ") {
            let mut value = 0;
            while TUNING[at].is_ascii_digit() {
                value = 10 * value + (TUNING[at] - b'0') as u32;
                at += 1;
            }
            assert!(TUNING[at] == b';');
            return value;
        }
        while line < TUNING.len() && TUNING[line] != b'\n' {
            line += 1;
        }
        line += 1;
    }
    panic!("kernels/shared/tuning.h has no such constant")
}

/// The offset after `word`, if it stands at offset `at` of the file.
const fn skip(at: Option<usize>, word: &[u8]) -> Option<usize> {
    let Some(at) = at else { return None };
    let mut i = 0;
    while i < word.len() {
        if at + i >= TUNING.len() || TUNING[at + i] != word[i] {
            return None;
        }
        i += 1;
    }
    Some(at + i)
}

macro_rules! tuned {
    ($($name:ident)*) => {
        $(pub const $name: u32 = tuning(stringify!($name));)*
        /// Every number of kernels/shared/tuning.h that the host knows.
        pub const TUNED: &[(&str, u32)] = &[$((stringify!($name), $name),)*];
    };
}

tuned! {
    WARP
    ROW_THREADS COPY_THREADS
    VEC_WARPS VEC_PAIRS VEC_TOKENS
    TILED_TOKENS TILED_PAIRS TILED_THREADS STAGE_COLS
    SPLIT_THREADS SPLIT_SLOTS
    FLASH_ROWS FLASH_SLOTS FLASH_THREADS
    KV_F32 KV_F16 KV_Q8_0
    ARGMAX_PART ARGMAX_THREADS
    TOP_K_PART TOP_K_MOST TOP_K_THREADS
    REPACK_THREADS
}

/// Sizes of heads that attention on tensor cores is compiled for; in a q8_0 cache those of them that are whole blocks.
pub const FLASH_HEAD_DIMS: [u32; 5] = [32, 64, 80, 96, 128];
