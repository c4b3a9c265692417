//! The direction of dependencies, as ARCHITECTURE.md draws it, held by reading the sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Module, and the modules that it may name. `cli` and `main.rs` see all.
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

/// Crates that only one folder may name.
const OWNERS: [(&str, &str); 8] = [
    ("wgpu::", "backend/wgpu"),
    ("cudarc::", "backend/cuda"),
    ("ptx_sim::", "backend/cuda"),
    ("lzma_rust2::", "backend/cuda"),
    ("memmap2::", "gguf"),
    ("tokenizers::", "text"),
    ("minijinja::", "text"),
    ("clap::", "cli"),
];

/// The only places with unsafe code, each behind a safe interface.
const UNSAFE: [&str; 5] = ["main.rs", "lost_pages.rs", "gguf/map.rs", "backend/wgpu", "backend/cuda/driver"];

fn runtime() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime")
}

/// Every source file under `dir` as (path relative to runtime/, text without comments).
fn sources(dir: &Path) -> Vec<(String, String)> {
    let mut found = vec![];
    for entry in fs::read_dir(dir).expect("a readable folder").map(|e| e.expect("an entry").path()) {
        if entry.is_dir() {
            found.extend(sources(&entry));
        } else if entry.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&entry).expect("UTF-8");
            let code: Vec<&str> = text.lines().map(|l| l.split("//").next().unwrap_or("")).collect();
            let path = entry.strip_prefix(runtime()).expect("under runtime/").display().to_string();
            found.push((path, code.join("\n")));
        }
    }
    found
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
    let modules: BTreeSet<&str> = MAY_NAME.iter().map(|(m, _)| *m).chain(["cli"]).collect();
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
        for (name, owner) in OWNERS {
            // `backend::wgpu::` is our own module.
            let foreign = code.replace(&format!("super::{name}"), "").replace(&format!("backend::{name}"), "");
            let used = foreign.split(name).collect::<Vec<_>>();
            let names_it = used.windows(2).any(|pair| !pair[0].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
            assert!(
                !names_it || path.starts_with(owner),
                "runtime/{path} names {name} which belongs to runtime/{owner}"
            );
        }
    }
}

#[test]
fn unsafe_code_is_confined_and_explained() {
    for (path, _) in sources(&runtime()) {
        let text = fs::read_to_string(runtime().join(&path)).expect("UTF-8");
        let lines: Vec<&str> = text.lines().collect();
        for (i, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            // The word alone is also in the texts of `pronk guard`.
            if !["{", "fn ", "impl", "trait", "extern"].iter().any(|after| code.contains(&format!("unsafe {after}"))) {
                continue;
            }
            assert!(UNSAFE.iter().any(|u| path.starts_with(u)), "runtime/{path}:{}: unsafe code", i + 1);
            let explained = lines[i.saturating_sub(6)..=i].iter().any(|l| l.contains("SAFETY:"));
            assert!(explained, "runtime/{path}:{}: no SAFETY line above", i + 1);
        }
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
