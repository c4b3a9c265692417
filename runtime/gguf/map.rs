//! Files as memory, and whether they are still what they were.

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
    let kind = fs::metadata(path).map_err(unreadable)?; // before opening: opening a pipe would wait for its writer
    if kind.is_dir() {
        return Err(Subject::File.error(&name, "is a directory, expected a GGUF file"));
    }
    if !kind.is_file() {
        return Err(Subject::File.error(&name, "is not a regular file, only those can be mapped"));
    }
    let file = File::open(path).map_err(unreadable)?;
    let (len, modified) = state(&file).map_err(unreadable)?;
    // SAFETY: the map is read-only and shared; `Gguf::open` asks its caller that nobody truncates or writes the file.
    let map = unsafe { Mmap::map(&file) }.map_err(unreadable)?;
    Ok((Bytes::from_owner(map), Mapped { name, file: Arc::new(file), len, modified }))
}

/// A mapped file as it was when it was opened. A file that takes its place under the same name is another one: the map keeps
/// the old.
#[derive(Debug, Clone)]
pub(super) struct Mapped {
    name: String,
    file: Arc<File>,
    len: u64,
    /// None where the system does not tell.
    modified: Option<SystemTime>,
}

fn state(file: &File) -> io::Result<(u64, Option<SystemTime>)> {
    let found = file.metadata()?;
    Ok((found.len(), found.modified().ok()))
}

/// Whether mapped files are as they were when they were opened: finds out about a truncation before lost pages are touched, if it
/// comes between two uses.
#[derive(Debug, Clone, Default)]
pub struct Watch(pub(super) Vec<Mapped>);

impl Watch {
    /// Errors: a file was truncated, or written to.
    pub fn check(&self) -> Result<(), Error> {
        for mapped in &self.0 {
            let changed =
                |what: String| Subject::File.error(&mapped.name, format_args!("changed while in use: {what}"));
            let (len, modified) = state(&mapped.file).map_err(|e| changed(e.to_string()))?;
            if len != mapped.len {
                return Err(changed(format!("{len} bytes now, {} when it was opened", mapped.len)));
            }
            if modified != mapped.modified {
                return Err(changed("something has written to it".to_string()));
            }
        }
        Ok(())
    }
}
