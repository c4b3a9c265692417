//! Models split over several files: opened as one, or refused with one line that names the wrong file.

use crate::common;
use crate::common::gguf_builder::{GgufBuilder, id};
use crate::common::program::run;
use bytes::Bytes;
use pronk::backend::DeviceChoice;
use pronk::generate::{LoadOptions, Outputs, load};
use pronk::gguf::Gguf;
use pronk::plan::KvType;
use std::fs;
use std::path::Path;

/// A model of four tensors in three parts of two, one and one tensors.
fn parts() -> Vec<GgufBuilder> {
    let whole =
        ["a", "b", "c", "d"].into_iter().fold(GgufBuilder::default().str("general.name", "whole"), |b, name| {
            b.tensor_f32(name, &[2], &[name.as_bytes()[0].into(), 0.5])
        });
    let mut parts = whole.split(2);
    let last = parts[1].tensors.pop().expect("a tensor");
    parts.push(GgufBuilder { tensors: vec![last], ..parts[1].clone() });
    for (no, part) in parts.iter_mut().enumerate() {
        *part = replaced(replaced(part.clone(), "split.no", no as u16), "split.count", 3);
    }
    parts
}

fn replaced(part: GgufBuilder, key: &str, value: u16) -> GgufBuilder {
    part.without(key).kv(key, id::U16, &value.to_le_bytes())
}

fn named(parts: &[GgufBuilder]) -> Vec<(String, Bytes)> {
    let name = |i: usize| format!("m-{:05}-of-{:05}.gguf", i + 1, parts.len());
    parts.iter().enumerate().map(|(i, part)| (name(i), part.build().into())).collect()
}

#[test]
fn all_parts_are_one_model() {
    let gguf = Gguf::parse_split(named(&parts())).expect("three parts");
    assert_eq!(gguf.name(), "m-00001-of-00003.gguf");
    assert_eq!(gguf.files(), ["m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"]);
    assert_eq!(gguf.str("general.name"), Ok(Some("whole")));
    let tensors: Vec<(&str, usize, f32)> = gguf
        .tensors()
        .iter()
        .map(|t| (t.name.as_str(), t.part, f32::from_le_bytes(*t.data.first_chunk().expect("8 bytes"))))
        .collect();
    assert_eq!(tensors, [("a", 0, 97.0), ("b", 0, 98.0), ("c", 1, 99.0), ("d", 2, 100.0)]);
    assert_eq!(gguf.tensor_error("d", "is odd").to_string(), "m-00003-of-00003.gguf: tensor d: is odd");
    assert_eq!(gguf.tensor_error("e", "is missing").to_string(), "m-00001-of-00003.gguf: tensor e: is missing");
}

#[test]
fn a_first_part_may_have_no_tensors() {
    let mut parts = parts();
    let moved: Vec<_> = parts[0].tensors.drain(..).collect();
    parts[2].tensors.extend(moved);
    let gguf = Gguf::parse_split(named(&parts)).expect("three parts");
    assert_eq!(gguf.tensor("a").map(|t| t.part), Some(2));
}

