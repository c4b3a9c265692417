//! The device's `printf`.

use std::sync::atomic::Ordering::Relaxed;

use super::Exec;
use super::format::{Arguments, expand};
use super::memory::{Words, lanes};
use crate::ir::*;

/// Arguments of one lane. They lie at their natural alignment in local memory.
struct OfLane<'a, 'b> {
    exec: &'a Exec<'b>,
    lane: usize,
    /// Offset of the next one in the frame.
    at: u64,
}

impl OfLane<'_, '_> {
    /// A word of the frame.
    fn word(&self, at: u64) -> u64 {
        self.exec.warp.local.get((at / 4) as usize).map_or(0, |row| u64::from(row[self.lane]))
    }

    fn pointer(&self, at: u64) -> u64 {
        self.word(at) | self.word(at.wrapping_add(4)) << 32
    }

    /// Bytes in global memory up to a zero or the end of the allocation.
    fn bytes(&self, address: u64) -> Vec<u8> {
        let byte = |at| {
            let (alloc, off) = self.exec.launch.mem.find(at, 1)?;
            let word = alloc.data[off as usize / 4].load(Relaxed);
            Some((word >> (8 * (off % 4))) as u8).filter(|byte| *byte != 0)
        };
        (address..).map_while(byte).collect()
    }
}

impl Arguments for OfLane<'_, '_> {
    fn next(&mut self, wide: bool) -> u64 {
        let size = if wide { 8u64 } else { 4 };
        // A wrong pointer may lie at the end of the address space.
        let at = self.at.wrapping_add(size - 1) & !(size - 1);
        self.at = at.wrapping_add(size);
        if wide { self.pointer(at) } else { self.word(at) }
    }

    fn text(&self, address: u64) -> String {
        String::from_utf8_lossy(&self.bytes(address)).into_owned()
    }
}

impl Exec<'_> {
    /// `format` and `args` are offsets of pointers in the frame, `ret` that of the result.
    pub fn printf(&mut self, format: u32, args: u32, ret: u32, m: u32) {
        for l in lanes(m) {
            let mut values = OfLane { exec: self, lane: l, at: 0 };
            let format = values.text(values.pointer(format.into()));
            values.at = values.pointer(args.into()).wrapping_sub(LOCAL_WINDOW);
            let out = expand(&format, &mut values);
            self.launch.print(out);
            let mut result: Words = [[0; LANES]; 8];
            result[0][l] = 1;
            self.store_local(&[u64::from(ret); LANES], 4, 1 << l, &result);
        }
    }
}
