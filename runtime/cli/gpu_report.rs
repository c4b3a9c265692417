//! `pronk gpu-report`: all checks and measurements that need a GPU. Each step runs this program once more, so that a
//! step that fails or hangs does not affect the others.

use super::device_name::device;
use super::interrupt::{self, Interrupted, Work};
use super::numbers::whole_in;
use super::output::{WholeFile, notice};
use crate::platform::set_unfinished;
use anyhow::{Context, Result, bail};
use pronk::backend::{self, DeviceChoice};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Check and measure a GPU: conformance, agreement with the simulator, speed
///
/// Writes report.md, report.json, a chart, and the output of each step.
#[derive(clap::Args)]
pub struct Args {
    /// Folder for the results, created if it is missing
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Device to report on
    #[arg(long, default_value = "cuda", value_parser = device_name)]
    device: String,
    /// Measure this model too
    #[arg(short, long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Time limit; the report lists the steps that were left out
    #[arg(long, value_name = "N", default_value = "8", value_parser = whole_in::<u64>(1..=600))]
    minutes: u64,
}

/// Checks the name of a device, and keeps it as text for the arguments of the steps.
fn device_name(name: &str) -> Result<String, String> {
    device(name).map(|_| name.to_string())
}

/// One program to run.
struct Step {
    /// The name of its output file, without the extension.
    name: String,
    program: PathBuf,
    args: Vec<String>,
    /// The step is stopped after this time.
    most: Duration,
    /// Whether its output is JSON.
    json: bool,
}

/// The result of a step.
struct Done {
    step: Step,
    /// `passed`, `failed (exit code 1)`, `stopped after 60 s`, `left out`.
    outcome: String,
    seconds: f64,
    /// Its output, if that is JSON; else null.
    result: Value,
    /// The last line that it wrote to stderr.
    last_line: String,
}

pub fn run(args: &Args) -> Result<()> {
    // A device that cannot be opened is one error, not a failure of every step.
    let choice: DeviceChoice = args.device.parse()?;
    backend::open(choice)?;
    if [DeviceChoice::CPU, DeviceChoice::REFERENCE].contains(&choice) {
        notice(format!("--device {}: this report is of a CPU, not of a GPU", args.device));
    }
    fs::create_dir_all(&args.out).with_context(|| format!("{}: cannot create this folder", args.out.display()))?;
    let _work = Work::begin(); // a signal ends the step that runs, and its program
    let begin = Instant::now();
    let steps = steps(args)?;
    let n = steps.len();
    let mut done = vec![];
    for (i, step) in steps.into_iter().enumerate() {
        notice(format!("{} of {n}: {}", i + 1, step.name));
        let left = Duration::from_secs(60 * args.minutes).saturating_sub(begin.elapsed());
        done.push(step.run(&args.out, left)?);
    }
    write_file(&args.out.join("report.json"), &serde_json::to_string_pretty(&summary(&done))?)?;
    chart(&args.out.join("operations.svg"), &done)?;
    write_file(&args.out.join("report.md"), &page(args, &done)?)?;
    let failed: Vec<&str> = done.iter().filter(|d| d.outcome != "passed").map(|d| d.step.name.as_str()).collect();
    notice(format!("{}: {} steps, report.md has the results", args.out.display(), done.len()));
    if !failed.is_empty() {
        bail!("did not pass: {}", failed.join(", "));
    }
    Ok(())
}

fn write_file(path: &Path, text: &str) -> Result<()> {
    let mut file = WholeFile::create(path)?;
    file.write_all(text.as_bytes())?;
    file.commit()
}

