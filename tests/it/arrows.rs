//! Checks the sources for the direction of dependencies in ARCHITECTURE.md.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A module, and the modules that it may name. Those of [`PROGRAM`] and `main.rs` may name all.
const MAY_NAME: [(&str, &[&str]); 8] = [
    ("gguf", &[]),
    ("quant", &["gguf"]), // for GgmlType only: see the test below
    ("text", &["gguf"]),
    ("plan", &["quant"]),
    ("model", &["gguf", "quant", "plan"]),
    ("backend", &["plan", "quant"]),
    ("conformance", &["backend", "plan", "quant", "model"]),
    ("generate", &["backend", "gguf", "model", "plan", "quant", "text"]),
];

/// The modules of the program, which the library does not have.
const PROGRAM: [&str; 2] = ["cli", "platform"];

/// Crates, and the only folders that may name them.
const OWNERS: [(&str, &[&str]); 10] = [
    ("wgpu::", &["backend/wgpu"]),
    ("cudarc::", &["backend/cuda"]),
    ("ptx_sim::", &["backend/cuda"]),
    ("lzma_rust2::", &["backend/cuda"]),
    ("memmap2::", &["gguf", "backend/cpu/products/memory.rs"]),
    ("tokenizers::", &["text"]),
    ("minijinja::", &["text"]),
    ("clap::", &["cli"]),
    ("clap_complete::", &["cli"]),
    ("clap_mangen::", &["cli"]),
];

/// The only files and folders with unsafe code, each behind a safe interface.
const UNSAFE: [&str; 7] = [
    "runtime/platform/",
    "runtime/gguf/map.rs",
    "runtime/backend/wgpu",
    "runtime/backend/cuda/driver",
    "runtime/backend/cpu/products/simd/",
    "kernels/libcuda/src/host.rs",
    "kernels/libcuda/src/raw.rs",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn runtime() -> PathBuf {
    root().join("runtime")
}

/// Every source file under `dir`.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(dir).expect("a readable folder").map(|e| e.expect("an entry").path()) {
        if entry.is_dir() {
            found.extend(files(&entry));
        } else if entry.extension().is_some_and(|e| e == "rs") {
            found.push(entry);
        }
    }
    found
}

/// Every source file under `dir`, a folder of runtime/, as (path relative to runtime/, text without comments).
fn sources(dir: &Path) -> Vec<(String, String)> {
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("UTF-8");
        let code: Vec<&str> = text.lines().map(|l| l.split("//").next().unwrap_or("")).collect();
        let path = path.strip_prefix(runtime()).expect("under runtime/").display().to_string();
        (path, code.join("\n"))
    };
    files(dir).into_iter().map(read).collect()
}

/// The modules of this crate that `code` names: `crate::x`, `use crate::{x, y}`, `super::super::x`.
fn named(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for after in code.split("crate::").skip(1) {
        let list = after.strip_prefix('{').map(|l| l.split('}').next().unwrap_or(""));
        for item in list.unwrap_or(after).split(',') {
            let word: String = item.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            names.insert(word);
            if list.is_none() {
                break;
            }
        }
    }
    names
}

#[test]
fn modules_name_only_what_lies_below_them() {
    let modules: BTreeSet<&str> = MAY_NAME.iter().map(|(m, _)| *m).chain(PROGRAM).collect();
    let on_disk: BTreeSet<String> = fs::read_dir(runtime())
        .expect("runtime/")
        .map(|e| e.expect("an entry").path())
        .filter(|p| p.is_dir())
        .map(|p| p.file_name().expect("a name").to_string_lossy().into_owned())
        .collect();
    let listed: BTreeSet<String> = modules.iter().map(|m| m.to_string()).collect();
    assert_eq!(on_disk, listed, "every folder of runtime/ has its row in this test");
    for (module, allowed) in MAY_NAME {
        for (path, code) in sources(&runtime().join(module)) {
            for name in named(&code).iter().filter(|n| modules.contains(n.as_str())) {
                assert!(name == module || allowed.contains(&name.as_str()), "runtime/{path} names crate::{name}");
            }
        }
    }
}

#[test]
fn quant_takes_only_the_type_names_from_gguf() {
    for (path, code) in sources(&runtime().join("quant")) {
        for after in code.split("crate::gguf").skip(1) {
            assert!(after.starts_with("::GgmlType"), "runtime/{path} names more of gguf than GgmlType");
        }
    }
}

