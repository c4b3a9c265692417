//! Tensors with wrong infos.

use pronk::gguf::GgmlType;

use super::{builder, cut, one_tensor, refused};
use crate::common::gguf_builder::GgufBuilder;

fn shaped(ty: GgmlType, shape: &[u64]) -> Vec<u8> {
    builder().tensor("t", ty, shape, &[0; 256]).build()
}

fn typed(ty: u32) -> Vec<u8> {
    one_tensor().edit(|t| t.ty = ty).build()
}

/// Broken tensor infos.
fn infos() -> Vec<(Vec<u8>, &'static str)> {
    let name = "n".repeat(64);
    vec![
        (one_tensor().edit(|t| t.name.clear()).build(), "tensor 1 of 1: its name is empty"),
        (builder().tensor_f32(&name, &[1], &[1.0]).build(), "tensor 1 of 1: its name has 64 bytes, the limit is 63"),
        (
            one_tensor().edit(|t| t.name = vec![b'a', 0xff]).build(),
            "tensor 1 of 1: its name is not UTF-8: invalid utf-8 sequence of 1 bytes from index 1",
        ),
        (one_tensor().tensor_f32("u", &[1], &[1.0]).tensor_f32("t", &[1], &[1.0]).build(), "tensor t: appears twice"),
        (cut(one_tensor(), 24 + 33 - 1), "tensor count 1, the 32 bytes after the header hold at most 0"),
        (
            cut(one_tensor().tensor_f32("u", &[1], &[1.0]), 24 + 33 + 33 - 4),
            "tensor count 2, the 62 bytes after the header hold at most 1",
        ),
        (shaped(GgmlType::F32, &[]), "tensor t: 0 dimensions, expected 1 to 4"),
        (shaped(GgmlType::F32, &[1, 1, 1, 1, 1]), "tensor t: 5 dimensions, expected 1 to 4"),
        (shaped(GgmlType::F32, &[0]), "tensor t: shape [0] has a zero dimension"),
        (shaped(GgmlType::F32, &[4, 0, 2]), "tensor t: shape [4, 0, 2] has a zero dimension"),
        (
            shaped(GgmlType::I8, &[1 << 32, 1 << 32]),
            "tensor t: the size of shape [4294967296, 4294967296] in I8 overflows 64 bits",
        ),
        (
            shaped(GgmlType::I8, &[u64::MAX, 2]),
            "tensor t: the size of shape [18446744073709551615, 2] in I8 overflows 64 bits",
        ),
        (
            shaped(GgmlType::F32, &[1 << 62]),
            "tensor t: the size of shape [4611686018427387904] in F32 overflows 64 bits",
        ),
        (
            shaped(GgmlType::Q8_0, &[u64::MAX - 31]),
            "tensor t: the size of shape [18446744073709551584] in Q8_0 overflows 64 bits",
        ),
        (
            shaped(GgmlType::I8, &[1 << 16, 1 << 16, 1 << 16, 1 << 16]),
            "tensor t: the size of shape [65536, 65536, 65536, 65536] in I8 overflows 64 bits",
        ),
        (shaped(GgmlType::Q4_0, &[33]), "tensor t: shape [33]: Q4_0 needs a first dimension that is a multiple of 32"),
        (
            shaped(GgmlType::Q4_0, &[1, 32]),
            "tensor t: shape [1, 32]: Q4_0 needs a first dimension that is a multiple of 32",
        ),
        (
            shaped(GgmlType::Q6_K, &[576, 2]),
            "tensor t: shape [576, 2]: Q6_K needs a first dimension that is a multiple of 256",
        ),
        (typed(43), "tensor t: unknown type 43, the last known is 42 (Q2_0)"),
        (typed(u32::MAX), "tensor t: unknown type 4294967295, the last known is 42 (Q2_0)"),
        (typed(4), "tensor t: type 4 (Q4_2) was removed from GGML, convert the model again"),
        (typed(5), "tensor t: type 5 (Q4_3) was removed from GGML, convert the model again"),
        (typed(31), "tensor t: type 31 (Q4_0_4_4) was removed from GGML, convert the model again"),
        (typed(38), "tensor t: type 38 (IQ4_NL_8_8) was removed from GGML, convert the model again"),
    ]
}

/// Tensor infos with wrong positions of the data.
fn data() -> Vec<(Vec<u8>, &'static str)> {
    let two = || one_tensor().tensor_f32("u", &[8], &[2.0; 8]);
    vec![
        (one_tensor().edit(|t| t.offset = Some(8)).build(), "tensor t: offset 8 is not a multiple of the alignment 32"),
        (
            GgufBuilder { alignment: 64, ..two() }.u32("general.alignment", 64).edit(|t| t.offset = Some(32)).build(),
            "tensor u: offset 32 is not a multiple of the alignment 64",
        ),
        (
            one_tensor().edit(|t| t.offset = Some(32)).build(),
            "ends at byte 96, tensor t needs bytes 96..128 (truncated download?)",
        ),
        (
            one_tensor().edit(|t| t.offset = Some(1 << 40)).build(),
            "ends at byte 96, tensor t needs bytes 1099511627840..1099511627872 (truncated download?)",
        ),
        (
            one_tensor().edit(|t| t.offset = Some(u64::MAX - 31)).build(),
            "tensor t: offset 18446744073709551584 and size 32 overflow",
        ),
        (
            one_tensor().edit(|t| t.offset = Some(u64::MAX - 127)).build(),
            "ends at byte 96, tensor t needs bytes 18446744073709551552..18446744073709551584 (truncated download?)",
        ),
        (cut(one_tensor(), 24 + 33), "ends at byte 57, tensor t needs bytes 64..96 (truncated download?)"),
        (cut(one_tensor(), 64), "ends at byte 64, tensor t needs bytes 64..96 (truncated download?)"),
        (cut(one_tensor(), 64 + 31), "ends at byte 95, tensor t needs bytes 64..96 (truncated download?)"),
        (cut(two(), 159), "ends at byte 159, tensor u needs bytes 128..160 (truncated download?)"),
        (shaped(GgmlType::I8, &[257]), "ends at byte 320, tensor t needs bytes 64..321 (truncated download?)"),
        (shaped(GgmlType::I8, &[u64::MAX]), "tensor t: offset 0 and size 18446744073709551615 overflow"),
        (two().edit(|t| t.offset = Some(0)).build(), "tensor u: begins at byte 96, inside tensor t at bytes 96..128"),
        (
            two().edit(|t| t.shape = vec![16]).edit(|t| t.offset = Some(0)).build(),
            "tensor u: begins at byte 96, inside tensor t at bytes 96..128",
        ),
        (
            builder()
                .tensor_f32("t", &[16], &[1.0; 16])
                .tensor_f32("u", &[8], &[2.0; 8])
                .edit(|t| t.offset = Some(32))
                .build(),
            "tensor u: begins at byte 128, inside tensor t at bytes 96..160",
        ),
    ]
}

#[test]
fn broken_tensor_infos_are_refused() {
    refused(infos());
}

#[test]
fn misplaced_data_is_refused() {
    refused(data());
}
