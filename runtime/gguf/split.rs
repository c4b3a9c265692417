//! Models split over several files: `NAME-00001-of-00004.gguf` and so on, in one folder.
//!
//! Each part is a GGUF file, with keys for its number and the number of parts. The first part has the metadata of the
//! model.

use std::path::{Path, PathBuf};

use super::Gguf;
use super::error::{Error, Subject, excerpt};

/// Key of the number of a part, counted from 0.
const NO: &str = "split.no";
/// Key of the number of parts.
const COUNT: &str = "split.count";
/// Key of the number of tensors in all parts together.
const TENSORS: &str = "split.tensors.count";
/// Maximum number of parts. The largest Llama (1138 tensors) has fewer, even with one tensor per part.
const MAX_PARTS: u32 = 4096;

/// The paths of all parts of the model whose first part is `first`, opened at `path`; only `path` if the model is not
/// split.
///
/// Errors: `first` is not the first part, or not named like one.
pub(super) fn paths(first: &Gguf, path: &Path) -> Result<Vec<PathBuf>, Error> {
    let count = first.u32(COUNT)?.unwrap_or(1).max(1);
    if count > MAX_PARTS {
        return Err(first.key_error(COUNT, format_args!("{count}, expected at most {MAX_PARTS} parts")));
    }
    let no = first.u32(NO)?.unwrap_or(0);
    if no >= count {
        return Err(first.key_error(NO, format_args!("{no}, expected less than the {count} of {COUNT}")));
    }
    if count == 1 {
        return Ok(vec![path.to_path_buf()]);
    }
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some(stem) = name.strip_suffix(&suffix(no, count)) else {
        let expected = suffix(no, count);
        let problem =
            format_args!("{count}: the name of part {} must end in {expected}, as the other parts' do", no + 1);
        return Err(first.key_error(COUNT, problem));
    };
    let path_of = |no| path.with_file_name(stem.to_string() + &suffix(no, count));
    if no > 0 {
        let problem = format!("this is part {} of {count}: open the first, {}", no + 1, path_of(0).display());
        return Err(first.key_error(NO, problem));
    }
    Ok((0..count).map(path_of).collect())
}

/// The end of the name of part `no`.
fn suffix(no: u32, count: u32) -> String {
    format!("-{:05}-of-{count:05}.gguf", no + 1)
}

/// Joins the parts of a model, which are in order: the metadata of the first part and the tensors of all parts.
///
/// Errors, which name the part: its number or the number of parts is wrong; a tensor is in two parts; the number of
/// tensors is not the declared one.
pub(super) fn merge(mut parts: Vec<Gguf>) -> Result<Gguf, Error> {
    let count = parts.len();
    if count > 1 {
        for (no, part) in parts.iter().enumerate() {
            expect(part, NO, no as u64)?;
            expect(part, COUNT, count as u64)?;
        }
    }
    let n_tensors: u64 = parts.iter().map(|part| part.tensors.len() as u64).sum();
    for part in parts.iter().filter(|part| part.get(TENSORS).is_some()) {
        expect(part, TENSORS, n_tensors)?;
    }
    let rest = parts.split_off(1);
    let mut model = parts.remove(0);
    for (no, part) in (1..).zip(rest) {
        for mut tensor in part.tensors {
            tensor.part = no;
            if let Some(&before) = model.tensor_index.get(&tensor.name) {
                let file = &model.files[model.tensors[before].part];
                let problem = format!("is in {} too", excerpt(file));
                return Err(Subject::Tensor(&tensor.name).error(&part.files[0], problem));
            }
            model.tensor_index.insert(tensor.name.clone(), model.tensors.len());
            model.tensors.push(tensor);
        }
        model.files.extend(part.files);
        model.bytes.extend(part.bytes);
        model.watch.0.extend(part.watch.0);
    }
    Ok(model)
}

fn expect(part: &Gguf, key: &str, expected: u64) -> Result<(), Error> {
    match part.required::<u64>(key)? {
        found if found == expected => Ok(()),
        found => Err(part.key_error(key, format_args!("{found}, expected {expected}"))),
    }
}
