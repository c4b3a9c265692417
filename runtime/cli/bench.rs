//! `pronk bench`: the speed of prefill and decode.

use super::args::DeviceArgs;
use super::bandwidth;
use super::model_path::model_file;
use super::numbers::whole_from;
use super::output::{notice, stdout};
use super::overrides::OverrideArgs;
use anyhow::{Result, bail};
use clap::ValueEnum;
use clap::error::ErrorKind;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use pronk::backend::gib;
use pronk::generate::{Loaded, Outputs, Session};
use pronk::model::{Model, Shape, Synth};
use pronk::plan::{Plan, StepSize};
use pronk::quant::GgmlType;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

/// Measure the speed of prefill (pp) and decode (tg), with llama-bench's columns
///
/// GB/s: the weights, keys and values that a test must read, in 1e9 bytes per second. % of memory: GB/s as a share of
/// the memory's bandwidth, which plain reads by all threads measure in the same run (CPU only).
#[derive(clap::Args)]
pub struct Args {
    /// GGUF file
    #[arg(short, long, value_name = "FILE", required_unless_present = "synth", value_parser = model_file())]
    model: Option<PathBuf>,
    /// Random weights instead of a file, in a well-known shape and a tensor type, for example llama3-8b:Q4_0
    #[arg(long, value_name = "SHAPE:TYPE", conflicts_with_all = ["model", "OverrideArgs"],
          value_parser = synthetic)]
    synth: Option<(Shape, GgmlType)>,
    /// Number of layers of the --synth model [default: all]
    #[arg(long, value_name = "N", requires = "synth", value_parser = whole_from::<u32>(1))]
    layers: Option<u32>,
    #[command(flatten)]
    overrides: OverrideArgs,
    #[command(flatten)]
    on: DeviceArgs,
    /// Prompt lengths in tokens, separated by commas; 0: no prefill test
    #[arg(short = 'p', long, value_name = "N", value_delimiter = ',', default_value = "512", value_parser = whole_from::<u32>(0))]
    n_prompt: Vec<u32>,
    /// Numbers of tokens to generate, separated by commas; 0: no decode test
    #[arg(short, long, value_name = "N", value_delimiter = ',', default_value = "128", value_parser = whole_from::<u32>(0))]
    n_gen: Vec<u32>,
    /// Numbers of tokens in the KV cache before a test, separated by commas
    #[arg(short = 'd', long, value_name = "N", value_delimiter = ',', default_value = "0", value_parser = whole_from::<u32>(0))]
    n_depth: Vec<u32>,
    /// Number of measured runs of each test
    #[arg(short, long, value_name = "N", default_value = "5", value_parser = whole_from::<u32>(1))]
    repetitions: u32,
    /// Format of the results
    #[arg(short, long, value_name = "FORMAT", default_value = "md")]
    output: Form,
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    Md,
    Csv,
    Json,
    Jsonl,
}

/// A test: prefill of `n_prompt` tokens, or decode of `n_gen` tokens one by one, after `n_depth` tokens.
#[derive(Clone, Copy)]
struct Test {
    n_prompt: u32,
    n_gen: u32,
    n_depth: u32,
}

/// A result. Fields have llama-bench's names where it has them.
#[derive(Serialize)]
struct Row {
    build_version: &'static str,
    test_time: String,
    model_filename: String,
    model_type: String,
    /// Bytes of all tensors.
    model_size: u64,
    model_n_params: u64,
    backends: String,
    /// None for devices other than the CPU.
    n_threads: Option<usize>,
    type_k: String,
    type_v: String,
    n_prompt: u32,
    n_gen: u32,
    n_depth: u32,
    avg_ns: u64,
    stddev_ns: u64,
    /// Tokens per second.
    avg_ts: f64,
    stddev_ts: f64,
    /// Bytes of weights, keys and values that all steps together must read.
    bytes: u64,
    /// `bytes` over the mean time, in 1e9 bytes per second.
    avg_gbs: f64,
    /// Bandwidth of the device's memory, measured in this run; None where it is not measured.
    stream_gbs: Option<f64>,
    /// `avg_gbs / stream_gbs`.
    stream_share: Option<f64>,
    samples_ns: Vec<u64>,
    samples_ts: Vec<f64>,
}

