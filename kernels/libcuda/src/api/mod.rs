//! The entry points, a file for each subject. What they do is what the reference of the CUDA driver API says; comments say only where this
//! library differs.

pub mod context;
pub mod device;
pub mod event;
pub mod function;
pub mod graph;
pub mod init;
pub mod launch;
pub mod link;
pub mod memory;
pub mod module;
pub mod occupancy;
pub mod pointer;
pub mod pool;
pub mod stream;
pub mod transfer;

use crate::entry::Entry;

/// All exported functions.
pub fn entries() -> Vec<Entry> {
    let of = [
        context::entries,
        device::entries,
        event::entries,
        function::entries,
        graph::entries,
        init::entries,
        init::always::entries,
        launch::entries,
        link::entries,
        memory::entries,
        module::entries,
        occupancy::entries,
        pointer::entries,
        pool::entries,
        stream::entries,
        transfer::entries,
    ];
    of.into_iter().flat_map(|of| of()).collect()
}

/// Their names.
pub fn names() -> impl Iterator<Item = &'static str> {
    entries().into_iter().map(|entry| entry.name)
}

/// Variants whose arguments differ from those of the function of the same name without a suffix, and since which version of CUDA a caller
/// that asks for that name gets them. Every other function has one form.
const SINCE: [(&str, &str, i32); 17] = [
    ("cuCtxCreate_v2", "cuCtxCreate", 3020),
    ("cuCtxCreate_v3", "cuCtxCreate", 11040),
    ("cuCtxCreate_v4", "cuCtxCreate", 12050),
    ("cuCtxGetDevice", "cuCtxGetDevice", 2000),
    ("cuCtxGetDevice_v2", "cuCtxGetDevice", 13000),
    ("cuDeviceGetUuid", "cuDeviceGetUuid", 9020),
    ("cuDeviceGetUuid_v2", "cuDeviceGetUuid", 11040),
    ("cuEventElapsedTime", "cuEventElapsedTime", 2000),
    ("cuEventElapsedTime_v2", "cuEventElapsedTime", 12080),
    ("cuGetProcAddress", "cuGetProcAddress", 11030),
    ("cuGetProcAddress_v2", "cuGetProcAddress", 12000),
    ("cuGraphInstantiateWithFlags", "cuGraphInstantiate", 12000),
    ("cuStreamBeginCapture_v2", "cuStreamBeginCapture", 10010),
    ("cuStreamGetCaptureInfo_v2", "cuStreamGetCaptureInfo", 11030),
    ("cuStreamGetCaptureInfo_v3", "cuStreamGetCaptureInfo", 12030),
    ("cuMemAdvise_v2", "cuMemAdvise", 12020),
    ("cuMemPrefetchAsync_v2", "cuMemPrefetchAsync", 12020),
];

/// The name without `_v2`, `_v3` or `_v4`.
fn base(name: &str) -> &str {
    let stem = name.rsplit_once("_v").filter(|(_, version)| ["2", "3", "4"].contains(version));
    stem.map_or(name, |(stem, _)| stem)
}

/// What `cuGetProcAddress` finds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Found {
    Function(*const ()),
    /// The function is there, for newer callers.
    TooNew,
    Nothing,
}

/// The form of a function that a caller that was built with this version of CUDA means.
pub fn find(name: &str, version: i32) -> Found {
    let all = entries();
    let address = |name: &str| all.iter().find(|entry| entry.name == name).map(|entry| entry.address);
    let mut variants = SINCE.iter().filter(|(_, of, _)| *of == name).peekable();
    if variants.peek().is_some() {
        let newest = variants.filter(|(_, _, since)| *since <= version).max_by_key(|(_, _, since)| since);
        return newest.and_then(|(variant, _, _)| address(variant)).map_or(Found::TooNew, Found::Function);
    }
    let only = all.iter().find(|entry| entry.name == name || base(entry.name) == name);
    only.map_or(Found::Nothing, |entry| Found::Function(entry.address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_variant_is_an_entry_and_every_entry_is_found() {
        let names: BTreeSet<&str> = names().collect();
        assert_eq!(names.len(), entries().len(), "no name twice");
        for (variant, _, _) in SINCE {
            assert!(names.contains(variant), "{variant}");
        }
        for name in &names {
            let listed = SINCE.iter().any(|(variant, of, _)| variant == name || of == &base(name));
            let same = names.iter().filter(|other| base(other) == base(name)).count();
            assert!(listed || same == 1, "{name} has several forms and no versions");
            assert!(matches!(find(base(name), 12090), Found::Function(_)), "{name}");
        }
    }

    #[test]
    fn the_version_decides_the_form() {
        let of = |name| entries().into_iter().find(|entry| entry.name == name).expect("an entry").address;
        assert_eq!(find("cuCtxCreate", 12040), Found::Function(of("cuCtxCreate_v3")));
        assert_eq!(find("cuCtxCreate", 12080), Found::Function(of("cuCtxCreate_v4")));
        assert_eq!(find("cuMemAlloc", 12080), Found::Function(of("cuMemAlloc_v2")));
        assert_eq!(find("cuGraphInstantiate", 11040), Found::TooNew);
        assert_eq!(find("cuNothing", 12080), Found::Nothing);
    }
}
