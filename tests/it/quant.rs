//! Block decoding against exact values that were computed independently.

use std::fs;

use pronk::gguf::GgmlType;
use pronk::quant;

/// `TYPE.bin` or `TYPE.f32`.
fn golden(ty: GgmlType, extension: &str) -> Vec<u8> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/blocks");
    let path = format!("{dir}/{}.{extension}", ty.name().to_lowercase());
    fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn golden_values(ty: GgmlType) -> Vec<f32> {
    let bytes = golden(ty, "f32");
    let (values, rest) = bytes.as_chunks::<4>();
    assert!(rest.is_empty());
    values.iter().map(|v| f32::from_le_bytes(*v)).collect()
}

fn assert_same_bits(ty: GgmlType, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(found.to_bits() == expected.to_bits(), "{ty}: value {i} is {found:e}, expected {expected:e}");
    }
}

#[test]
fn every_format_decodes_to_the_same_bits() {
    for format in &quant::FORMATS {
        let (blocks, expected) = (golden(format.ty, "bin"), golden_values(format.ty));
        let n_blocks = blocks.len() as u64 / format.ty.block_bytes();
        assert!(n_blocks >= 32);
        assert_eq!(expected.len() as u64, n_blocks * format.ty.block_size());
        let mut found = vec![f32::NAN; expected.len()];
        (format.decode)(&blocks, &mut found);
        assert_same_bits(format.ty, &found, &expected);
    }
}

#[test]
fn blocks_may_begin_at_any_byte() {
    for format in &quant::FORMATS {
        let (blocks, expected) = (golden(format.ty, "bin"), golden_values(format.ty));
        for shift in 1..4 {
            let mut shifted = vec![0; shift];
            shifted.extend_from_slice(&blocks);
            let mut found = vec![f32::NAN; expected.len()];
            (format.decode)(&shifted[shift..], &mut found);
            assert_same_bits(format.ty, &found, &expected);
        }
    }
}

#[test]
fn the_table_has_one_row_per_type() {
    for format in &quant::FORMATS {
        assert_eq!(quant::FORMATS.iter().filter(|other| other.ty == format.ty).count(), 1);
        assert_eq!(quant::format(format.ty).unwrap().ty, format.ty);
    }
    assert!(quant::format(GgmlType::I32).is_none());
    assert!(quant::format(GgmlType::Q8_K).is_none());
}

#[test]
#[should_panic(expected = "Q4_0: 2 blocks, room for the values of 1")]
fn a_short_output_is_refused() {
    (quant::format(GgmlType::Q4_0).unwrap().decode)(&[0; 36], &mut [0.0; 32]);
}
