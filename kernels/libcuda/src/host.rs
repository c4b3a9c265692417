//! Pages of host memory.

use crate::status::{Outcome, Status};
use std::ptr::{null_mut, without_provenance_mut};

/// Zeroed pages, unmapped when dropped.
pub struct Pages {
    address: u64,
    bytes: usize,
}

impl Pages {
    /// At an address that the system chooses. Errors: out of memory.
    pub fn new(bytes: usize) -> Outcome<Pages> {
        Pages::map(0, bytes, 0)
    }

    /// At this address, where a device has memory as well. Errors: something else is there.
    pub fn at(address: u64, bytes: usize) -> Outcome<Pages> {
        Pages::map(address, bytes, libc::MAP_FIXED_NOREPLACE)
    }

    fn map(address: u64, bytes: usize, flags: i32) -> Outcome<Pages> {
        let wanted = if address == 0 { null_mut() } else { without_provenance_mut(address as usize) };
        let bytes = bytes.max(1);
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: asks for new pages; MAP_FIXED_NOREPLACE leaves what is mapped already as it is.
        let got = unsafe { libc::mmap(wanted, bytes, access, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags, -1, 0) };
        if got == libc::MAP_FAILED {
            return Err(Status::OutOfMemory.into());
        }
        let pages = Pages { address: got.expose_provenance() as u64, bytes };
        // Kernels before Linux 4.17 do not know the flag and may choose another address.
        if address != 0 && pages.address != address { Err(Status::OutOfMemory.into()) } else { Ok(pages) }
    }

    pub fn address(&self) -> u64 {
        self.address
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let at = std::ptr::with_exposed_provenance_mut(self.address as usize);
        // SAFETY: `map` mapped these pages, and the caller of the API has freed them.
        unsafe { libc::munmap(at, self.bytes) };
    }
}

/// Runs `f` when the process ends.
pub fn at_exit(f: extern "C" fn()) {
    // SAFETY: registers a function that lives as long as the library, which is never unloaded while its functions may run.
    unsafe { libc::atexit(f) };
}
