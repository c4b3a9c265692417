use super::ops::tensor_type;
use super::output::{notice, plain_table, print};
use anyhow::Result;
use comfy_table::CellAlignment;
use indicatif::ProgressBar;
use pronk::backend::{self, DeviceChoice};
use pronk::conformance::cases;
use pronk::plan::OpKind;
use pronk::quant::GgmlType;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// Compare the results of two devices bit by bit, over all conformance cases: a GPU with the simulator, for example
#[derive(clap::Args)]
pub struct Args {
    /// What `pronk devices` lists: cuda, cuda:1, wgpu, ...
    #[arg(long, default_value = "cuda")]
    device: DeviceChoice,
    /// The device to compare with
    #[arg(long, value_name = "DEVICE", default_value = "sim")]
    with: DeviceChoice,
    /// Only this operation: mat_mul, attention, ...
    #[arg(short, long, value_name = "OP")]
    op: Option<OpKind>,
    /// Only weights of this type: Q4_0, ...
    #[arg(long = "type", value_name = "TYPE", value_parser = tensor_type)]
    ty: Option<GgmlType>,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// How far an operation's results agree.
#[derive(Serialize, Default)]
struct Row {
    op: &'static str,
    cases: u64,
    elements: u64,
    /// Elements with the same bits.
    equal: u64,
    /// The largest distance in units in the last place, of numbers of the same sign.
    max_ulps: u32,
    /// The largest normalized squared error of a case.
    error: f64,
}

pub fn run(args: &Args) -> Result<()> {
    let (mut a, mut b) = (backend::open(args.device)?, backend::open(args.with)?);
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
        writeln!(io::stdout(), "{}", serde_json::to_string_pretty(&rows)?)?;
    } else {
        let mut table = plain_table(&["op", "cases", "elements", "equal", "most ulps apart", "worst error"]);
        for row in rows.values() {
            let numbers = [row.cases, row.elements, row.equal, row.max_ulps as u64].map(|n| n.to_string());
            table.add_row([row.op.to_string()].into_iter().chain(numbers).chain([format!("{:.1e}", row.error)]));
        }
        table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
        print(&table)?;
    }
    notice(format!("{} and {}: {lacking} cases that one of them cannot run", a.name(), b.name()));
    Ok(())
}
