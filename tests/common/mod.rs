//! Shared by the tests.
#![allow(dead_code)]

pub mod program;

use std::path::{Path, PathBuf};

/// A file under `tests/data`.
pub fn data(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path)
}

/// The f32 values of a little-endian .npy file and its last dimension.
pub fn npy(path: &Path) -> (Vec<f32>, usize) {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file = npyz::NpyFile::new(&bytes[..]).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let cols = *file.shape().last().expect("a shape") as usize;
    (file.into_vec().unwrap_or_else(|e| panic!("{}: {e}", path.display())), cols)
}
