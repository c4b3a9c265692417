//! Tensor infos and the positions of their data.

use std::collections::HashMap;

use bytes::Bytes;

use super::error::{Error, Subject, excerpt};
use super::read::Reader;
use super::types::GgmlType;

/// Limit of a tensor name in bytes: GGML stores 64, and the last one is zero.
const MAX_NAME_BYTES: u64 = 63;
/// GGML tensors have at most four dimensions.
const MAX_DIMS: u32 = 4;

/// A tensor of the file. Its data is a view of the file, not a copy, and may be unaligned in memory.
#[derive(Debug, Clone)]
pub struct Tensor {
    /// The name of the tensor.
    pub name: String,
    /// The type of its blocks.
    pub ty: GgmlType,
    /// 1 to 4 dimensions, all positive, the contiguous one first: a matrix (rows, columns) is `[columns, rows]`.
    pub shape: Vec<u64>,
    /// `n_elements / ty.block_size() * ty.block_bytes()` bytes.
    pub data: Bytes,
    /// The index in [`Gguf::files`](super::Gguf::files) of the part that has it.
    pub part: usize,
    /// The start of the data, in bytes from the start of that file.
    pub offset: u64,
}

impl Tensor {
    /// The product of the dimensions.
    pub fn n_elements(&self) -> u64 {
        self.shape.iter().product() // cannot overflow: checked when the file was parsed
    }
}

/// The tensor info in the file, before the data is located.
struct Info<'a> {
    name: &'a str,
    ty: GgmlType,
    shape: Vec<u64>,
    /// Size of the data in bytes.
    size: u64,
    /// Start of the data, in bytes from the start of the data section.
    offset: u64,
}

/// All tensors in the order of the file, and the index of each name.
pub(super) struct Tensors {
    pub(super) tensors: Vec<Tensor>,
    pub(super) index: HashMap<String, usize>,
}

/// Reads `n_tensors` tensor infos at `reader` and finds the data of each in `bytes`, the whole file.
pub(super) fn tensors(
    file: &str,
    bytes: &Bytes,
    reader: &mut Reader,
    n_tensors: u64,
    alignment: u32,
) -> Result<Tensors, Error> {
    let mut infos = Vec::new();
    let mut index = HashMap::new();
    for i in 0..n_tensors {
        let name = reader
            .name("its name", MAX_NAME_BYTES)
            .map_err(|problem| Subject::File.error(file, format_args!("tensor {} of {n_tensors}: {problem}", i + 1)))?;
        let at_tensor = |problem| Subject::Tensor(name).error(file, problem);
        let info = info(name, reader, alignment).map_err(at_tensor)?;
        if index.insert(name.to_string(), infos.len()).is_some() {
            return Err(at_tensor("appears twice".to_string()));
        }
        infos.push(info);
    }

    // The file is mapped, so its length is below 2^63 and this cannot overflow.
    let data_start = reader.pos().next_multiple_of(alignment.into());
    let mut tensors = Vec::with_capacity(infos.len());
    for info in infos {
        let Some((start, end)) = absolute(data_start, &info) else {
            let problem = format!("offset {} and size {} overflow", info.offset, info.size);
            return Err(Subject::Tensor(info.name).error(file, problem));
        };
        if end > bytes.len() as u64 {
            let (len, name) = (bytes.len(), excerpt(info.name));
            let problem = format!("ends at byte {len}, tensor {name} needs bytes {start}..{end} (truncated download?)");
            return Err(Subject::File.error(file, problem));
        }
        tensors.push(Tensor {
            name: info.name.to_string(),
            ty: info.ty,
            shape: info.shape,
            data: bytes.slice(start as usize..end as usize), // end <= len, which is a usize
            part: 0,
            offset: start,
        });
    }
    refuse_overlap(file, &tensors)?;
    Ok(Tensors { tensors, index })
}

/// The start and end of the data of `info`, in bytes from the start of the file; None on overflow.
fn absolute(data_start: u64, info: &Info) -> Option<(u64, u64)> {
    let start = data_start.checked_add(info.offset)?;
    Some((start, start.checked_add(info.size)?))
}

/// Reads the number of dimensions, the dimensions, the type and the offset.
fn info<'a>(name: &'a str, reader: &mut Reader, alignment: u32) -> Result<Info<'a>, String> {
    let n_dims = reader.u32()?;
    if !(1..=MAX_DIMS).contains(&n_dims) {
        return Err(format!("{n_dims} dimensions, expected 1 to {MAX_DIMS}"));
    }
    let shape = (0..n_dims).map(|_| reader.u64()).collect::<Result<Vec<u64>, String>>()?;
    if shape.contains(&0) {
        return Err(format!("shape {shape:?} has a zero dimension"));
    }
    let ty = GgmlType::from_id(reader.u32()?)?;
    if shape[0] % ty.block_size() != 0 {
        return Err(format!("shape {shape:?}: {ty} needs a first dimension that is a multiple of {}", ty.block_size()));
    }
    let size = shape
        .iter()
        .try_fold(1u64, |product, &dim| product.checked_mul(dim))
        .and_then(|n_elements| (n_elements / ty.block_size()).checked_mul(ty.block_bytes()))
        .ok_or_else(|| format!("the size of shape {shape:?} in {ty} overflows 64 bits"))?;
    let offset = reader.u64()?;
    if offset % u64::from(alignment) != 0 {
        return Err(format!("offset {offset} is not a multiple of the alignment {alignment}"));
    }
    Ok(Info { name, ty, shape, size, offset })
}

fn refuse_overlap(file: &str, tensors: &[Tensor]) -> Result<(), Error> {
    let mut by_offset: Vec<&Tensor> = tensors.iter().collect();
    by_offset.sort_by_key(|tensor| tensor.offset);
    for pair in by_offset.windows(2) {
        let (before, tensor) = (pair[0], pair[1]);
        let end = before.offset + before.data.len() as u64;
        if end > tensor.offset {
            let problem = format!(
                "begins at byte {}, inside tensor {} at bytes {}..{end}",
                tensor.offset,
                excerpt(&before.name),
                before.offset
            );
            return Err(Subject::Tensor(&tensor.name).error(file, problem));
        }
    }
    Ok(())
}
