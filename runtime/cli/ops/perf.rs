//! `pronk ops perf`: the time of each operation.

use super::{Selection, StepSize, shape};
use crate::cli::bandwidth;
use crate::cli::device_name::device;
use crate::cli::output::{notice, plain_table, print, stdout};
use crate::cli::trial;
use anyhow::{Context, Result};
use comfy_table::CellAlignment;
use pronk::backend::{self, DeviceChoice, Error};
use pronk::conformance::{perf_cases, stream_bandwidth};
use pronk::model::Shape;
use pronk::quant::GgmlType;
use serde::Serialize;
use std::io::Write;
use std::time::Duration;

/// Time every operation at the shapes of a model's layer
#[derive(clap::Args)]
pub struct Args {
    /// Device to run on: auto (the first GPU, else the CPU) or an id from `pronk devices`
    #[arg(long, default_value = "auto", value_parser = device)]
    device: DeviceChoice,
    #[command(flatten)]
    selection: Selection,
    /// Well-known model with the shapes to use, for example llama3-8b
    #[arg(long, value_name = "NAME", default_value = "llama3-8b", value_parser = shape)]
    shape: Shape,
    #[command(flatten)]
    step: StepSize,
}

/// Measuring time of each row.
const ROW_TIME: Duration = Duration::from_millis(300);

#[derive(Serialize)]
struct PerfRow {
    device: String,
    shape: &'static str,
    op: &'static str,
    case: String,
    /// Median time of one operation, in microseconds.
    us: f64,
    /// Bytes that any kernel of the operation must move.
    bytes: u64,
    flops: u64,
    /// 1e9 bytes per second.
    gbs: f64,
    /// `gbs` as a share of the memory's bandwidth, measured in the same run: by reads of all threads on the CPU, by an
    /// addition elsewhere.
    stream_share: f64,
    /// 1e12 floating point operations per second.
    tflops: f64,
}

pub fn run(args: &Args) -> Result<()> {
    let chosen = &args.selection;
    let mut device = backend::open(args.device)?;
    trial::notices(&device.name(), &device.replaced());
    let name = device.name();
    // The CPU's addition runs on one thread, so its bandwidth is measured by reads of all threads.
    let stream = match name.as_str() {
        "cpu" => bandwidth::read_bandwidth().context("too little memory to measure the bandwidth")?,
        _ => stream_bandwidth(&mut *device).context("stream addition")?,
    };
    let mut rows = vec![];
    for mut case in perf_cases(&args.shape, chosen.ty.unwrap_or(GgmlType::Q4_0), args.step.tokens, args.step.kv_len) {
        if !chosen.has(case.op) {
            continue;
        }
        match case.load(&mut *device) {
            Err(Error::Unsupported { what, .. }) => {
                notice(format!("{} {}: not measured: {what}", case.op, case.name));
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
            op: case.op.stem(),
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
    notice(format!("{name}: memory bandwidth {:.1} GB/s", stream / 1e9));
    Ok(())
}
