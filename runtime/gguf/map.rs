//! Memory-mapped files, and checks that they have not changed.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use memmap2::Mmap;

use super::error::{Error, Subject};

/// Maps the regular file at `path`.
pub(super) fn map(path: &Path) -> Result<(Bytes, Mapped), Error> {
    let name = path.display().to_string();
    let unreadable = |e: io::Error| Subject::File.error(&name, format_args!("cannot read: {e}"));
    let kind = fs::metadata(path).map_err(unreadable)?; // before opening it: opening a pipe waits for a writer
    if kind.is_dir() {
        return Err(Subject::File.error(&name, "is a directory, expected a GGUF file"));
    }
    if !kind.is_file() {
        return Err(Subject::File.error(&name, "is not a regular file, cannot be mapped"));
    }
    let file = File::open(path).map_err(unreadable)?;
    let (len, modified) = state(&file).map_err(unreadable)?;
    // SAFETY: the map is read-only and shared; `Gguf::open` requires that no process truncates or writes the file.
    let map = unsafe { Mmap::map(&file) }.map_err(unreadable)?;
    Ok((Bytes::from_owner(map), Mapped { name, file: Arc::new(file), len, modified }))
}

/// A mapped file, with its length and time at opening. If another file replaces it under its name, the map keeps the
/// old file.
#[derive(Debug, Clone)]
pub(super) struct Mapped {
    name: String,
    file: Arc<File>,
    len: u64,
    /// None if the system does not provide it.
    modified: Option<SystemTime>,
}

fn state(file: &File) -> io::Result<(u64, Option<SystemTime>)> {
    let found = file.metadata()?;
    Ok((found.len(), found.modified().ok()))
}

/// Checks that mapped files have not changed since they were opened. A check before each use finds a truncation before
/// a lost page is read, if it happened between two uses.
#[derive(Debug, Clone, Default)]
pub struct Watch(pub(super) Vec<Mapped>);

impl Watch {
    /// Errors: the length or modification time of a file has changed.
    pub fn check(&self) -> Result<(), Error> {
        for mapped in &self.0 {
            let changed =
                |what: String| Subject::File.error(&mapped.name, format_args!("changed while in use: {what}"));
            let (len, modified) = state(&mapped.file).map_err(|e| changed(e.to_string()))?;
            if len != mapped.len {
                return Err(changed(format!("{len} bytes now, {} when it was opened", mapped.len)));
            }
            if modified != mapped.modified {
                return Err(changed("it was written to".to_string()));
            }
        }
        Ok(())
    }
}
