//! Options of llama.cpp and llama-bench: what each means here. They are looked for before clap reads the command line, since clap takes
//! `-ngl` for `-n gl`.

use clap::Command;
use std::ffi::{OsStr, OsString};

/// Whether a value follows.
#[derive(Clone, Copy, PartialEq)]
enum Value {
    No,
    Yes,
    /// One of on, off, auto, 0, 1 may follow.
    Switch,
}

/// What an option means here.
#[derive(Clone, Copy)]
enum Meaning {
    /// It changes nothing here that a user would miss.
    Ignored,
    /// The option of ours that does the same.
    Same(&'static str),
    /// 0 layers on the GPU: the CPU. Any other number: all layers, as always here.
    GpuLayers,
    /// One format for keys and values: that of `--kv`.
    KvFormat,
    /// A text is continued: what `run` does anyway.
    NoChat,
    /// There is no such thing here: what to do.
    Refused(&'static str),
}

use Meaning::{GpuLayers, Ignored, KvFormat, NoChat, Refused, Same};
use Value::{No, Switch, Yes};

const NO_DOWNLOAD: &str = "nothing is downloaded: fetch the GGUF file first, then name it with -m";
const NO_DRAFT: &str = "there is no speculative decoding";
const DEVICE: &str = "--device takes one of the names that `pronk devices` lists";

/// Names, value, meaning.
const FOREIGN: &[(&[&str], Value, Meaning)] = &[
    (&["-ngl", "--gpu-layers", "--n-gpu-layers"], Yes, GpuLayers),
    (&["-ctk", "--cache-type-k", "-ctv", "--cache-type-v"], Yes, KvFormat),
    (&["--temperature"], Yes, Same("--temp")),
    (&["--predict"], Yes, Same("--n-predict")),
    (&["-sys", "--system-prompt"], Yes, Same("--system")),
    (&["-r", "--reverse-prompt"], Yes, Same("--stop")),
    (&["-dev"], Yes, Refused(DEVICE)),
    (&["-fa", "--flash-attn"], Switch, Ignored),
    (&["-b", "--batch-size", "-ub", "--ubatch-size", "-tb", "--threads-batch", "-np", "--parallel"], Yes, Ignored),
    (
        &["--mlock", "--no-mmap", "-nkvo", "--no-kv-offload", "--no-warmup", "--no-perf", "--no-display-prompt"],
        No,
        Ignored,
    ),
    (&["-cnv", "--conversation", "-st", "--single-turn", "--jinja", "--simple-io", "-co", "--color"], No, Ignored),
    (&["-no-cnv", "--no-conversation"], No, NoChat),
    (
        &["-mg", "--main-gpu", "-sm", "--split-mode", "-ts", "--tensor-split"],
        Yes,
        Refused("a model runs on one device"),
    ),
    (&["-hf", "-hfr", "--hf-repo", "-hff", "--hf-file", "-mu", "--model-url"], Yes, Refused(NO_DOWNLOAD)),
    (&["-md", "--model-draft", "-ngld", "--gpu-layers-draft"], Yes, Refused(NO_DRAFT)),
    (&["-i", "--interactive", "-if", "--interactive-first"], No, Refused("`pronk chat` is interactive")),
    (&["--lora", "--lora-scaled"], Yes, Refused("adapters are not applied: merge the adapter into a model file first")),
    (&["--mmproj"], Yes, Refused("images are not read")),
    (&["--grammar", "--grammar-file", "-j", "--json-schema"], Yes, Refused("replies are not held to a grammar")),
];

/// Values that a [`Value::Switch`] takes.
const SWITCHES: [&str; 5] = ["on", "off", "auto", "0", "1"];

/// The command line in options of ours. `command`: the program's; `args`: with the program's name first.
///
/// Errors: an option that has no meaning here, by its name, with what to do; the subcommand that it was given to.
pub fn translated(command: &Command, args: Vec<OsString>) -> Result<Vec<OsString>, (String, String)> {
    let Some(name) = args.get(1).and_then(|arg| arg.to_str()).map(str::to_string) else { return Ok(args) };
    let Some(sub) = command.find_subcommand(&name) else { return Ok(args) };
    let refuse = |what: String| (name.clone(), what);
    let mut args = args.into_iter();
    let mut done: Vec<OsString> = args.by_ref().take(2).collect();
    let mut args = args.peekable();
    let has_model = sub.get_arguments().any(|arg| arg.get_long() == Some("model"));
    if has_model && args.peek().is_some_and(|arg| !begins_with_dash(arg)) {
        done.push("-m".into());
        done.extend(args.next());
    }
    let (mut kv, mut on_cpu): (Option<OsString>, bool) = (None, false);
    while let Some(arg) = args.next() {
        if arg == "--" {
            done.push(arg);
            break;
        }
        let text = arg.to_string_lossy().into_owned();
        if takes_value(sub, &text) {
            done.push(arg);
            done.extend(args.next());
            continue;
        }
        let (option, attached) = match text.split_once('=') {
            Some((option, value)) if option.starts_with("--") => (option.to_string(), Some(OsString::from(value))),
            _ => (text.clone(), None),
        };
        let found = FOREIGN.iter().find(|(names, ..)| names.contains(&option.as_str()));
        let Some((_, value, meaning)) = found.filter(|_| !is_ours(sub, &option)) else {
            done.push(arg);
            continue;
        };
        let is_switch = |arg: &OsString| arg.to_str().is_some_and(|arg| SWITCHES.contains(&arg));
        let value = match value {
            No => None,
            _ if attached.is_some() => attached,
            // Below zero stands for "all" or "none" in several options.
            Yes => match args.next_if(|arg| !begins_with_dash(arg) || arg.to_string_lossy().parse::<f64>().is_ok()) {
                Some(value) => Some(value),
                None => return Err(refuse(format!("{option}: a value is missing"))),
            },
            Switch => args.next_if(is_switch),
        };
        match meaning {
            Ignored => {}
            NoChat if name == "chat" => return Err(refuse(format!("{option}: `pronk run` continues a text"))),
            NoChat => {}
            Same(ours) if is_ours(sub, ours) => {
                done.push((*ours).into());
                done.extend(value);
            }
            Same(ours) => return Err(refuse(format!("{option}: that is {ours}, which this command does not have"))),
            GpuLayers if value.as_deref() == Some(OsStr::new("0")) && is_ours(sub, "--device") => on_cpu = true,
            GpuLayers => {}
            KvFormat if kv.as_ref().is_some_and(|kv| Some(kv) != value.as_ref()) => {
                return Err(refuse(format!("{option}: keys and values have one format, --kv")));
            }
            KvFormat if kv.is_some() => {}
            KvFormat if !is_ours(sub, "--kv") => {
                return Err(refuse(format!("{option}: that is --kv, which this command does not have")));
            }
            KvFormat => {
                done.push("--kv".into());
                done.extend(value.clone());
                kv = value;
            }
            Refused(advice) => return Err(refuse(format!("{option}: an option of llama.cpp; {advice}"))),
        }
    }
    if on_cpu && !done.iter().any(|arg| arg == "--device" || arg.as_encoded_bytes().starts_with(b"--device=")) {
        done.splice(2..2, ["--device".into(), "cpu".into()]);
    }
    done.extend(args);
    Ok(done)
}

fn begins_with_dash(arg: &OsStr) -> bool {
    arg.as_encoded_bytes().first() == Some(&b'-')
}

/// Whether the subcommand has the option.
fn is_ours(sub: &Command, option: &str) -> bool {
    sub.get_arguments().any(|arg| {
        let long = arg.get_long_and_visible_aliases().unwrap_or_default();
        let hidden = arg.get_all_aliases().unwrap_or_default();
        let short = arg.get_short().map(|short| format!("-{short}"));
        let is_long = option.strip_prefix("--").is_some_and(|name| long.contains(&name) || hidden.contains(&name));
        is_long || short.as_deref() == Some(option)
    })
}

/// Whether the subcommand has the option, and the next word is its value.
fn takes_value(sub: &Command, option: &str) -> bool {
    sub.get_arguments().any(|arg| {
        let short = arg.get_short().map(|short| format!("-{short}"));
        let long = arg.get_all_aliases().unwrap_or_default().into_iter().chain(arg.get_long());
        let named = short.as_deref() == Some(option) || long.map(|name| format!("--{name}")).any(|name| name == option);
        named && arg.get_action().takes_values()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each name once: the first that fits is taken.
    #[test]
    fn names_are_unique() {
        let mut names: Vec<&str> = FOREIGN.iter().flat_map(|(names, ..)| names.iter().copied()).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
