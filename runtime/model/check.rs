//! Checks that all values of a file are finite.

use crate::gguf::{self, Gguf};
use crate::quant;
use rayon::prelude::*;

/// Number of elements that [`check_tensors`] decodes at once: a multiple of every block size.
const CHECKED_AT_ONCE: usize = 4096;

/// Refuses a file with a value that is not finite. The error names the tensor and the position. Types without a decoder
/// are skipped: the device refuses them.
pub fn check_tensors(gguf: &Gguf) -> Result<(), gguf::Error> {
    gguf.tensors().par_iter().try_for_each(|tensor| {
        let Some(format) = quant::format(tensor.ty) else {
            return Ok(());
        };
        let (block, block_bytes) = (tensor.ty.block_size() as usize, tensor.ty.block_bytes() as usize);
        let mut values = [0.0; CHECKED_AT_ONCE];
        for (piece, blocks) in tensor.data.chunks(CHECKED_AT_ONCE / block * block_bytes).enumerate() {
            let values = &mut values[..blocks.len() / block_bytes * block];
            (format.decode)(blocks, values);
            if let Some((i, v)) = values.iter().enumerate().find(|(_, v)| !v.is_finite()) {
                let at = (piece * CHECKED_AT_ONCE + i) as u64;
                let (row, column) = (at / tensor.shape[0], at % tensor.shape[0]);
                let what = format!("row {row}, column {column}: {v}, expected a finite number");
                return Err(gguf.tensor_error(&tensor.name, what));
            }
        }
        Ok(())
    })
}
