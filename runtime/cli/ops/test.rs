//! `pronk ops test`: the conformance cases on a device.

use super::Selection;
use crate::cli::device_name::device;
use crate::cli::output::{notice, plain_table, print, stdout};
use crate::cli::trial;
use anyhow::{Result, bail};
use indicatif::ProgressBar;
use pronk::backend::{self, DeviceChoice};
use pronk::conformance::{Outcome, cases};
use pronk::quant::GgmlType;
use serde::Serialize;
use std::io::Write;

/// Compare every operation with the reference; exit code 1 if a case fails
#[derive(clap::Args)]
pub struct Args {
    /// Device to test: auto (the first GPU, else the CPU) or an id from `pronk devices`
    #[arg(long, default_value = "auto", value_parser = device)]
    device: DeviceChoice,
    #[command(flatten)]
    selection: Selection,
    /// List all cases, not only those that fail
    #[arg(short, long)]
    verbose: bool,
    /// Stop after the first case that fails
    #[arg(long)]
    fail_fast: bool,
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

pub fn run(args: &Args) -> Result<()> {
    let chosen = &args.selection;
    if matches!(args.device, DeviceChoice::Named(name) if name.with_reference()) {
        bail!("cases compare a device with the reference: give the device without +ref");
    }
    let mut device = backend::open(args.device)?;
    trial::notices(&device.name(), &device.replaced());
    let mut cases = cases();
    cases.retain(|c| chosen.has(c.op) && (chosen.ty.is_none() || c.ty == chosen.ty));
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
        let (op, r#type) = (case.op.stem(), case.ty.map(GgmlType::name));
        rows.push(TestRow { device: device.name(), op, case: case.name, r#type, outcome, error, what });
        bar.inc(1);
        if args.fail_fast && outcome == "failed" {
            break;
        }
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
