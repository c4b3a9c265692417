//! Says which kernels are on trial: files that take the place of the program's own.

use super::output::notice;
use pronk::backend::Replaced;

/// Prints each file, or that the folder of `PRONK_PTX` changes nothing on this device.
pub fn notices(device: &str, replaced: &[Replaced]) {
    replaced.iter().for_each(notice);
    if let (true, Some(name)) = (replaced.is_empty(), asked()) {
        notice(format!("{name} is set, but replaces nothing on {device}"));
    }
}

/// The name of the environment variable, if it is set.
fn asked() -> Option<&'static str> {
    #[cfg(feature = "cuda")]
    return Some(pronk::backend::cuda::PTX_FOLDER).filter(|name| std::env::var_os(name).is_some_and(|v| !v.is_empty()));
    #[cfg(not(feature = "cuda"))]
    None
}
