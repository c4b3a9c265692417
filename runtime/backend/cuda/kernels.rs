//! The PTX of `kernels/`, compiled into the program (compressed), and what a device has loaded of it.

use super::cubin;
use super::driver::{Driver, Kernel};
use super::entry::Entry;
use super::trial::Trial;
use lzma_rust2::LzmaReader;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::Read;

/// Compute capability from which the PTX for sm_90 is used.
pub const SM_90: (u32, u32) = (9, 0);

/// What PTX is compiled for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arch {
    /// Compute capability 8.0: Ampere and newer.
    Sm80,
    /// Compute capability 9.0: Hopper and newer.
    Sm90,
}

impl Arch {
    /// Both, the older first.
    pub const ALL: [Arch; 2] = [Arch::Sm80, Arch::Sm90];

    /// The newest that a GPU of this compute capability can load.
    pub fn of(capability: (u32, u32)) -> Arch {
        if capability >= SM_90 { Arch::Sm90 } else { Arch::Sm80 }
    }

    /// As names of files have it.
    pub fn name(self) -> &'static str {
        match self {
            Arch::Sm80 => "sm_80",
            Arch::Sm90 => "sm_90",
        }
    }
}

/// The kernels of one `kernels/*/<stem>.cu`.
pub struct Module {
    /// The name without `.cu`.
    pub stem: &'static str,
    /// Bytes of the text for each of [`Arch::ALL`].
    lengths: [usize; 2],
    /// The texts one after another, compressed with LZMA.
    packed: &'static [u8],
    /// Machine code: see [`cubin::unpacked`](super::cubin::unpacked).
    pub cubins: &'static [u8],
}

/// Every module of `kernels/ptx`. Written by `build.rs`.
pub static MODULES: &[Module] = include!(concat!(env!("OUT_DIR"), "/ptx.rs"));

impl Module {
    fn of(stem: &str) -> Result<&'static Module, String> {
        MODULES.iter().find(|module| module.stem == stem).ok_or_else(|| format!("no kernels for {stem}"))
    }

    fn text(&self, arch: Arch) -> Result<String, String> {
        let [first, second] = self.lengths;
        let end = if arch == Arch::Sm80 { first } else { first + second };
        let failed = |e: std::io::Error| format!("unpacking the kernels of {}: {e}", self.stem);
        let mut text = vec![0; end];
        let reader = LzmaReader::new_mem_limit(self.packed, u32::MAX, None);
        reader.and_then(|mut reader| reader.read_exact(&mut text)).map_err(failed)?;
        let start = if arch == Arch::Sm80 { 0 } else { first };
        String::from_utf8(text.split_off(start)).map_err(|e| format!("the kernels of {}: {e}", self.stem))
    }
}

/// The PTX of `kernels/*/<stem>.cu` that the program has. The error says that it has none of that stem.
pub fn ptx(stem: &str, arch: Arch) -> Result<String, String> {
    Module::of(stem)?.text(arch)
}

/// What an entry's text begins with.
const ENTRY: &str = ".visible .entry ";

/// The name at the start of the text after [`ENTRY`].
fn name_of(text: &str) -> &str {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("")
}

/// What the text of a table in global memory begins with, a line each.
const TABLE: &str = ".global ";

/// The names of a text's entries.
pub fn entries_of(ptx: &str) -> impl Iterator<Item = &str> {
    ptx.split(ENTRY).skip(1).map(name_of)
}

/// The text with only some of its entries, and the tables that they read: a module has them for all types, a model needs few, and each
/// takes time to assemble. Empty lines are left, so that numbers of lines stay.
fn with_entries(ptx: &str, names: &[&str]) -> String {
    let mut pieces = ptx.split(ENTRY);
    let head = pieces.next().unwrap_or("");
    let wanted: Vec<&str> = pieces.clone().filter(|piece| names.contains(&name_of(piece))).collect();
    let mut kept = String::new();
    for line in head.lines() {
        // .global .align 4 .b8 <name>[<bytes>] = ...
        let mut words = line.strip_prefix(TABLE).unwrap_or("").split([' ', '[']);
        let table = words.find(|word| word.starts_with(|c: char| c.is_alphabetic() || c == '_'));
        if table.is_none_or(|table| wanted.iter().any(|piece| piece.contains(table))) {
            kept.push_str(line);
        }
        kept.push('\n');
    }
    for piece in pieces {
        if names.contains(&name_of(piece)) {
            kept.push_str(ENTRY);
            kept.push_str(piece);
        } else {
            kept.extend(piece.chars().filter(|c| *c == '\n'));
        }
    }
    kept
}

/// The kernels for one architecture. What is loaded stays so.
pub struct Kernels {
    loaded: HashMap<Entry, Kernel>,
    arch: Arch,
    capability: (u32, u32),
    /// The files that take the place of what is compiled in; or why they cannot.
    trial: Result<Trial, String>,
}

impl Kernels {
    /// No kernels yet, for a GPU of this compute capability.
    pub fn new(capability: (u32, u32)) -> Kernels {
        let trial = Trial::of_environment(capability);
        Kernels { loaded: HashMap::new(), arch: Arch::of(capability), capability, trial }
    }

    /// The files that take the place of what is compiled in. Errors: those of [`Trial::new`].
    pub fn trial(&self) -> Result<&Trial, String> {
        self.trial.as_ref().map_err(String::clone)
    }

