//! What a program hands over as code: PTX text, or a fatbin that has PTX among its members. Machine code is refused, since only a GPU runs it.

use crate::raw::{self, In, Text};
use crate::status::{Outcome, Status};

const ELF: u32 = u32::from_le_bytes(*b"\x7fELF");
/// What a program that was linked by nvcc has: a magic number, a version, and the address of the fatbin.
const WRAPPER: u32 = 0x4662_43b1;
const FATBIN: u32 = 0xba55_ed50;
/// Members of a fatbin by their kind.
const MEMBER_PTX: u16 = 1;
/// A member's flags: how it is compressed.
const LZ4: u64 = 1 << 13;
const ZSTD: u64 = 1 << 15;
/// Bytes of a fatbin or a member at most, so that a damaged one cannot ask for all memory.
const MOST: u64 = 1 << 30;

/// The PTX at an address, for a GPU of this compute capability. Errors: none, or machine code alone.
pub fn ptx(address: u64, capability: (u32, u32)) -> Outcome<String> {
    match In::<u32>::from_address(address).get()? {
        ELF => Err(Status::NoBinaryForGpu.because("machine code (a cubin) runs on a GPU only: hand over PTX")),
        WRAPPER => ptx(In::<u64>::from_address(address + 8).get()?, capability),
        FATBIN => {
            let header: u16 = In::from_address(address + 6).get()?;
            let bytes: u64 = In::from_address(address + 8).get()?;
            if bytes > MOST {
                return Err(Status::InvalidImage.because(format!("a fatbin of {bytes} bytes, at most {MOST}")));
            }
            member(&raw::bytes(address + u64::from(header), bytes as usize)?, capability)
        }
        _ => text(Text::from_address(address).bytes()?),
    }
}

/// The PTX in a buffer, as `cuLinkAddData` gives it.
pub fn ptx_of(data: Vec<u8>) -> Outcome<String> {
    let magic = data.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    if [ELF, WRAPPER, FATBIN].contains(&magic) {
        return Err(Status::NoBinaryForGpu.because("only PTX can be linked"));
    }
    text(data.split(|byte| *byte == 0).next().unwrap_or_default().to_vec())
}

fn text(bytes: Vec<u8>) -> Outcome<String> {
    String::from_utf8(bytes).map_err(|_| Status::InvalidImage.because("neither PTX nor a fatbin"))
}

/// A number of a member's header.
fn field<const N: usize>(member: &[u8], at: usize) -> Outcome<[u8; N]> {
    let bytes = member.get(at..).and_then(|rest| rest.first_chunk());
    bytes.copied().ok_or(Status::InvalidImage.because("the fatbin ends within a member"))
}

/// The PTX for the newest GPU that is not newer than ours.
fn member(mut rest: &[u8], capability: (u32, u32)) -> Outcome<String> {
    let own = capability.0 * 10 + capability.1;
    let mut best: Option<(u32, String)> = None;
    let mut found = vec![];
    while !rest.is_empty() {
        let kind = u16::from_le_bytes(field(rest, 0)?);
        let header = u32::from_le_bytes(field(rest, 4)?) as usize;
        let padded = u64::from_le_bytes(field(rest, 8)?);
        let compressed = u32::from_le_bytes(field(rest, 16)?) as usize;
        let arch = u32::from_le_bytes(field(rest, 28)?);
        let flags = u64::from_le_bytes(field(rest, 40)?);
        let bytes = u64::from_le_bytes(field(rest, 56)?);
        let end = usize::try_from(padded).ok().and_then(|padded| padded.checked_add(header));
        let end = end.filter(|end| *end <= rest.len() && *end > 0);
        let end = end.ok_or(Status::InvalidImage.because("a member of the fatbin is longer than it"))?;
        found.push(format!("{} sm_{arch}", if kind == MEMBER_PTX { "PTX" } else { "machine code" }));
        if kind == MEMBER_PTX && arch <= own && best.as_ref().is_none_or(|(other, _)| *other < arch) {
            let data = &rest[header..end];
            let data = if flags & LZ4 != 0 {
                lz4(data.get(..compressed).unwrap_or(data), bytes)?
            } else if flags & ZSTD != 0 {
                let what = "PTX that is compressed with zstd: build with --compress-mode=none or =speed";
                return Err(Status::NoBinaryForGpu.because(what));
            } else {
                data.to_vec()
            };
            best = Some((arch, text(data.split(|byte| *byte == 0).next().unwrap_or_default().to_vec())?));
        }
        rest = &rest[end..];
    }
    let none = || Status::NoBinaryForGpu.because(format!("no PTX for sm_{own} in a fatbin with {}", found.join(", ")));
    best.map(|(_, text)| text).ok_or_else(none)
}

