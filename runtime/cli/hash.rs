//! `pronk hash`: SHA-256 of tensors and files.

use super::model_path::model_file;
use super::output::{bytes_bar, stdout};
use anyhow::Result;
use indicatif::ProgressBar;
use pronk::gguf::{Gguf, Tensor};
use rayon::prelude::*;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::io::Write;
use std::path::PathBuf;

/// Print the SHA-256 of each tensor's data and of the file
///
/// The lines have the form of sha256sum's. Equal tensors have equal hashes, wherever they are in a file. Each part of a
/// split file has a line.
#[derive(clap::Args)]
pub struct Args {
    /// GGUF file
    #[arg(short, long, value_name = "FILE", value_parser = model_file())]
    model: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Hashes<'a> {
    /// The file, or the parts of a split file.
    files: Vec<FileHash<'a>>,
    tensors: Vec<TensorHash<'a>>,
}

#[derive(Serialize)]
struct FileHash<'a> {
    name: &'a str,
    bytes: u64,
    sha256: String,
}

#[derive(Serialize)]
struct TensorHash<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    ty: &'static str,
    shape: &'a [u64],
    bytes: u64,
    sha256: String,
}

/// Bytes hashed between two updates of the progress bar.
const PIECE: usize = 1 << 20;

pub fn run(args: &Args) -> Result<()> {
    let gguf = Gguf::open(&args.model)?;
    let all = gguf.tensors().iter().map(|tensor| &tensor.data).chain(gguf.bytes());
    let bar = bytes_bar(all.map(|bytes| bytes.len() as u64).sum())?;
    let (files, tensors) = rayon::join(
        || gguf.files().par_iter().zip(gguf.bytes()).map(|(name, bytes)| hash_file(name, bytes, &bar)).collect(),
        || gguf.tensors().par_iter().map(|tensor| hash_tensor(tensor, &bar)).collect(),
    );
    bar.finish_and_clear();
    gguf.watch().check()?; // refuses files that changed while they were hashed
    let hashes = Hashes { files, tensors };
    let mut out = stdout();
    if args.json {
        return Ok(writeln!(out, "{}", serde_json::to_string_pretty(&hashes)?)?);
    }
    for tensor in &hashes.tensors {
        writeln!(out, "{}  {}", tensor.sha256, tensor.name.escape_debug())?;
    }
    for file in &hashes.files {
        writeln!(out, "{}  {}", file.sha256, file.name)?;
    }
    Ok(())
}

fn hash_tensor<'a>(tensor: &'a Tensor, bar: &ProgressBar) -> TensorHash<'a> {
    let (name, ty, shape) = (&*tensor.name, tensor.ty.name(), &*tensor.shape);
    TensorHash { name, ty, shape, bytes: tensor.data.len() as u64, sha256: sha256(&tensor.data, bar) }
}

fn hash_file<'a>(name: &'a str, bytes: &[u8], bar: &ProgressBar) -> FileHash<'a> {
    FileHash { name, bytes: bytes.len() as u64, sha256: sha256(bytes, bar) }
}

fn sha256(bytes: &[u8], bar: &ProgressBar) -> String {
    let mut hash = Sha256::new();
    for piece in bytes.chunks(PIECE) {
        hash.update(piece);
        bar.inc(piece.len() as u64);
    }
    format!("{:x}", hash.finalize())
}
