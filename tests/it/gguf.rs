//! Well-formed GGUF files are read as they were written.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use pronk::gguf::{Error, GgmlType, Gguf, Value, ValueType};
use proptest::prelude::*;

use crate::common::gguf_builder::{GgufBuilder, array, id, string};

fn parse(builder: &GgufBuilder) -> Gguf {
    Gguf::parse("m.gguf", Bytes::from(builder.build())).unwrap()
}

fn tiny_llama() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/models/tiny-llama3.q4_0.gguf")
}

#[test]
fn a_model_file_opens() {
    let path = tiny_llama();
    let gguf = Gguf::open(&path).unwrap();
    assert_eq!(gguf.name(), path.display().to_string());
    assert_eq!((gguf.version(), gguf.alignment()), (3, 32));
    assert_eq!((gguf.metadata().len(), gguf.tensors().len()), (24, 21));
    assert_eq!(gguf.metadata().next().unwrap().0, "general.architecture");

    assert_eq!(gguf.str("general.architecture"), Ok(Some("llama")));
    assert_eq!(gguf.required::<u32>("llama.embedding_length"), Ok(256));
    assert_eq!(gguf.u64("llama.block_count"), Ok(Some(2)));
    assert_eq!(gguf.f32("llama.rope.freq_base"), Ok(Some(500000.0)));
    assert_eq!(gguf.bool("tokenizer.ggml.add_bos_token"), Ok(Some(true)));
    let tokens = gguf.strings("tokenizer.ggml.tokens").unwrap().unwrap();
    assert_eq!((tokens.len(), tokens[0], tokens[504]), (512, "!", "<|begin_of_text|>"));
    let types: Vec<i32> = gguf.required("tokenizer.ggml.token_type").unwrap();
    assert_eq!((types.len(), types[0], types[504]), (512, 1, 3));

    let tensor = gguf.tensor("blk.1.ffn_down.weight").unwrap();
    assert_eq!((tensor.ty, &tensor.shape[..]), (GgmlType::Q4_0, &[512, 256][..]));
    assert_eq!(tensor.n_elements(), 512 * 256);
    let file = fs::read(&path).unwrap();
    let offset = tensor.offset as usize;
    assert_eq!(tensor.data, file[offset..offset + 512 * 256 / 32 * 18]);
    assert!(gguf.tensor("blk.2.ffn_down.weight").is_none());
}

#[test]
fn views_outlive_the_file_object() {
    let file = fs::read(tiny_llama()).unwrap();
    let tensor = Gguf::open(&tiny_llama()).unwrap().tensor("output.weight").unwrap().clone();
    let offset = tensor.offset as usize;
    assert_eq!(tensor.data, file[offset..offset + tensor.data.len()]);
}

#[test]
fn nothing_is_copied() {
    let builder = GgufBuilder::default().strings("words", &["one", "two"]).tensor_f32("a", &[1], &[1.0]);
    let bytes = Bytes::from(builder.build());
    let gguf = Gguf::parse("m.gguf", bytes.clone()).unwrap();
    let within = |view: &[u8]| bytes.as_ptr_range().contains(&view.as_ptr());
    assert!(within(&gguf.tensor("a").unwrap().data));
    assert!(gguf.strings("words").unwrap().unwrap().iter().all(|word| within(word.as_bytes())));
}

#[test]
fn version_2_reads_like_version_3() {
    let v3 = GgufBuilder::default().u32("a", 7).tensor_f32("t", &[2], &[1.0, 2.0]);
    let v2 = GgufBuilder { version: 2, ..v3.clone() };
    let (v2, v3) = (parse(&v2), parse(&v3));
    assert_eq!((v2.version(), v3.version()), (2, 3));
    assert_eq!(v2.u32("a"), v3.u32("a"));
    assert_eq!(v2.tensor("t").unwrap().data, v3.tensor("t").unwrap().data);
}

#[test]
fn a_file_may_be_empty_of_keys_and_tensors() {
    let gguf = parse(&GgufBuilder::default());
    assert_eq!((gguf.metadata().len(), gguf.tensors().len()), (0, 0));
}

