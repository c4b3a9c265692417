//! Global memory, and a shadow: the last writer and the readers of each 4-byte word.
//!
//! Words are relaxed atomics: blocks run on several host threads and share them without locks, and a relaxed load or
//! store costs as much as a plain one. The two shadow words of a word have the same layout:
//!
//! - bits 0..4 bytes initialized (writer only), 4..8 bytes accessed, 8..30 block, 30..47 epoch, 47 strong, 48..64 launch

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::error::HostError;

pub(crate) const CTA_SHIFT: u32 = 8;
pub(crate) const CTA_BITS: u64 = 0x3f_ffff << CTA_SHIFT;
pub(crate) const EPOCH_SHIFT: u32 = 30;
pub(crate) const EPOCH_MAX: u64 = 0x1_ffff;
pub(crate) const EPOCH_BITS: u64 = EPOCH_MAX << EPOCH_SHIFT;
pub(crate) const STRONG: u64 = 1 << 47;
pub(crate) const LAUNCH_SHIFT: u32 = 48;
pub(crate) const LAUNCH_BITS: u64 = 0xffff << LAUNCH_SHIFT;
/// More than one block has read the word.
pub(crate) const MULTI: u64 = CTA_BITS;
pub(crate) const SECTOR: u64 = 32;

/// Allocations start at multiples of 4 GiB (slots), so that an index far out of one does not land in another.
const SLOT_BITS: u32 = 32;
const SLOTS: u64 = 0x7000;

pub(crate) struct Alloc {
    pub base: u64,
    pub bytes: u64,
    pub data: Box<[AtomicU32]>,
    pub writer: Box<[AtomicU64]>,
    pub reader: Box<[AtomicU64]>,
    /// Last launch that read, and that wrote, each 32-byte sector.
    pub read_sectors: Box<[AtomicU32]>,
    pub written_sectors: Box<[AtomicU32]>,
}

/// What blocks have published at an address that synchronizes them: the highest epoch of each block.
#[derive(Default, Clone)]
pub(crate) struct SyncObject {
    pub version: u64,
    pub epochs: Vec<u32>,
}

#[derive(Default)]
pub(crate) struct Memory {
    /// Slots below the first one that may be given.
    skipped: u64,
    /// Index of the allocation of each slot plus one, or 0.
    slots: Vec<u32>,
    pub allocs: Vec<Option<Alloc>>,
    pub allocated: u64,
    pub sync: Mutex<HashMap<u64, SyncObject>>,
}

fn zeros32(n: u64) -> Box<[AtomicU32]> {
    (0..n).map(|_| AtomicU32::new(0)).collect()
}

fn zeros64(n: u64) -> Box<[AtomicU64]> {
    (0..n).map(|_| AtomicU64::new(0)).collect()
}

impl Memory {
    /// Addresses begin after `first`, a multiple of 4 GiB.
    pub fn after(first: u64) -> Memory {
        Memory { skipped: first >> SLOT_BITS, ..Memory::default() }
    }

    pub fn alloc(&mut self, bytes: u64, limit: u64) -> Result<u64, HostError> {
        let full = HostError::OutOfMemory { bytes, allocated: self.allocated, limit };
        if bytes > limit.saturating_sub(self.allocated) {
            return Err(full);
        }
        let need = (bytes >> SLOT_BITS) as usize + 1;
        let mut run = 0;
        let at = (self.skipped as usize + 1..SLOTS as usize).find(|&s| {
            run = if self.slots.get(s).copied().unwrap_or(0) == 0 { run + 1 } else { 0 };
            run == need
        });
        let Some(last) = at else { return Err(full) };
        let first = last + 1 - need;
        let index = match self.allocs.iter().position(Option::is_none) {
            Some(i) => i,
            None => {
                self.allocs.push(None);
                self.allocs.len() - 1
            }
        };
        if self.slots.len() <= last {
            self.slots.resize(last + 1, 0);
        }
        self.slots[first..=last].fill(index as u32 + 1);
        let (words, sectors) = (bytes.div_ceil(4), bytes.div_ceil(SECTOR));
        let base = (first as u64) << SLOT_BITS;
        self.allocs[index] = Some(Alloc {
            base,
            bytes,
            data: zeros32(words),
            writer: zeros64(words),
            reader: zeros64(words),
            read_sectors: zeros32(sectors),
            written_sectors: zeros32(sectors),
        });
        self.allocated += bytes;
        Ok(base)
    }

