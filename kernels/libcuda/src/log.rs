//! What the library has to say beside results: findings, what it refuses and why, what a context left behind.

use crate::options;
use std::fs::OpenOptions;
use std::io::Write;
use std::sync::Mutex;

/// What a line is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// A check found a defect of a kernel.
    Finding,
    /// A kernel did not run to its end, or a copy was not possible.
    Fault,
    /// A call that this library does not carry out, and why.
    Refused,
    /// What was not freed when its context ended.
    Left,
    /// An entry point, and its number of calls.
    Called,
    /// A function that a program asks for and that is not there.
    Missing,
    /// A call failed because `PTX_SIM_FAIL` asks for it.
    Injected,
    /// Something of this library is wrong.
    Defect,
}

impl Topic {
    fn word(self) -> &'static str {
        match self {
            Topic::Finding => "finding",
            Topic::Fault => "fault",
            Topic::Refused => "refused",
            Topic::Left => "left",
            Topic::Called => "called",
            Topic::Missing => "missing",
            Topic::Injected => "injected",
            Topic::Defect => "defect",
        }
    }
}

/// One line for the log. A log that cannot be written is given up.
pub fn say(topic: Topic, text: &str) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    let line = format!("ptx-sim: {}: {text}\n", topic.word());
    let _ = match options::log_file() {
        Some(path) => {
            let file = OpenOptions::new().create(true).append(true).open(path);
            file.and_then(|mut file| file.write_all(line.as_bytes()))
        }
        None => std::io::stderr().write_all(line.as_bytes()),
    };
}
