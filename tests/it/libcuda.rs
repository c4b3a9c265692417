//! The CUDA driver's part of the program (`backend/cuda/driver/gpu.rs`) without a GPU: on the simulator's own `libcuda`.

use crate::common::data;
use crate::common::program::{Done, finish, pronk};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

/// Builds the library, and a folder with it under the names that programs look for.
fn library() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let target = Path::new(env!("CARGO_BIN_EXE_pronk")).ancestors().nth(2).expect("target/debug/pronk");
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--locked", "--quiet", "--package", "ptx-sim-cuda", "--message-format", "json"]);
        build.current_dir(env!("CARGO_MANIFEST_DIR")).arg("--target-dir").arg(target);
        let done = build.output().expect("cargo runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let messages = String::from_utf8(done.stdout).expect("UTF-8");
        let message = messages.lines().find(|line| line.contains("libptx_sim_cuda.so")).expect("the library");
        let message: serde_json::Value = serde_json::from_str(message).expect("JSON");
        let built = message["filenames"][0].as_str().expect("its path").to_string();
        let folder = TempDir::new().expect("a folder");
        for name in ["libcuda.so", "libcuda.so.1"] {
            std::os::unix::fs::symlink(&built, folder.path().join(name)).expect("a link");
        }
        folder
    });
    folder.path()
}

/// What a run said, and what the library logged.
struct Logged {
    done: Done,
    log: Vec<String>,
}

impl Logged {
    /// The lines of the log about something.
    fn about(&self, topic: &str) -> Vec<&str> {
        self.log.iter().filter_map(|line| line.strip_prefix(&format!("ptx-sim: {topic}: "))).collect()
    }

    fn succeeded(self) -> Logged {
        assert_eq!(self.done.code, Some(0), "{}\n{}", self.done.stderr, self.log.join("\n"));
        assert_eq!(self.about("left"), [] as [&str; 0], "something is not freed");
        self
    }
}

/// Runs the program with the library on its path, small GPUs, and these variables.
fn simulated(args: &[&str], variables: &[(&str, &str)]) -> Logged {
    let folder = TempDir::new().expect("a folder");
    let log = folder.path().join("log");
    let mut command = pronk(args);
    command.env("LD_LIBRARY_PATH", library()).env("PTX_SIM_SMS", "4").env("PTX_SIM_LOG", &log);
    command.envs(variables.iter().copied());
    let done = finish(command.spawn().expect("the program starts"));
    let log = std::fs::read_to_string(log).unwrap_or_default();
    Logged { done, log: log.lines().map(str::to_string).collect() }
}

/// Some tokens of a tiny model.
fn tokens(device: &str, variables: &[(&str, &str)]) -> Logged {
    let model = data("models/tiny-llama3.q4_0.gguf").display().to_string();
    simulated(&["run", "-m", &model, "-p", "Hello", "-n", "4", "--temp", "0", "--device", device], variables)
}

const LAZY: (&str, &str) = ("PTX_SIM_LAZY", "1");
const TWO: (&str, &str) = ("PTX_SIM_DEVICES", "2");

#[test]
fn the_program_lists_simulated_gpus() {
    let listed = simulated(&["devices"], &[TWO, ("PTX_SIM_GPU", "A100"), ("PTX_SIM_MEMORY", "2048")]).succeeded();
    for part in ["cuda:0 ", "cuda:1 ", "PTX simulator (A100)", "4 SMs, 2.0 GiB", "sm_80"] {
        assert!(listed.done.stdout.contains(part), "{part} in {}", listed.done.stdout);
    }
    let wrong = simulated(&["devices"], &[("PTX_SIM_GPU", "Voodoo")]);
    assert!(!wrong.done.stdout.contains("cuda"), "{}", wrong.done.stdout);
    let why = "cuInit: PTX_SIM_GPU: Voodoo: expected one of H100, A100, RTX 4090";
    assert_eq!(wrong.about("refused"), [why]);
}

/// Operations at a type each: all ways into gpu.rs, and a share of the kernels. The rest of the suite runs on the device `sim`.
const SAMPLES: [(&str, Option<&str>); 6] = [
    ("rms_norm", None),
    ("embed", Some("Q4_0")),
    ("mat_mul", Some("Q4_0")),
    ("mat_mul_add", Some("Q8_0")),
    ("kv_store", None),
    ("argmax", None),
];

fn passes(args: &[&str], variables: &[(&str, &str)]) {
    for (op, ty) in SAMPLES {
        let mut args = [args, &["-o", op]].concat();
        args.extend(ty.into_iter().flat_map(|ty| ["--type", ty]));
        simulated(&args, variables).succeeded();
    }
}

#[test]
fn conformance_at_once() {
    passes(&["ops", "test", "--device", "cuda"], &[]);
}

#[test]
fn conformance_when_something_waits() {
    passes(&["ops", "test", "--device", "cuda"], &[LAZY]);
}

