//! Launches: what is refused at once, and what a kernel does wrong.

use super::{device, fails, fill, function, get, lazy_device, module, ok, read, words};
use crate::api::function::cuFuncSetAttribute;
use crate::api::launch::cuLaunchKernel;
use crate::api::memory::{cuMemAlloc_v2, cuMemFree_v2};
use crate::api::stream::{cuStreamCreate, cuStreamSynchronize};
use crate::raw::In;
use crate::status::Status;

#[test]
fn a_launch_beyond_the_limits_is_refused_at_the_call() {
    for lazy in [false, true] {
        if lazy {
            lazy_device()
        } else {
            device()
        };
        let loaded = module();
        let out = words(8);
        fails(fill(function(loaded, c"fill"), 0, out, 1, 0), Status::InvalidValue);
        fails(fill(function(loaded, c"fill"), 0, out, 1, 1025), Status::InvalidValue);
        let shared = function(loaded, c"shared");
        let launch =
            |bytes| cuLaunchKernel(shared, 1, 1, 1, 32, 1, 1, bytes, 0, In::from_address(0), In::from_address(0));
        ok(launch(48 << 10));
        fails(launch(64 << 10), Status::InvalidValue);
        const MAX_DYNAMIC_SHARED_SIZE_BYTES: i32 = 8;
        ok(cuFuncSetAttribute(shared, MAX_DYNAMIC_SHARED_SIZE_BYTES, 64 << 10));
        ok(launch(64 << 10));
        fails(cuFuncSetAttribute(shared, MAX_DYNAMIC_SHARED_SIZE_BYTES, 228 << 10), Status::InvalidValue);
        ok(fill(function(loaded, c"fill"), 0, out, 5, 8));
        assert_eq!(read(out, 8), [5; 8]);
    }
}

/// The launch succeeds, what waits for it fails, and so does all later work; memory can still be freed.
#[test]
fn a_wrong_access_shows_at_the_next_wait_and_stays() {
    device();
    let stream = get(|out| cuStreamCreate(out, 1));
    let kernel = function(module(), c"fill");
    let out = get(|out| cuMemAlloc_v2(out, 4 * 8));
    ok(fill(kernel, stream, out, 1, 9));
    fails(cuStreamSynchronize(stream), Status::IllegalAddress);
    fails(fill(kernel, stream, out, 1, 8), Status::IllegalAddress);
    fails(cuStreamSynchronize(stream), Status::IllegalAddress);
    ok(cuMemFree_v2(out));
}
