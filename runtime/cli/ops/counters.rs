//! `pronk ops counters`: the work of each CUDA kernel, counted on the simulator.

use super::{Selection, StepSize, shape};
use crate::cli::output::{notice, plain_table, print, stdout};
use crate::cli::trial;
use anyhow::{Context, Result};
use comfy_table::CellAlignment;
use pronk::Backend;
use pronk::backend::Error;
use pronk::backend::cuda::{Cuda, GpuModel};
use pronk::conformance::single_cases;
use pronk::model::Shape;
use pronk::plan::CoreKind;
use pronk::quant::GgmlType;

use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

/// Count the work of the CUDA kernels on the simulator, and estimate their time on a GPU
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    selection: Selection,
    /// Well-known model with the shapes to use, for example llama3-8b
    #[arg(long, value_name = "NAME", default_value = "smollm2-135m", value_parser = shape)]
    shape: Shape,
    #[command(flatten)]
    step: StepSize,
    /// GPU of the estimate: H100, A100 or RTX 4090
    #[arg(long, value_name = "GPU", default_value = "H100", value_parser = target)]
    gpu: Target,
}

/// A GPU, and the compute capability that its kernels are compiled for.
#[derive(Clone, Copy)]
struct Target {
    gpu: &'static GpuModel,
    capability: (u32, u32),
}

/// Compute capabilities, by name.
const CAPABILITIES: [(&str, (u32, u32)); 3] = [("H100", (9, 0)), ("A100", (8, 0)), ("RTX 4090", (8, 9))];

fn target(name: &str) -> Result<Target, String> {
    let found = CAPABILITIES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    let target =
        found.and_then(|(name, capability)| Some(Target { gpu: GpuModel::named(name)?, capability: *capability }));
    target.ok_or_else(|| format!("expected one of {}", CAPABILITIES.map(|(name, _)| name).join(", ")))
}

/// Registers per thread of each kernel: `| entry | target | registers | ...`, as ptxas reports them.
const RESOURCES: &str = include_str!("../../../kernels/ptx/resources.md");

fn registers(entry: &str, (major, minor): (u32, u32)) -> Option<u32> {
    let target = format!("sm_{major}{minor}");
    let mut rows = RESOURCES.lines().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    let row = rows.find(|row| row.len() > 3 && row[1] == entry && row[2] == target)?;
    row[3].parse().ok()
}

#[derive(Serialize)]
struct Row {
    gpu: &'static str,
    shape: &'static str,
    op: &'static str,
    case: String,
    entry: String,
    launches: u64,
    /// How the rows of a decode product are divided among blocks and warps; None for other kernels.
    division: Option<String>,
    warp_instructions: u64,
    /// Warp instructions of each class: `Integer`, `Float32`, `LoadGlobal`, `Matrix`, ...
    by_class: BTreeMap<String, u64>,
    lane_instructions: u64,
    /// Per element of the matrices that the operation reads; None for kernels that read no matrix.
    lane_instructions_per_weight: Option<f64>,
    /// 32-byte sectors of global memory, summed over requests. `asked` and `needed` are equal if all accesses are
    /// coalesced.
    sectors_asked: u64,
    sectors_needed: u64,
    /// Bytes that a cold cache of unlimited size reads and writes.
    dram_bytes: u64,
    /// Passes over shared memory beyond the minimum.
    bank_conflicts: u64,
    /// Mean number of bytes in flight to a warp when it waits for the first of them.
    in_flight_bytes: f64,
    registers: u32,
    /// Warps per multiprocessor as a share of the maximum.
    occupancy: f64,
    /// The shortest time of one launch within the GPU's limits, and the limit that sets it.
    roofline_us: f64,
    bound: &'static str,
}

