//! Completion scripts and manual pages.

use super::{file, folder};
use crate::common::program::{fails, run, usage_error};
use std::collections::BTreeSet;
use std::fs;

#[test]
fn completions_are_there_for_every_shell() {
    for (shell, its_words) in [
        ("bash", "complete -F _pronk "),
        ("elvish", "set edit:completion:arg-completer[pronk] = "),
        ("fish", "complete -c pronk "),
        ("powershell", "Register-ArgumentCompleter -Native -CommandName 'pronk' "),
        ("zsh", "#compdef pronk\n"),
    ] {
        let script = run(&["completions", shell]).stdout;
        for part in [its_words, "gpu-report", "rope-freq-base", "top-k"] {
            assert!(script.contains(part), "{shell}: no {part}");
        }
    }
    usage_error(&["completions", "csh"], "possible values: bash, elvish, fish, powershell, zsh");
}

/// The names after `heading` in a page of help, up to the next empty line.
fn listed(help: &str, heading: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != heading).skip(1).take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.split_whitespace().next().map(str::to_string));
    names.filter(|name| name != "help").collect()
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = folder();
    let out = folder.path().join("made/man1");
    let man = ["man", "--out", &out.display().to_string()];
    let told = run(&man).stderr;
    let written: BTreeSet<String> = fs::read_dir(&out)
        .expect("the folder is made")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();

    let commands = listed(&run(&["--help"]).stdout, "Commands:");
    let operations = listed(&run(&["ops", "--help"]).stdout, "Commands:");
    assert!(commands.len() > 10 && operations.len() > 2, "{commands:?} {operations:?}");
    let commands = commands.iter().map(|name| format!("pronk-{name}.1"));
    let operations = operations.iter().map(|name| format!("pronk-ops-{name}.1"));
    let expected: BTreeSet<String> = commands.chain(operations).chain(["pronk.1".to_string()]).collect();
    assert_eq!(written, expected, "and nothing else is left");
    assert_eq!(told, format!("pronk: {}: {} manual pages\n", out.display(), expected.len()));

    let page = |name: &str| fs::read_to_string(out.join(name)).expect("a page");
    let first = page("pronk.1");
    assert!(first.contains(".TH pronk 1") && first.contains("pronk\\-run(1)"), "{first}");
    let chat = page("pronk-chat.1");
    let version = run(&["--version"]).stdout;
    let title = format!(".TH pronk-chat 1  \"{}\"", version.trim_end());
    assert!(chat.contains(&title) && chat.contains("\\-\\-temp"), "{chat}");

    fs::write(out.join("pronk.1"), "old").expect("writes");
    run(&man);
    assert_eq!(page("pronk.1"), first, "an old page is replaced");
    let taken = file(&folder, "taken", b"");
    fails(&["man", "--out", &taken], &[&taken, "cannot create this folder"]);
}
