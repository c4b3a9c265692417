//! Files with Q, K and V of a layer in one tensor, `attn_qkv`: the rows of Q, then those of K, then those of V.

use super::planner::is_shape;
use super::{Catalog, Config, Error};
use crate::gguf::Gguf;
use std::collections::BTreeMap;
use std::ops::Range;

/// Consecutive rows of a tensor.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Slice {
    pub tensor: String,
    /// Their bytes in the data of the tensor.
    pub bytes: Range<usize>,
}

/// Replaces `attn_qkv.weight` and `attn_qkv.bias` of each layer by `attn_q`, `attn_k` and `attn_v` in the catalog, and
/// returns their rows. A bias without a weight stays in the catalog: the plan refuses it.
///
/// Errors: the shape is not (q + 2 kv rows, n_embd); the file has `attn_q`, `attn_k` or `attn_v` too.
pub(super) fn split(gguf: &Gguf, config: &Config, catalog: &mut Catalog) -> Result<BTreeMap<String, Slice>, Error> {
    let [q, kv] = [config.n_heads, config.n_kv_heads].map(|heads| (heads * config.head_dim) as u64);
    let parts = [("attn_q", 0..q), ("attn_k", q..q + kv), ("attn_v", q + kv..q + 2 * kv)];
    let mut slices = BTreeMap::new();
    for layer in 0..config.n_layers {
        let fused = |ending: &str| format!("blk.{layer}.attn_qkv.{ending}");
        if !catalog.contains_key(&fused("weight")) {
            continue;
        }
        for (ending, row) in [("weight", &[config.n_embd as u64][..]), ("bias", &[])] {
            let name = fused(ending);
            let Some((ty, shape)) = catalog.remove(&name) else { continue };
            let shape_of = |rows: u64| [row, &[rows]].concat();
            let expected = shape_of(q + 2 * kv);
            if !is_shape(&shape, &expected) {
                let what = format!("shape {expected:?} expected from the metadata, {shape:?} found");
                return Err(gguf.tensor_error(&name, what).into());
            }
            let row_elements: u64 = row.iter().product();
            // The start of a row in the data, if a block begins there.
            let offset = |row: u64| {
                let elements = row * row_elements;
                let blocks = elements / ty.block_size();
                elements.is_multiple_of(ty.block_size()).then_some((blocks * ty.block_bytes()) as usize)
            };
            for (part, rows) in &parts {
                let part = format!("blk.{layer}.{part}.{ending}");
                let (Some(start), Some(end)) = (offset(rows.start), offset(rows.end)) else {
                    let what = format!("type {}: a block has elements of two of Q, K and V", ty.name());
                    return Err(gguf.tensor_error(&name, what).into());
                };
                if catalog.insert(part.clone(), (ty, shape_of(rows.end - rows.start))).is_some() {
                    return Err(gguf.tensor_error(&part, format!("has no place beside {name}")).into());
                }
                slices.insert(part, Slice { tensor: name.clone(), bytes: start..end });
            }
        }
    }
    Ok(slices)
}
