use super::args::FileArgs;
use super::output::stdout;
use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use pronk::gguf::Tensor;
use rayon::prelude::*;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Read, Write};

/// Print the SHA-256 of each tensor's data and of the file
///
/// One line each, as sha256sum prints them: equal tensors have equal hashes wherever they lie in a file. Of a split file each part
/// has its line.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    file: FileArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Hashes<'a> {
    /// The file, or the parts of one that is split.
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

/// Bytes hashed between two movements of the progress bar.
const PIECE: usize = 1 << 20;

pub fn run(args: &Args) -> Result<()> {
    let gguf = args.file.gguf()?;
    let tensor_bytes: u64 = gguf.tensors().iter().map(|t| t.data.len() as u64).sum();
    let bar = ProgressBar::new(2 * tensor_bytes); // more or less: the files hold a little more than the tensors
    bar.set_style(ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {eta} left")?);
    let (files, tensors) = rayon::join(
        || gguf.files().par_iter().map(|name| hash_file(name, &bar)).collect::<Result<Vec<FileHash>>>(),
        || gguf.tensors().par_iter().map(|tensor| hash_tensor(tensor, &bar)).collect(),
    );
    bar.finish_and_clear();
    let hashes = Hashes { files: files?, tensors };
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
    let mut hash = Sha256::new();
    for piece in tensor.data.chunks(PIECE) {
        hash.update(piece);
        bar.inc(piece.len() as u64);
    }
    let (name, ty, shape) = (&*tensor.name, tensor.ty.name(), &*tensor.shape);
    TensorHash { name, ty, shape, bytes: tensor.data.len() as u64, sha256: hex(hash) }
}

fn hash_file<'a>(name: &'a str, bar: &ProgressBar) -> Result<FileHash<'a>> {
    let failed = || format!("{name}: cannot read");
    let mut file = File::open(name).with_context(failed)?;
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece).with_context(failed)? {
            0 => return Ok(FileHash { name, bytes, sha256: hex(hash) }),
            n => {
                hash.update(&piece[..n]);
                bytes += n as u64;
                bar.inc(n as u64);
            }
        }
    }
}

fn hex(hash: Sha256) -> String {
    format!("{:x}", hash.finalize())
}