/// The bytes of an LZ4 block, one after the other.
struct Block<'a>(&'a [u8]);

impl Block<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// A length that begins in four bits of a token.
    fn length(&mut self, nibble: u8) -> Option<usize> {
        let mut length = usize::from(nibble);
        let mut more = nibble == 15;
        while more {
            let byte = self.byte()?;
            length += usize::from(byte);
            more = byte == 255;
        }
        Some(length)
    }
}

/// Unpacks a block of LZ4 (its block format description) to this many bytes.
fn lz4(data: &[u8], bytes: u64) -> Outcome<Vec<u8>> {
    let unpacked = if bytes <= MOST { unpack(Block(data), bytes as usize) } else { None };
    unpacked.ok_or(Status::InvalidImage.because("a member of the fatbin is not LZ4"))
}

fn unpack(mut block: Block, bytes: usize) -> Option<Vec<u8>> {
    let mut out = vec![];
    while out.len() < bytes {
        let token = block.byte()?;
        let literals = block.length(token >> 4)?;
        out.extend(block.0.get(..literals)?);
        block.0 = &block.0[literals..];
        if out.len() >= bytes {
            break; // the last sequence has literals only
        }
        let back = usize::from(u16::from_le_bytes([block.byte()?, block.byte()?]));
        let length = block.length(token & 15)? + 4;
        let from = out.len().checked_sub(back).filter(|_| back > 0 && out.len() + length <= bytes)?;
        // What is copied may reach into what the copy writes.
        (from..from + length).for_each(|i| out.push(out[i]));
    }
    (out.len() == bytes).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A member of a fatbin.
    fn packed(kind: u16, arch: u32, flags: u64, data: &[u8], bytes: u64) -> Vec<u8> {
        let padded = data.len().next_multiple_of(8);
        let mut out = vec![0; 64];
        out[0..2].copy_from_slice(&kind.to_le_bytes());
        out[4..8].copy_from_slice(&64u32.to_le_bytes());
        out[8..16].copy_from_slice(&(padded as u64).to_le_bytes());
        out[16..20].copy_from_slice(&(data.len() as u32).to_le_bytes());
        out[28..32].copy_from_slice(&arch.to_le_bytes());
        out[40..48].copy_from_slice(&flags.to_le_bytes());
        out[56..64].copy_from_slice(&bytes.to_le_bytes());
        out.extend(data);
        out.resize(64 + padded, 0);
        out
    }

    /// `abcabcabcabcX`: three literals, nine bytes from three back, one literal.
    const ABC: [u8; 8] = [0x35, b'a', b'b', b'c', 3, 0, 0x10, b'X'];

    #[test]
    fn a_fatbin_gives_the_newest_ptx_that_the_gpu_can_take() {
        let mut all = packed(2, 90, 0, b"\x7fELF", 0);
        for (arch, text) in [(75, "old"), (80, "right"), (100, "too new")] {
            all.extend(packed(1, arch, 0, text.as_bytes(), 0));
        }
        assert_eq!(member(&all, (9, 0)).expect("PTX"), "right");
        let refused = member(&packed(2, 90, 0, b"\x7fELF", 0), (9, 0)).expect_err("machine code only");
        assert_eq!(refused.status, Status::NoBinaryForGpu);
        assert!(refused.why.is_some_and(|why| why.ends_with("no PTX for sm_90 in a fatbin with machine code sm_90")));
    }

    #[test]
    fn compressed_ptx_is_unpacked() {
        assert_eq!(member(&packed(1, 80, LZ4, &ABC, 13), (8, 0)).expect("PTX"), "abcabcabcabcX");
        assert_eq!(member(&packed(1, 80, ZSTD, &ABC, 13), (8, 0)).expect_err("zstd").status, Status::NoBinaryForGpu);
    }

    /// Every prefix, and every change of one byte, is an error or a text, and no panic.
    #[test]
    fn damaged_fatbins_are_refused() {
        let whole = packed(1, 80, LZ4, &ABC, 13);
        for n in 1..whole.len() {
            assert!(member(&whole[..n], (8, 0)).is_err(), "{n} bytes");
        }
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut changed = whole.clone();
                changed[at] ^= 1 << bit;
                let _ = member(&changed, (8, 0));
            }
        }
    }
}
