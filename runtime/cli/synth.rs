//! `pronk synth`: model files with random weights.

use super::interrupt::{self, Interrupted, Work};
use super::numbers::{finite, whole_from};
use super::ops::{shape, tensor_type};
use super::output::{WholeFile, bytes_bar, notice};
use anyhow::{Context, Result, bail};
use pronk::backend::gib;
use pronk::gguf::padding;
use pronk::model::{Shape, Synth};
use pronk::quant::GgmlType;
use pronk::text::Vocab;
use rayon::prelude::*;
use std::io::Write;
use std::path::PathBuf;

/// Write a model file with random weights, in a well-known shape or one of your own
///
/// The weights have realistic magnitudes: the model computes like a real one, but writes noise. Norms are F32. Matrices
/// with rows that are not whole blocks of the type are Q8_0 or F16. The same arguments give the same file on every
/// machine.
#[derive(clap::Args)]
pub struct Args {
    /// Well-known shape, for example llama3-8b; the numbers below replace its own
    #[arg(long, value_name = "NAME", value_parser = shape)]
    shape: Option<Shape>,
    /// Tensor type of the matrices
    #[arg(long = "type", value_name = "TYPE", default_value = "Q4_0", value_parser = tensor_type)]
    ty: GgmlType,
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace an existing file
    #[arg(long)]
    force: bool,
    /// Seed of the random weights
    #[arg(long, value_name = "N", default_value = "1", value_parser = whole_from::<u64>(0))]
    seed: u64,
    #[command(flatten)]
    numbers: Numbers,
}

#[derive(clap::Args, Default)]
#[command(next_help_heading = "Shape")]
struct Numbers {
    /// Number of layers
    #[arg(long, value_name = "N", required_unless_present = "shape", value_parser = whole_from::<u32>(0))]
    layers: Option<u32>,
    /// Width of the residual stream
    #[arg(long, value_name = "N", required_unless_present = "shape", value_parser = whole_from::<u32>(0))]
    embd: Option<u32>,
    /// Width of the feed-forward network
    #[arg(long, value_name = "N", required_unless_present = "shape", value_parser = whole_from::<u32>(0))]
    ff: Option<u32>,
    /// Number of query heads
    #[arg(long, value_name = "N", required_unless_present = "shape", value_parser = whole_from::<u32>(0))]
    heads: Option<u32>,
    /// Number of KV heads [default without --shape: that of query heads]
    #[arg(long, value_name = "N", value_parser = whole_from::<u32>(0))]
    kv_heads: Option<u32>,
    /// Elements per head [default without --shape: --embd / --heads]
    #[arg(long, value_name = "N", value_parser = whole_from::<u32>(0))]
    head_dim: Option<u32>,
    /// Number of tokens in the vocabulary
    #[arg(long, value_name = "N", required_unless_present = "shape", value_parser = whole_from::<u32>(0))]
    vocab: Option<u32>,
    /// Context length that the file declares [default without --shape: 8192]
    #[arg(long, value_name = "N", value_parser = whole_from::<u32>(0))]
    ctx: Option<u32>,
    /// Base of the RoPE frequencies [default without --shape: 500000]
    #[arg(long, value_name = "X", value_parser = finite::<f32>)]
    rope_base: Option<f32>,
    /// Factor of Llama 3.1's RoPE scaling (rope_freqs.weight); 1: no scaling
    #[arg(long, value_name = "X", value_parser = finite::<f32>)]
    rope_factor: Option<f32>,
    /// Whether the output matrix is the embedding table
    #[arg(long, value_name = "BOOL")]
    tied: Option<bool>,
}

/// The name of a shape that is not a well-known one.
const CHANGED: &str = "synth";

impl Numbers {
    fn shape(&self, base: Option<Shape>) -> Shape {
        let heads = self.heads.unwrap_or(1);
        let base = base.unwrap_or(Shape {
            name: CHANGED,
            n_layers: 0, // required without --shape, like the other zeros
            n_embd: 0,
            n_ff: 0,
            n_heads: 0,
            n_kv_heads: heads,
            head_dim: self.embd.unwrap_or(0) / heads.max(1),
            n_vocab: 0,
            n_ctx: 8192,
            rope_base: 5e5,
            rope_factor: 1.0,
            tied: false,
        });
        let shape = Shape {
            name: base.name,
            n_layers: self.layers.unwrap_or(base.n_layers),
            n_embd: self.embd.unwrap_or(base.n_embd),
            n_ff: self.ff.unwrap_or(base.n_ff),
            n_heads: self.heads.unwrap_or(base.n_heads),
            n_kv_heads: self.kv_heads.unwrap_or(base.n_kv_heads),
            head_dim: self.head_dim.unwrap_or(base.head_dim),
            n_vocab: self.vocab.unwrap_or(base.n_vocab),
            n_ctx: self.ctx.unwrap_or(base.n_ctx),
            rope_base: self.rope_base.unwrap_or(base.rope_base),
            rope_factor: self.rope_factor.unwrap_or(base.rope_factor),
            tied: self.tied.unwrap_or(base.tied),
        };
        Shape { name: if shape == base { base.name } else { CHANGED }, ..shape }
    }
}

/// Pieces of a tensor that each thread has in memory at once.
const PIECES_PER_THREAD: u64 = 4;

pub fn run(args: &Args) -> Result<()> {
    let shape = args.numbers.shape(args.shape);
    if let Err(problem) = shape.check() {
        bail!("--{problem}");
    }
    let name = args.out.display();
    if !args.force && args.out.symlink_metadata().is_ok() {
        bail!("{name}: exists (--force replaces it)");
    }
    let synth = Synth { shape, ty: args.ty, seed: args.seed };
    let mut header = synth.header();
    Vocab::synthetic(shape.n_vocab).with_context(|| format!("--vocab {}", shape.n_vocab))?.write(&mut header);
    let begin = header.encode();
    let total = header.data_bytes().saturating_add(begin.len() as u64);

    let _work = Work::begin(); // an interrupted run removes its unfinished file
    let mut out = WholeFile::create(&args.out)?;
    out.require(total)?;
    let bar = bytes_bar(total)?;
    let mut write = |bytes: &[u8]| {
        bar.inc(bytes.len() as u64);
        out.write_all(bytes)
    };
    write(&begin)?;
    let at_once = PIECES_PER_THREAD * rayon::current_num_threads() as u64;
    for tensor in synth.tensors() {
        let mut bytes = 0;
        for first in (0..tensor.n_pieces()).step_by(at_once as usize) {
            if interrupt::asked() {
                return Err(Interrupted.into());
            }
            let pieces = (first..tensor.n_pieces().min(first + at_once)).into_par_iter();
            let pieces: Vec<Vec<u8>> = pieces.map(|i| synth.piece(&tensor, i)).collect();
            for piece in pieces {
                bytes += piece.len() as u64;
                write(&piece)?;
            }
        }
        write(padding(bytes))?;
    }
    bar.finish_and_clear();
    if args.force { out.commit() } else { out.commit_new() }?;
    notice(format!("wrote {name}: {}, {}", synth.name(), gib(total)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_shape_loses_its_name() {
        let shape = Shape::find("smollm2-135m").expect("a known shape");
        assert_eq!(Numbers::default().shape(Some(shape)), shape);
        let layers = |n| Numbers { layers: Some(n), ..Numbers::default() }.shape(Some(shape));
        assert_eq!(layers(shape.n_layers), shape);
        assert_eq!(layers(1), Shape { name: "synth", n_layers: 1, ..shape });
    }
}
