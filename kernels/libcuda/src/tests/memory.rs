//! Memory of devices, of the host, and of both.

use super::{device, fails, fill, function, get, host, module, ok, read, words};
use crate::api::context::{cuCtxSetCurrent, cuCtxSynchronize, cuDevicePrimaryCtxRelease_v2, cuDevicePrimaryCtxRetain};
use crate::api::memory::{
    cuMemAlloc_v2, cuMemAllocManaged, cuMemFree_v2, cuMemFreeHost, cuMemGetAddressRange_v2, cuMemGetInfo_v2,
    cuMemHostAlloc, cuMemHostGetDevicePointer_v2, cuMemHostRegister_v2, cuMemHostUnregister,
};
use crate::api::pool::{cuMemAllocAsync, cuMemFreeAsync};
use crate::api::transfer::{cuMemcpy, cuMemcpyDtoD_v2, cuMemcpyDtoH_v2, cuMemcpyHtoD_v2, cuMemsetD32_v2};
use crate::raw::{self, Out};
use crate::state::with;
use crate::status::Status;

fn free_bytes() -> usize {
    let (mut free, mut total) = (0, 0);
    ok(cuMemGetInfo_v2(Out::of(&mut free), Out::of(&mut total)));
    assert_eq!(total, 64 << 20);
    free
}

#[test]
fn host_and_device_share_managed_and_mapped_memory() {
    device();
    let kernel = function(module(), c"fill");
    const ATTACH_GLOBAL: u32 = 1;
    const DEVICE_MAP: u32 = 2;
    let managed = get(|out| cuMemAllocManaged(out, 16, ATTACH_GLOBAL));
    let mapped = get(|out| cuMemHostAlloc(out, 16, DEVICE_MAP));
    assert_eq!(get(|out| cuMemHostGetDevicePointer_v2(out, mapped, 0)), mapped);
    let pinned = get(|out| cuMemHostAlloc(out, 16, 0));
    let on_device = get(|out| cuMemHostGetDevicePointer_v2(out, pinned + 4, 0)) - 4;
    assert_eq!(get(|out| cuMemHostGetDevicePointer_v2(out, pinned, 0)), on_device);
    for (value, address, on_device) in [(3u32, managed, managed), (4, mapped, mapped), (5, pinned, on_device)] {
        raw::write(address, &[7; 16]).expect("pages of the host");
        ok(fill(kernel, 0, on_device, value, 3));
        ok(cuCtxSynchronize());
        let bytes = raw::bytes(address, 16).expect("pages of the host");
        assert_eq!(read(on_device, 1), [value]);
        assert_eq!(bytes, [[value as u8, 0, 0, 0]; 3].concat().into_iter().chain([7; 4]).collect::<Vec<u8>>());
    }
    ok(cuMemFree_v2(managed));
    ok(cuMemFreeHost(mapped));
    ok(cuMemFreeHost(pinned));
    ok(fill(kernel, 0, on_device, 1, 1));
    fails(cuCtxSynchronize(), Status::IllegalAddress);
}

#[test]
fn wrong_addresses_and_sizes_are_errors() {
    device();
    let out = words(4);
    let mut back = [0u32; 8];
    let to = back.as_mut_ptr().expose_provenance() as u64;
    fails(cuMemcpyDtoH_v2(to, out, 20), Status::InvalidValue);
    fails(cuMemcpyDtoH_v2(to, out + 8, 12), Status::InvalidValue);
    fails(cuMemcpyDtoH_v2(0, out, 4), Status::InvalidValue);
    fails(cuMemcpyDtoH_v2(to, host(&back), 4), Status::InvalidValue);
    fails(cuMemcpyHtoD_v2(out + (1 << 32), to, 4), Status::InvalidValue);
    fails(cuMemcpy(to, 0, 4), Status::InvalidValue);
    fails(cuMemsetD32_v2(out + 2, 1, 1), Status::InvalidValue);
    fails(cuMemsetD32_v2(out, 1, usize::MAX), Status::InvalidValue);
    fails(cuMemAlloc_v2(Out::of(&mut 0), 0), Status::InvalidValue);
    fails(cuMemAlloc_v2(Out::of(&mut 0), 65 << 20), Status::OutOfMemory);
    fails(cuMemFree_v2(out + 4), Status::InvalidValue);
    ok(cuMemsetD32_v2(out, 6, 4));
    assert_eq!(read(out, 4), [6; 4]);
    let (mut base, mut bytes) = (0, 0);
    ok(cuMemGetAddressRange_v2(Out::of(&mut base), Out::of(&mut bytes), out + 5));
    assert_eq!((base, bytes), (out, 16));
    ok(cuMemFree_v2(out));
    fails(cuMemFree_v2(out), Status::InvalidValue);
    fails(cuMemcpyDtoH_v2(to, out, 4), Status::InvalidValue);
    // Memory of the caller.
    ok(cuMemHostRegister_v2(to, 16, 0));
    fails(cuMemHostRegister_v2(to + 8, 16, 0), Status::HostMemoryAlreadyRegistered);
    fails(cuMemFreeHost(to), Status::InvalidValue);
    ok(cuMemHostUnregister(to));
    fails(cuMemHostUnregister(to), Status::HostMemoryNotRegistered);
}

/// What was never written may be copied on the device, and is still found when a kernel reads it.
#[test]
fn copies_keep_what_is_uninitialized() {
    let ordinal = device();
    let [from, to] = [0; 2].map(|_| get(|out| cuMemAlloc_v2(out, 8)));
    ok(cuMemsetD32_v2(from, 5, 1));
    ok(cuMemcpyDtoD_v2(to, from, 8));
    let written = |bytes: usize| {
        let read = with(|state| Ok(state.device(ordinal)?.sim.read(to, &mut vec![0; bytes]).is_ok()));
        read.expect("a device")
    };
    assert!(written(4) && !written(8));
}

#[test]
fn the_last_release_frees_everything() {
    let ordinal = device();
    let before = free_bytes();
    module();
    words(1000);
    get(|out| cuMemHostAlloc(out, 100, 0));
    let later = get(|out| cuMemAllocAsync(out, 4000, 0));
    ok(cuMemFreeAsync(later, 0));
    fails(cuMemFreeAsync(later, 0), Status::InvalidValue);
    assert_eq!(free_bytes(), before - 4000);
    ok(cuDevicePrimaryCtxRelease_v2(ordinal));
    fails(cuDevicePrimaryCtxRelease_v2(ordinal), Status::InvalidContext);
    fails(cuMemAlloc_v2(Out::of(&mut 0), 4), Status::ContextIsDestroyed);
    ok(cuCtxSetCurrent(get(|out| cuDevicePrimaryCtxRetain(out, ordinal))));
    assert_eq!(free_bytes(), before);
}
