//! The program in odd environments: few processes, few open files, little memory, no /proc, and signals of every kind.

use crate::common;
use crate::common::program::{Done, finish, pronk};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const NOBODY: u32 = 65534;

fn piped(mut command: Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the program starts")
}

fn model() -> String {
    common::data("models/tiny-llama3.q4_0.gguf").display().to_string()
}

/// Fails unless the program succeeded, or ended with code 1 and one line of its own.
fn one_line_at_most(what: &str, done: &Done) {
    let one_line = done.stderr.starts_with("pronk: ") && done.stderr.lines().count() == 1;
    match done.code {
        Some(0) => {}
        Some(1) => assert!(one_line, "{what}: {}", done.stderr),
        code => panic!("{what}: {code:?}: {}", done.stderr),
    }
}

/// A folder that every user can read, with the program and a model. Only the superuser has no limit of processes.
fn readable_copies() -> (TempDir, PathBuf, PathBuf) {
    let folder = TempDir::new().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("sets");
    let [program, copy] = ["pronk", "m.gguf"].map(|name| folder.path().join(name));
    fs::copy(env!("CARGO_BIN_EXE_pronk"), &program).expect("a copy");
    fs::copy(model(), &copy).expect("a copy");
    (folder, program, copy)
}

#[test]
fn few_processes_are_enough() {
    let (_folder, program, model) = readable_copies();
    let is_root = fs::metadata("/proc/self").expect("a process").uid() == 0;
    for n in [1, 2, 3] {
        for (device, more) in [("cpu", &[][..]), ("sim", &[]), ("cpu", &["-t", "1"]), ("cpu", &["-t", "64"])] {
            let mut limited = Command::new("prlimit");
            if is_root {
                limited.uid(NOBODY).gid(NOBODY);
            }
            limited.arg(format!("--nproc={n}:{n}")).arg(&program).args(["run", "-p", "Hi", "-n", "2", "-q", "-m"]);
            limited.arg(&model).args(["--device", device]).args(more);
            let done = finish(piped(limited));
            let what = format!("{n} processes, {device} {more:?}");
            one_line_at_most(&what, &done);
            assert!(device != "cpu" || more == ["-t", "64"] || done.code == Some(0), "{what}: {}", done.stderr);
        }
    }
}

fn limited(limit: &str, args: &[&str]) -> Done {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit {limit} && exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_pronk")]).args(args);
    finish(piped(shell))
}

#[test]
fn few_open_files_and_little_memory_are_one_line_at_most() {
    let model = model();
    let commands = [
        &["run", "-m", &model, "-p", "Hi", "-n", "2", "-q", "--device", "cpu"][..],
        &["run", "-m", &model, "-p", "Hi", "-n", "2", "-q", "--device", "sim"],
        &["tokenize", "-m", &model, "-p", "Hi"],
        &["info", "-m", &model],
        &["hash", "-m", &model],
    ];
    for command in commands {
        for n in 4..10 {
            one_line_at_most(&format!("{n} files, {command:?}"), &limited(&format!("-n {n}"), command));
        }
        for kib in [30_000, 45_000, 60_000, 80_000, 120_000] {
            one_line_at_most(&format!("{kib} KiB, {command:?}"), &limited(&format!("-v {kib}"), command));
        }
    }
}

#[test]
fn memory_that_is_not_to_be_had_is_one_line() {
    // The cache of this context takes 1 GiB.
    let done = limited("-v 600000", &["run", "-m", &model(), "-p", "Hi", "-c", "16000000", "--device", "cpu", "-q"]);
    assert_eq!(done.code, Some(1), "{}", done.stderr);
    assert!(done.stderr.starts_with("pronk: out of memory: the system does not give "), "{}", done.stderr);
    assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
}

/// Needs a namespace of mounts, which some containers do not allow.
#[test]
fn no_proc_is_no_obstacle() {
    let folder = TempDir::new().expect("a folder");
    let hidden = |program: &str| {
        let mut command = Command::new("unshare");
        let script = format!("mount --bind {} /proc && exec \"$0\" \"$@\"", folder.path().display());
        command.args(["-m", "--map-root-user", "sh", "-c", &script, program]);
        command
    };
    if !hidden("true").output().is_ok_and(|tried| tried.status.success()) {
        eprintln!("left out: /proc cannot be hidden here");
        return;
    }
    for device in ["cpu", "sim"] {
        let mut command = hidden(env!("CARGO_BIN_EXE_pronk"));
        command.args(["run", "-m", &model(), "-p", "Hi", "-n", "2", "-q", "--device", device]);
        let done = finish(piped(command));
        assert_eq!(done.code, Some(0), "{device}: {}", done.stderr);
    }
}

/// A model of 21 MB whose steps take a while, and its folder.
fn large_model() -> (TempDir, PathBuf) {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("m.gguf");
    let out = path.display().to_string();
    let made = pronk(&["synth", "--shape", "smollm2-135m", "--layers", "2", "--type", "Q4_0", "--out", &out]);
    let done = finish(piped(made));
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    (folder, path)
}

