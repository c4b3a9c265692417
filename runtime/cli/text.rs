//! The arguments of commands that take a text.

use anyhow::{Context, Result};
use clap::Args;
use std::fs;
#[cfg(not(unix))]
use std::io::IsTerminal;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A text on the command line or in a file.
#[derive(Args)]
#[group(multiple = false)]
pub struct TextArgs {
    /// The text itself; escapes such as \n are not interpreted
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Option<String>,
    /// File with the text, in UTF-8; -: stdin
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl TextArgs {
    /// The file of the text, if it is in one.
    pub fn path(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The text, with all bytes of a file.
    pub fn text(&self) -> Result<Option<String>> {
        match &self.file {
            None => Ok(self.prompt.clone()),
            Some(path) if path == Path::new("-") => stdin().map(Some),
            Some(path) => {
                let bytes = fs::read(path).with_context(|| format!("{}: cannot read", path.display()))?;
                utf8(bytes, &path.display().to_string()).map(Some)
            }
        }
    }

    /// The text, and after it, in a new line, that which is piped in beside `-p`.
    pub fn prompt_and_stdin(&self) -> Result<Option<String>> {
        let text = self.prompt()?;
        if self.prompt.is_none() || !has_stdin() {
            return Ok(text);
        }
        let more = without_last_newline(stdin()?);
        Ok(if more.is_empty() { text } else { text.map(|text| format!("{text}\n{more}")) })
    }

    /// The text, without the newline that ends a file (llama.cpp's rule).
    pub fn prompt(&self) -> Result<Option<String>> {
        let text = self.text()?;
        Ok(if self.file.is_some() { text.map(without_last_newline) } else { text })
    }
}

/// Whether stdin is a pipe or a file, so that it may have a text. A pipe of which nothing comes is waited for.
fn has_stdin() -> bool {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd;
        use std::os::unix::fs::FileTypeExt;
        let stdin = io::stdin().as_fd().try_clone_to_owned();
        let kind = stdin.and_then(|stdin| Ok(fs::File::from(stdin).metadata()?.file_type()));
        kind.is_ok_and(|kind| kind.is_fifo() || kind.is_file())
    }
    #[cfg(not(unix))]
    !io::stdin().is_terminal()
}

/// All of stdin.
pub fn stdin() -> Result<String> {
    let mut bytes = vec![];
    io::stdin().read_to_end(&mut bytes).context("stdin: cannot read")?;
    utf8(bytes, "stdin")
}

pub fn without_last_newline(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
    }
    text
}

fn utf8(bytes: Vec<u8>, name: &str) -> Result<String> {
    String::from_utf8(bytes).with_context(|| format!("{name}: is not UTF-8 text"))
}
