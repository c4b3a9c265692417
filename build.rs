//! What the program takes from files beside its sources, put where the compiler finds it:
//!
//! - `ptx.rs`: the modules of `kernels/ptx`, each compressed with both architectures in one stream. They differ in few lines, so that
//!   the second one takes almost no space. And their machine code, as it lies in `kernels/cubin`.
//! - `shaders.rs`: the WGSL files of `shaders/`.
//! - `PRONK_VERSION`: the version, and in optimized builds the commit.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let out = PathBuf::from(variable("OUT_DIR"));
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=PRONK_VERSION={}", version(&root));
    if cfg!(feature = "wgpu") {
        write(&out.join("shaders.rs"), shaders(&root.join("shaders")).as_bytes());
    }
    #[cfg(feature = "cuda")]
    write(&out.join("ptx.rs"), ptx::modules(&root.join("kernels"), &out).as_bytes());
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

/// What lies in a folder, by name, and the folder as something that the build depends on.
fn listed(folder: &Path) -> Vec<(String, PathBuf)> {
    println!("cargo::rerun-if-changed={}", folder.display());
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let paths = entries.map(|entry| entry.unwrap_or_else(|e| panic!("{}: {e}", folder.display())).path());
    let named = |path: PathBuf| Some((path.file_name()?.to_str()?.to_string(), path));
    let mut found: Vec<_> = paths.filter_map(named).collect();
    found.sort();
    found
}

/// `&[("ops/add", include_str!(..)), ..]`
fn shaders(folder: &Path) -> String {
    let mut table = "&[\n".to_string();
    for (room, path) in listed(folder).into_iter().filter(|(_, path)| path.is_dir()) {
        for (name, path) in listed(&path) {
            if let Some(stem) = name.strip_suffix(".wgsl") {
                table += &format!("    ({:?}, include_str!({:?})),\n", format!("{room}/{stem}"), path);
            }
        }
    }
    table + "]\n"
}

/// `0.1.0 (1a2b3c4, 2026-11-25)`. Builds without optimization do not have the commit: each commit would build them again.
fn version(root: &Path) -> String {
    let version = variable("CARGO_PKG_VERSION");
    if variable("PROFILE") != "release" {
        return format!("{version} (debug build)");
    }
    let git = |arguments: &[&str]| {
        let done = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
        let text = String::from_utf8(done.stdout).ok()?;
        done.status.success().then(|| text.trim().to_string())
    };
    // Sources without a repository of their own may lie in another one.
    let Some(commit) = root.join(".git").exists().then(|| git(&["log", "-1", "--format=%h, %cs"])).flatten() else {
        return version;
    };
    // HEAD names a branch, the log of HEAD changes with each commit.
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name]).map(|path| root.join(path)).filter(|p| p.exists()) {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    format!("{version} ({commit})")
}

#[cfg(feature = "cuda")]
mod ptx {
    use super::{listed, write};
    use lzma_rust2::{LzmaOptions, LzmaWriter};
    use std::collections::BTreeMap;
    use std::io::Write;
    use std::path::Path;

    /// Of 0 to 9. The whole folder takes 2.97 MB and 3 s at 2, 2.15 MB and 26 s at 6: builds without optimization take the first.
    fn preset() -> u32 {
        if super::variable("PROFILE") == "release" { 6 } else { 2 }
    }

    /// `&[Module { .. }, ..]`; the streams go to `out`.
    pub fn modules(kernels: &Path, out: &Path) -> String {
        let (folder, cubins) = (&kernels.join("ptx"), kernels.join("cubin"));
        let mut stems: BTreeMap<String, [Option<String>; 2]> = BTreeMap::new();
        for (name, path) in listed(folder) {
            println!("cargo::rerun-if-changed={}", path.display());
            for (i, end) in [".sm_80.ptx", ".sm_90.ptx"].into_iter().enumerate() {
                if let Some(stem) = name.strip_suffix(end) {
                    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                    stems.entry(stem.to_string()).or_default()[i] = Some(text);
                }
            }
        }
        let mut table = "&[\n".to_string();
        for (stem, texts) in stems {
            let [Some(sm_80), Some(sm_90)] = texts else { panic!("{stem}: PTX of one architecture is missing") };
            assert!(entries(&sm_80) == entries(&sm_90), "{stem}: the architectures have different entries");
            let packed = out.join(format!("{stem}.ptx.lzma"));
            write(&packed, &compressed(&(sm_80.clone() + &sm_90)));
            let lengths = [sm_80.len(), sm_90.len()];
            let cubins = cubins.join(format!("{stem}.lzma"));
            println!("cargo::rerun-if-changed={}", cubins.display());
            table += &format!("    Module {{ stem: {stem:?}, lengths: {lengths:?}, ");
            table += &format!("packed: include_bytes!({packed:?}), cubins: include_bytes!({cubins:?}) }},\n");
        }
        table + "]\n"
    }

    fn entries(text: &str) -> Vec<&str> {
        let after = text.split(".visible .entry ").skip(1);
        after.map(|text| text.split('(').next().unwrap_or("").trim()).collect()
    }

    fn compressed(text: &str) -> Vec<u8> {
        let mut options = LzmaOptions::with_preset(preset());
        options.dict_size = text.len().next_power_of_two().max(4096) as u32; // the second architecture sees all of the first
        let writer = LzmaWriter::new_use_header(vec![], &options, Some(text.len() as u64));
        let done = writer.and_then(|mut writer| {
            writer.write_all(text.as_bytes())?;
            writer.finish()
        });
        done.unwrap_or_else(|e| panic!("compressing PTX: {e}"))
    }
}
