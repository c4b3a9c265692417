//! Pinned host memory: what a GPU copies from and to while the host goes on.

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;
use rayon::prelude::*;

/// Bytes that one thread copies at a time. Larger, few threads would work on one buffer; smaller, starting them would count.
const PART: usize = 1 << 20;

/// A piece of pinned memory, and the event behind the last copy that uses it. It must be dropped while its context is current and
/// no copy is under way.
pub struct Pinned {
    host: *mut u8,
    bytes: usize,
    done: sys::CUevent,
}

impl Pinned {
    /// Memory of zeros, in the context that is current.
    pub fn new(bytes: usize) -> Result<Pinned, DriverError> {
        let done = result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING)?;
        // SAFETY: `drop` frees the memory.
        let host = match unsafe { result::malloc_host(bytes, 0) } {
            Ok(host) => host.cast::<u8>(),
            Err(e) => {
                // SAFETY: the event was just made, and nothing uses it.
                let _ = unsafe { result::event::destroy(done) };
                return Err(e);
            }
        };
        // SAFETY: the memory holds this many bytes.
        unsafe { host.write_bytes(0, bytes) };
        Ok(Pinned { host, bytes, done })
    }

    /// Waits for the last copy that uses the memory.
    pub fn wait(&self) -> Result<(), DriverError> {
        // SAFETY: the event lives; one that was never recorded counts as come.
        unsafe { result::event::synchronize(self.done) }
    }

    /// Copies `bytes` to `to`, which has room for them, behind the work of `stream`. Returns when `bytes` may be reused.
    pub fn send(&mut self, bytes: &[u8], to: sys::CUdeviceptr, stream: sys::CUstream) -> Result<(), DriverError> {
        self.wait()?;
        // SAFETY: no copy uses the memory, which holds `self.bytes` bytes, all written.
        let host = unsafe { std::slice::from_raw_parts_mut(self.host, self.bytes) };
        let host = &mut host[..bytes.len()];
        // The file's pages come from several threads at once.
        host.par_chunks_mut(PART).zip(bytes.par_chunks(PART)).for_each(|(host, bytes)| host.copy_from_slice(bytes));
        // SAFETY: the stream lives, the caller has the range on the device; the memory stays as it is until the event has come.
        unsafe {
            result::memcpy_htod_async(to, host, stream)?;
            result::event::record(self.done, stream)
        }
    }

    /// Begins to copy `bytes` bytes from `from` behind the work of `stream`.
    pub fn fetch(&mut self, bytes: usize, from: sys::CUdeviceptr, stream: sys::CUstream) -> Result<(), DriverError> {
        self.wait()?;
        // SAFETY: no other copy uses the memory, which holds `self.bytes` bytes, all written; nobody looks at it before the event has
        // come. The stream lives, the caller has the range on the device.
        unsafe {
            let host = std::slice::from_raw_parts_mut(self.host, self.bytes);
            result::memcpy_dtoh_async(&mut host[..bytes], from, stream)?;
            result::event::record(self.done, stream)
        }
    }

    /// Waits for [`Pinned::fetch`], and gives its first bytes.
    pub fn fetched(&self, bytes: &mut [u8]) -> Result<(), DriverError> {
        self.wait()?;
        // SAFETY: no copy uses the memory, which holds `self.bytes` bytes, all written.
        let host = unsafe { std::slice::from_raw_parts(self.host, self.bytes) };
        bytes.copy_from_slice(&host[..bytes.len()]);
        Ok(())
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: both were made by `new`, and no copy is under way. A failure has no one to tell.
        unsafe {
            let _ = result::event::destroy(self.done);
            let _ = result::free_host(self.host.cast());
        }
    }
}