fn steps(args: &Args) -> Result<Vec<Step>> {
    let pronk = std::env::current_exe().context("this program's own path")?;
    let step = |name: &str, line: &str, seconds: u64| Step {
        name: name.to_string(),
        program: pronk.clone(),
        args: line.split(' ').map(str::to_string).collect(),
        most: Duration::from_secs(seconds),
        json: line.contains("json"),
    };
    let d = &args.device;
    let mut steps =
        vec![step("devices", "devices", 30), step("ops-test", &format!("ops test --device {d} --json"), 120)];
    if backend::open("wgpu".parse()?).is_ok() && d != "wgpu" {
        steps.push(step("ops-test-wgpu", "ops test --device wgpu --json", 120));
    }
    if cfg!(feature = "sim") {
        steps.push(step("compare-sim", &format!("compare --device {d} --with sim --json"), 180));
    }
    for ty in ["Q4_0", "Q4_K", "Q8_0", "F16"] {
        steps.push(step(&format!("ops-perf-{ty}"), &format!("ops perf --device {d} --type {ty} --json"), 60));
    }
    steps.push(step("ops-perf-prefill", &format!("ops perf --device {d} --type Q4_0 -n 512 --json"), 60));
    for (shape, ty) in [("llama3.2-1b", "F16"), ("llama3-8b", "Q4_0"), ("llama3-8b", "Q8_0")] {
        let line = format!("bench --synth {shape}:{ty} --device {d} -p 512 -n 128 -r 3 -o json");
        steps.push(step(&format!("bench-{shape}-{ty}"), &line, 90));
    }
    if let Some(model) = &args.model {
        let mut bench = step("bench-model", &format!("bench --device {d} -p 512 -n 128 -r 3 -o json -m"), 120);
        bench.args.push(model.display().to_string());
        steps.push(bench);
    }
    let sanitizer = PathBuf::from("compute-sanitizer");
    if d.starts_with("cuda") && Command::new(&sanitizer).arg("--version").output().is_ok() {
        for tool in ["memcheck", "racecheck"] {
            for op in ["mat_mul", "attention"] {
                let line = format!("ops test --device {d} -o {op}");
                let mut check = step(&format!("{tool}-{op}"), &line, 120);
                let own = [format!("--tool={tool}"), "--error-exitcode=9".to_string(), pronk.display().to_string()];
                check.args.splice(0..0, own);
                check.program = sanitizer.clone();
                steps.push(check);
            }
        }
    }
    Ok(steps)
}

impl Step {
    /// Runs the step for at most `left`. Its output goes to files of its name in `out`.
    ///
    /// Errors: a file cannot be written; the program cannot start; a signal asked for the end, then the step leaves no file.
    fn run(self, out: &Path, left: Duration) -> Result<Done> {
        let path = out.join(format!("{}.{}", self.name, if self.json { "json" } else { "txt" }));
        let log = out.join(format!("{}.log", self.name));
        let open = |path: &Path| File::create(path).with_context(|| format!("{}: cannot write", path.display()));
        let begin = Instant::now();
        let mut outcome = "left out: no time".to_string();
        if !left.is_zero() {
            set_unfinished(Some(&path)); // a second signal ends this program at once
            let mut child = Command::new(&self.program)
                .args(&self.args)
                .stdin(Stdio::null())
                .stdout(open(&path)?)
                .stderr(open(&log)?)
                .spawn()
                .with_context(|| format!("{}: cannot start", self.program.display()))?;
            let most = self.most.min(left);
            outcome = loop {
                match child.try_wait()? {
                    Some(status) if status.success() => break "passed".to_string(),
                    Some(status) => break format!("failed ({status})"),
                    None if begin.elapsed() > most || interrupt::asked() => {
                        child.kill()?;
                        child.wait()?;
                        break format!("stopped after {} s", most.as_secs());
                    }
                    None => std::thread::sleep(Duration::from_millis(50)),
                }
            };
        }
        set_unfinished(None);
        if interrupt::asked() {
            // They are missing if the step had not begun.
            [&path, &log].into_iter().for_each(|path| fs::remove_file(path).unwrap_or_default());
            return Err(Interrupted.into());
        }
        let text = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        let result = if self.json { serde_json::from_str(&text(&path)).unwrap_or(Value::Null) } else { Value::Null };
        let last_line = text(&log).lines().last().unwrap_or_default().to_string();
        Ok(Done { step: self, outcome, seconds: begin.elapsed().as_secs_f64(), result, last_line })
    }

    fn command(&self) -> String {
        let program = self.program.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        format!("{program} {}", self.args.join(" "))
    }
}

fn summary(done: &[Done]) -> Value {
    let row = |d: &Done| {
        json!({"step": d.step.name, "command": d.step.command(), "outcome": d.outcome, "seconds": d.seconds,
               "last_line": d.last_line, "result": d.result})
    };
    done.iter().map(row).collect()
}