/// A change of the parts, and the line that refuses them.
type Case = (fn(&mut Vec<(String, Bytes)>, Vec<GgufBuilder>), &'static str);

#[test]
fn wrong_parts_are_refused() {
    let cases: [Case; 14] = [
        (|files, _| files.truncate(2), "m-00003-of-00003.gguf: is missing"),
        (|files, _| drop(files.remove(1)), "m-00002-of-00003.gguf: is missing"),
        (
            |files, _| files.rotate_left(1),
            "m-00002-of-00003.gguf: key split.no: this is part 2 of 3: open the first, m-00001-of-00003.gguf",
        ),
        (
            |files, _| files[0].0 = "m.gguf".into(),
            "m.gguf: key split.count: 3: the name of part 1 must end in -00001-of-00003.gguf, as the other parts' do",
        ),
        (
            |files, _| files[0].0 = "m-00001-of-00004.gguf".into(),
            "m-00001-of-00004.gguf: key split.count: 3: the name of part 1 must end in -00001-of-00003.gguf, as the other \
             parts' do",
        ),
        (|files, _| files[2].0 = "m-3-of-3.gguf".into(), "m-00003-of-00003.gguf: is missing"),
        (
            |files, parts| files[1].1 = replaced(parts[1].clone(), "split.no", 2).build().into(),
            "m-00002-of-00003.gguf: key split.no: 2, expected 1",
        ),
        (
            |files, parts| files[1].1 = replaced(parts[1].clone(), "split.count", 4).build().into(),
            "m-00002-of-00003.gguf: key split.count: 4, expected 3",
        ),
        (
            |files, parts| files[1].1 = parts[1].clone().without("split.no").build().into(),
            "m-00002-of-00003.gguf: key split.no: is missing",
        ),
        (
            |files, parts| files[0].1 = replaced(parts[0].clone(), "split.tensors.count", 5).build().into(),
            "m-00001-of-00003.gguf: key split.tensors.count: 5, expected 4",
        ),
        (
            |files, parts| {
                let twice = parts[2].tensors[0].clone();
                let (name, data) = (String::from_utf8(twice.name).expect("UTF-8"), twice.data);
                let other = GgufBuilder { tensors: vec![], ..parts[1].clone() };
                files[1].1 = other.tensor(&name, pronk::gguf::GgmlType::F32, &[2], &data).build().into();
            },
            "m-00003-of-00003.gguf: tensor d: is in m-00002-of-00003.gguf too",
        ),
        (
            |files, parts| files[0].1 = replaced(parts[0].clone(), "split.count", 4097).build().into(),
            "m-00001-of-00003.gguf: key split.count: 4097, expected at most 4096 parts",
        ),
        (
            |files, parts| files[0].1 = replaced(parts[0].clone(), "split.no", 3).build().into(),
            "m-00001-of-00003.gguf: key split.no: 3, expected less than the 3 of split.count",
        ),
        (
            |files, _| files[2].1 = files[2].1.slice(..40),
            "m-00003-of-00003.gguf: tensor count 1, the 16 bytes after the header hold at most 0",
        ),
    ];
    for (i, (change, expected)) in cases.into_iter().enumerate() {
        let mut files = named(&parts());
        change(&mut files, parts());
        assert_eq!(Gguf::parse_split(files).unwrap_err().to_string(), expected, "case {i}");
    }
}

#[test]
fn parts_are_found_beside_the_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |no: usize| folder.path().join(format!("m-{no:05}-of-00003.gguf"));
    for (no, part) in (1..).zip(parts()) {
        fs::write(path(no), part.build()).expect("a writable folder");
    }
    assert_eq!(Gguf::open(&path(1)).expect("three parts").tensors().len(), 4);
    let shown = run(&["info", "-m", &path(1).display().to_string(), "--tensors"]).stdout;
    assert!(shown.contains("in 3 parts") && shown.contains("part 3"), "{shown}");
    let refused = |path: &Path| Gguf::open(path).unwrap_err().to_string();
    let what = format!("key split.no: this is part 2 of 3: open the first, {}", path(1).display());
    assert_eq!(refused(&path(2)), format!("{}: {what}", path(2).display()));
    fs::remove_file(path(3)).expect("a part");
    let missing = "cannot read: No such file or directory (os error 2)";
    assert_eq!(refused(&path(1)), format!("{}: {missing}", path(3).display()));
}

#[test]
fn one_part_of_one_is_a_whole_file() {
    let whole = GgufBuilder::default().tensor_f32("t", &[1], &[1.0]);
    let file = whole.split(1).remove(0);
    assert_eq!(Gguf::parse("m.gguf", file.build().into()).expect("a whole file").tensors().len(), 1);
    let file = replaced(file, "split.tensors.count", 2).build();
    let refused = Gguf::parse("m.gguf", file.into()).unwrap_err().to_string();
    assert_eq!(refused, "m.gguf: key split.tensors.count: 2, expected 1");
}

#[test]
fn a_split_model_has_the_logits_of_the_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = common::data("models/tiny-llama3.q4_0.gguf");
    let parts = GgufBuilder::of(&Gguf::open(&whole).expect("the model")).split(4);
    let path = |no: usize| folder.path().join(format!("tiny-{no:05}-of-00004.gguf"));
    for (no, part) in (1..).zip(&parts) {
        fs::write(path(no), part.build()).expect("a writable folder");
    }
    let logits = |path: &Path| {
        let options =
            LoadOptions { device: DeviceChoice::CPU, n_ctx: Some(8), kv: KvType::F32, ..LoadOptions::default() };
        let mut session = load(path, &options, &mut |_| {}).unwrap_or_else(|e| panic!("{e}")).session;
        session.feed(&[405, 42, 89], Outputs::Last, |_, _| true).expect("a prompt");
        let mut logits = vec![];
        session.logits(&mut logits).expect("logits");
        logits
    };
    assert_eq!(logits(&path(1)), logits(&whole));
}