    pub fn free(&mut self, address: u64) -> Result<(), HostError> {
        let bad = HostError::BadRange { address, bytes: 0 };
        let index = self.index(address).ok_or(bad.clone())?;
        match self.allocs[index].take() {
            Some(a) if a.base == address => {
                self.allocated -= a.bytes;
                self.slots.iter_mut().filter(|s| **s == index as u32 + 1).for_each(|s| *s = 0);
                Ok(())
            }
            other => {
                self.allocs[index] = other;
                Err(bad)
            }
        }
    }

    fn index(&self, address: u64) -> Option<usize> {
        match self.slots.get((address >> SLOT_BITS) as usize) {
            Some(&n) if n > 0 => Some(n as usize - 1),
            _ => None,
        }
    }

    /// The allocation that holds all of the range, and the offset in it.
    pub fn find(&self, address: u64, bytes: u64) -> Option<(&Alloc, u64)> {
        let a = self.allocs[self.index(address)?].as_ref()?;
        let off = address - a.base;
        (off <= a.bytes && bytes <= a.bytes - off).then_some((a, off))
    }

    /// For messages: where an address lies that is out of bounds.
    pub fn describe(&self, address: u64) -> String {
        match self.index(address).and_then(|i| self.allocs[i].as_ref()) {
            Some(a) => format!("offset {} of an allocation of {} bytes", address - a.base, a.bytes),
            None => "in no allocation".to_string(),
        }
    }

    pub fn host_write(&self, address: u64, data: &[u8]) -> Result<(), HostError> {
        let bytes = data.len() as u64;
        let (a, off) = self.find(address, bytes).ok_or(HostError::BadRange { address, bytes })?;
        let (mut off, mut data) = (off as usize, data);
        while !data.is_empty() {
            let (word, shift) = (off / 4, off % 4);
            let n = (4 - shift).min(data.len());
            if n == 4 {
                a.data[word].store(u32::from_le_bytes([data[0], data[1], data[2], data[3]]), Relaxed);
                a.writer[word].store(15, Relaxed);
            } else {
                let mut w = a.data[word].load(Relaxed).to_le_bytes();
                w[shift..shift + n].copy_from_slice(&data[..n]);
                a.data[word].store(u32::from_le_bytes(w), Relaxed);
                let touched = ((1 << n) - 1) << shift;
                a.writer[word].store(a.writer[word].load(Relaxed) & 15 | touched, Relaxed);
            }
            a.reader[word].store(0, Relaxed);
            off += n;
            data = &data[n..];
        }
        Ok(())
    }

    pub fn host_read(&self, address: u64, out: &mut [u8], check: bool) -> Result<(), HostError> {
        let bytes = out.len() as u64;
        let (a, off) = self.find(address, bytes).ok_or(HostError::BadRange { address, bytes })?;
        for (k, b) in out.iter_mut().enumerate() {
            let at = off as usize + k;
            *b = a.data[at / 4].load(Relaxed).to_le_bytes()[at % 4];
            if check && a.writer[at / 4].load(Relaxed) >> (at % 4) & 1 == 0 {
                return Err(HostError::Uninitialized { address, bytes, first: k as u64 });
            }
        }
        Ok(())
    }

    /// Copies bytes with what is known of them: those that were never written stay so.
    pub fn copy(&self, to: u64, from: u64, bytes: u64) -> Result<(), HostError> {
        let bad = |address| HostError::BadRange { address, bytes };
        let (a, off) = self.find(from, bytes).ok_or(bad(from))?;
        let (b, to) = self.find(to, bytes).ok_or(bad(to))?;
        let read = |at: usize| {
            let value = a.data[at / 4].load(Relaxed).to_le_bytes()[at % 4];
            (value, a.writer[at / 4].load(Relaxed) >> (at % 4) & 1)
        };
        // The ranges may overlap.
        let all: Vec<(u8, u64)> = (off as usize..(off + bytes) as usize).map(read).collect();
        for (k, (value, written)) in all.into_iter().enumerate() {
            let (word, shift) = ((to as usize + k) / 4, (to as usize + k) % 4);
            let mut w = b.data[word].load(Relaxed).to_le_bytes();
            w[shift] = value;
            b.data[word].store(u32::from_le_bytes(w), Relaxed);
            let others = b.writer[word].load(Relaxed) & 15 & !(1 << shift);
            b.writer[word].store(others | written << shift, Relaxed);
            b.reader[word].store(0, Relaxed);
        }
        Ok(())
    }

    /// Forgets the writers and readers; what is initialized stays initialized. Needed when launch numbers start again.
    pub fn forget_launches(&self) {
        for a in self.allocs.iter().flatten() {
            a.writer.iter().for_each(|w| w.store(w.load(Relaxed) & 15, Relaxed));
            a.reader.iter().for_each(|r| r.store(0, Relaxed));
        }
    }
}
