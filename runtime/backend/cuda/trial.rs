//! Kernels on trial: if the environment variable `PRONK_PTX` names a folder, a file `<stem>.<arch>.ptx` there
//! (`rms_norm.sm_90.ptx`) takes the place of the text compiled in, to try a changed kernel without building the program.
//!
//! A file that would take no place is an error, so that no one measures a kernel that was never loaded.

use super::kernels::{Arch, MODULES, entries_of, ptx};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The environment variable that names the folder.
pub const PTX_FOLDER: &str = "PRONK_PTX";

/// The files of the folder that a device loads, by their stems.
#[derive(Default)]
pub struct Trial(BTreeMap<&'static str, File>);

/// A file and its text.
struct File {
    path: PathBuf,
    text: String,
}

impl Trial {
    /// The files of the folder that `PRONK_PTX` names, for a device of this compute capability. None without the variable.
    pub fn of_environment(capability: (u32, u32)) -> Result<Trial, String> {
        match std::env::var_os(PTX_FOLDER).filter(|name| !name.is_empty()) {
            Some(folder) => Trial::new(Path::new(&folder), capability),
            None => Ok(Trial::default()),
        }
    }

    /// The files of `folder`. Files that do not end in `.ptx` are left alone; a file for another architecture may lie beside that for
    /// the device's own.
    ///
    /// Errors: a name that is not `<stem>.<arch>.ptx`; only files for another architecture; a text that is not PTX, is for a newer
    /// device, or has none of the entries that it should replace.
    pub fn new(folder: &Path, capability: (u32, u32)) -> Result<Trial, String> {
        let shown = folder.display();
        if !folder.is_dir() {
            return Err(format!("{PTX_FOLDER}={shown}: is not a folder"));
        }
        let listed = fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
        let mut paths: Vec<PathBuf> = listed.map_err(|e| format!("{PTX_FOLDER}={shown}: cannot read: {e}"))?;
        paths.retain(|path| path.extension().is_some_and(|end| end.eq_ignore_ascii_case("ptx")));
        paths.sort();
        let ours = Arch::of(capability);
        let (mut trial, mut others) = (Trial::default(), vec![]);
        for path in paths {
            let refused = |what: String| format!("{PTX_FOLDER}: {}: {what}", path.display());
            match kernels_of(&path).map_err(refused)? {
                (stem, arch) if arch == ours => {
                    let text = fs::read_to_string(&path).map_err(|e| refused(format!("cannot read: {e}")))?;
                    check(stem, &text, arch, capability).map_err(refused)?;
                    trial.0.insert(stem, File { path, text });
                }
                (stem, _) => others.push((stem, path)),
            }
        }
        let unused = others.iter().find(|(stem, _)| !trial.0.contains_key(stem));
        match unused {
            Some((_, path)) => {
                let what = format!("replaces nothing, this device loads files for {}", ours.name());
                Err(format!("{PTX_FOLDER}: {}: {what}", path.display()))
            }
            None => Ok(trial),
        }
    }

    /// The path and the text of the file for this stem.
    pub fn file(&self, stem: &str) -> Option<(&Path, &str)> {
        self.0.get(stem).map(|file| (&*file.path, &*file.text))
    }

    /// Each stem and the file that takes its place.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        self.0.iter().map(|(stem, file)| (*stem, &*file.path))
    }
}

/// The stem and the architecture that a file's name says.
fn kernels_of(path: &Path) -> Result<(&'static str, Arch), String> {
    const FORM: &str = "replaces nothing, its name is not <stem>.<arch>.ptx";
    let name = path.file_stem().and_then(|name| name.to_str()).ok_or(FORM)?;
    let (stem, arch) = name.rsplit_once('.').ok_or(FORM)?;
    let known = Arch::ALL.map(Arch::name).join(" or ");
    let arch = Arch::ALL.into_iter().find(|known| known.name() == arch);
    let arch = arch.ok_or_else(|| format!("{FORM} with {known} as <arch>"))?;
    let known = MODULES.iter().find(|module| module.stem == stem);
    let known = known.ok_or_else(|| format!("replaces nothing, there are no kernels of the name {stem}"))?;
    Ok((known.stem, arch))
}

