//! Reads the command line, and explains a wrong one: a few lines on stderr, exit code 2.

use super::{Cli, NAME, foreign};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory, FromArgMatches};
use std::ffi::OsString;
use std::path::Path;

/// The program's arguments. A number below zero is a value of the option before it, so that the option's own message says what is wrong.
pub fn command() -> Command {
    with_negative_numbers(Cli::command())
}

fn with_negative_numbers(command: Command) -> Command {
    let command = command.mut_args(|arg| {
        let takes_text = arg.is_allow_hyphen_values_set() || arg.is_positional();
        if takes_text || !arg.get_action().takes_values() { arg } else { arg.allow_negative_numbers(true) }
    });
    command.mut_subcommands(with_negative_numbers)
}

/// Parses the command line. Ends the program where it is wrong, and after `--help` and `--version`.
pub fn parsed(args: Vec<OsString>) -> Cli {
    let mut command = built();
    if let Some(hint) = args.get(1).and_then(|first| without_command(&command, &first.to_string_lossy())) {
        command.error(ErrorKind::MissingSubcommand, hint).exit();
    }
    let args = foreign::translated(&command, args)
        .unwrap_or_else(|(subcommand, what)| error(&subcommand, ErrorKind::UnknownArgument, &what));
    let matches = command.try_get_matches_from_mut(args);
    let parsed = matches.and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches));
    parsed.unwrap_or_else(|e| with_sensible_tips(e).exit())
}

/// Ends the program as clap does for a wrong argument: prints `what` and the subcommand's usage.
pub fn error(subcommand: &str, kind: ErrorKind, what: &str) -> ! {
    let mut command = built();
    let command = command.find_subcommand_mut(subcommand).expect("a subcommand of this program");
    command.error(kind, what).exit()
}

/// The arguments, with usages that begin with the program's name.
fn built() -> Command {
    let mut command = command();
    command.build();
    command
}

/// What to type, if the first word is an option or a model where a command is expected.
fn without_command(command: &Command, first: &str) -> Option<String> {
    let ours = ["-h", "--help", "-V", "--version"];
    let is_option = first.starts_with('-') && !ours.contains(&first);
    let is_model = command.find_subcommand(first).is_none() && (first.ends_with(".gguf") || Path::new(first).is_file());
    (is_option || is_model).then(|| {
        format!("{first}: expected a command first, such as {NAME} run -m FILE -p TEXT, or {NAME} chat -m FILE")
    })
}

/// Leaves out tips that name an option unlike the one that was typed: clap finds `--rope-scale` similar to `--no-escape`.
fn with_sensible_tips(mut error: clap::Error) -> clap::Error {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.trim_start_matches('-').to_string(),
        _ => String::new(),
    };
    let (typed, tip) = (text(ContextKind::InvalidArg), text(ContextKind::SuggestedArg));
    if distance(&typed, &tip) > typed.chars().count() / 3 {
        error.remove(ContextKind::SuggestedArg);
    }
    error
}

/// Number of characters to insert, delete or replace between two texts (Levenshtein, 1966).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn distances_are_counted() {
        for (a, b, n) in [("", "", 0), ("prompt", "pormpt", 2), ("temp", "tmp", 1), ("", "ab", 2), ("abc", "abd", 1)] {
            assert_eq!((distance(a, b), distance(b, a)), (n, n), "{a} {b}");
        }
    }
}
