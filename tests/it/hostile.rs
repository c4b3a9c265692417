//! The bodies of the fuzz targets on their seeds, on past findings of the fuzzer, and on damaged seeds.
//!
//! `PRONK_SEEDS=DIR` writes the seeds to one folder per target under DIR, for `make fuzz`.

use pronk::quant::Random;
use std::fs;
use std::path::Path;

#[path = "../fuzz/src/targets/mod.rs"]
mod targets;

/// Damaged copies of each seed.
const DAMAGED: u32 = 40;

/// The body of a target.
type Body = fn(&[u8]);

const TARGETS: [(&str, Body); 4] = [
    ("gguf", targets::gguf::run),
    ("split", targets::split::run),
    ("template", targets::template::run),
    ("tokenizer", targets::tokenizer::run),
];

#[test]
fn seeds_are_survived_whole_and_damaged() {
    let mut random = Random::new(1);
    for (name, run) in TARGETS {
        let mut n = 0;
        for (_, _, mut bytes) in targets::seeds::seeds().into_iter().filter(|(target, ..)| *target == name) {
            run(&bytes);
            for _ in 0..DAMAGED {
                let at = random.below(bytes.len() as u32) as usize;
                bytes[at] = random.below(256) as u8;
                run(&bytes);
            }
            n += 1;
        }
        assert!(n > 3, "{name} has seeds");
    }
}

/// `tests/fuzz/findings/TARGET/*`: past findings.
#[test]
fn past_findings_are_survived() {
    let mut n = 0;
    for (name, run) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/findings").join(name);
        for path in fs::read_dir(&folder).into_iter().flatten().map(|entry| entry.expect("an entry").path()) {
            println!("{}", path.display());
            run(&fs::read(&path).expect("a readable file"));
            n += 1;
        }
    }
    assert!(n > 0, "findings are in the folder");
}

#[test]
fn seeds_are_written_on_request() {
    let Some(folder) = std::env::var_os("PRONK_SEEDS") else {
        return;
    };
    for (target, name, bytes) in targets::seeds::seeds() {
        let folder = Path::new(&folder).join(target);
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join(format!("seed-{name}")), bytes).expect("a writable folder");
    }
}
