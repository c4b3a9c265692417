use super::output::{notice, plain_table, print, stdout};
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use comfy_table::CellAlignment;
use indicatif::ProgressBar;
use pronk::backend::{self, DeviceChoice, Error};
use pronk::conformance::{Outcome, cases, perf_cases, stream_bandwidth};
use pronk::model::{SHAPES, Shape};
use pronk::quant::{FORMATS, GgmlType};
use serde::Serialize;
use std::io::Write;
use std::time::Duration;

/// Check or time the operations one by one
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Test(TestArgs),
    Perf(PerfArgs),
}

/// Which operations, where.
#[derive(clap::Args)]
struct Selection {
    /// auto (the first GPU, else the CPU), or what `pronk devices` lists
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Only this operation: mat_mul, attention, ...
    #[arg(short, long, value_name = "OP", value_parser = stem)]
    op: Option<String>,
    /// Only weights of this type: Q4_0, ...
    #[arg(long = "type", value_name = "TYPE", value_parser = tensor_type)]
    ty: Option<GgmlType>,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Compare every operation with the CPU reference; exit code 1 if one is wrong
#[derive(clap::Args)]
struct TestArgs {
    #[command(flatten)]
    selection: Selection,
    /// List every case, not only the failures
    #[arg(short, long)]
    verbose: bool,
}

/// Time every operation at the shapes of a model's layer
#[derive(clap::Args)]
struct PerfArgs {
    #[command(flatten)]
    selection: Selection,
    /// The model whose shapes to take: llama3-8b, smollm2-135m, ...
    #[arg(long, value_name = "NAME", default_value = "llama3-8b", value_parser = shape)]
    shape: Shape,
    /// Tokens of a step
    #[arg(short = 'n', long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=4096))]
    tokens: u32,
    /// KV slots that attention sees
    #[arg(short = 'd', long, value_name = "N", default_value = "512", value_parser = clap::value_parser!(u32).range(1..=131072))]
    kv_len: u32,
}

/// How long one row of `perf` is measured.
const ROW_TIME: Duration = Duration::from_millis(300);

fn stem(name: &str) -> Result<String, String> {
    let known: Vec<&str> = pronk::plan::CORE_STEMS.into_iter().chain(pronk::plan::fused_stems()).collect();
    match known.contains(&name) {
        true => Ok(name.to_string()),
        false => Err(format!("expected one of {}", known.join(", "))),
    }
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
        Command::Test(args) => test(args),
        Command::Perf(args) => perf(args),
    }
}

#[derive(Serialize)]
struct TestRow {
    device: String,
    op: &'static str,
    case: String,
    r#type: Option<&'static str>,
    /// `passed`, `failed` or `unsupported`.
    outcome: &'static str,
    /// Normalized squared error, where the case passed.
    error: Option<f64>,
    /// What failed, or why it is not supported.
    what: Option<String>,
}

