//! The entry points, called as a program calls them. Each test has a device of its own, since errors of a device stay.

mod captures;
mod handles;
mod launches;
mod memory;
mod modules;
mod streams;

use crate::api::context::{cuCtxSetCurrent, cuDevicePrimaryCtxRetain};
use crate::api::device::cuDeviceGetCount;
use crate::api::launch::cuLaunchKernel;
use crate::api::memory::cuMemAlloc_v2;
use crate::api::module::{cuModuleGetFunction, cuModuleLoadData};
use crate::api::transfer::{cuMemcpyDtoH_v2, cuMemcpyHtoD_v2};
use crate::options::{MAX_DEVICES, Options};
use crate::raw::{In, Out, Text};
use crate::state::{initialize, with};
use crate::status::Status;
use std::ffi::CStr;
use std::sync::Once;
use std::sync::atomic::{AtomicI32, Ordering};

/// Every thread writes `value` to its word, without a look at the size; `total` counts threads.
const PTX: &CStr = c".version 8.4
.target sm_80
.address_size 64
.visible .global .align 4 .u32 total = 7;
.visible .entry fill(.param .u64 out, .param .u32 value)
{
    .reg .b32 %r<5>; .reg .b64 %rd<4>;
    ld.param.u64 %rd1, [out];
    ld.param.u32 %r1, [value];
    mov.u32 %r2, %ctaid.x;
    mov.u32 %r3, %ntid.x;
    mov.u32 %r4, %tid.x;
    mad.lo.u32 %r2, %r2, %r3, %r4;
    mul.wide.u32 %rd2, %r2, 4;
    add.s64 %rd3, %rd1, %rd2;
    st.global.u32 [%rd3], %r1;
    mov.u64 %rd1, total;
    atom.global.add.u32 %r1, [%rd1], 1;
    ret;
}
.extern .shared .align 4 .b8 memory[];
.visible .entry shared()
{
    .reg .b32 %r<2>;
    mov.u32 %r1, 1;
    st.shared.u32 [memory], %r1;
    ret;
}
";

/// Calls that must succeed.
fn ok(code: i32) {
    assert_eq!(Status::of(code), None, "a call failed");
    assert_eq!(code, 0);
}

/// Calls that must fail with this.
fn fails(code: i32, status: Status) {
    assert_eq!(Status::of(code), Some(status), "{code}");
}

/// Room for a result, and the result.
fn get<T: Default>(f: impl FnOnce(Out<T>) -> i32) -> T {
    let mut value = T::default();
    ok(f(Out::of(&mut value)));
    value
}

/// A device, with its primary context current on this thread; its ordinal.
fn device() -> i32 {
    static FIRST: Once = Once::new();
    // Device 0 is that of calls with zeros.
    static NEXT: AtomicI32 = AtomicI32::new(1);
    FIRST.call_once(|| {
        let mut n = 0;
        fails(cuDeviceGetCount(Out::of(&mut n)), Status::NotInitialized);
        let options = Options { devices: MAX_DEVICES, sms: Some(4), memory_mib: Some(64), ..Options::plain() };
        initialize(&options);
    });
    let ordinal = NEXT.fetch_add(1, Ordering::Relaxed);
    assert!(ordinal < MAX_DEVICES as i32, "more tests than devices");
    ok(cuCtxSetCurrent(get(|out| cuDevicePrimaryCtxRetain(out, ordinal))));
    ordinal
}

/// The same; asynchronous work waits until something waits for it.
fn lazy_device() -> i32 {
    let ordinal = device();
    let set = with(|state| {
        state.device(ordinal)?.lazy = true;
        Ok(())
    });
    assert!(set.is_ok());
    ordinal
}

fn module() -> u64 {
    get(|out| cuModuleLoadData(out, PTX.as_ptr().expose_provenance() as u64))
}

fn function(module: u64, name: &CStr) -> u64 {
    get(|out| cuModuleGetFunction(out, module, Text::of(name)))
}

/// Memory for this number of words, all 0.
fn words(n: usize) -> u64 {
    let address = get(|out| cuMemAlloc_v2(out, 4 * n));
    let zeros = vec![0u32; n];
    ok(cuMemcpyHtoD_v2(address, host(&zeros), 4 * n));
    address
}

fn host<T>(values: &[T]) -> u64 {
    values.as_ptr().expose_provenance() as u64
}

/// The words at an address of the device, behind the legacy stream.
fn read(address: u64, n: usize) -> Vec<u32> {
    let mut values = vec![0u32; n];
    let to = values.as_mut_ptr().expose_provenance() as u64;
    ok(cuMemcpyDtoH_v2(to, address, 4 * n));
    values
}

/// Starts `fill` with this number of threads; the result of the call.
fn fill(function: u64, stream: u64, out: u64, value: u32, threads: u32) -> i32 {
    let (out, value) = ([out], [value]);
    let params = [host(&out), host(&value)];
    cuLaunchKernel(function, 1, 1, 1, threads, 1, 1, 0, stream, In::of(&params), In::from_address(0))
}