pub fn run(args: &Args) -> Result<()> {
    let tests = tests(args);
    let Some(longest) = tests.iter().max_by_key(|test| test.n_slots()) else {
        super::usage::error("bench", ErrorKind::ValueValidation, "-p and -n are both 0: nothing to measure");
    };
    let model = model(args)?;
    let needs = longest.n_slots();
    // A need above u32::MAX exceeds every context: it is refused below.
    let options = args.on.options(Some(u32::try_from(needs).unwrap_or(u32::MAX)));
    let n_ctx = options.n_ctx.unwrap_or(model.config.n_ctx_train);
    if needs > n_ctx as u64 {
        bail!("{longest}: needs {needs} tokens of context, -c is {n_ctx}");
    }
    let Loaded { model, mut session, .. } = args.on.load(model, &options)?;
    let device = session.device();
    let stream = if device == "cpu" { bandwidth::read_bandwidth() } else { None };

    if let Some(stream) = stream.filter(|_| !args.on.quiet) {
        notice(format!("memory: {:.1} GB/s read by {} threads", stream / 1e9, rayon::current_num_threads()));
    }
    let mut rows = vec![];
    for (i, test) in tests.iter().enumerate() {
        if !args.on.quiet {
            notice(format!("{} of {}: {test}", i + 1, tests.len()));
        }
        rows.push(measure(*test, args.repetitions, &mut session, &model, stream)?);
    }
    match args.output {
        Form::Md => write_table(&rows),
        Form::Csv => write_csv(&rows),
        Form::Json => Ok(writeln!(stdout(), "{}", serde_json::to_string_pretty(&rows)?)?),
        Form::Jsonl => rows.iter().try_for_each(|row| Ok(writeln!(stdout(), "{}", serde_json::to_string(row)?)?)),
    }
}

/// Parses `SHAPE:TYPE`.
fn synthetic(text: &str) -> Result<(Shape, GgmlType), String> {
    let (name, ty) = text.split_once(':').ok_or("expected SHAPE:TYPE, for example llama3-8b:Q4_0")?;
    Ok((super::ops::shape(name)?, super::ops::tensor_type(ty)?))
}

/// The model to measure.
fn model(args: &Args) -> Result<Model> {
    match (&args.synth, &args.model) {
        (Some((shape, ty)), _) => {
            let n_layers = args.layers.unwrap_or(shape.n_layers);
            if n_layers > shape.n_layers {
                bail!("--layers {n_layers}: {} has {}", shape.name, shape.n_layers);
            }
            Ok(Synth { shape: Shape { n_layers, ..*shape }, ty: *ty, seed: 1 }.model())
        }
        (None, Some(path)) => Ok(Model::new(args.overrides.open(path)?)?),
        (None, None) => unreachable!("the command line asks for one of them"),
    }
}

fn tests(args: &Args) -> Vec<Test> {
    let at_depth = |n_depth: u32| {
        let prompts = args.n_prompt.iter().map(move |&n_prompt| Test { n_prompt, n_gen: 0, n_depth });
        prompts.chain(args.n_gen.iter().map(move |&n_gen| Test { n_prompt: 0, n_gen, n_depth }))
    };
    args.n_depth.iter().flat_map(|&n| at_depth(n)).filter(|t| t.n_tokens() > 0).collect()
}

/// `pp512`, `tg128 @ d4096`.
impl std::fmt::Display for Test {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self.n_gen {
            0 => write!(f, "pp{}", self.n_prompt)?,
            n => write!(f, "tg{n}")?,
        }
        if self.n_depth > 0 { write!(f, " @ d{}", self.n_depth) } else { Ok(()) }
    }
}

impl Test {
    fn n_tokens(&self) -> u32 {
        self.n_prompt + self.n_gen
    }

    fn n_slots(&self) -> u64 {
        self.n_depth as u64 + self.n_prompt as u64 + self.n_gen as u64
    }

    /// Runs the test once from an empty cache. Returns the seconds, without those of the first `n_depth` tokens.
    fn run(&self, session: &mut Session) -> Result<f64> {
        let n_vocab = session.n_vocab();
        let random = |n: u32| (0..n).map(|_| rand::random_range(0..n_vocab)).collect::<Vec<u32>>();
        session.truncate(0);
        if self.n_depth > 0 {
            session.feed(&random(self.n_depth), Outputs::Last, |_, _| true)?;
            session.argmax()?; // waits for the device
        }
        let prompt = random(self.n_prompt);
        let mut next = rand::random_range(0..n_vocab);
        let begin = Instant::now();
        if self.n_prompt > 0 {
            session.feed(&prompt, Outputs::Last, |_, _| true)?;
            session.argmax()?;
        }
        for more in (0..self.n_gen as usize).rev() {
            next = session.decode_greedy(next, more)?;
        }
        Ok(begin.elapsed().as_secs_f64())
    }

    /// Bytes of weights, keys and values that the steps of the test must read.
    fn bytes(&self, plan: &Plan) -> u64 {
        let prompt = (0..self.n_prompt).step_by(plan.max_tokens as usize);
        let prompt = prompt.map(|done| (done, plan.max_tokens.min(self.n_prompt - done)));
        let steps = prompt.chain((0..self.n_gen).map(|done| (done, 1)));
        let bytes = steps.map(|(done, n)| {
            let ends = self.n_gen > 0 || done + n == self.n_prompt;
            let kv_len = self.n_depth as u64 + done as u64 + n as u64;
            let cost = plan.cost(StepSize { n_tokens: n as u64, n_outputs: ends as u64, kv_len });
            cost.weights + cost.kv
        });
        bytes.sum()
    }
}

