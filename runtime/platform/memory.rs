//! The allocator: the system's, with one line instead of an abort where memory runs out.

use super::signals::end_with;
use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;

#[global_allocator]
static ALLOCATOR: OrEnd = OrEnd;

struct OrEnd;

// SAFETY: memory comes from `System` and goes back to it unchanged.
unsafe impl GlobalAlloc for OrEnd {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those of `System`.
        checked(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those of `System`.
        checked(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promises are those of `System`.
        checked(unsafe { System.realloc(ptr, layout, size) }, size)
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are those of `System`.
        unsafe { System.dealloc(ptr, layout) }
    }
}

/// `ptr`, unless it is null.
fn checked(ptr: *mut u8, size: usize) -> *mut u8 {
    if ptr.is_null() && size > 0 {
        let mut line = [0; 96]; // a line on the stack: there is no memory for another
        let mut rest = &mut line[..];
        let _ = writeln!(rest, "pronk: out of memory: the system does not give {size} bytes more");
        let left = rest.len();
        end_with(&line[..line.len() - left]);
    }
    ptr
}
