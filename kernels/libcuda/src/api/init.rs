//! Initialization, errors, and the addresses of functions.

use crate::entry::entries;
use crate::raw::{In, Out, Text};
use crate::status::Status;

/// Before `cuInit` too.
pub mod always {
    use super::*;
    use crate::api::{Found, find};
    use crate::entry::missing;
    use crate::options::options;
    use crate::state::initialize;
    use std::ffi::{CStr, c_char};

    /// As `cuDriverGetVersion` counts: that of CUDA 12.9.
    const VERSION: i32 = 12090;
    /// `CUdriverProcAddressQueryResult`
    const SYMBOL_FOUND: i32 = 0;
    const SYMBOL_NOT_FOUND: i32 = 1;
    const VERSION_TOO_OLD: i32 = 2;
    /// What the runtime library asks for first. NVIDIA documents none of these tables.
    const OF_RUNTIME: [u8; 16] =
        [0x6b, 0xd5, 0xfb, 0x6c, 0x5b, 0xf4, 0xe7, 0x4a, 0x89, 0x87, 0xd9, 0x39, 0x12, 0xfd, 0x9d, 0xf9];

    entries! { Always:

    fn cuInit(flags: u32) {
        if flags != 0 {
            return Err(Status::InvalidValue.into());
        }
        initialize(options().as_ref().map_err(|why| Status::InvalidValue.because(why))?);
        Ok(())
    }

    fn cuDriverGetVersion(out: Out<i32>) {
        out.put(VERSION)
    }

    fn cuGetErrorName(code: i32, out: Out<*const c_char>) {
        let name = if code == 0 { c"CUDA_SUCCESS" } else { Status::of(code).ok_or(Status::InvalidValue)?.name() };
        out.put(name.as_ptr())
    }

    fn cuGetErrorString(code: i32, out: Out<*const c_char>) {
        let text: &CStr = if code == 0 { c"no error" } else { Status::of(code).ok_or(Status::InvalidValue)?.text() };
        out.put(text.as_ptr())
    }

    fn cuGetProcAddress_v2(name: Text, out: Out<*const ()>, version: i32, _flags: u64, result: Out<i32>) {
        let name = name.get()?;
        let (address, found) = match find(&name, version) {
            Found::Function(address) => (address, SYMBOL_FOUND),
            Found::TooNew => (std::ptr::null(), VERSION_TOO_OLD),
            Found::Nothing => {
                missing(&name);
                (std::ptr::null(), SYMBOL_NOT_FOUND)
            }
        };
        out.put(address)?;
        result.offer(found);
        // A caller that takes the result is told by it.
        if found == SYMBOL_FOUND || !result.is_null() { Ok(()) } else { Err(Status::NotFound.into()) }
    }

    fn cuGetProcAddress(name: Text, out: Out<*const ()>, version: i32, _flags: u64) {
        match find(&name.get()?, version) {
            Found::Function(address) => out.put(address),
            Found::TooNew | Found::Nothing => {
                out.put(std::ptr::null())?;
                Err(Status::NotFound.into())
            }
        }
    }

    fn cuGetExportTable(out: Out<*const ()>, id: In<[u8; 16]>) {
        out.offer(std::ptr::null());
        if id.get()? == OF_RUNTIME {
            let what = "programs of the CUDA runtime library (cudart) need tables that are not documented: the driver API only";
            return Err(Status::NotFound.because(what));
        }
        Err(Status::NotFound.into())
    }

    }
}

entries! { Initialized:

// Without a profiler nothing happens.
fn cuProfilerStart() {
    Ok(())
}

fn cuProfilerStop() {
    Ok(())
}

fn cuIpcGetMemHandle(_handle: Out<[u8; 64]>, _address: u64) {
    Err(Status::NotSupported.because("memory is not shared between processes"))
}

}
