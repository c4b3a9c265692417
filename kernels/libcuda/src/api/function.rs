//! Functions: kernels of a module in a context. What the newer API calls a kernel has the same handle.

use crate::entry::entries;
use crate::gpu::REGISTERS;
use crate::raw::Out;
use crate::state::{Function, State, with};
use crate::status::{Outcome, Status};
use std::collections::BTreeMap;
use std::ffi::{CString, c_char};
use std::sync::Mutex;

/// `CUfunction_attribute`
mod attribute {
    pub const MAX_THREADS_PER_BLOCK: i32 = 0;
    pub const SHARED_SIZE_BYTES: i32 = 1;
    pub const CONST_SIZE_BYTES: i32 = 2;
    pub const LOCAL_SIZE_BYTES: i32 = 3;
    pub const NUM_REGS: i32 = 4;
    pub const PTX_VERSION: i32 = 5;
    pub const BINARY_VERSION: i32 = 6;
    pub const MAX_DYNAMIC_SHARED_SIZE_BYTES: i32 = 8;
    pub const PREFERRED_SHARED_MEMORY_CARVEOUT: i32 = 9;
    /// One more than the last.
    pub const MAX: i32 = 16;
}

fn value(state: &State, which: i32, function: &Function) -> Outcome<i32> {
    let kernel = &function.kernel;
    let device = state.contexts.get(function.context)?.device;
    let (major, minor) = state.devices[device].model.capability;
    Ok(match which {
        attribute::MAX_THREADS_PER_BLOCK => kernel.max_threads().map_or(1024, |t| t.iter().product::<u32>() as i32),
        attribute::SHARED_SIZE_BYTES => kernel.static_shared() as i32,
        attribute::LOCAL_SIZE_BYTES => kernel.local_bytes() as i32,
        attribute::NUM_REGS => REGISTERS as i32,
        attribute::PTX_VERSION | attribute::BINARY_VERSION => (major * 10 + minor) as i32,
        attribute::MAX_DYNAMIC_SHARED_SIZE_BYTES => function.dynamic_shared as i32,
        attribute::PREFERRED_SHARED_MEMORY_CARVEOUT => -1,
        attribute::CONST_SIZE_BYTES..attribute::MAX => 0,
        _ => return Err(Status::InvalidValue.into()),
    })
}

fn get(out: Out<i32>, which: i32, function: u64) -> Outcome {
    with(|state| out.put(value(state, which, state.functions.get(function)?)?))
}

fn set(function: u64, which: i32, value: i32) -> Outcome {
    with(|state| {
        let context = state.functions.get(function)?.context;
        let device = state.contexts.get(context)?.device;
        let most = state.devices[device].model.shared_optin();
        let function = state.functions.get_mut(function)?;
        match which {
            attribute::MAX_DYNAMIC_SHARED_SIZE_BYTES => {
                let most = most.saturating_sub(function.kernel.static_shared());
                let bytes = u32::try_from(value).ok().filter(|bytes| *bytes <= most);
                function.dynamic_shared = bytes.ok_or(Status::InvalidValue)?;
                Ok(())
            }
            attribute::PREFERRED_SHARED_MEMORY_CARVEOUT if (-1..=100).contains(&value) => Ok(()),
            _ => Err(Status::InvalidValue.into()),
        }
    })
}

/// A name that lives as long as the process, as callers expect of those that the driver gives.
fn name(out: Out<*const c_char>, function: u64) -> Outcome {
    static NAMES: Mutex<BTreeMap<String, CString>> = Mutex::new(BTreeMap::new());
    let name = with(|state| Ok(state.functions.get(function)?.kernel.name().to_string()))?;
    let mut names = NAMES.lock().unwrap_or_else(|e| e.into_inner());
    let text = CString::new(name.clone()).map_err(|_| Status::InvalidValue)?;
    out.put(names.entry(name).or_insert(text).as_ptr())
}

fn param(function: u64, i: usize, offset: Out<usize>, bytes: Out<usize>) -> Outcome {
    with(|state| {
        let params = state.functions.get(function)?.kernel.params();
        let param = params.get(i).ok_or(Status::InvalidValue)?;
        offset.put(param.offset as usize)?;
        bytes.offer(param.bytes as usize);
        Ok(())
    })
}

fn known(function: u64) -> Outcome {
    with(|state| state.functions.get(function).map(|_| ()))
}

entries! { Initialized:

fn cuFuncGetAttribute(out: Out<i32>, which: i32, function: u64) {
    get(out, which, function)
}

fn cuKernelGetAttribute(out: Out<i32>, which: i32, kernel: u64, _device: i32) {
    get(out, which, kernel)
}

fn cuFuncSetAttribute(function: u64, which: i32, value: i32) {
    set(function, which, value)
}

fn cuKernelSetAttribute(which: i32, value: i32, kernel: u64, _device: i32) {
    set(kernel, which, value)
}

fn cuFuncSetCacheConfig(function: u64, _config: u32) {
    known(function)
}

fn cuKernelSetCacheConfig(kernel: u64, _config: u32, _device: i32) {
    known(kernel)
}

// Everything is loaded with its module.
fn cuFuncLoad(function: u64) {
    known(function)
}

fn cuFuncIsLoaded(out: Out<u32>, function: u64) {
    known(function)?;
    out.put(1)
}

fn cuFuncGetName(out: Out<*const c_char>, function: u64) {
    name(out, function)
}

fn cuKernelGetName(out: Out<*const c_char>, kernel: u64) {
    name(out, kernel)
}

fn cuFuncGetModule(out: Out<u64>, function: u64) {
    with(|state| out.put(state.functions.get(function)?.module))
}

fn cuKernelGetLibrary(out: Out<u64>, kernel: u64) {
    with(|state| out.put(state.functions.get(kernel)?.module))
}

fn cuKernelGetFunction(out: Out<u64>, kernel: u64) {
    known(kernel)?;
    out.put(kernel)
}

fn cuFuncGetParamInfo(function: u64, i: usize, offset: Out<usize>, bytes: Out<usize>) {
    param(function, i, offset, bytes)
}

fn cuKernelGetParamInfo(kernel: u64, i: usize, offset: Out<usize>, bytes: Out<usize>) {
    param(kernel, i, offset, bytes)
}

}
