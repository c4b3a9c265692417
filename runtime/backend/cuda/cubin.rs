//! Machine code of the kernels, compiled into the program (compressed): a start need not wait for the driver to assemble PTX.

use super::kernels::MODULES;
use lzma_rust2::LzmaReader;
use std::collections::BTreeMap;
use std::io::Read;

/// Compute capabilities that there is machine code for, rising: `TARGETS` of kernels/build.py.
pub const MACHINES: [(u32, u32); 4] = [(8, 0), (8, 6), (8, 9), (9, 0)];

/// The machine code of a module that a GPU of this compute capability runs: that for the nearest one below of the same major number. None
/// if there is none, and for modules that the program does not have.
pub fn cubin(stem: &str, capability: (u32, u32)) -> Option<Vec<u8>> {
    let (major, minor) =
        *MACHINES.iter().rev().find(|(major, minor)| *major == capability.0 && *minor <= capability.1)?;
    let target = format!("sm_{major}{minor}");
    unpacked(stem)?.code.remove(&target)
}

/// The machine code of a module.
pub struct Cubins {
    /// The SHA-256 of the two texts of PTX, one after the other, that it was assembled from, in hexadecimal digits.
    pub ptx_hash: String,
    /// By target: `sm_80`.
    pub code: BTreeMap<String, Vec<u8>>,
}

/// The machine code of a module: LZMA of a line with the hash, a line `<target> <bytes>` each, an empty line, the code.
pub fn unpacked(stem: &str) -> Option<Cubins> {
    let module = MODULES.iter().find(|module| module.stem == stem)?;
    let mut bytes = vec![];
    LzmaReader::new_mem_limit(module.cubins, u32::MAX, None).ok()?.read_to_end(&mut bytes).ok()?;
    let head_end = bytes.windows(2).position(|pair| pair == b"\n\n")?;
    let head = std::str::from_utf8(&bytes[..head_end]).ok()?;
    let mut lines = head.lines();
    let ptx_hash = lines.next()?.to_string();
    let mut rest = &bytes[head_end + 2..];
    let code = |line: &str| {
        let (target, length) = line.split_once(' ')?;
        let (code, after) = rest.split_at_checked(length.parse().ok()?)?;
        rest = after;
        Some((target.to_string(), code.to_vec()))
    };
    Some(Cubins { ptx_hash, code: lines.map(code).collect::<Option<BTreeMap<_, _>>>()? })
}
