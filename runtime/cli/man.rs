//! `pronk man`: the manual pages.

use super::output::{WholeFile, notice};
use super::usage;
use anyhow::{Context, Result};
use clap::Command;
use clap_mangen::Man;
use std::fs;
use std::path::{Path, PathBuf};

/// Write the manual pages, one for the program and one for each command
#[derive(clap::Args)]
pub struct Args {
    /// Folder for the pages, created if it is missing
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub fn run(args: &Args) -> Result<()> {
    let folder = &args.out;
    fs::create_dir_all(folder).with_context(|| format!("{}: cannot create this folder", folder.display()))?;
    let mut command = usage::command().disable_help_subcommand(true);
    command.build(); // names the pages of subcommands `pronk-run`, `pronk-ops-test`
    let version = format!("{} {}", super::NAME, command.get_version().unwrap_or_default());
    let n_pages = write_pages(command, &version, folder)?;
    notice(format!("{}: {n_pages} manual pages", folder.display()));
    Ok(())
}

/// Writes the pages of `command` and its subcommands to `folder`, with `version` in their footers. Returns the number
/// of pages.
fn write_pages(command: Command, version: &str, folder: &Path) -> Result<usize> {
    let mut n_pages = 1;
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()).cloned() {
        n_pages += write_pages(subcommand, version, folder)?;
    }
    let page = Man::new(command).source(version);
    let mut file = WholeFile::create(&folder.join(page.get_filename()))?;
    page.render(&mut file)?;
    file.commit()?;
    Ok(n_pages)
}
