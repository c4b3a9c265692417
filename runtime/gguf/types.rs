//! The tensor types of GGML: ids, names and block sizes, as in the enum `ggml_type` of its `ggml.h` and the structs `block_*` of
//! its `ggml-common.h`.

use std::fmt;

struct Row {
    name: &'static str,
    block_size: u64,
    block_bytes: u64,
}

/// `NAME = id: elements of a block, bytes of a block;` in the order of the ids, then the ids whose types GGML has removed.
macro_rules! types {
    ({ $($(#[$doc:meta])* $ty:ident = $id:literal: $block_size:literal, $block_bytes:literal;)* }
     removed { $($gone:ident = $gone_id:literal;)* }) => {
        /// The type of a tensor's elements; `ty as u32` is its id in the file.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(non_camel_case_types)] // the names that GGML and every tool around it print
        #[repr(u32)]
        pub enum GgmlType {
            $($(#[$doc])* $ty = $id,)*
        }

        const ALL: &[GgmlType] = &[$(GgmlType::$ty),*];

        const fn row(ty: GgmlType) -> Row {
            match ty {
                $(GgmlType::$ty => Row {
                    name: stringify!($ty),
                    block_size: $block_size,
                    block_bytes: $block_bytes,
                },)*
            }
        }

        /// The name of a type that GGML has removed.
        fn removed(id: u32) -> Option<&'static str> {
            match id {
                $($gone_id => Some(stringify!($gone)),)*
                _ => None,
            }
        }
    };
}

types! {
    {
        /// IEEE 754 binary32.
        F32 = 0: 1, 4;
        /// IEEE 754 binary16.
        F16 = 1: 1, 2;
        /// 4-bit quants, an f16 scale.
        Q4_0 = 2: 32, 18;
        /// 4-bit quants, an f16 scale and minimum.
        Q4_1 = 3: 32, 20;
        /// 5-bit quants, an f16 scale.
        Q5_0 = 6: 32, 22;
        /// 5-bit quants, an f16 scale and minimum.
        Q5_1 = 7: 32, 24;
        /// 8-bit quants, an f16 scale.
        Q8_0 = 8: 32, 34;
        /// 8-bit quants, an f16 scale and the f16 sum of the block. GGML quantizes activations to it.
        Q8_1 = 9: 32, 36;
        /// 2-bit quants, a 4-bit scale and minimum per 16 elements.
        Q2_K = 10: 256, 84;
        /// 3-bit quants, a 6-bit scale per 16 elements.
        Q3_K = 11: 256, 110;
        /// 4-bit quants, a 6-bit scale and minimum per 32 elements.
        Q4_K = 12: 256, 144;
        /// 5-bit quants, a 6-bit scale and minimum per 32 elements.
        Q5_K = 13: 256, 176;
        /// 6-bit quants, an 8-bit scale per 16 elements.
        Q6_K = 14: 256, 210;
        /// 8-bit quants, an f32 scale and sums of 16 elements. GGML quantizes activations to it.
        Q8_K = 15: 256, 292;
        /// 8 bits of codebook index per 8 elements, 7 bits of signs, a 4-bit scale per 32.
        IQ2_XXS = 16: 256, 66;
        /// 9 bits of codebook index per 8 elements, 7 bits of signs, a 4-bit scale per 16.
        IQ2_XS = 17: 256, 74;
        /// 8 bits of codebook index per 4 elements, 7 bits of signs per 8, a 4-bit scale per 32.
        IQ3_XXS = 18: 256, 98;
        /// 11 bits of codebook index per 8 elements, a 3-bit scale and a shift of 1/8 per 32.
        IQ1_S = 19: 256, 50;
        /// 4-bit indices of a table, an f16 scale.
        IQ4_NL = 20: 32, 18;
        /// 9 bits of codebook index per 4 elements, a sign each, a 4-bit scale per 32.
        IQ3_S = 21: 256, 110;
        /// 10 bits of codebook index per 8 elements, a sign each, a 4-bit scale per 16.
        IQ2_S = 22: 256, 82;
        /// 4-bit indices of a table, a 6-bit scale per 32 elements.
        IQ4_XS = 23: 256, 136;
        /// 8-bit integers.
        I8 = 24: 1, 1;
        /// 16-bit integers.
        I16 = 25: 1, 2;
        /// 32-bit integers.
        I32 = 26: 1, 4;
        /// 64-bit integers.
        I64 = 27: 1, 8;
        /// IEEE 754 binary64.
        F64 = 28: 1, 8;
        /// 11 bits of codebook index and a shift of 1/8 per 8 elements, a 3-bit scale per 16.
        IQ1_M = 29: 256, 56;
        /// The upper half of an F32.
        BF16 = 30: 1, 2;
        /// Five ternary digits to a byte, an f16 scale.
        TQ1_0 = 34: 256, 54;
        /// Four ternary digits to a byte, an f16 scale.
        TQ2_0 = 35: 256, 66;
        /// 4-bit floats (E2M1), a scale that is a power of 2 (E8M0).
        MXFP4 = 39: 32, 17;
        /// 4-bit floats (E2M1), an 8-bit float scale (E4M3) per 16 elements.
        NVFP4 = 40: 64, 36;
        /// 1-bit quants, an f16 scale.
        Q1_0 = 41: 128, 18;
        /// 2-bit quants, an f16 scale.
        Q2_0 = 42: 64, 18;
    }
    removed {
        Q4_2 = 4;
        Q4_3 = 5;
        Q4_0_4_4 = 31;
        Q4_0_4_8 = 32;
        Q4_0_8_8 = 33;
        IQ4_NL_4_4 = 36;
        IQ4_NL_4_8 = 37;
        IQ4_NL_8_8 = 38;
    }
}

impl GgmlType {
    /// The type with this id, or why there is none.
    pub fn from_id(id: u32) -> Result<GgmlType, String> {
        if let Some(ty) = ALL.iter().find(|ty| **ty as u32 == id) {
            return Ok(*ty);
        }
        let last = ALL[ALL.len() - 1];
        Err(match removed(id) {
            Some(name) => format!("type {id} ({name}) was removed from GGML, convert the model again"),
            None => format!("unknown type {id}, the last known is {} ({last})", last as u32),
        })
    }

    /// Every type, in the order of the ids.
    pub fn all() -> impl Iterator<Item = GgmlType> {
        ALL.iter().copied()
    }

    /// The name that GGML's tools print, such as `Q4_K`.
    pub const fn name(self) -> &'static str {
        row(self).name
    }

    /// Elements per block; the first dimension of a tensor is a multiple of it.
    pub const fn block_size(self) -> u64 {
        row(self).block_size
    }

    /// Bytes per block.
    pub const fn block_bytes(self) -> u64 {
        row(self).block_bytes
    }
}

impl fmt::Display for GgmlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The last type has the largest id; an id is of a type or of a removed one, and none is left out.
    #[test]
    fn ids_are_in_order_without_gaps() {
        assert!(ALL.is_sorted());
        let last = ALL[ALL.len() - 1] as u32;
        for id in 0..=last {
            let found = ALL.iter().any(|ty| *ty as u32 == id);
            assert!(found != removed(id).is_some(), "id {id}");
        }
        assert_eq!(removed(last + 1), None);
    }
}
