//! `pronk compare`: the results of two devices, bit by bit.

use super::device_name::device;
use super::ops::tensor_type;
use super::output::{notice, plain_table, print, stdout};
use super::trial;
use anyhow::Result;
use comfy_table::CellAlignment;
use indicatif::ProgressBar;
use pronk::backend::{self, DeviceChoice};
use pronk::conformance::cases;
use pronk::plan::OpKind;
use pronk::quant::GgmlType;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write;

/// Compare two devices bit by bit over all conformance cases, for example a GPU and the simulator
#[derive(clap::Args)]
pub struct Args {
    /// Device to compare: an id from `pronk devices`
    #[arg(long, default_value = "cuda", value_parser = device)]
    device: DeviceChoice,
    /// Device to compare it with
    #[arg(long, value_name = "DEVICE", default_value = "sim", value_parser = device)]
    with: DeviceChoice,
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

/// Agreement of the results of one operation.
#[derive(Serialize, Default)]
struct Row {
    op: &'static str,
    cases: u64,
    elements: u64,
    /// Number of elements with equal bits.
    equal: u64,
    /// The largest distance of two numbers of the same sign, in units in the last place.
    max_ulps: u32,
    /// The largest normalized squared error of a case.
    error: f64,
}

pub fn run(args: &Args) -> Result<()> {
    let (mut a, mut b) = (backend::open(args.device)?, backend::open(args.with)?);
    for device in [&a, &b] {
        trial::notices(&device.name(), &device.replaced());
    }
    let mut cases = cases();
    cases.retain(|c| args.op.is_none_or(|op| op == c.op) && (args.ty.is_none() || c.ty == args.ty));
    let bar = ProgressBar::new(cases.len() as u64);
    let (mut rows, mut lacking) = (BTreeMap::<&str, Row>::new(), 0);
    for case in cases {
        bar.inc(1);
        let Some(found) = case.agreement(&mut *a, &mut *b)? else {
            lacking += 1;
            continue;
        };
        let row = rows.entry(case.op.stem()).or_insert_with(|| Row { op: case.op.stem(), ..Row::default() });
        row.cases += 1;
        row.elements += found.elements;
        row.equal += found.equal;
        row.max_ulps = row.max_ulps.max(found.max_ulps);
        row.error = row.error.max(found.nmse());
    }
    bar.finish_and_clear();
    if args.json {
        let rows: Vec<&Row> = rows.values().collect();
        writeln!(stdout(), "{}", serde_json::to_string_pretty(&rows)?)?;
    } else {
        let mut table = plain_table(&["op", "cases", "elements", "equal", "max ulps apart", "worst error"]);
        for row in rows.values() {
            let numbers = [row.cases, row.elements, row.equal, row.max_ulps as u64].map(|n| n.to_string());
            table.add_row([row.op.to_string()].into_iter().chain(numbers).chain([format!("{:.1e}", row.error)]));
        }
        table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
        print(&table)?;
    }
    notice(format!("{} and {}: {lacking} cases left out, which one of them cannot run", a.name(), b.name()));
    Ok(())
}
