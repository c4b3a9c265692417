//! Allocation in the order of a stream. Each device has one pool, without limits: memory is given at the call and freed in the stream.

use crate::capture::issue;
use crate::entry::entries;
use crate::memory::Kind;
use crate::raw::Out;
use crate::state::with;
use crate::status::{Outcome, Status};
use crate::work::Action;

fn default_pool(out: Out<u64>, device: i32) -> Outcome {
    with(|state| out.put(state.device(device)?.pool))
}

fn known(pool: u64) -> Outcome {
    with(|state| state.pools.get(pool).map(|_| ()))
}

fn allocate(out: Out<u64>, bytes: usize, stream: u64) -> Outcome {
    if bytes == 0 || out.is_null() {
        return Err(Status::InvalidValue.into());
    }
    with(|state| {
        let key = state.stream(stream)?;
        if state.capture_of(key).is_some() {
            return Err(Status::NotSupported.because("memory nodes of a graph"));
        }
        out.put(state.allocate(bytes as u64, Kind::Device)?)
    })
}

entries! { Initialized:

fn cuMemAllocAsync(out: Out<u64>, bytes: usize, stream: u64) {
    allocate(out, bytes, stream)
}

fn cuMemAllocFromPoolAsync(out: Out<u64>, bytes: usize, pool: u64, stream: u64) {
    known(pool)?;
    allocate(out, bytes, stream)
}

fn cuMemFreeAsync(address: u64, stream: u64) {
    with(|state| {
        let key = state.stream(stream)?;
        if state.capture_of(key).is_some() {
            return Err(Status::NotSupported.because("memory nodes of a graph"));
        }
        let known = state.memory.allocations.get(&address).is_some_and(|a| a.kind == Kind::Device);
        if known { Ok(()) } else { Err(Status::InvalidValue.into()) }
    })?;
    issue(stream, Action::Free(address))
}

fn cuDeviceGetDefaultMemPool(out: Out<u64>, device: i32) {
    default_pool(out, device)
}

fn cuDeviceGetMemPool(out: Out<u64>, device: i32) {
    default_pool(out, device)
}

fn cuDeviceSetMemPool(device: i32, pool: u64) {
    with(|state| state.device(device).map(|_| ()))?;
    known(pool)
}

fn cuMemPoolSetAttribute(pool: u64, _attribute: u32, _value: u64) {
    known(pool)
}

fn cuMemPoolGetAttribute(pool: u64, _attribute: u32, value: Out<u64>) {
    known(pool)?;
    value.put(0)
}

fn cuMemPoolTrimTo(pool: u64, _bytes: usize) {
    known(pool)
}

}
