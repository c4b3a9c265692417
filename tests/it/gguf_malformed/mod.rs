//! Broken and hostile GGUF files: each is refused with one line that names the problem.

use std::fs;

use pronk::gguf::Gguf;

mod assumed;
mod model;
mod tensors;

use crate::common::gguf_builder::{GgufBuilder, array, id, string};
use crate::common::gguf_checked::parse_checked;

fn builder() -> GgufBuilder {
    GgufBuilder::default()
}

/// One F32 tensor `t` of 8 values.
fn one_tensor() -> GgufBuilder {
    builder().tensor_f32("t", &[8], &[1.0; 8])
}

fn cut(builder: GgufBuilder, len: usize) -> Vec<u8> {
    let mut file = builder.build();
    file.truncate(len);
    file
}

fn versioned(version: u32) -> Vec<u8> {
    GgufBuilder { version, ..builder() }.build()
}

fn aligned(value: u32) -> Vec<u8> {
    builder().u32("general.alignment", value).build()
}

/// Broken headers, each with its message after `m.gguf: `.
fn headers() -> Vec<(Vec<u8>, &'static str)> {
    vec![
        (vec![], "the file is empty"),
        (b"G".to_vec(), r#"not a GGUF file: begins with "G", expected "GGUF""#),
        (b"GGU".to_vec(), r#"not a GGUF file: begins with "GGU", expected "GGUF""#),
        (b"GGUF".to_vec(), "ends at byte 4, the header needs 24 (truncated download?)"),
        (cut(builder(), 23), "ends at byte 23, the header needs 24 (truncated download?)"),
        (b"A text file\n".to_vec(), r#"not a GGUF file: begins with "A te", expected "GGUF""#),
        (b"\x00\x01\xff\"binary".to_vec(), r#"not a GGUF file: begins with "\x00\x01\xff\"", expected "GGUF""#),
        (
            GgufBuilder { magic: *b"FUGG", ..builder() }.build(),
            r#"not a GGUF file: begins with "FUGG", expected "GGUF""#,
        ),
        (
            GgufBuilder { magic: *b"tjgg", ..builder() }.build(),
            r#"not a GGUF file: begins with "tjgg", expected "GGUF""#,
        ),
        (versioned(0), "unknown GGUF version 0, expected 2 or 3"),
        (versioned(1), "GGUF version 1 is not supported, convert the model again (expected 2 or 3)"),
        (versioned(4), "unknown GGUF version 4, expected 2 or 3"),
        (versioned(u32::MAX), "unknown GGUF version 4294967295, expected 2 or 3"),
        (versioned(3u32.swap_bytes()), "the file is big-endian, only little-endian files are supported"),
        (versioned(2u32.swap_bytes()), "the file is big-endian, only little-endian files are supported"),
        (
            GgufBuilder { n_tensors: Some(1), ..builder() }.build(),
            "tensor count 1, the 0 bytes after the header hold at most 0",
        ),
        (
            GgufBuilder { n_tensors: Some(u64::MAX), ..builder() }.build(),
            "tensor count 18446744073709551615, the 0 bytes after the header hold at most 0",
        ),
        (GgufBuilder { n_tensors: Some(2), ..one_tensor() }.build(), "tensor 2 of 2: its name is empty"),
        (
            GgufBuilder { n_entries: Some(1), ..builder() }.build(),
            "key count 1, the 0 bytes after the header hold at most 0",
        ),
        (
            GgufBuilder { n_entries: Some(u64::MAX), ..builder() }.build(),
            "key count 18446744073709551615, the 0 bytes after the header hold at most 0",
        ),
        (
            GgufBuilder { n_entries: Some(2), ..builder().u32("a", 1) }.build(),
            "key count 2, the 17 bytes after the header hold at most 1",
        ),
        (
            GgufBuilder { n_entries: Some(2), ..builder().str("a", "a longer text") }.build(),
            "metadata key 2 of 2: needs 8 bytes at byte 58, the file ends at byte 58 (truncated download?)",
        ),
    ]
}

/// Broken metadata.
fn metadata() -> Vec<(Vec<u8>, &'static str)> {
    let long = "k".repeat(65536);
    vec![
        (builder().u32("", 1).build(), "metadata key 1 of 1: its name is empty"),
        (builder().u32(&long, 1).build(), "metadata key 1 of 1: its name has 65536 bytes, the limit is 65535"),
        (
            builder().u32("a", 1).raw(&[0xff; 14]).build(),
            "metadata key 2 of 2: its name has 18446744073709551615 bytes, the limit is 65535",
        ),
        (
            builder().raw(&[&40u64.to_le_bytes()[..], b"short of it"].concat()).build(),
            "metadata key 1 of 1: needs 40 bytes at byte 32, the file ends at byte 43 (truncated download?)",
        ),
        (
            builder().kv([b'a', 0xff], id::U32, &[0; 4]).build(),
            "metadata key 1 of 1: its name is not UTF-8: invalid utf-8 sequence of 1 bytes from index 1",
        ),
        (builder().u32("a", 1).u32("b", 2).str("a", "again").build(), "key a: appears twice"),
        (builder().u32("two\nlines", 1).u32("two\nlines", 2).build(), r#"key two\nlines: appears twice"#),
        (
            builder().u32(&long[..100], 1).u32(&long[..100], 2).build(),
            "key kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk...: appears twice",
        ),
        (builder().kv("a", 13, &[0; 8]).build(), "key a: unknown value type 13, the last known is 12 (f64)"),
        (
            builder().kv("a", u32::MAX, &[0; 8]).build(),
            "key a: unknown value type 4294967295, the last known is 12 (f64)",
        ),
        (
            builder().kv("a", id::U32, &[0; 3]).build(),
            "key a: needs 4 bytes at byte 37, the file ends at byte 40 (truncated download?)",
        ),
        (
            builder().kv("a", id::U64, &[0; 7]).build(),
            "key a: needs 8 bytes at byte 37, the file ends at byte 44 (truncated download?)",
        ),
        (builder().kv("a", id::BOOL, &[2]).build(), "key a: bool with value 2, expected 0 or 1"),
        (builder().kv("a", id::BOOL, &[0xff]).build(), "key a: bool with value 255, expected 0 or 1"),
        (
            builder().kv("a", id::STRING, &[1; 4]).build(),
            "key a: needs 8 bytes at byte 37, the file ends at byte 41 (truncated download?)",
        ),
        (
            builder().kv("a", id::STRING, &9u64.to_le_bytes()).build(),
            "key a: needs 9 bytes at byte 45, the file ends at byte 45 (truncated download?)",
        ),
        (
            builder().kv("a", id::STRING, &u64::MAX.to_le_bytes()).build(),
            "key a: needs 18446744073709551615 bytes at byte 45, the file ends at byte 45 (truncated download?)",
        ),
        (
            builder().kv("a", id::ARRAY, &[0; 3]).build(),
            "key a: needs 4 bytes at byte 37, the file ends at byte 40 (truncated download?)",
        ),
        (
            builder().kv("a", id::ARRAY, &id::U8.to_le_bytes()).build(),
            "key a: needs 8 bytes at byte 41, the file ends at byte 41 (truncated download?)",
        ),
        (
            builder().kv("a", id::ARRAY, &array(13, 1, &[0; 8])).build(),
            "key a: unknown value type 13, the last known is 12 (f64)",
        ),
        (
            builder().kv("a", id::ARRAY, &array(id::ARRAY, 1, &array(id::U8, 1, &[0]))).build(),
            "key a: nested arrays are not supported",
        ),
        (
            builder().kv("a", id::ARRAY, &array(id::U8, 9, &[0; 8])).build(),
            "key a: has 9 elements of type u8 at byte 49, the file ends at byte 57 (truncated download?)",
        ),
        (
            builder().kv("a", id::ARRAY, &array(id::F32, 3, &[0; 11])).build(),
            "key a: has 3 elements of type f32 at byte 49, the file ends at byte 60 (truncated download?)",
        ),
        (
            builder().kv("a", id::ARRAY, &array(id::F64, 1 << 61, &[0; 8])).build(),
            "key a: has 2305843009213693952 elements of type f64 at byte 49, the file ends at byte 57 (truncated download?)",
        ),
        (
            builder().kv("a", id::ARRAY, &array(id::U8, u64::MAX, &[0; 8])).build(),
            "key a: has 18446744073709551615 elements of type u8 at byte 49, the file ends at byte 57 (truncated download?)",
        ),
        (
            builder().kv("a", id::ARRAY, &array(id::BOOL, 3, &[0, 1, 2])).build(),
            "key a: element 2 of 3: bool with value 2, expected 0 or 1",
        ),
        (
            builder().kv("a", id::ARRAY, &array(id::STRING, 2, &string("12345678901"))).build(),
            "key a: element 1 of 2: needs 8 bytes at byte 68, the file ends at byte 68 (truncated download?)",
        ),
        (
            builder().kv("a", id::ARRAY, &array(id::STRING, 2, &string("12345678"))).build(),
            "key a: element 1 of 2: needs 8 bytes at byte 65, the file ends at byte 65 (truncated download?)",
        ),
        (
            builder().kv("a", id::ARRAY, &array(id::STRING, 1, &[0xff; 8])).build(),
            "key a: element 0 of 1: needs 18446744073709551615 bytes at byte 57, the file ends at byte 57 (truncated download?)",
        ),
        (
            builder().kv("a", id::ARRAY, &array(id::STRING, 1 << 60, &[0; 64])).build(),
            "key a: has 1152921504606846976 elements of type string at byte 49, the file ends at byte 113 (truncated download?)",
        ),
        (aligned(0), "key general.alignment: u32 0, expected a u32 power of two up to 1048576"),
        (aligned(24), "key general.alignment: u32 24, expected a u32 power of two up to 1048576"),
        (aligned(1 << 21), "key general.alignment: u32 2097152, expected a u32 power of two up to 1048576"),
        (
            builder().str("general.alignment", "32").build(),
            r#"key general.alignment: string "32", expected a u32 power of two up to 1048576"#,
        ),
        (
            builder().kv("general.alignment", id::U64, &32u64.to_le_bytes()).build(),
            "key general.alignment: u64 32, expected a u32 power of two up to 1048576",
        ),
    ]
}

fn refused(cases: Vec<(Vec<u8>, &str)>) {
    for (i, (file, expected)) in cases.into_iter().enumerate() {
        let expected = format!("m.gguf: {expected}");
        assert_eq!(parse_checked(&file), Err(expected), "case {i}");
    }
}

#[test]
fn broken_headers_are_refused() {
    refused(headers());
}

#[test]
fn broken_metadata_is_refused() {
    refused(metadata());
}

/// Paths that cannot be opened: path under a scratch folder, message after the path.
#[test]
fn unreadable_paths_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("folder")).unwrap();
    fs::write(dir.path().join("empty.gguf"), b"").unwrap();
    fs::write(dir.path().join("pointer.gguf"), b"version https://git-lfs.github.com/spec/v1\n").unwrap();
    let cases = [
        ("absent.gguf", "cannot read: No such file or directory (os error 2)"),
        ("folder", "is a directory, expected a GGUF file"),
        ("empty.gguf", "the file is empty"),
        ("pointer.gguf", "not a GGUF file: begins with \"vers\", expected \"GGUF\""),
    ];
    for (name, expected) in cases {
        let path = dir.path().join(name);
        let error = Gguf::open(&path).unwrap_err().to_string();
        assert_eq!(error, format!("{}: {expected}", path.display()));
    }
}

#[cfg(unix)]
#[test]
fn devices_are_refused() {
    let error = Gguf::open("/dev/null".as_ref()).unwrap_err().to_string();
    assert_eq!(error, "/dev/null: is not a regular file, cannot be mapped");
}
