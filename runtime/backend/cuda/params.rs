//! What kernels take, by value: mirrors of the structs of kernels/shared/params.h, and of the parameters of kernels that belong to no
//! operation. The sources say what each field means and how it is shaped. And the numbers of kernels/shared/tuning.h that grid sizes
//! are made of.

use crate::plan::StepRow;

/// Address of device memory, 16-byte aligned; 0 is null.
pub type DevicePtr = u64;

/// How a struct lies in memory, for comparing it with the kernels' sources.
pub struct Layout {
    /// As in the source.
    pub name: &'static str,
    /// In bytes.
    pub size: usize,
    /// Name, type as written here, and offset in bytes.
    pub fields: &'static [(&'static str, &'static str, usize)],
}

/// Declares the mirror of a struct, with its layout.
macro_rules! mirror {
    ($name:ident { $($field:ident: $ty:ty,)* }) => {
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
        pub struct $name {
            $(pub $field: $ty,)*
        }

        impl $name {
            pub const LAYOUT: $crate::backend::cuda::params::Layout = $crate::backend::cuda::params::Layout {
                name: stringify!($name),
                size: size_of::<$name>(),
                fields: &[$((stringify!($field), stringify!($ty), std::mem::offset_of!($name, $field)),)*],
            };
        }
    };
}
pub(super) use mirror;

mirror! {
    Step {
        n_tokens: u32,
        n_outputs: u32,
        reserved: [u32; 6],
    }
}

mirror! {
    Planes {
        quants: DevicePtr,
        high: DevicePtr,
        scales: DevicePtr,
        supers: DevicePtr,
        units: u32,
        reserved: u32,
    }
}

mirror! {
    Input {
        x: DevicePtr,
        norm: DevicePtr,
        staged: DevicePtr,
        row_scale: DevicePtr,
        n_cols: u32,
        eps: f32,
        of_outputs: u32,
        parts: u32,
        first_blocks: u32,
        reserved: u32,
    }
}

mirror! {
    KvCache {
        keys: DevicePtr,
        values: DevicePtr,
        n_heads: u32,
        n_slots: u32,
        head_dim: u32,
        format: u32,
    }
}

mirror! {
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

mirror! {
    SetStepParams {
        step: DevicePtr,
        n_rows: u32,
        reserved: u32,
        rows: [StepRow; 9],
    }
}

mirror! {
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
}

/// Every mirror of this file.
pub const LAYOUTS: [Layout; 7] = [
    Step::LAYOUT,
    Planes::LAYOUT,
    Input::LAYOUT,
    KvCache::LAYOUT,
    RepackParams::LAYOUT,
    SetStepParams::LAYOUT,
    TopKParams::LAYOUT,
];

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
    STREAM_THREADS STREAM_BLOCKS X_UNITS STAGED_UNIT ROWS_TOKENS ROWS_PAIRS
    VEC_WARPS VEC_PAIRS VEC_TOKENS
    TILED_TOKENS TILED_PAIRS TILED_THREADS STAGE_COLS
    SPLIT_THREADS SPLIT_SLOTS
    FLASH_ROWS FLASH_SLOTS FLASH_THREADS
    OUTPUTS_OF_TOKENS
    KV_F32 KV_F16 KV_Q8_0
    ARGMAX_PART ARGMAX_THREADS
    TOP_K_PART TOP_K_MOST TOP_K_THREADS
    REPACK_THREADS
}
