//! Options of llama.cpp and llama-bench: what each means here. They are looked for before clap reads the command line, since clap takes
//! `-ngl` for `-n gl`.

use super::model_path::NO_DOWNLOAD;
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
    /// It changes nothing here that a user would miss, in commands of this kind.
    Ignored(Where),
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

/// The commands that an option concerns.
#[derive(Clone, Copy)]
enum Where {
    /// Those that run on a device.
    Device,
    /// Those that generate text.
    Reply,
}

impl Where {
    fn has(self, sub: &Command) -> bool {
        is_ours(
            sub,
            match self {
                Device => "--device",
                Reply => "--n-predict",
            },
        )
    }
}

use Meaning::{GpuLayers, Ignored, KvFormat, NoChat, Refused, Same};
use Value::{No, Switch, Yes};
use Where::{Device, Reply};

const NO_DRAFT: &str = "there is no speculative decoding";
const DEVICE: &str = "--device takes one of the names that `pronk devices` lists";
const ONE_DEVICE: &str = "a model runs on one device";
const NO_GRAMMAR: &str = "replies are not held to a grammar";
const SAMPLERS: &str = "the samplers are --temp, --top-k, --top-p, --min-p and the penalties";
const NO_PROMPT_CACHE: &str = "prompts are not saved: `pronk chat` saves conversations with /save";
const NO_IMAGES: &str = "images and sound are not read";
const NO_ADAPTERS: &str = "adapters are not applied: merge the adapter into a model file first";
const NO_SERVER: &str = "there is no server";
const NO_TASKS: &str = "the measures are perplexity and --kl-base";

