//! The PTX of `kernels/`, compiled into the program, and what a device has loaded of it.

use super::driver::{Driver, Kernel};
use std::collections::HashMap;

/// Compute capability from which the PTX for sm_90 is used.
pub const SM_90: (u32, u32) = (9, 0);

/// One module: the kernels of `kernels/<stem>.cu`.
pub struct Source {
    pub stem: &'static str,
    pub sm_80: &'static str,
    pub sm_90: &'static str,
}

macro_rules! sources {
    ($($stem:literal)*) => {
        &[$(Source {
            stem: $stem,
            sm_80: include_str!(concat!("../../../kernels/ptx/", $stem, ".sm_80.ptx")),
            sm_90: include_str!(concat!("../../../kernels/ptx/", $stem, ".sm_90.ptx")),
        },)*]
    };
}

/// Every module that the backend may need.
pub const SOURCES: &[Source] = sources! {
    "add" "argmax" "attention" "embed" "gather" "kv_store" "mat_mul" "mat_mul_add" "norm_gate_up_swi_glu"
    "norm_qkv_rope_store" "repack" "rms_norm" "rope" "stage" "swi_glu"
};

/// The entries of a module's text.
pub fn entries(ptx: &str) -> impl Iterator<Item = &str> {
    let after = ptx.split(".entry ").skip(1);
    after.filter_map(|text| text.split(|c: char| !c.is_alphanumeric() && c != '_').next())
}

/// The kernels for one architecture. Modules stay loaded.
pub struct Kernels {
    /// By entry: its module, and the kernel once that is loaded.
    known: HashMap<&'static str, (&'static Source, Option<Kernel>)>,
    is_sm_90: bool,
}

impl Kernels {
    pub fn new(capability: (u32, u32)) -> Kernels {
        let is_sm_90 = capability >= SM_90;
        let all = SOURCES.iter().flat_map(|s| entries(text(s, is_sm_90)).map(move |entry| (entry, (s, None))));
        Kernels { known: all.collect(), is_sm_90 }
    }

    /// Whether there is such an entry.
    pub fn has(&self, entry: &str) -> bool {
        self.known.contains_key(entry)
    }

    /// Loads the module of this stem, if it is not loaded.
    pub fn load(&mut self, stem: &str, driver: &mut impl Driver) -> Result<(), String> {
        let Some(source) = SOURCES.iter().find(|s| s.stem == stem) else {
            return Err(format!("no kernels for {stem}"));
        };
        let ptx = text(source, self.is_sm_90);
        let names: Vec<&str> = entries(ptx).collect();
        if names.iter().all(|name| self.known[name].1.is_some()) {
            return Ok(());
        }
        let loaded = driver.load(stem, ptx, &names)?;
        self.known.extend(names.into_iter().zip(loaded).map(|(name, kernel)| (name, (source, Some(kernel)))));
        Ok(())
    }

    /// A kernel of a loaded module.
    pub fn get(&self, entry: &str) -> Result<Kernel, String> {
        let (_, kernel) = self.known.get(entry).ok_or_else(|| format!("no kernel {entry}"))?;
        kernel.ok_or_else(|| format!("kernel {entry} is not loaded"))
    }
}

fn text(source: &'static Source, is_sm_90: bool) -> &'static str {
    if is_sm_90 { source.sm_90 } else { source.sm_80 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_architectures_have_the_same_entries_each_once() {
        let mut seen = std::collections::HashSet::new();
        for source in SOURCES {
            let names: Vec<&str> = entries(source.sm_80).collect();
            assert!(!names.is_empty(), "{}", source.stem);
            assert!(names.iter().copied().eq(entries(source.sm_90)), "{}", source.stem);
            assert!(names.iter().all(|name| seen.insert(*name)), "{}", source.stem);
        }
    }
}
