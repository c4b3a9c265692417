//! Faults around a valid model: the file changes while it is used, the path is not a file, the disk is full.

use crate::common;
#[cfg(unix)]
use crate::common::program::{fails, finish, pronk};
use pronk::backend::DeviceChoice;
use pronk::generate::{LoadEvent, LoadOptions, Loaded, Outputs, load};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// A copy of the tiny model, to be damaged.
fn copy() -> (TempDir, PathBuf) {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("m.gguf");
    fs::copy(common::data("models/tiny-llama3.q4_0.gguf"), &path).expect("a writable folder");
    (folder, path)
}

fn load_on_cpu(path: &Path, on_event: &mut dyn FnMut(LoadEvent)) -> Result<Loaded, String> {
    let options = LoadOptions { device: DeviceChoice::CPU, n_ctx: Some(8), ..LoadOptions::default() };
    load(path, &options, on_event).map_err(|e| e.to_string())
}

fn writable(path: &Path) -> File {
    File::options().write(true).open(path).expect("the model")
}

/// Truncates the file by one byte: the last page remains, so that this process survives.
fn shorten(path: &Path) -> u64 {
    let len = fs::metadata(path).expect("the model").len();
    writable(path).set_len(len - 1).expect("a writable file");
    len
}

#[test]
fn a_file_that_changes_while_loading_is_an_error() {
    let (_folder, path) = copy();
    let mut len = None;
    let mut cut = |event| {
        assert!(matches!(event, LoadEvent::Weights { .. }), "{event}");
        len.get_or_insert_with(|| shorten(&path));
    };
    let refused = load_on_cpu(&path, &mut cut).err();
    let len = len.expect("progress is told");
    let what = format!("changed while in use: {} bytes now, {len} when it was opened", len - 1);
    assert_eq!(refused, Some(format!("{}: {what}", path.display())));
}

#[test]
fn a_file_that_changes_between_steps_is_an_error() {
    let (_folder, path) = copy();
    let mut session = load_on_cpu(&path, &mut |_| {}).expect("a model").session;
    session.feed(&[1], Outputs::Last, |_, _| true).expect("a token");
    let written = SystemTime::now() + Duration::from_secs(60);
    writable(&path).set_modified(written).expect("a writable file");
    let error = session.feed(&[1], Outputs::Last, |_, _| true).unwrap_err().to_string();
    assert_eq!(error, format!("{}: changed while in use: it was written to", path.display()));
}

#[test]
fn a_file_may_be_replaced_by_renaming() {
    let (folder, path) = copy();
    let mut session = load_on_cpu(&path, &mut |_| {}).expect("a model").session;
    let other = folder.path().join("other");
    fs::write(&other, b"not a model").expect("a writable folder");
    fs::rename(&other, &path).expect("a writable folder");
    session.feed(&[1, 2], Outputs::Last, |_, _| true).expect("the old file is still there");
}

/// The program ends with a line, whatever it does at that moment.
#[cfg(unix)]
#[test]
fn a_file_truncated_in_use_ends_the_program_with_a_line() {
    use std::io::{BufRead, BufReader, Read};
    let (_folder, path) = copy();
    let name = path.display().to_string();
    let args = ["run", "-m", &name, "-p", "Hello", "-n", "8000", "--ignore-eos", "--device", "cpu"];
    let mut child = pronk(&args).spawn().expect("the program starts");
    let mut reply = BufReader::new(child.stdout.take().expect("piped"));
    reply.fill_buf().expect("the reply begins");
    writable(&path).set_len(0).expect("a writable file");
    reply.read_to_end(&mut vec![]).expect("the reply ends");
    let done = finish(child);
    assert_eq!(done.code, Some(1), "{}", done.stderr);
    let last = done.stderr.lines().last().expect("a line");
    let lines = ["pronk: a file was truncated while it was in use", "m.gguf: changed while in use: 0 bytes now, "];
    assert!(last.starts_with("pronk: ") && lines.iter().any(|line| last.contains(line)), "{}", done.stderr);
}

/// The program does not wait for the writer of a pipe.
#[cfg(unix)]
#[test]
fn pipes_and_devices_are_refused() {
    let folder = TempDir::new().expect("a temporary folder");
    let pipe = folder.path().join("pipe.gguf");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    for path in [pipe.as_path(), Path::new("/dev/null"), Path::new("/dev/zero")] {
        let path = path.display().to_string();
        for command in [&["info"][..], &["tokenize", "-p", "x"], &["run", "-p", "x"], &["perplexity", "-p", "x"]] {
            let problem = format!("{path}: is not a regular file, cannot be mapped");
            fails(&[command, &["-m", &path]].concat(), &[&problem]);
        }
    }
}

/// The size limit of files is one block. Its signal is ignored, so that writes fail with an error.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_nothing_behind() {
    let (folder, path) = copy();
    let (model, out) = (path.display().to_string(), folder.path().join("out").display().to_string());
    let text = "the world is with the man and there is nothing";
    let commands = [
        &["synth", "--shape", "smollm2-135m", "--layers", "1", "--type", "Q4_0", "--out", &out][..],
        &["perplexity", "-m", &model, "-p", text, "--device", "cpu", "--kl-base-out", &out],
        &["logits", "-m", &model, "--tokens", "1,2,3,4,5,6", "--device", "cpu", "--out", &out],
    ];
    for command in commands {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_pronk")]).args(command);
        let done = shell.output().expect("a shell");
        let stderr = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(1), "{command:?}: {stderr}");
        let problem = format!("pronk: {out}: cannot write: File too large (os error 27)");
        assert_eq!(stderr.lines().last(), Some(problem.as_str()), "{command:?}");
        let left: Vec<_> =
            fs::read_dir(folder.path()).expect("readable").map(|file| file.expect("a file").path()).collect();
        assert_eq!(left, [path.as_path()], "{command:?}");
    }
}