fn test(args: &TestArgs) -> Result<()> {
    let chosen = &args.selection;
    let mut device = backend::open(chosen.device)?;
    let mut cases = cases();
    cases.retain(|c| chosen.op.as_deref().is_none_or(|op| op == c.stem) && (chosen.ty.is_none() || c.ty == chosen.ty));
    if cases.is_empty() {
        bail!("no case of this operation has this type");
    }
    let bar = ProgressBar::new(cases.len() as u64);
    let mut rows = vec![];
    for case in cases {
        let (outcome, error, what) = match case.run(&mut *device) {
            Ok(Outcome::Passed(error)) => ("passed", Some(error), None),
            Ok(Outcome::Unsupported(why)) => ("unsupported", None, Some(why)),
            Ok(Outcome::Failed(what)) => ("failed", None, Some(what)),
            Err(e) => ("failed", None, Some(e.to_string())),
        };
        let (op, r#type) = (case.stem, case.ty.map(GgmlType::name));
        rows.push(TestRow { device: device.name(), op, case: case.name, r#type, outcome, error, what });
        bar.inc(1);
    }
    bar.finish_and_clear();
    let count = |outcome: &str| rows.iter().filter(|r| r.outcome == outcome).count();
    match chosen.json {
        true => writeln!(stdout(), "{}", serde_json::to_string_pretty(&rows)?)?,
        false => print_tests(&rows, args.verbose)?,
    }
    let [passed, unsupported, failed] = ["passed", "unsupported", "failed"].map(count);
    notice(format!("{}: {passed} passed, {unsupported} unsupported, {failed} failed", device.name()));
    if failed > 0 {
        bail!("{failed} cases failed");
    }
    Ok(())
}

fn print_tests(rows: &[TestRow], verbose: bool) -> Result<()> {
    if verbose {
        let mut table = plain_table(&["op", "case", "outcome", "error", "what"]);
        for row in rows {
            let error = row.error.map_or(String::new(), |e| format!("{e:.1e}"));
            let what = row.what.clone().unwrap_or_default();
            table.add_row([row.op.to_string(), row.case.clone(), row.outcome.to_string(), error, what]);
        }
        return Ok(print(&table)?);
    }
    let mut table = plain_table(&["op", "passed", "unsupported", "failed", "worst error"]);
    let mut stems: Vec<&str> = rows.iter().map(|r| r.op).collect();
    stems.dedup();
    stems.sort();
    stems.dedup();
    for stem in stems {
        let of = || rows.iter().filter(|r| r.op == stem);
        let count = |outcome: &str| of().filter(|r| r.outcome == outcome).count().to_string();
        let worst = of().filter_map(|r| r.error).reduce(f64::max).map_or("-".to_string(), |e| format!("{e:.1e}"));
        table.add_row([stem.to_string(), count("passed"), count("unsupported"), count("failed"), worst]);
    }
    print(&table)?;
    for row in rows.iter().filter(|r| r.outcome == "failed") {
        writeln!(stdout(), "{} {}: {}", row.op, row.case, row.what.as_deref().unwrap_or_default())?;
    }
    Ok(())
}

#[derive(Serialize)]
struct PerfRow {
    device: String,
    shape: &'static str,
    op: &'static str,
    case: String,
    /// Median time of one operation, in microseconds.
    us: f64,
    /// Bytes that the operation must move, whatever the kernel.
    bytes: u64,
    flops: u64,
    /// 1e9 bytes per second.
    gbs: f64,
    /// `gbs` as a share of what the device's memory delivers, measured in the same run: a read by all threads on the CPU, an
    /// addition elsewhere.
    stream_share: f64,
    /// 1e12 floating point operations per second.
    tflops: f64,
}

fn perf(args: &PerfArgs) -> Result<()> {
    let chosen = &args.selection;
    let mut device = backend::open(chosen.device)?;
    let name = device.name();
    // The reference addition is one plain loop: what the CPU's memory delivers is measured apart.
    let stream = match name.as_str() {
        "cpu" => super::stream::read_bandwidth().context("too little memory to measure the stream")?,
        _ => stream_bandwidth(&mut *device).context("stream addition")?,
    };
    let mut rows = vec![];
    for mut case in perf_cases(&args.shape, chosen.ty.unwrap_or(GgmlType::Q4_0), args.tokens, args.kv_len) {
        if chosen.op.as_deref().is_some_and(|op| op != case.stem) {
            continue;
        }
        match case.load(&mut *device) {
            Err(Error::Unsupported { what, .. }) => {
                notice(format!("{} {}: not measured: {what}", case.stem, case.name));
                continue;
            }
            loaded => loaded?,
        }
        let seconds = case.median_seconds(&mut *device, ROW_TIME)? / case.copies as f64;
        let cost = case.cost();
        let (bytes, flops) = (cost.bytes() / case.copies as u64, cost.flops / case.copies as u64);
        rows.push(PerfRow {
            device: name.clone(),
            shape: args.shape.name,
            op: case.stem,
            case: case.name.clone(),
            us: seconds * 1e6,
            bytes,
            flops,
            gbs: bytes as f64 / seconds / 1e9,
            stream_share: bytes as f64 / seconds / stream,
            tflops: flops as f64 / seconds / 1e12,
        });
    }
    if chosen.json {
        writeln!(stdout(), "{}", serde_json::to_string_pretty(&rows)?)?;
    } else {
        let mut table = plain_table(&["op", "case", "us", "GB/s", "% of memory", "TFLOP/s"]);
        for r in &rows {
            let share = format!("{:.1}", 100.0 * r.stream_share);
            let [us, gbs] = [r.us, r.gbs].map(|v| format!("{v:.2}"));
            table.add_row([r.op.to_string(), r.case.clone(), us, gbs, share, format!("{:.4}", r.tflops)]);
        }
        table.column_iter_mut().skip(2).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
        print(&table)?;
    }
    notice(format!("{name}: stream {:.1} GB/s", stream / 1e9));
    Ok(())
}
