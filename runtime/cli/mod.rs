//! The command line: one file per subcommand, each with its arguments and what it does with them.
//!
//! Results go to stdout, everything else to stderr. Exit codes: 0, 1 for an error (one line), 2 for a wrong command line.

mod args;
mod bench;
mod chat;
mod devices;
mod info;
mod interrupt;
mod logits;
mod ops;
mod output;
mod perplexity;
mod reply;
mod run;
mod stream;
mod tokenize;

use clap::{Parser, Subcommand};
use std::io;
use std::process::ExitCode;

/// Runs Llama models in GGUF files on GPU kernels written by hand.
#[derive(Parser)]
#[command(name = "pronk", version)]
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
    Logits(logits::Args),
    Perplexity(perplexity::Args),
    Bench(bench::Args),
    Ops(ops::Args),
}

pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Chat(args) => chat::run(&args),
        Command::Info(args) => info::run(&args),
        Command::Devices(args) => devices::run(&args),
        Command::Tokenize(args) => tokenize::run(&args),
        Command::Logits(args) => logits::run(&args),
        Command::Perplexity(args) => perplexity::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Ops(args) => ops::run(&args),
    };
    match done {
        Err(e) if !is_closed_pipe(&e) => {
            output::notice(format!("{e:#}"));
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Whether the reader of our output went away, as `head` does: nothing went wrong.
fn is_closed_pipe(e: &anyhow::Error) -> bool {
    let kinds = e.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    kinds.into_iter().any(|e| e.kind() == io::ErrorKind::BrokenPipe)
}
