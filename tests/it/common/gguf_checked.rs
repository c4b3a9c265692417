//! Parses a file that may be broken, and fails if that takes more memory than its size justifies.
//! It has the global allocator of the test program, which counts bytes per thread.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use pronk::gguf::Gguf;

/// Counts the bytes that each thread requests.
struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

fn count(bytes: usize) {
    // This fails only while the thread ends, when nothing is measured.
    let _ = ALLOCATED.try_with(|total| total.set(total.get().saturating_add(bytes)));
}

// SAFETY: every call goes to the system's allocator unchanged; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Parses within the memory that the file's size justifies, and reads the whole file if it is accepted.
pub fn parse_checked(file: &[u8]) -> Result<(), String> {
    let bytes = Bytes::copy_from_slice(file);
    let before = ALLOCATED.get();
    let result = Gguf::parse("m.gguf", bytes);
    let allocated = ALLOCATED.get() - before;
    // A tensor info of 33 bytes becomes a Tensor, two map entries, and the growth of the vectors they are in.
    let limit = 64 * file.len() + 4096;
    assert!(allocated <= limit, "{allocated} bytes allocated for a file of {}", file.len());

    let gguf = result.map_err(|e| {
        let line = e.to_string();
        assert!(line.starts_with("m.gguf: ") && !line.contains(char::is_control), "not one line: {line:?}");
        assert!(line.len() < 1000, "too long: {line}");
        line
    })?;
    for (key, value) in gguf.metadata() {
        assert!(!value.to_string().contains(char::is_control));
        assert_eq!(gguf.get(key), Some(value));
        let _ = (gguf.u32(key), gguf.f32(key), gguf.str(key), gguf.strings(key));
        let _ = (gguf.optional::<Vec<u32>>(key), gguf.optional::<Vec<f32>>(key));
    }
    for tensor in gguf.tensors() {
        let blocks = tensor.n_elements() / tensor.ty.block_size();
        assert_eq!(tensor.data.len() as u64, blocks * tensor.ty.block_bytes());
        assert_eq!(tensor.data, file[tensor.offset as usize..][..tensor.data.len()]);
        assert_eq!(gguf.tensor(&tensor.name).unwrap().offset, tensor.offset);
    }
    Ok(())
}
