//! Kernels of the folder that `PRONK_PTX` names.

use super::{file, folder};
use crate::common::program::{Done, finish, pronk};
use pronk::backend::cuda::{Arch, ptx};

/// Runs the cases of an operation with a folder on trial.
fn trial(device: &str, folder: &str) -> Done {
    let mut command = pronk(&["ops", "test", "--device", device, "-o", "rms_norm", "--fail-fast"]);
    finish(command.env("PRONK_PTX", folder).spawn().expect("the program starts"))
}

#[test]
fn a_file_is_tried_in_place_of_the_programs_own_and_named() {
    let folder = folder();
    let text = ptx("rms_norm", Arch::Sm90).expect("the PTX");
    let changed = text.replacen("bar.sync 0;", "", 1);
    assert_ne!(changed, text);
    let path = file(&folder, "rms_norm.sm_90.ptx", changed.as_bytes());
    let shown = folder.path().display().to_string();
    let named = format!("pronk: {path} takes the place of the kernels of rms_norm\n");
    let done = trial("sim", &shown);
    assert_eq!(done.code, Some(1));
    assert!(done.stdout.contains("SharedRace"), "{}", done.stdout);
    assert!(done.stderr.starts_with(&named), "{}", done.stderr);
    file(&folder, "rms_norm.sm_90.ptx", text.as_bytes());
    let done = trial("sim", &shown);
    assert!(done.code == Some(0) && done.stderr.starts_with(&named), "{}", done.stderr);
    let done = trial("cpu", &shown);
    let idle = "pronk: PRONK_PTX is set, but replaces nothing on cpu\n";
    assert!(done.code == Some(0) && done.stderr.starts_with(idle), "{}", done.stderr);
    // A model says it too.
    let mut run = pronk(&["run", "-m", &super::tiny(), "-p", "x", "-n", "1", "-c", "8", "--device", "sim"]);
    let done = finish(run.env("PRONK_PTX", &shown).spawn().expect("the program starts"));
    assert!(done.code == Some(0) && done.stderr.contains(&named), "{}", done.stderr);
}

#[test]
fn a_file_that_replaces_nothing_is_refused() {
    let text = ptx("rms_norm", Arch::Sm90).expect("the PTX");
    for (name, text, part) in [
        ("rmsnorm.sm_90.ptx", &*text, "replaces nothing, there are no kernels of the name rmsnorm"),
        ("rms_norm.sm_80.ptx", &*text, "replaces nothing, this device loads files for sm_90"),
        ("rms_norm.sm_90.ptx", "garbage", "is not PTX"),
    ] {
        let folder = folder();
        let path = file(&folder, name, text.as_bytes());
        let done = trial("sim", &folder.path().display().to_string());
        assert_eq!((done.code, done.stdout.as_str()), (Some(1), ""), "{name}: {}", done.stderr);
        assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
        assert!(done.stderr.starts_with(&format!("pronk: sim: PRONK_PTX: {path}: {part}")), "{}", done.stderr);
    }
    let done = trial("sim", "no such folder");
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.contains("PRONK_PTX=no such folder: is not a folder"), "{}", done.stderr);
}