#[test]
fn every_tensor_type_has_the_size_its_table_says() {
    for ty in GgmlType::all() {
        let data: Vec<u8> = (0..6 * ty.block_bytes()).map(|i| i as u8).collect();
        let shape = [2 * ty.block_size(), 3];
        let gguf = parse(&GgufBuilder::default().tensor("t", ty, &shape, &data).tensor_f32("u", &[1], &[2.0]));
        let tensor = gguf.tensor("t").unwrap();
        assert_eq!((tensor.ty, &tensor.shape[..], &tensor.data[..]), (ty, &shape[..], &data[..]));
        assert_eq!(gguf.tensor("u").unwrap().data[..], 2.0f32.to_le_bytes());
        assert_eq!(GgmlType::from_id(ty as u32), Ok(ty));
    }
}

#[test]
fn the_alignment_key_moves_the_data() {
    for alignment in [1, 8, 64, 4096, 1 << 20] {
        let mut builder = GgufBuilder { alignment, ..Default::default() }.u32("general.alignment", alignment as u32);
        builder = builder.tensor_f32("a", &[1], &[1.0]).tensor_f32("b", &[1], &[2.0]);
        let gguf = parse(&builder);
        assert_eq!(gguf.alignment() as usize, alignment);
        assert_eq!(gguf.tensor("a").unwrap().data[..], 1.0f32.to_le_bytes());
        assert_eq!(gguf.tensor("b").unwrap().data[..], 2.0f32.to_le_bytes());
    }
}

#[test]
fn tensors_may_lie_in_any_order_with_gaps() {
    let builder = GgufBuilder::default()
        .tensor_f32("a", &[1], &[1.0])
        .edit(|t| t.offset = Some(96))
        .tensor_f32("b", &[1], &[2.0])
        .tensor_f32("c", &[1], &[3.0])
        .edit(|t| t.offset = Some(0))
        .tensor_f32("d", &[1], &[4.0])
        .edit(|t| t.offset = Some(64));
    // The data lies at 0, 32, 64, 96 in the order of the values.
    let gguf = parse(&builder);
    let value = |name| f32::from_le_bytes(gguf.tensor(name).unwrap().data[..].try_into().unwrap());
    assert_eq!(["a", "b", "c", "d"].map(value), [4.0, 2.0, 1.0, 3.0]);
}

#[test]
fn integers_convert_when_they_fit() {
    let gguf = parse(
        &GgufBuilder::default()
            .kv("u8", id::U8, &[200])
            .kv("i8", id::I8, &[0xff])
            .kv("u16", id::U16, &[1, 1])
            .kv("i16", id::I16, &[0xff, 0xff])
            .kv("i32", id::I32, &7i32.to_le_bytes())
            .kv("u64", id::U64, &u64::MAX.to_le_bytes())
            .kv("i64", id::I64, &5i64.to_le_bytes())
            .kv("f64", id::F64, &0.5f64.to_le_bytes())
            .kv("huge", id::F64, &1e300f64.to_le_bytes())
            .kv("inf", id::F64, &f64::INFINITY.to_le_bytes()),
    );
    assert_eq!(gguf.u32("u8"), Ok(Some(200)));
    assert_eq!(gguf.u32("u16"), Ok(Some(257)));
    assert_eq!(gguf.u32("i32"), Ok(Some(7)));
    assert_eq!(gguf.u32("i64"), Ok(Some(5)));
    assert_eq!(gguf.u64("u64"), Ok(Some(u64::MAX)));
    assert_eq!(gguf.optional::<i32>("i8"), Ok(Some(-1)));
    assert_eq!(gguf.optional::<i32>("i16"), Ok(Some(-1)));
    assert_eq!(gguf.f32("f64"), Ok(Some(0.5)));
    assert_eq!(gguf.f32("inf"), Ok(Some(f32::INFINITY)));
    assert_eq!(gguf.u32("absent"), Ok(None));
    let message = |result: Result<Option<u32>, Error>| result.unwrap_err().to_string();
    assert_eq!(message(gguf.u32("i8")), "m.gguf: key i8: expected u32, found i8 -1");
    assert_eq!(message(gguf.u32("u64")), "m.gguf: key u64: expected u32, found u64 18446744073709551615");
    assert_eq!(gguf.f32("huge").unwrap_err().to_string(), "m.gguf: key huge: expected f32, found f64 1e300");
}

