//! Where things are written: notices to stderr, files all at once.

use anyhow::{Context, Result, bail};
use comfy_table::{ContentArrangement, Table, presets};
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Writes one line to stderr. A closed stderr is nobody's problem.
pub fn notice(text: impl Display) {
    let line = text.to_string().replace(['\n', '\r'], " ");
    let _ = writeln!(io::stderr(), "pronk: {line}");
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
    let mut out = io::stdout().lock();
    for line in table.lines() {
        writeln!(out, "{}", line.trim())?;
    }
    out.flush()
}

/// A file that appears under its name when it is complete, not before.
pub struct WholeFile {
    path: PathBuf,
    writer: BufWriter<NamedTempFile>,
}

impl WholeFile {
    /// Begins a file in the folder of `path`. Errors: no such folder; `path` is something else than a file.
    pub fn create(path: &Path) -> Result<WholeFile> {
        if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            bail!("{}: is not a regular file, cannot be replaced", path.display());
        }
        let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(fs::Permissions::from_mode(0o666)); // what a new file gets: the umask takes its part
        }
        let file = builder.prefix(".pronk-").tempfile_in(folder);
        let file = file.with_context(|| format!("{}: cannot write", path.display()))?;
        Ok(WholeFile { path: path.to_path_buf(), writer: BufWriter::new(file) })
    }

    pub fn writer(&mut self) -> &mut impl Write {
        &mut self.writer
    }

    /// Gives the file its name.
    pub fn commit(self) -> Result<()> {
        let failed = || format!("{}: cannot write", self.path.display());
        let file = self.writer.into_inner().map_err(io::IntoInnerError::into_error).with_context(failed)?;
        let _: File = file.persist(&self.path).map_err(|e| e.error).with_context(failed)?;
        Ok(())
    }
}