    /// Loads these entries, except those that are loaded. The error names the file or module, and the entry that it lacks.
    pub fn load(&mut self, entries: impl IntoIterator<Item = Entry>, driver: &mut impl Driver) -> Result<(), String> {
        let mut by_stem: BTreeMap<&'static str, BTreeMap<String, Entry>> = BTreeMap::new();
        for entry in entries.into_iter().filter(|entry| !self.loaded.contains_key(entry)) {
            let (stem, name) = entry.symbol();
            by_stem.entry(stem).or_default().insert(name, entry);
        }
        by_stem.iter().try_for_each(|(stem, entries)| self.load_module(stem, entries, driver))
    }

    /// Loads these entries, by their names, of this stem's module.
    fn load_module(
        &mut self,
        stem: &str,
        entries: &BTreeMap<String, Entry>,
        driver: &mut impl Driver,
    ) -> Result<(), String> {
        let changed = self.trial()?.file(stem);
        let is_changed = changed.is_some();
        let (name, text) = match changed {
            Some((path, text)) => (Cow::Owned(path.display().to_string()), Cow::Borrowed(text)),
            None => (Cow::Borrowed(stem), Cow::Owned(Module::of(stem)?.text(self.arch)?)),
        };
        let names: Vec<&str> = entries.keys().map(String::as_str).collect();
        let cubin = if is_changed { None } else { cubin::cubin(stem, self.capability) };
        let kernels = match cubin.map(|cubin| driver.load_cubin(&name, &cubin, &names)) {
            Some(Ok(Some(kernels))) => kernels,
            // The driver may refuse machine code, which is made for some GPUs, and take the PTX.
            _ => driver.load(&name, &with_entries(&text, &names), &names)?,
        };
        self.loaded.extend(entries.values().copied().zip(kernels));
        Ok(())
    }

    /// The kernel of an entry that is loaded.
    pub fn get(&self, entry: Entry) -> Result<Kernel, String> {
        self.loaded.get(&entry).copied().ok_or_else(|| format!("kernel {} is not loaded", entry.symbol().1))
    }
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    use super::*;
    use crate::plan::CoreKind;
    use crate::quant::GgmlType;
    use std::fs;
    use std::path::Path;

    #[test]
    fn both_architectures_have_the_same_entries_each_once() {
        let mut seen = std::collections::HashSet::new();
        for module in MODULES {
            let [old, new] = Arch::ALL.map(|arch| {
                let text = module.text(arch).expect("it was compressed");
                entries_of(&text).map(str::to_string).collect::<Vec<_>>()
            });
            assert!(!old.is_empty(), "{}", module.stem);
            assert_eq!(old, new, "{}", module.stem);
            assert!(old.into_iter().all(|name| seen.insert(name)), "{}", module.stem);
        }
    }

    /// What loading `rms_norm` from `folder` gives.
    fn load_from(folder: &Path) -> Result<(), String> {
        let mut kernels = Kernels { trial: Trial::new(folder, SM_90), ..Kernels::new(SM_90) };
        kernels.load([Entry::Op(CoreKind::RmsNorm)], &mut super::super::Sim::new(SM_90))
    }

    #[test]
    fn only_what_is_asked_for_is_loaded_and_lines_keep_their_numbers() {
        let mut driver = super::super::Sim::new(SM_90);
        let mut kernels = Kernels::new(SM_90);
        let repack = |types: &[GgmlType]| types.iter().copied().map(Entry::Repack).collect::<Vec<_>>();
        kernels.load(repack(&[GgmlType::Q4_0, GgmlType::Q4_K]), &mut driver).unwrap();
        let first = kernels.get(Entry::Repack(GgmlType::Q4_K)).unwrap();
        kernels.load(repack(&[GgmlType::Q4_K]), &mut driver).unwrap();
        assert_eq!(kernels.get(Entry::Repack(GgmlType::Q4_K)), Ok(first), "it is loaded once");
        for (ty, loaded) in [(GgmlType::Q4_0, true), (GgmlType::Q4_K, true), (GgmlType::Q5_0, false)] {
            assert_eq!(kernels.get(Entry::Repack(ty)).is_ok(), loaded, "{ty}");
        }
        let ptx = ptx("repack", Arch::Sm90).unwrap();
        let kept = with_entries(&ptx, &["repack_q8_0"]);
        assert!(kept.len() < ptx.len() / 4);
        assert_eq!(with_entries(&ptx, &["repack_q8_0", "repack_q4_0"]).lines().count(), ptx.lines().count());
        let line = |text: &str| text.lines().position(|l| l.contains(".entry repack_q8_0"));
        assert_eq!(line(&kept), line(&ptx));
    }

    #[test]
    fn a_file_of_the_folder_takes_the_place_of_the_text_compiled_in() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rms_norm.sm_90.ptx");
        assert_eq!(load_from(folder.path()), Ok(()));
        let text = ptx("rms_norm", Arch::Sm90).unwrap();
        fs::write(&path, text.replace("bar.sync 0;", "bar.nonsense 0;")).unwrap();
        let error = load_from(folder.path()).unwrap_err();
        assert!(error.contains("rms_norm.sm_90.ptx") && error.contains("nonsense"), "{error}");
        fs::write(&path, text.replace("rms_norm(", "other_name(")).unwrap();
        let error = load_from(folder.path()).unwrap_err();
        assert!(error.contains("rms_norm.sm_90.ptx") && error.contains("no entry rms_norm"), "{error}");
    }

    #[test]
    fn what_cannot_be_read_is_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rms_norm.sm_90.ptx");
        fs::write(&path, [0xff, 0xfe]).unwrap();
        let error = load_from(folder.path()).unwrap_err();
        assert!(error.contains("PRONK_PTX") && error.contains("rms_norm.sm_90.ptx"), "{error}");
        assert!(!error.contains('\n'), "{error}");
        assert!(load_from(&path).unwrap_err().contains("is not a folder"));
    }
}