/// Errors: the text does not begin as PTX does, is for a device newer than `capability`, or has no entry of the stem.
fn check(stem: &str, text: &str, arch: Arch, capability: (u32, u32)) -> Result<(), String> {
    let directive = |name: &str| {
        let lines = text.lines().map(|line| line.split("//").next().unwrap_or("").trim());
        lines.filter_map(|line| line.strip_prefix(name)).next().map(str::trim)
    };
    directive(".version ").ok_or("is not PTX, it has no line .version")?;
    let target = directive(".target ").ok_or("is not PTX, it has no line .target")?;
    let digits = target.trim_start_matches("sm_").split(|c: char| !c.is_ascii_digit()).next().unwrap_or("");
    let wanted: u32 = digits.parse().map_err(|_| format!("its line .target names no architecture: {target:?}"))?;
    let (major, minor) = capability;
    if wanted > 10 * major + minor {
        return Err(format!("is for sm_{wanted}, the device is sm_{major}{minor}"));
    }
    let own = ptx(stem, arch)?;
    let found: Vec<&str> = entries_of(text).collect();
    match entries_of(&own).next() {
        Some(first) if !entries_of(&own).any(|entry| found.contains(&entry)) => Err(format!("no entry {first}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(name: &str, text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(name), text).unwrap();
        Trial::new(folder.path(), (8, 6)).err().unwrap_or_default()
    }

    #[test]
    fn what_replaces_nothing_is_refused_by_its_name() {
        let text = ptx("rms_norm", Arch::Sm80).unwrap();
        assert_eq!(error("rms_norm.sm_80.ptx", &text), "");
        assert_eq!(error("notes.txt", "of no concern"), "");
        for (name, part) in [
            ("rmsnorm.sm_80.ptx", "no kernels of the name rmsnorm"),
            ("rms_norm.ptx", "its name is not <stem>.<arch>.ptx"),
            ("rms_norm.sm_86.ptx", "with sm_80 or sm_90 as <arch>"),
            ("rms_norm.sm_90.ptx", "this device loads files for sm_80"),
            ("rms_norm.SM_80.PTX", "with sm_80 or sm_90 as <arch>"),
        ] {
            let error = error(name, &text);
            assert!(error.contains(name) && error.contains("replaces nothing") && error.contains(part), "{error}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_by_its_name() {
        let text = ptx("rms_norm", Arch::Sm80).unwrap();
        for (text, part) in [
            ("garbage".to_string(), "is not PTX, it has no line .version"),
            (text.replace(".target sm_80", ".target sm_90a"), "is for sm_90, the device is sm_86"),
            (text.replace(".target sm_80", "// .target sm_80"), "no line .target"),
            (text.replace(".target sm_80", ".target any"), "names no architecture: \"any\""),
            (text.replace("rms_norm(", "other("), "no entry rms_norm"),
        ] {
            let error = error("rms_norm.sm_80.ptx", &text);
            assert!(error.contains("rms_norm.sm_80.ptx") && error.contains(part), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    /// `kernels/ptx` has the files of both architectures.
    #[test]
    fn files_of_both_architectures_may_lie_side_by_side() {
        let folder = tempfile::tempdir().unwrap();
        for arch in Arch::ALL {
            let path = folder.path().join(format!("rms_norm.{}.ptx", arch.name()));
            fs::write(path, ptx("rms_norm", arch).unwrap()).unwrap();
        }
        for (capability, name) in [((8, 0), "rms_norm.sm_80.ptx"), ((9, 0), "rms_norm.sm_90.ptx")] {
            let trial = Trial::new(folder.path(), capability).unwrap_or_else(|e| panic!("{e}"));
            let files: Vec<_> = trial.files().collect();
            assert_eq!(files, [("rms_norm", &*folder.path().join(name))]);
        }
    }
}