#[test]
fn crates_stay_with_their_owner() {
    for (path, code) in sources(&runtime()) {
        for (name, owners) in OWNERS {
            // `wgpu::REGISTERED`, `super::wgpu::`, `backend::wgpu::` are of our own module.
            let ours = [format!("super::{name}"), format!("backend::{name}"), format!("{name}REGISTERED")];
            let foreign = ours.iter().fold(code.clone(), |code, ours| code.replace(ours, ""));
            let used = foreign.split(name).collect::<Vec<_>>();
            let names_it = used.windows(2).any(|pair| !pair[0].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
            assert!(
                !names_it || owners.iter().any(|owner| path.starts_with(owner)),
                "runtime/{path} names {name} which belongs to {owners:?} of runtime/"
            );
        }
    }
}

#[test]
fn unsafe_code_is_confined_and_explained() {
    let folders = ["runtime", "kernels/sim/src", "kernels/libcuda/src"];
    for path in folders.iter().flat_map(|folder| files(&root().join(folder))) {
        let text = fs::read_to_string(&path).expect("UTF-8");
        let path = path.strip_prefix(root()).expect("below the root").display().to_string();
        let lines: Vec<&str> = text.lines().collect();
        for (i, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            // The texts of `pronk guard` have the word as well.
            if !["{", "fn ", "impl", "trait", "extern"].iter().any(|after| code.contains(&format!("unsafe {after}"))) {
                continue;
            }
            assert!(UNSAFE.iter().any(|u| path.starts_with(u)), "{path}:{}: unsafe code", i + 1);
            let explained = lines[i.saturating_sub(6)..=i].iter().any(|l| l.contains("SAFETY:"));
            assert!(explained, "{path}:{}: no SAFETY line above", i + 1);
        }
    }
}

/// Sources of the library, without those of the program.
fn library() -> impl Iterator<Item = (String, String)> {
    let program = ["cli/", "main.rs", "platform/"];
    sources(&runtime()).into_iter().filter(move |(path, _)| !program.iter().any(|own| path.starts_with(own)))
}

/// The string literals of a line, found by its quotes.
fn literals(line: &str) -> impl Iterator<Item = &str> {
    line.split('"').skip(1).step_by(2)
}

/// Whether a text names a flag: `--device`, `-c 8`.
fn names_a_flag(text: &str) -> bool {
    let is_flag = |word: &str| {
        let name = word.trim_start_matches(|c: char| !c.is_alphanumeric() && c != '-').strip_prefix('-');
        let letter = |name: &str| name.starts_with(|c: char| c.is_ascii_lowercase());
        match name.map(|name| name.strip_prefix('-').ok_or(name)) {
            Some(Ok(long)) => letter(long),
            Some(Err(short)) => letter(short) && !short[1..].starts_with(|c: char| c.is_alphanumeric() || c == '_'),
            None => false,
        }
    };
    text.split_whitespace().any(is_flag)
}

#[test]
fn the_library_prints_nothing_and_names_no_flag() {
    let mut n = 0;
    for (path, code) in library() {
        for line in code.lines() {
            for print in ["println!", "print!", "eprintln!", "eprint!", "dbg!"] {
                assert!(!line.contains(print), "runtime/{path} prints: {line}");
            }
            let named = literals(line).find(|text| names_a_flag(text));
            assert!(named.is_none(), "runtime/{path} names a flag of the program: {line}");
        }
        n += 1;
    }
    assert!(n > 50, "{n} sources");
    for flag in ["--device cpu can run it", "the most is -c {fits}", "holds {n} (-c)", "(--check-tensors looks)"] {
        assert!(names_a_flag(flag), "{flag}");
    }
    for text in ["a - b", "-1", "a-b", "x -- y"] {
        assert!(!names_a_flag(text), "{text}");
    }
}

/// Every dependency of Cargo.toml has its line in ARCHITECTURE.md.
#[test]
fn every_dependency_has_its_reason() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("Cargo.toml");
    let page = fs::read_to_string(root.join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let mut in_dependencies = false;
    let mut found = 0;
    for line in manifest.lines() {
        if line.starts_with('[') {
            in_dependencies = line.ends_with("dependencies]");
        } else if let (true, Some((name, _))) = (in_dependencies, line.split_once('=')) {
            let name = name.trim();
            assert!(page.contains(&format!("- `{name}`: ")), "ARCHITECTURE.md has no line for {name}");
            found += 1;
        }
    }
    assert!(found > 10);
}

/// Every test file is a module of the one test program: a file that its folder's `mod` lines miss would not run.
#[test]
fn every_test_file_is_compiled() {
    fn check(folder: &Path, root: &str) -> usize {
        let declared = fs::read_to_string(folder.join(root)).expect("the folder's root module");
        let mut n = 0;
        for path in fs::read_dir(folder).expect("a readable folder").map(|e| e.expect("an entry").path()) {
            if path.ends_with(root) {
                continue;
            }
            let name = path.file_stem().expect("a name").to_string_lossy();
            let is_module = declared.lines().any(|line| line.ends_with(&format!("mod {name};")));
            assert!(is_module, "{}: not a module of {}/{root}", path.display(), folder.display());
            n += if path.is_dir() { check(&path, "mod.rs") } else { 1 };
        }
        n
    }
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    assert!(check(&tests.join("it"), "main.rs") > 20);
    let stray = fs::read_dir(&tests).expect("tests/").map(|e| e.expect("an entry").path());
    let stray: Vec<PathBuf> = stray.filter(|path| path.extension().is_some_and(|e| e == "rs")).collect();
    assert_eq!(stray, [] as [PathBuf; 0], "tests go into tests/it, which links the library once");
}

/// Some test data is of other projects: the README of each folder names contents, origin and license.
#[test]
fn test_data_names_its_license() {
    let folders = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")).expect("tests/data");
    for folder in folders.map(|entry| entry.expect("an entry").path()) {
        let page = fs::read_to_string(folder.join("README.md")).unwrap_or_default();
        assert!(page.contains("\nLicense: "), "{}: no README.md with a line `License: `", folder.display());
    }
}

/// Maximum number of crates of the library and its dependencies on Linux, with these features: measured 2026-11-25, 132
/// and 96.
const MOST_CRATES: [(&str, usize); 2] = [("wgpu", 140), ("cuda", 100)];

#[test]
fn a_library_needs_few_crates() {
    for (features, most) in MOST_CRATES {
        let options = ["tree", "--locked", "--edges", "normal", "--prefix", "none", "--no-dedupe"];
        let target = ["--target", "x86_64-unknown-linux-gnu", "--no-default-features", "--features", features];
        let done = Command::new(env!("CARGO")).args(options).args(target).output().expect("cargo runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let tree = String::from_utf8(done.stdout).expect("UTF-8");
        let crates: BTreeSet<&str> = tree.lines().collect();
        assert!(crates.len() > 10 && crates.len() <= most, "{features}: {} crates, at most {most}", crates.len());
    }
}
