//! The command line: one file per subcommand, each with its arguments and its code.
//!
//! Results go to stdout, everything else to stderr. Exit codes: 0; 1 for an error (one line); 2 for a wrong command
//! line; 3 for an unsafe message with `guard --fail-unsafe`; 128 plus the number of a signal that ended it, 130 for Ctrl-C.

mod advice;
mod args;
mod bandwidth;
mod bench;
mod chat;
mod chat_template;
mod compare;
mod completions;
mod device_name;
mod devices;
mod escapes;
mod foreign;
mod gpu_report;
mod guard;
mod hash;
mod info;
mod interrupt;
mod logits;
mod man;
mod model_path;
mod numbers;
mod ops;
mod output;
mod overrides;
mod perplexity;
mod reply;
mod run;
mod sampling;
mod synth;
mod terminal;
mod text;
mod threads;
mod tokenize;
mod trial;
mod usage;
mod wrap;

use clap::{Parser, Subcommand};
use std::io;
use std::process::ExitCode;

/// The program's name in usages, scripts and manual pages.
const NAME: &str = "pronk";

/// Runs Llama and Qwen models in GGUF files on GPU kernels written by hand.
#[derive(Parser)]
#[command(name = NAME, version = env!("PRONK_VERSION"))]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Args),
    Chat(chat::Args),
    Info(info::Args),
    Devices(devices::Args),
    Tokenize(tokenize::Args),
    Hash(hash::Args),
    Synth(synth::Args),
    Logits(logits::Args),
    Perplexity(perplexity::Args),
    Guard(guard::Args),
    Bench(bench::Args),
    Ops(ops::Args),
    Compare(compare::Args),
    GpuReport(gpu_report::Args),
    Completions(completions::Args),
    Man(man::Args),
}

pub fn main() -> ExitCode {
    let args = std::env::args_os().collect();
    let command = usage::parsed(args).command;
    threads::prepare();
    let done = match command {
        Command::Run(args) => run::run(&args),
        Command::Chat(args) => chat::run(&args),
        Command::Info(args) => info::run(&args),
        Command::Devices(args) => devices::run(&args),
        Command::Tokenize(args) => tokenize::run(&args),
        Command::Hash(args) => hash::run(&args),
        Command::Synth(args) => synth::run(&args),
        Command::Logits(args) => logits::run(&args),
        Command::Perplexity(args) => perplexity::run(&args),
        Command::Guard(args) => match guard::run(&args) {
            Ok(false) if args.fail_unsafe => return ExitCode::from(guard::EXIT_CODE),
            done => done.map(drop),
        },
        Command::Bench(args) => bench::run(&args),
        Command::Ops(args) => ops::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::GpuReport(args) => gpu_report::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    };
    match done {
        Err(e) if is_closed_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            output::notice(advice::line(&e));
            if e.is::<interrupt::Interrupted>() { interrupt::exit_code() } else { ExitCode::FAILURE }
        }
        Ok(()) => ExitCode::SUCCESS,
    }
}

/// Whether the reader of our output has closed its pipe, as `head` does. That is no error.
fn is_closed_pipe(e: &anyhow::Error) -> bool {
    let kinds = e.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    kinds.into_iter().any(|e| e.kind() == io::ErrorKind::BrokenPipe)
}
