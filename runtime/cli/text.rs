//! The arguments of commands that take a text.

use super::escapes;
use super::output::notice;
use anyhow::{Context, Result};
use clap::Args;
use pronk::text::Tokenizer;
use std::fs;
#[cfg(not(unix))]
use std::io::IsTerminal;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A text on the command line or in a file.
#[derive(Args)]
#[group(skip)]
pub struct TextArgs {
    #[command(flatten)]
    source: Source,
    /// Read no escapes such as \n: a backslash is a backslash
    #[arg(long)]
    no_escape: bool,
    /// The default, which llama.cpp has an option for
    #[arg(short = 'e', long = "escape", hide = true, overrides_with = "no_escape")]
    _escape: bool,
}

#[derive(Args)]
#[group(id = "TextArgs", multiple = false)]
struct Source {
    /// The text itself; the escapes \n, \r, \t, \', \", \\ and \xHH are read
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Option<String>,
    /// File with the text, in UTF-8; -: stdin
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl TextArgs {
    /// The file of the text, if it is in one.
    pub fn path(&self) -> Option<&Path> {
        self.source.file.as_deref()
    }

    /// The text, with all bytes of a file.
    pub fn text(&self) -> Result<Option<String>> {
        match &self.source.file {
            None => self.source.prompt.as_deref().map(|text| self.unescaped("--prompt", text)).transpose(),
            Some(path) if path == Path::new("-") => stdin().map(Some),
            Some(path) => {
                let bytes = fs::read(path).with_context(|| format!("{}: cannot read", path.display()))?;
                utf8(bytes, &path.display().to_string()).map(Some)
            }
        }
    }

    /// The text, and after it, in a new line, that which is piped in beside `-p`. A pipe on which nothing comes is left out, with a
    /// notice unless `quiet`: programs that start this one may keep it open.
    pub fn prompt_and_stdin(&self, quiet: bool) -> Result<Option<String>> {
        let text = self.prompt()?;
        let stdin_kind = if self.source.prompt.is_some() { stdin_kind() } else { StdinKind::Other };
        match stdin_kind {
            StdinKind::Other => return Ok(text),
            StdinKind::IdlePipe => {
                if !quiet {
                    notice(format!("stdin: nothing came within {STDIN_WAIT} ms, the text is that of -p alone"));
                }
                return Ok(text);
            }
            StdinKind::HasText => {}
        }
        let more = without_last_newline(stdin()?);
        Ok(if more.is_empty() { text } else { text.map(|text| format!("{text}\n{more}")) })
    }

    /// The text, without the newline that ends a file (llama.cpp's rule).
    pub fn prompt(&self) -> Result<Option<String>> {
        let text = self.text()?;
        Ok(if self.path().is_some() { text.map(without_last_newline) } else { text })
    }

    /// A text that was given to this option, with its escapes read unless they are to stay.
    pub fn unescaped(&self, option: &str, text: &str) -> Result<String> {
        if self.no_escape { Ok(text.to_string()) } else { escapes::unescaped(text).with_context(|| option.to_string()) }
    }
}

/// A notice if a prompt has the beginning-of-text token twice: put there for the model, and parsed in the text.
pub fn notice_two_bos(prompt: &[u32], tokenizer: &Tokenizer) {
    if let ([first, second, ..], Some(bos)) = (prompt, tokenizer.bos())
        && (*first, *second) == (bos, bos)
    {
        let name = tokenizer.piece(bos);
        notice(format!(
            "the text begins with BOS ({name}), and the model gets one before each text: the prompt has two"
        ));
    }
}

/// Milliseconds in which the first byte, or the end, has to come on a pipe beside `-p`.
const STDIN_WAIT: u16 = 1000;

/// What stdin is, beside a text that is given otherwise.
enum StdinKind {
    /// A file, or a pipe on which a text or its end has come.
    HasText,
    /// A pipe on which nothing comes.
    #[cfg_attr(not(unix), expect(dead_code, reason = "such a pipe is waited for there"))]
    IdlePipe,
    /// A terminal, or nothing.
    Other,
}

fn stdin_kind() -> StdinKind {
    #[cfg(unix)]
    {
        use nix::poll::{PollFd, PollFlags, poll};
        use std::os::fd::AsFd;
        use std::os::unix::fs::FileTypeExt;
        let stdin = io::stdin();
        let kind =
            stdin.as_fd().try_clone_to_owned().and_then(|stdin| Ok(fs::File::from(stdin).metadata()?.file_type()));
        match kind {
            Ok(kind) if kind.is_file() => StdinKind::HasText,
            Ok(kind) if kind.is_fifo() => {
                match poll(&mut [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)], STDIN_WAIT) {
                    Ok(1..) => StdinKind::HasText,
                    _ => StdinKind::IdlePipe,
                }
            }
            _ => StdinKind::Other,
        }
    }
    #[cfg(not(unix))]
    if io::stdin().is_terminal() { StdinKind::Other } else { StdinKind::HasText }
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
