//! Output: results to stdout, notices to stderr, and files that appear only when they are complete.

use super::terminal::shown;
use crate::platform::set_unfinished;
use anyhow::{Context, Result, bail};
use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use pronk::backend::gib;
use pronk::text::Detokenizer;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Writes one line to stderr. A closed stderr is not an error.
pub fn notice(text: impl Display) {
    let line = text.to_string().replace(['\n', '\r'], " ");
    let line = if io::stderr().is_terminal() { shown(&line) } else { line.as_str().into() };
    let _ = writeln!(io::stderr(), "pronk: {line}");
}

/// `1 token`, `2 tokens`.
pub fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Stdout, with errors that name it. A terminal gets only what it does not obey; anything else gets the bytes as they are.
pub struct Stdout {
    out: StdoutLock<'static>,
    /// Makes whole characters of what a terminal gets.
    terminal: Option<Detokenizer>,
}

pub fn stdout() -> Stdout {
    let out = io::stdout().lock();
    Stdout { terminal: out.is_terminal().then(Detokenizer::new), out }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.terminal {
            Some(characters) => self.out.write_all(shown(&characters.push(bytes)).as_bytes()).map(|()| bytes.len()),
            None => self.out.write(bytes),
        };
        written.map_err(|e| cannot_write("stdout", e))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush().map_err(|e| cannot_write("stdout", e))
    }
}

/// A write error that names `what`.
fn cannot_write(what: impl Display, e: io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("{what}: cannot write: {e}"))
}

/// A progress bar over `total` bytes, shown on a terminal only.
pub fn bytes_bar(total: u64) -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {eta} left")?;
    Ok(ProgressBar::new(total).with_style(style))
}

/// A progress bar over `total` tokens, shown on a terminal only.
pub fn tokens_bar(total: usize) -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} tokens, {eta} left")?;
    Ok(ProgressBar::new(total as u64).with_style(style))
}

/// A table without borders.
pub fn plain_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header.to_vec());
    table
}

/// Writes a table to stdout, each line without surrounding spaces.
pub fn print(table: &Table) -> io::Result<()> {
    let mut out = stdout();
    for line in table.lines() {
        writeln!(out, "{}", line.trim())?;
    }
    out.flush()
}

/// A file that appears under its name only when it is complete. At most one exists at a time. Write errors name it.
pub struct WholeFile {
    /// The path as it was given.
    path: PathBuf,
    /// The file to replace: if `path` is a link, the file that it leads to.
    target: PathBuf,
    /// Writes to `file`: errors of [`NamedTempFile`] itself would name the temporary file.
    writer: BufWriter<File>,
    file: NamedTempFile,
}

impl WholeFile {
    /// Begins a file in the folder of `path`. Errors: the folder does not exist; `path` is not a regular file.
    pub fn create(path: &Path) -> Result<WholeFile> {
        if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            bail!("{}: is not a regular file, cannot be replaced", path.display());
        }
        let failed = |e| cannot_write(path.display(), e);
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        // With the default permissions of a new file. A signal right after its creation removes it as well.
        let new_file = |path: &Path| {
            set_unfinished(Some(path));
            File::create_new(path).inspect_err(|_| set_unfinished(None))
        };
        let file = tempfile::Builder::new().prefix(".pronk-").make_in(folder_of(&target), new_file).map_err(failed)?;
        let writer = BufWriter::new(file.as_file().try_clone().map_err(failed)?);
        Ok(WholeFile { path: path.to_path_buf(), target, writer, file })
    }

    /// Errors: the file would replace one of the inputs.
    pub fn refuse_inputs<'a>(&self, inputs: impl IntoIterator<Item = &'a Path>) -> Result<()> {
        for input in inputs {
            if fs::canonicalize(input).is_ok_and(|input| input == self.target) {
                bail!("{}: is an input, cannot be replaced", self.path.display());
            }
        }
        Ok(())
    }

    /// Errors: the disk has fewer than `bytes` bytes free.
    pub fn require(&self, bytes: u64) -> Result<()> {
        let name = self.path.display();
        let free = fs4::available_space(folder_of(&self.target));
        let free = free.with_context(|| format!("{name}: cannot read the free space of its disk"))?;
        if bytes > free {
            bail!("{name}: needs {}, its disk has {} free", gib(bytes), gib(free));
        }
        Ok(())
    }

    /// Gives the file its name. An existing file of that name is replaced, and its permissions are kept.
    pub fn commit(mut self) -> Result<()> {
        self.flush()?;
        if let Ok(found) = fs::metadata(&self.target) {
            let kept = self.file.as_file().set_permissions(found.permissions());
            kept.map_err(|e| cannot_write(self.path.display(), e))?;
        }
        self.file.persist(&self.target).map_err(|e| cannot_write(self.path.display(), e.error))?;
        set_unfinished(None);
        Ok(())
    }

    /// Gives the file its name. Errors: a file of that name exists.
    pub fn commit_new(mut self) -> Result<()> {
        self.flush()?;
        self.file.persist_noclobber(&self.target).map_err(|e| cannot_write(self.path.display(), e.error))?;
        set_unfinished(None);
        Ok(())
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes).map_err(|e| cannot_write(self.path.display(), e))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush().map_err(|e| cannot_write(self.path.display(), e))
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_appeared_meanwhile_is_kept() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("out");
        let begin = || {
            let mut file = WholeFile::create(&path).expect("a file");
            file.write_all(b"ours").expect("writes");
            file
        };
        let late = begin();
        fs::write(&path, "precious").expect("writes");
        let error = late.commit_new().expect_err("the name is taken").to_string();
        assert!(error.starts_with(&format!("{}: cannot write: ", path.display())), "{error}");
        assert_eq!(fs::read(&path).expect("a file"), b"precious");
        begin().commit().expect("takes its place");
        assert_eq!(fs::read(&path).expect("a file"), b"ours");
        fs::remove_file(&path).expect("removes");
        begin().commit_new().expect("nothing is there");
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 1, "nothing else is left");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_one_and_permissions_stay() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::TempDir::new().expect("a folder");
        let [path, link] = ["file", "link"].map(|name| folder.path().join(name));
        fs::write(&path, "old").expect("writes");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("sets");
        symlink("file", &link).expect("a link");
        let mut file = WholeFile::create(&link).expect("a file");
        let error = file.refuse_inputs([path.as_path()]).expect_err("it is the same file").to_string();
        assert_eq!(error, format!("{}: is an input, cannot be replaced", link.display()));
        file.write_all(b"new").expect("writes");
        file.commit().expect("takes its place");
        assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
        assert_eq!(fs::read(&path).expect("a file"), b"new");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    }
}
