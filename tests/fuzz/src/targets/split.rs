//! A model in parts. The input chooses the keys, the name and the bytes of each part, right or wrong.

use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use pronk::gguf::Gguf;

use super::check_error;
use crate::common::gguf_builder::GgufBuilder;

pub fn run(data: &[u8]) {
    // Input that ends early reads as zeros: never an error.
    let _ = parse(&mut Unstructured::new(data));
}

fn parse(u: &mut Unstructured) -> Result<()> {
    let count: u32 = u.int_in_range(1..=4)?;
    let mut files = vec![];
    for no in 0..count {
        if u.ratio(1, 16)? {
            continue; // a missing part
        }
        let name = match u.ratio(1, 16)? {
            // A path comes from the user, and is shown in full at any length.
            true => u.arbitrary::<String>()?.chars().take(100).collect(),
            false => format!("dir/m-{:05}-of-{:05}.gguf", wrong(u, no + 1)?, wrong(u, count)?),
        };
        files.push((name, Bytes::from(part(u, no, count)?)));
    }
    if files.is_empty() {
        return Ok(());
    }
    match Gguf::parse_split(files.clone()) {
        Ok(gguf) => {
            assert!(gguf.files().iter().eq(files.iter().map(|(name, _)| name)), "every part, in order");
            for tensor in gguf.tensors() {
                assert_eq!(gguf.tensor(&tensor.name).map(|found| found.offset), Some(tensor.offset));
                let blocks = tensor.n_elements() / tensor.ty.block_size();
                assert_eq!(tensor.data.len() as u64, blocks * tensor.ty.block_bytes());
                check_error(gguf.tensor_error(&tensor.name, "is named"));
            }
        }
        Err(e) => check_error(e),
    }
    Ok(())
}

/// The number, or sometimes another one.
fn wrong(u: &mut Unstructured, number: u32) -> Result<u32> {
    Ok(if u.ratio(1, 24)? { u.arbitrary()? } else { number })
}

fn part_tensors(no: u32) -> u32 {
    1 + no % 2
}

/// Part `no`: one or two tensors, and keys that are mostly true.
fn part(u: &mut Unstructured, no: u32, count: u32) -> Result<Vec<u8>> {
    let mut file = GgufBuilder::default();
    let all: u32 = (0..count).map(part_tensors).sum();
    for (key, number) in [("split.no", no), ("split.count", count), ("split.tensors.count", all)] {
        if u.ratio(1, 24)? {
            continue;
        }
        let number = wrong(u, number)?;
        file = match u.ratio(1, 24)? {
            true => file.str(key, &number.to_string()),
            false => file.u32(key, number),
        };
    }
    for i in 0..part_tensors(no) {
        let name = if u.ratio(1, 24)? { "twice".to_string() } else { format!("{no}.{i}") };
        file = file.tensor_f32(&name, &[2], &[1.0, 2.0]);
    }
    let mut bytes = file.build();
    if u.ratio(1, 16)? {
        bytes.truncate(u.int_in_range(0..=bytes.len())?);
    }
    if u.ratio(1, 16)? && !bytes.is_empty() {
        let at = u.choose_index(bytes.len())?;
        bytes[at] = u.arbitrary()?;
    }
    Ok(bytes)
}
