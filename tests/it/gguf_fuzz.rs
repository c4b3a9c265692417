//! Randomly damaged GGUF files: each is read or refused, and nothing panics.

use std::fs;

use bytes::Bytes;
use pronk::gguf::{GgmlType, Gguf};
use proptest::prelude::*;

use crate::common::gguf_builder::{GgufBuilder, array, id};
use crate::common::gguf_checked::parse_checked;

/// A file with a value of every type and three tensors.
fn valid() -> Vec<u8> {
    GgufBuilder::default()
        .u32("general.alignment", 64)
        .str("general.name", "a name")
        .f32("float", 1e-5)
        .bool("flag", true)
        .kv("long", id::U64, &[1; 8])
        .strings("words", &["one", "", "three"])
        .i32s("ints", &[1, -2, 3])
        .f32s("floats", &[0.5; 5])
        .kv("flags", id::ARRAY, &array(id::BOOL, 3, &[0, 1, 1]))
        .aligned_to(64)
        .tensor_f32("norm.weight", &[8], &[1.0; 8])
        .tensor("a.weight", GgmlType::Q4_0, &[64, 2], &[7; 4 * 18])
        .tensor("b.weight", GgmlType::Q6_K, &[256], &[9; 210])
        .build()
}

/// The test model up to its data, and the length of the file.
fn model_head() -> (Vec<u8>, usize) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/models/tiny-llama3.q4_0.gguf");
    let mut file = fs::read(path).unwrap();
    let gguf = Gguf::parse("m.gguf", Bytes::from(file.clone())).unwrap();
    let data_start = gguf.tensors().iter().map(|tensor| tensor.offset).min().unwrap();
    let len = file.len();
    file.truncate(data_start as usize);
    (file, len)
}

#[test]
fn every_truncation_is_refused() {
    let file = valid();
    assert_eq!(parse_checked(&file), Ok(()));
    for len in 0..file.len() {
        assert!(parse_checked(&file[..len]).is_err(), "accepted at {len} of {} bytes", file.len());
    }
}

#[test]
fn every_changed_byte_is_survived() {
    let mut file = valid();
    for i in 0..file.len() {
        let byte = file[i];
        for changed in [byte ^ 1, byte ^ 0x80, byte.wrapping_add(1), 0, 0xff] {
            file[i] = changed;
            let _ = parse_checked(&file); // accepted or refused, within its checks
        }
        file[i] = byte;
    }
}

proptest! {
    #[test]
    fn random_bytes_are_refused(file in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(parse_checked(&file).is_err());
    }

    #[test]
    fn random_bytes_after_a_valid_header_are_survived(
        n_tensors in 0u64..4,
        n_entries in 0u64..4,
        // Small numbers make plausible lengths and types.
        body in prop::collection::vec(prop_oneof![Just(0u8), 0u8..13, any::<u8>()], 0..2000),
    ) {
        let mut file = GgufBuilder { n_tensors: Some(n_tensors), n_entries: Some(n_entries), ..Default::default() }.build();
        file.extend(body);
        let _ = parse_checked(&file);
    }

    #[test]
    fn changed_files_are_survived(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut file = valid();
        for (i, byte) in changes {
            let i = i.index(file.len());
            file[i] = byte;
        }
        let _ = parse_checked(&file);
    }

    #[test]
    fn changed_numbers_are_survived(at in any::<prop::sample::Index>(), number in prop_oneof![
        any::<u64>(),
        (0u32..64).prop_map(|shift| 1u64 << shift),
        (0u64..64).prop_map(|less| u64::MAX - less),
    ]) {
        let mut file = valid();
        let at = at.index(file.len() - 8);
        file[at..at + 8].copy_from_slice(&number.to_le_bytes());
        let _ = parse_checked(&file);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_changed_model_is_survived(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        whole in any::<bool>(),
    ) {
        let (mut file, len) = model_head();
        for (i, byte) in changes {
            let i = i.index(file.len());
            file[i] = byte;
        }
        if whole {
            file.resize(len, 0);
            let _ = parse_checked(&file);
        } else {
            prop_assert!(parse_checked(&file).is_err());
        }
    }
}
