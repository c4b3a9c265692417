//! Where things are written: results to stdout, notices to stderr, files all at once.

use super::interrupt;
use anyhow::{Context, Result, bail};
use comfy_table::{ContentArrangement, Table, presets};
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, BufWriter, StdoutLock, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Writes one line to stderr. A closed stderr is nobody's problem.
pub fn notice(text: impl Display) {
    let line = text.to_string().replace(['\n', '\r'], " ");
    let _ = writeln!(io::stderr(), "pronk: {line}");
}

/// `1 token`, `2 tokens`.
pub fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Stdout, whose errors name it.
pub struct Stdout(StdoutLock<'static>);

pub fn stdout() -> Stdout {
    Stdout(io::stdout().lock())
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(about_stdout)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(about_stdout)
    }
}

fn about_stdout(e: io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("stdout: cannot write: {e}"))
}

/// A table without borders, for reading.
pub fn plain_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header.to_vec());
    table
}

/// Writes a table to stdout, without the padding around its lines.
pub fn print(table: &Table) -> io::Result<()> {
    let mut out = stdout();
    for line in table.lines() {
        writeln!(out, "{}", line.trim())?;
    }
    out.flush()
}

/// A file that appears under its name when it is complete, not before. There is one at a time.
pub struct WholeFile {
    path: PathBuf,
    /// The same file: errors of [`NamedTempFile`] would tell its temporary name.
    writer: BufWriter<File>,
    file: NamedTempFile,
}

impl WholeFile {
    /// Begins a file in the folder of `path`. Errors: no such folder; `path` is something else than a file.
    pub fn create(path: &Path) -> Result<WholeFile> {
        if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            bail!("{}: is not a regular file, cannot be replaced", path.display());
        }
        let failed = || format!("{}: cannot write", path.display());
        let new_file = |path: &Path| File::create_new(path); // with the permissions that any new file gets
        let file =
            tempfile::Builder::new().prefix(".pronk-").make_in(folder_of(path), new_file).with_context(failed)?;
        *interrupt::unfinished() = Some(file.path().to_path_buf());
        let writer = BufWriter::new(file.as_file().try_clone().with_context(failed)?);
        Ok(WholeFile { path: path.to_path_buf(), writer, file })
    }

    /// Bytes that are free where the file lies.
    pub fn free_space(&self) -> Result<u64> {
        let failed = || format!("{}: cannot tell how much space is free", self.path.display());
        fs4::available_space(folder_of(&self.path)).with_context(failed)
    }

    pub fn writer(&mut self) -> &mut impl Write {
        &mut self.writer
    }

    /// Gives the file its name.
    pub fn commit(mut self) -> Result<()> {
        let failed = || format!("{}: cannot write", self.path.display());
        self.writer.flush().with_context(failed)?;
        self.file.persist(&self.path).map_err(|e| e.error).with_context(failed)?;
        interrupt::unfinished().take();
        Ok(())
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."))
}
