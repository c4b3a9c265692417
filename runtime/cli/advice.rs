//! Adds to the library's errors the flag that helps.

use anyhow::Error;
use pronk::backend;
use pronk::generate::score::GuardError;
use pronk::generate::{self, LoadError, LoadNotice};
use pronk::plan::KvType;

/// The error on one line, with the flag that helps.
pub fn line(error: &Error) -> String {
    let advised = if let Some(e) = error.downcast_ref() {
        of_generate(e)
    } else if let Some(e) = error.downcast_ref() {
        of_load(e)
    } else if let Some(e) = error.downcast_ref() {
        of_backend(e)
    } else if let Some(e) = error.downcast_ref() {
        of_guard(e)
    } else {
        None
    };
    advised.unwrap_or_else(|| format!("{error:#}"))
}

fn of_generate(e: &generate::Error) -> Option<String> {
    match e {
        generate::Error::Load(e) => of_load(e),
        generate::Error::Backend(e) => of_backend(e),
        generate::Error::NotFinite { kv, .. } => Some(format!("{e} {}", not_finite(*kv))),
        generate::Error::TooLong { .. } => Some(format!("{e} (-c)")),
        generate::Error::WindowTooShort { window } => Some(format!("windows of {window} (-c): expected at least 2")),
        _ => None,
    }
}

fn of_load(e: &LoadError) -> Option<String> {
    match e {
        LoadError::Memory { misfit } if misfit.fits > 0 => {
            Some(format!("{misfit}; the most that fits is -c {}", misfit.fits))
        }
        LoadError::Context { .. } => Some(format!("{e} (-c)")),
        LoadError::Backend(e) => of_backend(e),
        LoadError::Refused(e) => {
            Some(format!("{}; --device cpu can run it", of_load(e).unwrap_or_else(|| e.to_string())))
        }
        _ => None,
    }
}

/// The notice on one line, with the flag that helps.
pub fn of_notice(notice: &LoadNotice) -> String {
    match notice {
        LoadNotice::ContextShortened { .. } => format!("{notice} (-c)"),
        _ => notice.to_string(),
    }
}

fn of_backend(e: &backend::Error) -> Option<String> {
    matches!(e, backend::Error::Absent { .. }).then(|| format!("--device {e}"))
}

fn of_guard(e: &GuardError) -> Option<String> {
    match e {
        GuardError::Generate(e) => of_generate(e),
        GuardError::TooLong { .. } => Some(format!("{e} (-c)")),
        GuardError::Cut(_) => Some(format!("{e}: -c gives more room")),
        _ => None,
    }
}

/// The flags that help where logits are not finite with a cache of this format.
pub fn not_finite(kv: KvType) -> &'static str {
    match kv {
        KvType::F32 => "(--check-tensors looks for the cause)",
        KvType::F16 | KvType::Q8_0 => {
            "(--check-tensors looks for the cause; --kv f32 helps where keys or values overflow the cache)"
        }
    }
}