#[test]
fn conformance_on_two_gpus_in_turn() {
    let args = ["compare", "--device", "cuda:0", "--with", "cuda:1", "-o", "rms_norm"];
    let done = simulated(&args, &[TWO]).succeeded();
    assert!(!done.done.stdout.is_empty());
}

#[test]
fn tokens_are_those_of_the_reference() {
    let wanted = tokens("ref", &[]).succeeded().done.stdout;
    assert!(!wanted.is_empty());
    for (device, variables) in
        [("cuda", &[][..]), ("cuda", &[LAZY]), ("cuda:1", &[TWO]), ("cuda:1", &[TWO, LAZY]), ("cuda", &[A100])]
    {
        assert_eq!(tokens(device, variables).succeeded().done.stdout, wanted, "{device} {variables:?}");
    }
}

const A100: (&str, &str) = ("PTX_SIM_GPU", "A100");

/// Waits for events that are left out are noticed, so the tests above hold what they wait for.
#[test]
fn a_missing_wait_fails() {
    let args = ["ops", "test", "--device", "cuda", "-o", "rms_norm"];
    let run = simulated(&args, &[LAZY, ("PTX_SIM_NO_WAIT", "events")]);
    assert_eq!(run.done.code, Some(1), "{}", run.done.stderr);
}

/// A defect of a kernel is an error of the step, and its place is in the log.
#[test]
fn a_finding_is_an_error() {
    let folder = TempDir::new().expect("a folder");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels/ptx/rms_norm.sm_90.ptx");
    let text = std::fs::read_to_string(source).expect("PTX");
    let without = text.replace("bar.sync", "// bar.sync");
    assert_ne!(text, without);
    std::fs::write(folder.path().join("rms_norm.sm_90.ptx"), without).expect("a writable folder");
    let folder = folder.path().display().to_string();
    let run = simulated(&["ops", "test", "--device", "cuda", "-o", "rms_norm"], &[("PRONK_PTX", &folder)]);
    assert_eq!(run.done.code, Some(1), "{}", run.done.stderr);
    assert!(run.done.stdout.contains("CUDA_ERROR_LAUNCH_FAILED"), "{}", run.done.stdout);
    assert!(run.about("finding").iter().any(|finding| finding.contains("SharedRace")), "{}", run.log.join("\n"));
}

/// Entry points that free something, or only say what an error is called: the program goes on when they fail.
const FREES: [&str; 11] = [
    "cuDevicePrimaryCtxRelease_v2",
    "cuEventDestroy_v2",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuGraphDestroy",
    "cuGraphExecDestroy",
    "cuMemFreeHost",
    "cuMemFree_v2",
    "cuModuleUnload",
    "cuStreamDestroy_v2",
    "cuMemGetInfo_v2",
];

/// Which wait for the stream ends the loading of a model: the first comes before the plan before it is freed.
const END_OF_LOADING: u64 = 2;

/// What must be true of a run in which this call of an entry point failed.
fn check_fault(name: &str, call: u64, wanted: &str) {
    let fault = format!("{name}=2@{call}");
    let run = tokens("cuda", &[("PTX_SIM_FAIL", &fault)]);
    let all = format!("{fault}: {}\n{}", run.done.stderr, run.log.join("\n"));
    assert_eq!(run.about("injected"), [format!("{name} fails with CUDA_ERROR_OUT_OF_MEMORY")], "{all}");
    assert!(run.about("defect").is_empty() && !run.done.stderr.contains("panicked"), "{all}");
    if run.done.code == Some(0) {
        let goes_on = match (name, call) {
            // The machine code is refused anyway, and the PTX taken: by the next call.
            ("cuModuleLoadDataEx", call) => call % 2 == 1,
            // Of the waits for the stream, only that at the end of loading has a caller to tell; the others come before something is freed.
            ("cuStreamSynchronize", call) => call != END_OF_LOADING,
            _ => FREES.contains(&name),
        };
        assert!(goes_on && run.done.stdout == wanted, "{all}");
        return;
    }
    assert_eq!(run.done.code, Some(1), "{all}");
    assert!(run.done.stderr.starts_with("pronk: ") && run.done.stderr.lines().count() == 1, "{all}");
    assert_eq!(run.about("left"), [] as [&str; 0], "{all}");
}

#[test]
fn every_driver_call_may_fail() {
    let good = tokens("cuda", &[("PTX_SIM_CALLS", "1")]).succeeded();
    let called: BTreeMap<&str, u64> = good
        .about("called")
        .iter()
        .filter_map(|line| line.split_once(' ').map(|(name, n)| (name, n.parse().expect("a number"))))
        .collect();
    assert!(called.len() > 30, "{called:?}");
    // The first call, and one in the middle.
    let faults: Vec<(&str, u64)> = called
        .iter()
        .flat_map(|(name, n)| [Some((*name, 1)), (*n > 1).then_some((*name, n / 2 + 1))])
        .flatten()
        .chain([("cuStreamSynchronize", END_OF_LOADING)])
        .collect();
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((name, call)) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
                    check_fault(name, *call, &good.done.stdout);
                }
            });
        }
    });
}
