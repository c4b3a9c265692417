//! The tensor types of GGML: ids, names and block sizes.

use std::fmt;

/// The type of a tensor's elements; `ty as u32` is its id in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(non_camel_case_types)] // the names that GGML and every tool around it print
#[repr(u32)]
pub enum GgmlType {
    F32 = 0,
    F16 = 1,
    Q4_0 = 2,
    Q4_1 = 3,
    Q5_0 = 6,
    Q5_1 = 7,
    Q8_0 = 8,
    Q8_1 = 9,
    Q2_K = 10,
    Q3_K = 11,
    Q4_K = 12,
    Q5_K = 13,
    Q6_K = 14,
    Q8_K = 15,
    IQ2_XXS = 16,
    IQ2_XS = 17,
    IQ3_XXS = 18,
    IQ1_S = 19,
    IQ4_NL = 20,
    IQ3_S = 21,
    IQ2_S = 22,
    IQ4_XS = 23,
    I8 = 24,
    I16 = 25,
    I32 = 26,
    I64 = 27,
    F64 = 28,
    IQ1_M = 29,
    BF16 = 30,
    TQ1_0 = 34,
    TQ2_0 = 35,
    MXFP4 = 39,
    NVFP4 = 40,
    Q1_0 = 41,
    Q2_0 = 42,
}

struct Row {
    name: &'static str,
    /// None: the id is taken by a type that GGML has removed.
    ty: Option<GgmlType>,
    /// Elements per block.
    block_size: u64,
    /// Bytes per block.
    block_bytes: u64,
}

const fn row(ty: GgmlType, name: &'static str, block_size: u64, block_bytes: u64) -> Row {
    Row { name, ty: Some(ty), block_size, block_bytes }
}

const fn removed(name: &'static str) -> Row {
    Row { name, ty: None, block_size: 0, block_bytes: 0 }
}

/// Every type id that GGML has given out, in order: the index is the id.
const TYPES: [Row; 43] = [
    row(GgmlType::F32, "F32", 1, 4),
    row(GgmlType::F16, "F16", 1, 2),
    row(GgmlType::Q4_0, "Q4_0", 32, 18),
    row(GgmlType::Q4_1, "Q4_1", 32, 20),
    removed("Q4_2"),
    removed("Q4_3"),
    row(GgmlType::Q5_0, "Q5_0", 32, 22),
    row(GgmlType::Q5_1, "Q5_1", 32, 24),
    row(GgmlType::Q8_0, "Q8_0", 32, 34),
    row(GgmlType::Q8_1, "Q8_1", 32, 36),
    row(GgmlType::Q2_K, "Q2_K", 256, 84),
    row(GgmlType::Q3_K, "Q3_K", 256, 110),
    row(GgmlType::Q4_K, "Q4_K", 256, 144),
    row(GgmlType::Q5_K, "Q5_K", 256, 176),
    row(GgmlType::Q6_K, "Q6_K", 256, 210),
    row(GgmlType::Q8_K, "Q8_K", 256, 292),
    row(GgmlType::IQ2_XXS, "IQ2_XXS", 256, 66),
    row(GgmlType::IQ2_XS, "IQ2_XS", 256, 74),
    row(GgmlType::IQ3_XXS, "IQ3_XXS", 256, 98),
    row(GgmlType::IQ1_S, "IQ1_S", 256, 50),
    row(GgmlType::IQ4_NL, "IQ4_NL", 32, 18),
    row(GgmlType::IQ3_S, "IQ3_S", 256, 110),
    row(GgmlType::IQ2_S, "IQ2_S", 256, 82),
    row(GgmlType::IQ4_XS, "IQ4_XS", 256, 136),
    row(GgmlType::I8, "I8", 1, 1),
    row(GgmlType::I16, "I16", 1, 2),
    row(GgmlType::I32, "I32", 1, 4),
    row(GgmlType::I64, "I64", 1, 8),
    row(GgmlType::F64, "F64", 1, 8),
    row(GgmlType::IQ1_M, "IQ1_M", 256, 56),
    row(GgmlType::BF16, "BF16", 1, 2),
    removed("Q4_0_4_4"),
    removed("Q4_0_4_8"),
    removed("Q4_0_8_8"),
    row(GgmlType::TQ1_0, "TQ1_0", 256, 54),
    row(GgmlType::TQ2_0, "TQ2_0", 256, 66),
    removed("IQ4_NL_4_4"),
    removed("IQ4_NL_4_8"),
    removed("IQ4_NL_8_8"),
    row(GgmlType::MXFP4, "MXFP4", 32, 17),
    row(GgmlType::NVFP4, "NVFP4", 64, 36),
    row(GgmlType::Q1_0, "Q1_0", 128, 18),
    row(GgmlType::Q2_0, "Q2_0", 64, 18),
];

// Index and id agree: checked when this is compiled.
const _: () = {
    let mut id = 0;
    while id < TYPES.len() {
        if let Some(ty) = TYPES[id].ty {
            assert!(ty as usize == id);
        }
        id += 1;
    }
};

impl GgmlType {
    /// The type with this id, or why there is none.
    pub fn from_id(id: u32) -> Result<GgmlType, String> {
        match TYPES.get(id as usize) {
            Some(Row { ty: Some(ty), .. }) => Ok(*ty),
            Some(Row { name, .. }) => Err(format!("type {id} ({name}) was removed from GGML, convert the model again")),
            None => Err(format!(
                "unknown type {id}, the last known is {} ({})",
                TYPES.len() - 1,
                TYPES[TYPES.len() - 1].name
            )),
        }
    }

    /// Every type, in the order of the ids.
    pub fn all() -> impl Iterator<Item = GgmlType> {
        TYPES.iter().filter_map(|row| row.ty)
    }

    /// The name that GGML's tools print, such as `Q4_K`.
    pub const fn name(self) -> &'static str {
        TYPES[self as usize].name
    }

    /// Elements per block; the first dimension of a tensor is a multiple of it.
    pub const fn block_size(self) -> u64 {
        TYPES[self as usize].block_size
    }

    /// Bytes per block.
    pub const fn block_bytes(self) -> u64 {
        TYPES[self as usize].block_bytes
    }
}

impl fmt::Display for GgmlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