fn names(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).expect("readable");
    files.map(|file| file.expect("a file").file_name().to_string_lossy().into_owned()).collect()
}

/// Starts `pronk logits` into `out`, and waits for its unfinished file.
fn begin_logits(folder: &Path, model: &Path, prepare: impl FnOnce(&mut Command)) -> Child {
    let [model, out] = [model.display().to_string(), folder.join("out.npy").display().to_string()];
    let tokens = vec!["7"; 1500].join(",");
    let before = names(folder).len();
    let mut command =
        pronk(&["logits", "-m", &model, "--tokens", &tokens, "--out", &out, "-q", "-t", "8", "--device", "cpu"]);
    prepare(&mut command);
    let child = piped(command);
    let begin = Instant::now();
    while names(folder).len() == before {
        assert!(begin.elapsed() < Duration::from_secs(60), "no file appears");
        std::thread::sleep(Duration::from_millis(2));
    }
    child
}

#[test]
fn a_truncated_model_is_one_line_on_any_thread_and_leaves_no_file() {
    let (folder, original) = large_model();
    let copy = folder.path().join("copy.gguf");
    for (i, left) in [0, 4096, 10_000_000].into_iter().cycle().take(9).enumerate() {
        fs::copy(&original, &copy).expect("a copy");
        let mut child = begin_logits(folder.path(), &copy, |_| {});
        std::thread::sleep(Duration::from_millis(10 * (i as u64 % 4)));
        File::options().write(true).open(&copy).expect("the model").set_len(left).expect("a writable file");
        if i % 2 == 1 {
            // Nothing reads stderr for a while: the threads meet in front of it.
            std::thread::sleep(Duration::from_millis(100));
        }
        let mut stderr = String::new();
        child.stderr.take().expect("piped").read_to_string(&mut stderr).expect("UTF-8");
        let done = Done { stderr, ..finish(child) };
        assert_eq!(done.code, Some(1), "try {i}: {}", done.stderr);
        one_line_at_most(&format!("try {i}"), &done);
        let mut left = names(folder.path());
        left.sort();
        assert_eq!(left, ["copy.gguf", "m.gguf"], "try {i}");
    }
}

#[test]
fn a_signal_is_the_exit_code_and_leaves_no_file() {
    let (folder, model) = large_model();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
        for times in [1, 2] {
            let child = begin_logits(folder.path(), &model, |_| {});
            for _ in 0..times {
                kill(Pid::from_raw(child.id() as i32), signal).expect("the program runs");
            }
            let done = finish(child);
            assert_eq!(done.code, Some(128 + signal as i32), "{signal}, {times} times: {}", done.stderr);
            assert!(done.stderr.lines().count() <= 1, "{signal}: {}", done.stderr);
            assert_eq!(names(folder.path()), ["m.gguf"], "{signal}, {times} times");
        }
    }
}

/// The report is made of programs of their own: the one that runs ends too.
#[test]
fn a_signal_ends_a_report_between_its_steps() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let folder = TempDir::new().expect("a folder");
        let out = folder.path().join("report");
        let child = piped(pronk(&["gpu-report", "--device", "ref", "--out", &out.display().to_string()]));
        let begin = Instant::now();
        while !out.join("ops-test.log").exists() {
            assert!(begin.elapsed() < Duration::from_secs(60), "the second step does not begin");
            std::thread::sleep(Duration::from_millis(2));
        }
        let id = child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).expect("a kernel that lists them");
        kill(Pid::from_raw(id as i32), signal).expect("the program runs");
        let done = finish(child);
        assert_eq!(done.code, Some(128 + signal as i32), "{signal}: {}", done.stderr);
        assert_eq!(done.stderr.lines().last(), Some("pronk: interrupted"), "{signal}: {}", done.stderr);
        let mut left = names(&out);
        left.sort();
        assert_eq!(left, ["devices.log", "devices.txt"], "{signal}: whole files of a step that has ended");
        for child in children.split_whitespace() {
            assert!(!Path::new("/proc").join(child).exists(), "{signal}: a step goes on");
        }
    }
}

/// A program that was started with `nohup` outlives its terminal.
#[test]
fn an_ignored_signal_stays_ignored() {
    let (folder, model) = large_model();
    let [model, out] = [&model, &folder.path().join("out.npy")].map(|path| path.display().to_string());
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' HUP; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_pronk"), "logits", "-m", &model]);
    shell.args(["--tokens", "1,2,3,4,5,6", "--out", &out, "-q", "--device", "cpu"]);
    let child = piped(shell);
    std::thread::sleep(Duration::from_millis(20));
    kill(Pid::from_raw(child.id() as i32), Signal::SIGHUP).expect("the program runs");
    let done = finish(child);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(Path::new(&out).exists());
}