/// Names, value, meaning.
const FOREIGN: &[(&[&str], Value, Meaning)] = &[
    // The device
    (&["-ngl", "--gpu-layers", "--n-gpu-layers"], Yes, GpuLayers),
    (&["-ctk", "--cache-type-k", "-ctv", "--cache-type-v"], Yes, KvFormat),
    (&["-fa", "--flash-attn", "-fit", "--fit"], Switch, Ignored(Device)),
    (
        &[
            "-b",
            "--batch-size",
            "-ub",
            "--ubatch-size",
            "-tb",
            "--threads-batch",
            "-np",
            "--parallel",
            "--prio",
            "--poll",
            "--prio-batch",
            "--poll-batch",
            "--numa",
            "-dt",
            "--defrag-thold",
            "-C",
            "--cpu-mask",
            "-Cr",
            "--cpu-range",
            "--cpu-strict",
            "-Cb",
            "--cpu-mask-batch",
            "-Crb",
            "--cpu-range-batch",
            "--cpu-strict-batch",
            "-mmp",
            "--mmap",
            "-nopo",
            "--delay",
        ],
        Yes,
        Ignored(Device),
    ),
    (
        &[
            "--mlock",
            "--no-mmap",
            "-nkvo",
            "--no-kv-offload",
            "--no-op-offload",
            "--swa-full",
            "-kvu",
            "--kv-unified",
            "--no-warmup",
            "--no-perf",
            "--progress",
            "-v",
            "--verbose",
            "--log-verbose",
            "--log-disable",
            "--log-prefix",
            "--log-timestamps",
            "--offline",
        ],
        No,
        Ignored(Device),
    ),
    (&["-lv", "--verbosity", "--log-verbosity", "--log-colors"], Yes, Ignored(Device)),
    (&["--log-file"], Yes, Refused("notices go to stderr: 2> FILE keeps them")),
    (&["-dev", "-devd", "--device-draft"], Yes, Refused(DEVICE)),
    (&["--list-devices"], No, Refused("`pronk devices` lists them")),
    (&["-mg", "--main-gpu", "-sm", "--split-mode", "-ts", "--tensor-split", "--rpc", "-rpc"], Yes, Refused(ONE_DEVICE)),
    (&["-ot", "--override-tensor", "-ncmoe", "--n-cpu-moe"], Yes, Refused(ONE_DEVICE)),
    (&["-cmoe", "--cpu-moe"], No, Refused(ONE_DEVICE)),
    // The file
    (
        &[
            "-hf",
            "-hfr",
            "--hf-repo",
            "-hff",
            "--hf-file",
            "-mu",
            "--model-url",
            "-dr",
            "--docker-repo",
            "-hft",
            "--hf-token",
        ],
        Yes,
        Refused(NO_DOWNLOAD),
    ),
    (&["--lora", "--lora-scaled", "--lora-base"], Yes, Refused(NO_ADAPTERS)),
    (
        &["--control-vector", "--control-vector-scaled", "--control-vector-layer-range"],
        Yes,
        Refused("control vectors are not applied"),
    ),
    (&["-mm", "--mmproj", "-mmu", "--mmproj-url", "--image", "--audio"], Yes, Refused(NO_IMAGES)),
    (
        &[
            "-md",
            "--model-draft",
            "-ngld",
            "--gpu-layers-draft",
            "-hfd",
            "-hfrd",
            "--hf-repo-draft",
            "--draft",
            "--draft-n",
            "--draft-max",
            "--draft-min",
            "--draft-p-min",
            "-cd",
            "--ctx-size-draft",
            "-td",
        ],
        Yes,
        Refused(NO_DRAFT),
    ),
    // The text
    (&["--predict"], Yes, Same("--n-predict")),
    (&["-sys", "--system-prompt"], Yes, Same("--system")),
    (&["-r", "--reverse-prompt"], Yes, Same("--stop")),
    (&["--chat-template-file"], Yes, Same("--chat-template")),
    (&["-no-cnv", "--no-conversation"], No, NoChat),
    (
        &[
            "-cnv",
            "--conversation",
            "-st",
            "--single-turn",
            "--jinja",
            "--simple-io",
            "-co",
            "--color",
            "--no-display-prompt",
            "--no-context-shift",
        ],
        No,
        Ignored(Reply),
    ),
    (&["--context-shift"], No, Refused("--context-end shift does that")),
    (&["-sysf", "--system-prompt-file"], Yes, Refused("--system \"$(cat FILE)\" does that")),
    (&["-bf", "--binary-file"], Yes, Refused("-f takes a file in UTF-8")),
    (&["-i", "--interactive", "-if", "--interactive-first"], No, Refused("`pronk chat` is interactive")),
    (
        &["-mli", "--multiline-input"],
        No,
        Refused("in `pronk chat`, a line that ends with \\ goes on, and so does a text after \"\"\""),
    ),
    (&["--in-prefix", "--in-suffix"], Yes, Refused("the chat template says what stands around a message")),
    (&["--in-prefix-bos", "--no-jinja"], No, Refused("the chat template says what stands around a message")),
    (&["--chat-template-kwargs"], Yes, Refused("templates get the messages only")),
    (&["--reasoning-format", "--reasoning-budget"], Yes, Refused("replies are printed as they come")),
    (&["--prompt-cache"], Yes, Refused(NO_PROMPT_CACHE)),
    (&["--prompt-cache-all", "--prompt-cache-ro"], No, Refused(NO_PROMPT_CACHE)),
    (&["--verbose-prompt"], No, Refused("`pronk tokenize` shows the tokens of a text")),
    // The choice of tokens
    (&["--temperature"], Yes, Same("--temp")),
    (
        &[
            "--samplers",
            "--sampling-seq",
            "--sampler-seq",
            "--mirostat",
            "--mirostat-lr",
            "--mirostat-ent",
            "--typical",
            "--typical-p",
            "--top-nsigma",
            "--top-n-sigma",
            "--xtc-probability",
            "--xtc-threshold",
            "--dry-multiplier",
            "--dry-base",
            "--dry-allowed-length",
            "--dry-penalty-last-n",
            "--dry-sequence-breaker",
            "--dynatemp-range",
            "--dynatemp-exp",
            "-l",
            "--logit-bias",
        ],
        Yes,
        Refused(SAMPLERS),
    ),
    (&["--grammar", "--grammar-file", "-j", "--json-schema", "-jf", "--json-schema-file"], Yes, Refused(NO_GRAMMAR)),
    // Other programs of llama.cpp
    (&["--host", "--port", "--api-key", "--threads-http", "-a", "--alias"], Yes, Refused(NO_SERVER)),
    (&["--chunks", "--ppl-stride", "--ppl-output-type"], Yes, Refused("the whole text is scored, in windows of -c")),
    (&["--kl-divergence"], No, Refused("--kl-base does that")),
    (&["--kl-divergence-base", "--save-all-logits"], Yes, Refused("--kl-base-out writes a base, --kl-base reads it")),
    (&["--hellaswag", "--winogrande", "--multiple-choice"], No, Refused(NO_TASKS)),
    (&["-pg"], Yes, Refused("-p and -n measure prefill and decode apart")),
    (&["-oe", "--output-err"], Yes, Refused("results go to stdout, see -o")),
    (&["-embd", "--embedding", "--embeddings"], No, Refused("embeddings are not computed")),
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
            _ => split_short(sub, &text),
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
            Ignored(here) if here.has(sub) => {}
            Ignored(_) | GpuLayers if !is_ours(sub, "--device") => {
                return Err(refuse(format!("{option}: an option of llama.cpp; `pronk {name}` runs no model")));
            }
            Ignored(_) => {
                return Err(refuse(format!("{option}: an option of llama.cpp; `pronk {name}` writes no text")));
            }
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

/// An option of one dash and what is attached to it: `-ngl=99`, `-ngl99`, `-b512`. Arguments of our own options are whole.
fn split_short(sub: &Command, text: &str) -> (String, Option<OsString>) {
    let takes = |name: &str| FOREIGN.iter().any(|(names, value, _)| *value != No && names.contains(&name));
    let at = text.find('=').or_else(|| text.find(|c: char| c.is_ascii_digit()));
    match at.map(|at| text.split_at(at)) {
        Some((name, value)) if !is_ours(sub, name) && !name.starts_with("--") && takes(name) => {
            (name.to_string(), Some(value.strip_prefix('=').unwrap_or(value).into()))
        }
        _ => (text.to_string(), None),
    }
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