/// Runs the test once to warm up, then measures `n` runs.
fn measure(test: Test, n: u32, session: &mut Session, model: &Model, stream: Option<f64>) -> Result<Row> {
    test.run(session)?;
    let seconds = (0..n).map(|_| test.run(session)).collect::<Result<Vec<f64>>>()?;
    let samples_ts: Vec<f64> = seconds.iter().map(|s| test.n_tokens() as f64 / s).collect();
    let (avg, stddev) = mean_and_deviation(&seconds);
    let ns = |seconds: f64| (seconds * 1e9).round() as u64;
    let (avg_ts, stddev_ts) = mean_and_deviation(&samples_ts);
    let plan = session.plan();
    let bytes = test.bytes(plan);
    let avg_gbs = bytes as f64 / avg / 1e9;
    let kv = plan.kv.ty.name().to_string();
    let (model_type, model_size, model_n_params) = describe(model);
    Ok(Row {
        build_version: env!("CARGO_PKG_VERSION"),
        test_time: jiff::Timestamp::now().round(jiff::Unit::Second)?.to_string(),
        model_filename: model.name().to_string(),
        model_type,
        model_size,
        model_n_params,
        backends: session.device(),
        n_threads: (session.device() == "cpu").then(rayon::current_num_threads),
        type_k: kv.clone(),
        type_v: kv,
        n_prompt: test.n_prompt,
        n_gen: test.n_gen,
        n_depth: test.n_depth,
        avg_ns: ns(avg),
        stddev_ns: ns(stddev),
        avg_ts,
        stddev_ts,
        bytes,
        avg_gbs,
        stream_gbs: stream.map(|s| s / 1e9),
        stream_share: stream.map(|s| avg_gbs / (s / 1e9)),
        samples_ns: seconds.into_iter().map(ns).collect(),
        samples_ts,
    })
}

/// The mean and the sample standard deviation (0 for a single value).
fn mean_and_deviation(samples: &[f64]) -> (f64, f64) {
    let n = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / n;
    let squares: f64 = samples.iter().map(|v| (v - mean).powi(2)).sum();
    (mean, (squares / (n - 1.0).max(1.0)).sqrt())
}

/// `llama 135M Q4_1`, with the type that has the most bytes; bytes and elements of all tensors.
fn describe(model: &Model) -> (String, u64, u64) {
    let mut types: BTreeMap<GgmlType, u64> = BTreeMap::new();
    let mut elements = 0;
    for (ty, shape) in model.catalog.values() {
        let n: u64 = shape.iter().product();
        elements += n;
        *types.entry(*ty).or_default() += n / ty.block_size() * ty.block_bytes();
    }
    let ty = types.iter().max_by_key(|(_, bytes)| **bytes).map_or("-", |(ty, _)| ty.name());
    (format!("{} {} {ty}", model.arch.key, count(elements, 0)), types.values().sum(), elements)
}

/// `135M`, `8.03B`.
fn count(n: u64, digits: usize) -> String {
    match n as f64 {
        n if n >= 1e9 => format!("{:.*}B", digits.max(1), n / 1e9),
        n if n >= 1e6 => format!("{:.digits$}M", n / 1e6),
        n => format!("{:.digits$}K", n / 1e3),
    }
}

fn write_table(rows: &[Row]) -> Result<()> {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["model", "size", "params", "backend", "threads", "test", "t/s", "GB/s", "% of memory"]);
    for row in rows {
        let test = Test { n_prompt: row.n_prompt, n_gen: row.n_gen, n_depth: row.n_depth };
        table.add_row([
            row.model_type.clone(),
            gib(row.model_size),
            count(row.model_n_params, 2),
            row.backends.clone(),
            row.n_threads.map_or("-".to_string(), |n| n.to_string()),
            test.to_string(),
            format!("{:.2} ± {:.2}", row.avg_ts, row.stddev_ts),
            format!("{:.2}", row.avg_gbs),
            row.stream_share.map_or("-".to_string(), |share| format!("{:.1}", 100.0 * share)),
        ]);
    }
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    writeln!(stdout(), "{table}")?;
    Ok(())
}

/// The fields of the JSON formats, without the lists of samples.
fn write_csv(rows: &[Row]) -> Result<()> {
    let mut csv = csv::Writer::from_writer(stdout());
    for (i, row) in rows.iter().enumerate() {
        let Value::Object(mut fields) = serde_json::to_value(row)? else {
            continue;
        };
        fields.retain(|_, value| !value.is_array());
        if i == 0 {
            csv.write_record(fields.keys())?;
        }
        csv.write_record(fields.values().map(|value| match value {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        }))?;
    }
    Ok(csv.flush()?)
}