/// Reads values as wrong types. Key, the error of reading it as each type, after `m.gguf: key KEY: `.
#[test]
fn wrong_types_are_named() {
    let long = "x".repeat(100);
    let gguf = parse(
        &GgufBuilder::default()
            .u32("int", 3)
            .f32("float", 1.5)
            .bool("flag", true)
            .str("text", "line\nbreak")
            .str("long", &long)
            .kv("bytes", id::STRING, &string([b'a', 0xff]))
            .i32s("ints", &[1, -2, 3, 4, 5])
            .f32s("floats", &[0.5, 1e-5])
            .strings("texts", &[&b"ok"[..], &b"\xc3("[..]])
            .kv("flags", id::ARRAY, &array(id::BOOL, 2, &[1, 0]))
            .kv("none", id::ARRAY, &array(id::F64, 0, &[])),
    );
    fn problem<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
        result.unwrap_err().to_string().strip_prefix("m.gguf: key ").unwrap().to_string()
    }
    let cases = [
        (problem(gguf.u32("float")), "float: expected u32, found f32 1.5"),
        (problem(gguf.u64("flag")), "flag: expected u64, found bool true"),
        (problem(gguf.f32("int")), "int: expected f32, found u32 3"),
        (problem(gguf.bool("int")), "int: expected bool, found u32 3"),
        (problem(gguf.str("int")), "int: expected string, found u32 3"),
        (problem(gguf.u32("text")), r#"text: expected u32, found string "line\nbreak""#),
        (problem(gguf.u32("long")), &format!("long: expected u32, found string \"{}...\"", "x".repeat(80))),
        (problem(gguf.u32("ints")), "ints: expected u32, found array of 5 i32 [1, -2, 3, 4, ...]"),
        (problem(gguf.u32("floats")), "floats: expected u32, found array of 2 f32 [0.5, 1e-5]"),
        (problem(gguf.optional::<Vec<u32>>("int")), "int: expected array of u32, found u32 3"),
        (problem(gguf.optional::<Vec<u32>>("ints")), "ints: expected array of u32, element 1 is i32 -2"),
        (problem(gguf.optional::<Vec<f32>>("ints")), "ints: expected array of f32, element 0 is i32 1"),
        (problem(gguf.optional::<Vec<bool>>("floats")), "floats: expected array of bool, element 0 is f32 0.5"),
        (problem(gguf.strings("text")), r#"text: expected array of string, found string "line\nbreak""#),
        (problem(gguf.strings("flags")), "flags: expected array of string, found array of 2 bool [true, false]"),
        (
            problem(gguf.strings("texts")),
            "texts: expected UTF-8 text, element 1: invalid utf-8 sequence of 1 bytes from index 0",
        ),
        (problem(gguf.str("bytes")), "bytes: expected UTF-8 text: invalid utf-8 sequence of 1 bytes from index 1"),
        (problem(gguf.required::<u32>("absent")), "absent: is missing"),
    ];
    for (found, expected) in cases {
        assert_eq!(found, expected);
    }
    assert_eq!(gguf.optional::<Vec<bool>>("flags"), Ok(Some(vec![true, false])));
    assert_eq!(gguf.strings("none"), Ok(Some(vec![])));
    assert_eq!(gguf.get("bytes"), Some(&Value::String(Bytes::from_static(b"a\xff"))));
}

#[test]
fn other_modules_make_errors_of_the_same_look() {
    let gguf = parse(&GgufBuilder::default());
    assert_eq!(gguf.error("too big").to_string(), "m.gguf: too big");
    assert_eq!(gguf.key_error("a.b", "is 0").to_string(), "m.gguf: key a.b: is 0");
    assert_eq!(gguf.tensor_error("t", "two\nlines").to_string(), r"m.gguf: tensor t: two\nlines");
}

/// An owned value of the round trip; `Value` itself borrows from the file.
#[derive(Debug, Clone, PartialEq)]
enum Plain {
    Scalar(Value),
    Text(Vec<u8>),
    Array(ValueType, Vec<Plain>),
}

impl Plain {
    fn of(value: &Value) -> Plain {
        match value {
            Value::String(bytes) => Plain::Text(bytes.to_vec()),
            Value::Array(array) => Plain::Array(array.element(), array.iter().map(|v| Plain::of(&v)).collect()),
            scalar => Plain::Scalar(scalar.clone()),
        }
    }

    /// Value type and bytes in the file.
    fn encode(&self) -> (u32, Vec<u8>) {
        match self {
            Plain::Text(bytes) => (id::STRING, string(bytes)),
            Plain::Array(element, values) => {
                let elements: Vec<u8> = values.iter().flat_map(|v| v.encode().1).collect();
                (id::ARRAY, array(*element as u32, values.len() as u64, &elements))
            }
            Plain::Scalar(value) => match *value {
                Value::U8(v) => (id::U8, v.to_le_bytes().to_vec()),
                Value::I8(v) => (id::I8, v.to_le_bytes().to_vec()),
                Value::U16(v) => (id::U16, v.to_le_bytes().to_vec()),
                Value::I16(v) => (id::I16, v.to_le_bytes().to_vec()),
                Value::U32(v) => (id::U32, v.to_le_bytes().to_vec()),
                Value::I32(v) => (id::I32, v.to_le_bytes().to_vec()),
                Value::U64(v) => (id::U64, v.to_le_bytes().to_vec()),
                Value::I64(v) => (id::I64, v.to_le_bytes().to_vec()),
                Value::F32(v) => (id::F32, v.to_le_bytes().to_vec()),
                Value::F64(v) => (id::F64, v.to_le_bytes().to_vec()),
                Value::Bool(v) => (id::BOOL, vec![v.into()]),
                Value::String(_) | Value::Array(_) => unreachable!("has its own variant"),
            },
        }
    }
}

fn scalar_of(ty: ValueType) -> BoxedStrategy<Plain> {
    match ty {
        ValueType::U8 => any::<u8>().prop_map(Value::U8).boxed(),
        ValueType::I8 => any::<i8>().prop_map(Value::I8).boxed(),
        ValueType::U16 => any::<u16>().prop_map(Value::U16).boxed(),
        ValueType::I16 => any::<i16>().prop_map(Value::I16).boxed(),
        ValueType::U32 => any::<u32>().prop_map(Value::U32).boxed(),
        ValueType::I32 => any::<i32>().prop_map(Value::I32).boxed(),
        ValueType::U64 => any::<u64>().prop_map(Value::U64).boxed(),
        ValueType::I64 => any::<i64>().prop_map(Value::I64).boxed(),
        ValueType::F32 => any::<f32>().prop_map(Value::F32).boxed(),
        ValueType::F64 => any::<f64>().prop_map(Value::F64).boxed(),
        ValueType::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        ValueType::String | ValueType::Array => {
            return prop::collection::vec(any::<u8>(), 0..40).prop_map(Plain::Text).boxed();
        }
    }
    .prop_map(Plain::Scalar)
    .boxed()
}

/// Any type that an array may hold.
fn element_type() -> impl Strategy<Value = ValueType> {
    use ValueType::*;
    prop::sample::select(vec![U8, I8, U16, I16, U32, I32, U64, I64, F32, F64, Bool, String])
}

fn plain() -> impl Strategy<Value = Plain> {
    prop_oneof![
        element_type().prop_flat_map(scalar_of),
        element_type().prop_flat_map(|ty| {
            prop::collection::vec(scalar_of(ty), 0..20).prop_map(move |values| Plain::Array(ty, values))
        }),
    ]
}

proptest! {
    #[test]
    fn metadata_comes_back_as_written(entries in prop::collection::btree_map("[a-z.é\n]{1,20}", plain(), 0..12)) {
        let mut builder = GgufBuilder::default();
        for (key, value) in &entries {
            let (ty, bytes) = value.encode();
            builder = builder.kv(key, ty, &bytes);
        }
        let gguf = parse(&builder);
        let found: Vec<(String, Plain)> = gguf.metadata().map(|(k, v)| (k.to_string(), Plain::of(v))).collect();
        let expected: Vec<(String, Plain)> = entries.into_iter().collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn tensors_come_back_as_written(
        sizes in prop::collection::vec((1u64..40, 1u64..5), 1..8),
        alignment in prop::sample::select(vec![1usize, 16, 32, 128]),
    ) {
        let mut builder = GgufBuilder { alignment, ..Default::default() }.u32("general.alignment", alignment as u32);
        for (i, &(columns, rows)) in sizes.iter().enumerate() {
            let data: Vec<u8> = (0..columns * rows).map(|b| (b * 7 + i as u64) as u8).collect();
            builder = builder.tensor(&format!("t{i}"), GgmlType::I8, &[columns, rows], &data);
        }
        let gguf = parse(&builder);
        prop_assert_eq!(gguf.tensors().len(), builder.tensors.len());
        for (found, written) in gguf.tensors().iter().zip(&builder.tensors) {
            prop_assert_eq!(found.name.as_bytes(), &written.name[..]);
            prop_assert_eq!(&found.shape, &written.shape);
            prop_assert_eq!(&found.data[..], &written.data[..]);
            prop_assert_eq!(found.offset % alignment as u64, 0);
        }
    }
}
