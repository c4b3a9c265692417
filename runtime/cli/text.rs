//! The argument of the commands that take a text.

use anyhow::{Context, Result};
use clap::Args;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A text, given as it is or in a file.
#[derive(Args)]
#[group(multiple = false)]
pub struct TextArgs {
    /// Text, taken as it is: \n in it is a backslash and an n
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Option<String>,
    /// File that holds the text, in UTF-8; -: stdin
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl TextArgs {
    /// The file that holds the text, if one does.
    pub fn path(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The text, the file's to the last byte.
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

    /// The text; the newline that ends a file is not part of it (llama.cpp's rule).
    pub fn prompt(&self) -> Result<Option<String>> {
        let text = self.text()?;
        Ok(if self.file.is_some() { text.map(without_last_newline) } else { text })
    }
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
