//! Shared memory of a block, and a shadow: the last writer and the readers of each 4-byte word.
//!
//! - Writer: bits 0..4 bytes initialized, 4..8 bytes of the last write, 8..18 thread, 18 asynchronous copy pending, 19
//!   atomic, 32..64 stamp.
//! - Readers: bits 0..32 one per warp, 32..37 a lane, 37 several lanes, 40..64 stamp.
//!
//! A stamp is the number of synchronizations that the block has seen: its clock.

pub(crate) const ASYNC: u64 = 1 << 18;
pub(crate) const ATOMIC: u64 = 1 << 19;
pub(crate) const MANY_LANES: u64 = 1 << 37;

#[derive(Debug)]
pub(crate) struct Shared {
    pub bytes: u32,
    pub data: Vec<u32>,
    pub writer: Vec<u64>,
    pub reader: Vec<u64>,
}

impl Shared {
    pub fn new(bytes: u32) -> Shared {
        let words = bytes.div_ceil(4) as usize;
        Shared { bytes, data: vec![0; words], writer: vec![0; words], reader: vec![0; words] }
    }

    pub fn reset(&mut self) {
        self.writer.fill(0);
        self.reader.fill(0);
    }
}
