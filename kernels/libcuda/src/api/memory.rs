//! Allocation: of a device, of both, and pinned.

use crate::entry::entries;
use crate::memory::Kind;
use crate::raw::Out;
use crate::state::{run_device, with};
use crate::status::{Outcome, Status};

/// Rows of `cuMemAllocPitch` begin at multiples of this.
const PITCH: usize = 512;
/// `CU_MEMHOSTALLOC_DEVICEMAP`, `CU_MEMHOSTREGISTER_DEVICEMAP`
const DEVICE_MAP: u32 = 2;

fn allocate(out: Out<u64>, bytes: usize, kind: Kind) -> Outcome {
    if bytes == 0 || out.is_null() {
        return Err(Status::InvalidValue.into());
    }
    with(|state| {
        state.no_capture()?;
        out.put(state.allocate(bytes as u64, kind)?)
    })
}

/// Work that may use an allocation runs before it is freed, as on a GPU.
fn run_before_free() -> Outcome {
    let devices = with(|state| {
        state.no_capture()?;
        Ok(state.devices.len())
    })?;
    (0..devices).try_for_each(run_device)
}

fn host(out: Out<u64>, bytes: usize, flags: u32) -> Outcome {
    if out.is_null() {
        return Err(Status::InvalidValue.into());
    }
    with(|state| {
        state.no_capture()?;
        let mapped = flags & DEVICE_MAP != 0;
        let bytes = bytes.max(1) as u64;
        out.put(if mapped { state.allocate(bytes, Kind::Mapped)? } else { state.pin(bytes)? })
    })
}

entries! { Initialized:

fn cuMemGetInfo_v2(free: Out<usize>, total: Out<usize>) {
    with(|state| {
        let index = state.current_device()?;
        let device = &state.devices[index];
        free.put(device.memory.saturating_sub(device.sim.allocated()) as usize)?;
        total.put(device.memory as usize)
    })
}

fn cuMemAlloc_v2(out: Out<u64>, bytes: usize) {
    allocate(out, bytes, Kind::Device)
}

fn cuMemAllocManaged(out: Out<u64>, bytes: usize, _flags: u32) {
    allocate(out, bytes, Kind::Managed)
}

fn cuMemAllocPitch_v2(out: Out<u64>, pitch: Out<usize>, width: usize, height: usize, _element: u32) {
    let row = width.checked_next_multiple_of(PITCH).ok_or(Status::InvalidValue)?;
    allocate(out, row.checked_mul(height).ok_or(Status::InvalidValue)?, Kind::Device)?;
    pitch.put(row)
}

fn cuMemFree_v2(address: u64) {
    if address == 0 {
        return Ok(());
    }
    run_before_free()?;
    with(|state| state.free(address, &[Kind::Device, Kind::Managed]))
}

fn cuMemHostAlloc(out: Out<u64>, bytes: usize, flags: u32) {
    host(out, bytes, flags)
}

fn cuMemAllocHost_v2(out: Out<u64>, bytes: usize) {
    host(out, bytes, 0)
}

fn cuMemFreeHost(address: u64) {
    run_before_free()?;
    with(|state| {
        if state.memory.pinned.get(&address).is_some_and(|pinned| !pinned.is_registered()) {
            return state.unpin(address);
        }
        state.free(address, &[Kind::Mapped])
    })
}

fn cuMemHostRegister_v2(address: u64, bytes: usize, _flags: u32) {
    with(|state| state.register(address, bytes as u64))
}

fn cuMemHostUnregister(address: u64) {
    run_before_free()?;
    with(|state| {
        if !state.memory.pinned.get(&address).is_some_and(|pinned| pinned.is_registered()) {
            return Err(Status::HostMemoryNotRegistered.into());
        }
        state.unpin(address)
    })
}

// Pinned memory has an address of its own on the device, from this call on.
fn cuMemHostGetDevicePointer_v2(out: Out<u64>, address: u64, _flags: u32) {
    with(|state| out.put(state.map(address)?))
}

fn cuMemHostGetFlags(out: Out<u32>, address: u64) {
    with(|state| match state.memory.allocation(address, 0) {
        Some((_, allocation)) if allocation.kind == Kind::Mapped => out.put(DEVICE_MAP),
        _ if state.memory.pinned(address, 0).is_some() => out.put(0),
        _ => Err(Status::InvalidValue.into()),
    })
}

fn cuMemGetAddressRange_v2(base: Out<u64>, bytes: Out<usize>, address: u64) {
    with(|state| {
        let (start, allocation) = state.memory.allocation(address, 0).ok_or(Status::NotFound)?;
        base.offer(start);
        bytes.offer(allocation.bytes as usize);
        Ok(())
    })
}

// Hints: managed memory is copied before and after each kernel.
fn cuMemAdvise_v2(address: u64, bytes: usize, _advice: u32, _location: u64) {
    with(|state| state.memory.place(address, bytes as u64).map(|_| ()))
}

fn cuMemPrefetchAsync_v2(address: u64, bytes: usize, _location: u64, _flags: u32, stream: u64) {
    with(|state| {
        state.stream(stream)?;
        state.memory.place(address, bytes as u64).map(|_| ())
    })
}

}