pub fn run(args: &Args) -> Result<()> {
    let chosen = &args.selection;
    let mut rows = vec![];
    let ty = chosen.ty.unwrap_or(GgmlType::Q4_0);
    let device = Cuda::sim_like(args.gpu.capability, args.gpu.gpu.sms);
    trial::notices(&device.name(), &device.replaced());
    for mut case in single_cases(&args.shape, ty, args.step.tokens, args.step.kv_len) {
        if !chosen.has(case.op) {
            continue;
        }
        let Target { gpu, capability } = args.gpu;
        // A new device for each case, so that its counters are those of the case.
        let mut device = Cuda::sim_like(capability, gpu.sms);
        match case.load(&mut device) {
            Err(Error::Unsupported { what, .. }) => {
                notice(format!("{} {}: not counted: {what}", case.op, case.name));
                continue;
            }
            loaded => loaded?,
        }
        let division = device.divisions().first().map(|(_, division)| division.to_string());
        let of_loading: BTreeSet<String> = device.driver().counted().keys().cloned().collect();
        case.run(&mut device)?;
        for (entry, (launches, counters)) in device.driver().counted() {
            if of_loading.contains(entry) {
                continue;
            }
            let registers = registers(entry, capability).with_context(|| format!("{entry}: not in resources.md"))?;
            let roofline = device.driver().roofline(entry, gpu, registers).context("an entry that ran")?;
            let weights = case.matrix_elements();
            // A separate kernel stages the inputs of products. A product with a sum or a choice runs in the kernels of plain products.
            let reads_matrix =
                weights > 0 && [case.op.stem(), CoreKind::MatMul.stem()].iter().any(|stem| entry.starts_with(stem));
            rows.push(Row {
                gpu: gpu.name,
                shape: args.shape.name,
                op: case.op.stem(),
                case: case.name.clone(),
                entry: entry.clone(),
                launches: *launches,
                division: division.clone().filter(|_| entry.ends_with("_stream")),
                warp_instructions: counters.total_instructions(),
                by_class: counters.instructions.iter().map(|(class, n)| (format!("{class:?}"), *n)).collect(),
                lane_instructions: counters.total_lane_instructions(),
                lane_instructions_per_weight: reads_matrix.then(|| counters.lane_instructions_per(weights)),
                sectors_asked: counters.sectors_asked,
                sectors_needed: counters.sectors_needed,
                dram_bytes: counters.dram_bytes(),
                bank_conflicts: counters.shared_conflicts,
                in_flight_bytes: counters.in_flight_mean(),
                registers,
                occupancy: roofline.occupancy,
                roofline_us: roofline.time() * 1e6,
                bound: roofline.bound(),
            });
        }
    }
    match chosen.json {
        true => writeln!(stdout(), "{}", serde_json::to_string_pretty(&rows)?)?,
        false => show(&rows)?,
    }
    Ok(())
}

fn show(rows: &[Row]) -> Result<()> {
    let columns = ["case", "entry", "launches", "warp instr", "lanes/weight", "sectors", "needed", "DRAM bytes"];
    let more = ["conflicts", "in flight", "regs", "occupancy", "us", "bound by", "division"];
    let mut table = plain_table(&[&columns[..], &more[..]].concat());
    for r in rows {
        let per_weight = r.lane_instructions_per_weight.map_or("-".to_string(), |n| format!("{n:.2}"));
        table.add_row([
            r.case.clone(),
            r.entry.clone(),
            r.launches.to_string(),
            r.warp_instructions.to_string(),
            per_weight,
            r.sectors_asked.to_string(),
            r.sectors_needed.to_string(),
            r.dram_bytes.to_string(),
            r.bank_conflicts.to_string(),
            format!("{:.0}", r.in_flight_bytes),
            r.registers.to_string(),
            format!("{:.0}%", 100.0 * r.occupancy),
            format!("{:.2}", r.roofline_us),
            r.bound.to_string(),
            r.division.clone().unwrap_or_default(),
        ]);
    }
    table.column_iter_mut().skip(2).take(11).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    Ok(print(&table)?)
}
