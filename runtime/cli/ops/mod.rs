//! `pronk ops`: checks, times and counts single operations.

#[cfg(feature = "sim")]
mod counters;
mod perf;
mod test;

use super::numbers::whole_in;
use anyhow::Result;
use clap::Subcommand;
use pronk::model::{SHAPES, Shape};
use pronk::plan::OpKind;
use pronk::quant::{FORMATS, GgmlType};

/// Check, time or count single operations
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Test(test::Args),
    Perf(perf::Args),
    #[cfg(feature = "sim")]
    Counters(counters::Args),
}

/// Selects operations, and the form of the output.
#[derive(clap::Args)]
struct Selection {
    /// Only this operation, for example mat_mul
    #[arg(short, long, value_name = "OP")]
    op: Option<OpKind>,
    /// Only weights of this type, for example Q4_0
    #[arg(long = "type", value_name = "TYPE", value_parser = tensor_type)]
    ty: Option<GgmlType>,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

impl Selection {
    fn has(&self, kind: OpKind) -> bool {
        self.op.is_none_or(|op| op == kind)
    }
}

/// The size of the step in which operations are timed or counted.
#[derive(clap::Args)]
struct StepSize {
    /// Number of tokens in the step
    #[arg(short = 'n', long, value_name = "N", default_value = "1", value_parser = whole_in::<u32>(1..=4096))]
    tokens: u32,
    /// Number of KV slots that attention reads
    #[arg(short = 'd', long, value_name = "N", default_value = "512", value_parser = whole_in::<u32>(1..=131_072))]
    kv_len: u32,
}

pub fn tensor_type(name: &str) -> Result<GgmlType, String> {
    let known = || FORMATS.iter().map(|f| f.ty);
    let found = known().find(|ty| ty.name().eq_ignore_ascii_case(name));
    found.ok_or_else(|| format!("expected one of {}", known().map(GgmlType::name).collect::<Vec<_>>().join(", ")))
}

pub fn shape(name: &str) -> Result<Shape, String> {
    Shape::find(name).ok_or_else(|| format!("expected one of {}", SHAPES.map(|s| s.name).join(", ")))
}

pub fn run(args: &Args) -> Result<()> {
    match &args.command {
        Command::Test(args) => test::run(args),
        Command::Perf(args) => perf::run(args),
        #[cfg(feature = "sim")]
        Command::Counters(args) => counters::run(args),
    }
}
