//! What the environment asks for, read once. README.md has the table.

use crate::faults::Fault;
use crate::gpu::{MODELS, Model};
use std::env;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Devices at most: their addresses divide the address space.
pub const MAX_DEVICES: u64 = 32;

#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// `PTX_SIM_GPU`: which GPU all devices are.
    pub model: &'static Model,
    /// `PTX_SIM_DEVICES`: the number of devices.
    pub devices: u64,
    /// `PTX_SIM_SMS`: streaming multiprocessors of each, in place of the GPU's.
    pub sms: Option<u32>,
    /// `PTX_SIM_MEMORY`: MiB of each, in place of the GPU's or of what the host can hold.
    pub memory_mib: Option<u64>,
    /// `PTX_SIM_LAZY`: asynchronous work runs when something waits for it, and not at once.
    pub lazy: bool,
    /// `PTX_SIM_FINDINGS`: whether findings other than wrong addresses are errors too.
    pub findings: Findings,
    /// `PTX_SIM_CHECKS`: whether more than wrong addresses is looked for.
    pub checks: bool,
    /// `PTX_SIM_CALLS`: the log gets each entry point and its number of calls, at the end.
    pub calls: bool,
    /// `PTX_SIM_FAIL`: a call that fails.
    pub fault: Option<Fault>,
    /// `PTX_SIM_NO_WAIT`: waits of this kind return at once.
    pub no_wait: Option<NoWait>,
}

/// What a finding of the checks becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Findings {
    /// An error of the next call that waits, and a line of the log.
    Errors,
    /// A line of the log.
    Logged,
}

/// Waits that are left out, so that a test can show that it notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoWait {
    Events,
    Streams,
}

/// The options, or what is wrong with a variable: `cuInit` says it.
pub fn options() -> &'static Result<Options, String> {
    static OPTIONS: LazyLock<Result<Options, String>> = LazyLock::new(|| Options::read(|name| env::var(name).ok()));
    &OPTIONS
}

/// The options after a successful `cuInit`, and those without any variable before.
pub fn current() -> &'static Options {
    static PLAIN: LazyLock<Options> = LazyLock::new(Options::plain);
    options().as_ref().unwrap_or(&PLAIN)
}

/// `PTX_SIM_LOG`: a file that lines are added to, in place of stderr.
pub fn log_file() -> Option<&'static Path> {
    static FILE: LazyLock<Option<PathBuf>> = LazyLock::new(|| env::var_os("PTX_SIM_LOG").map(PathBuf::from));
    FILE.as_deref()
}

impl Options {
    pub fn plain() -> Options {
        Options {
            model: &MODELS[0],
            devices: 1,
            sms: None,
            memory_mib: None,
            lazy: false,
            findings: Findings::Errors,
            checks: true,
            calls: false,
            fault: None,
            no_wait: None,
        }
    }

    fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Options, String> {
        let mut options = Options::plain();
        let number = |name: &str, most: u64| -> Result<Option<u64>, String> {
            let Some(text) = variable(name) else { return Ok(None) };
            let value = text.parse().ok().filter(|n| (1..=most).contains(n));
            value.map(Some).ok_or(format!("{name}: {text}: expected a number from 1 to {most}"))
        };
        let choice = |name: &str, of: &[&str]| -> Result<Option<usize>, String> {
            let Some(text) = variable(name) else { return Ok(None) };
            let at = of.iter().position(|value| *value == text);
            at.map(Some).ok_or(format!("{name}: {text}: expected one of {}", of.join(", ")))
        };
        if let Some(name) = variable("PTX_SIM_GPU") {
            let names = || MODELS.iter().map(|model| model.name).collect::<Vec<_>>().join(", ");
            options.model =
                Model::named(&name).ok_or_else(|| format!("PTX_SIM_GPU: {name}: expected one of {}", names()))?;
        }
        options.devices = number("PTX_SIM_DEVICES", MAX_DEVICES)?.unwrap_or(options.devices);
        options.sms = number("PTX_SIM_SMS", 1024)?.map(|n| n as u32);
        options.memory_mib = number("PTX_SIM_MEMORY", 1 << 20)?;
        options.lazy = choice("PTX_SIM_LAZY", &["0", "1"])? == Some(1);
        options.checks = choice("PTX_SIM_CHECKS", &["0", "1"])? != Some(0);
        options.calls = choice("PTX_SIM_CALLS", &["0", "1"])? == Some(1);
        if choice("PTX_SIM_FINDINGS", &["error", "log"])? == Some(1) {
            options.findings = Findings::Logged;
        }
        options.no_wait =
            choice("PTX_SIM_NO_WAIT", &["events", "streams"])?.map(|at| [NoWait::Events, NoWait::Streams][at]);
        options.fault = variable("PTX_SIM_FAIL").map(|text| Fault::parse(&text)).transpose()?;
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn read(set: &[(&str, &str)]) -> Result<Options, String> {
        Options::read(|name| set.iter().find(|(n, _)| *n == name).map(|(_, value)| value.to_string()))
    }

    /// The variables that a text names.
    fn named(text: &str) -> BTreeSet<String> {
        let letter = |c: char| c.is_ascii_uppercase() || c == '_';
        let rest = text.split("PTX_SIM_").skip(1);
        rest.map(|rest| rest.chars().take_while(|c| letter(*c)).collect())
            .filter(|name: &String| !name.is_empty())
            .collect()
    }

    #[test]
    fn the_readme_has_every_variable() {
        assert_eq!(named(include_str!("../README.md")), named(include_str!("options.rs")));
    }

    #[test]
    fn every_variable_is_checked() {
        assert_eq!(read(&[]), Ok(Options::plain()));
        let set =
            read(&[("PTX_SIM_GPU", "a100"), ("PTX_SIM_DEVICES", "2"), ("PTX_SIM_LAZY", "1")]).expect("right values");
        assert_eq!((set.model.name, set.devices, set.lazy), ("A100", 2, true));
        for (name, value) in [
            ("PTX_SIM_GPU", "Voodoo"),
            ("PTX_SIM_DEVICES", "0"),
            ("PTX_SIM_DEVICES", "33"),
            ("PTX_SIM_SMS", "many"),
            ("PTX_SIM_MEMORY", ""),
            ("PTX_SIM_LAZY", "yes"),
            ("PTX_SIM_CHECKS", "2"),
            ("PTX_SIM_CALLS", "2"),
            ("PTX_SIM_FINDINGS", "none"),
            ("PTX_SIM_NO_WAIT", "all"),
            ("PTX_SIM_FAIL", "cuNothing"),
            ("PTX_SIM_FAIL", "cuInit=1000"),
            ("PTX_SIM_FAIL", "cuInit@0"),
        ] {
            let error = read(&[(name, value)]).expect_err(value);
            assert!(error.starts_with(&format!("{name}: {value}: ")), "{error}");
        }
    }
}
