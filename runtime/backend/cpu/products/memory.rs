//! Memory for weights.

use super::simd::Line;
use memmap2::MmapMut;

/// Lines of memory, in large pages where the system has them: reads of 256 MiB are 28% faster then, and their first writes four times as
/// fast (AMD EPYC in a virtual machine, Linux 6.18, 2026-11-25).
pub struct Memory(Inner);

enum Inner {
    Pages(MmapMut),
    Heap(Vec<Line>),
}

impl Memory {
    /// Bytes from which on pages are worth it: two large pages of x86.
    const LARGE: usize = 4 << 20;

    /// `n` lines of zeros.
    pub fn zeroed(n: usize) -> Memory {
        let bytes = n * size_of::<Line>();
        let heap = || Memory(Inner::Heap(bytemuck::zeroed_vec(n)));
        if bytes < Memory::LARGE {
            return heap();
        }
        // A system without such maps, or without memory: the allocator reports the latter.
        let Ok(pages) = MmapMut::map_anon(bytes) else { return heap() };
        #[cfg(target_os = "linux")]
        let _ = pages.advise(memmap2::Advice::HugePage); // a kernel without them gives small ones
        Memory(Inner::Pages(pages))
    }
}

impl std::ops::Deref for Memory {
    type Target = [Line];

    fn deref(&self) -> &[Line] {
        match &self.0 {
            Inner::Pages(pages) => bytemuck::cast_slice(pages),
            Inner::Heap(lines) => lines,
        }
    }
}

impl std::ops::DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [Line] {
        match &mut self.0 {
            Inner::Pages(pages) => bytemuck::cast_slice_mut(pages),
            Inner::Heap(lines) => lines,
        }
    }
}
