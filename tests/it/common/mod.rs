//! Helpers of the tests.

pub mod chain;
pub mod gguf_builder;
pub mod gguf_checked;
pub mod program;
#[cfg(unix)]
pub mod terminal;
pub mod tiny_llama;

use pronk::backend::DeviceChoice;
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

/// A device by its name.
pub fn device(name: &str) -> DeviceChoice {
    name.parse().unwrap_or_else(|e| panic!("{e}"))
}

/// Whether a device is available, from the result of opening it. A missing device is printed, and fails the test if the
/// environment variable `REQUIRE_BACKENDS` lists `name`.
pub fn is_here<T, E: std::fmt::Display>(name: &str, opened: Result<T, E>) -> Option<T> {
    let required = std::env::var("REQUIRE_BACKENDS").unwrap_or_default();
    match opened {
        Ok(device) => Some(device),
        Err(e) if required.split(',').any(|r| r == name) => panic!("{name} is required (REQUIRE_BACKENDS) but: {e}"),
        Err(e) => {
            println!("skipped: no {name} device: {e}");
            None
        }
    }
}
