//! `pronk completions`: completion scripts for shells.

use super::{output, usage};
use anyhow::Result;
use clap_complete::Shell;
use std::io::Write;

/// Print a script that completes pronk's arguments in a shell
#[derive(clap::Args)]
pub struct Args {
    /// Shell of the script
    shell: Shell,
}

pub fn run(args: &Args) -> Result<()> {
    let mut script = vec![]; // in memory first: `generate` panics if a write fails
    clap_complete::generate(args.shell, &mut usage::command(), super::NAME, &mut script);
    let mut out = output::stdout();
    out.write_all(&script)?;
    Ok(out.flush()?)
}