fn text_of(row: &Value, key: &str) -> String {
    match &row[key] {
        Value::String(text) => text.clone(),
        Value::Number(n) if n.is_u64() => n.to_string(),
        Value::Number(n) => n.as_f64().map_or_else(String::new, |v| format!("{v:.2}")),
        _ => String::new(),
    }
}

fn page(args: &Args, done: &[Done]) -> Result<String> {
    let mut page = String::new();
    let now = jiff::Timestamp::now().round(jiff::Unit::Second)?;
    writeln!(page, "# {} on {now}\n\nPronk {}.\n", args.device, env!("CARGO_PKG_VERSION"))?;
    let devices = fs::read_to_string(args.out.join("devices.txt")).unwrap_or_default();
    writeln!(page, "```\n{devices}```\n")?;
    writeln!(page, "| step | outcome | seconds | |\n|---|---|--:|---|")?;
    for d in done {
        writeln!(
            page,
            "| `{}` | {} | {:.1} | {} |",
            d.step.command(),
            d.outcome,
            d.seconds,
            d.last_line.replace('|', "/")
        )?;
    }
    writeln!(page, "\n![Share of the device's bandwidth, by operation](operations.svg)")?;
    for d in done {
        let Some(rows) = d.result.as_array().filter(|rows| !rows.is_empty()) else { continue };
        let columns: &[&str] = match d.step.name.split('-').next() {
            Some("bench") => &["model_type", "n_prompt", "n_gen", "avg_ts", "stddev_ts", "avg_gbs"],
            Some("compare") => &["op", "cases", "elements", "equal", "max_ulps"],
            _ if d.step.name.starts_with("ops-perf") => &["op", "case", "us", "gbs", "stream_share", "tflops"],
            _ => continue,
        };
        writeln!(page, "\n## {}\n\n| {} |\n|{}", d.step.name, columns.join(" | "), "---|".repeat(columns.len()))?;
        for row in rows {
            let cells: Vec<String> = columns.iter().map(|key| text_of(row, key)).collect();
            writeln!(page, "| {} |", cells.join(" | "))?;
        }
    }
    Ok(page)
}

/// Draws a bar for each operation of the first `ops perf`: its share of the measured bandwidth.
fn chart(path: &Path, done: &[Done]) -> Result<()> {
    use plotters::prelude::*;
    let perf = done.iter().find(|d| d.step.name.starts_with("ops-perf"));
    let rows = perf.and_then(|d| d.result.as_array().cloned()).unwrap_or_default();
    let share = |row: &Value| (100.0 * row["stream_share"].as_f64().unwrap_or(0.0)).round() as i32;
    let labels: Vec<String> =
        rows.iter().map(|row| format!("{} {}", text_of(row, "op"), text_of(row, "case"))).collect();
    let title = format!("% of the stream addition, {}", perf.map_or_else(String::new, |d| d.step.command()));
    let draw = || -> Result<(), Box<dyn std::error::Error>> {
        let n = rows.len().max(1);
        let area = SVGBackend::new(path, (1000, 80 + 24 * n as u32)).into_drawing_area();
        area.fill(&WHITE)?;
        let most = rows.iter().map(share).max().unwrap_or(0).max(100);
        let mut chart = ChartBuilder::on(&area)
            .caption(title, ("sans-serif", 16))
            .margin(10)
            .x_label_area_size(30)
            .y_label_area_size(380)
            .build_cartesian_2d(0..most, (0..n).into_segmented())?;
        let label = |at: &SegmentValue<usize>| match at {
            SegmentValue::CenterOf(i) => labels.get(*i).cloned().unwrap_or_default(),
            _ => String::new(),
        };
        chart.configure_mesh().disable_y_mesh().y_labels(n).y_label_formatter(&label).draw()?;
        let bars = Histogram::horizontal(&chart).style(BLUE.mix(0.6).filled()).margin(3);
        chart.draw_series(bars.data(rows.iter().enumerate().map(|(i, row)| (i, share(row)))))?;
        Ok(area.present()?)
    };
    draw().map_err(|e| anyhow::anyhow!("{}: {e}", path.display()))
}
