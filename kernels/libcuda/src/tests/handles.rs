//! Handles of destroyed objects, of other kinds and of nothing.

use super::{device, fails, get, module, ok};
use crate::api::context::{cuCtxDestroy_v2, cuCtxPushCurrent_v2, cuCtxSetCurrent};
use crate::api::entries;
use crate::api::event::{cuEventCreate, cuEventDestroy_v2, cuEventQuery, cuEventRecord, cuEventSynchronize};
use crate::api::function::{cuFuncGetAttribute, cuFuncLoad};
use crate::api::graph::{cuGraphDestroy, cuGraphExecDestroy, cuGraphInstantiateWithFlags, cuGraphLaunch};
use crate::api::launch::cuLaunchKernel;
use crate::api::link::{cuLinkComplete, cuLinkDestroy};
use crate::api::memory::{cuMemFree_v2, cuMemFreeHost, cuMemHostUnregister};
use crate::api::module::{cuModuleGetFunctionCount, cuModuleUnload};
use crate::api::stream::{cuStreamCreate, cuStreamDestroy_v2, cuStreamSynchronize, cuStreamWaitEvent};
use crate::raw::{In, Out, call_with_zeros};
use crate::status::Status;

/// Without a handle, a pointer or a size every call ends, with an error or not, with a context and without one.
#[test]
fn null_is_no_crash() {
    let mut refused = 0;
    for with_context in [false, true] {
        if with_context {
            device();
        }
        for entry in entries() {
            let code = call_with_zeros(entry.address);
            assert!(code == 0 || Status::of(code).is_some_and(|s| s != Status::Unknown), "{}: {code}", entry.name);
            refused += usize::from(code != 0);
        }
    }
    assert!(refused > entries().len(), "{refused} calls were refused");
}

#[test]
fn a_wrong_handle_is_an_error() {
    device();
    let stream = get(|out| cuStreamCreate(out, 0));
    let event = get(|out| cuEventCreate(out, 0));
    let loaded = module();
    let gone = get(|out| cuStreamCreate(out, 0));
    ok(cuStreamDestroy_v2(gone));
    let mut number = 0;
    let mut wide = 0;
    for wrong in [gone, 0xdead_beef_0000, u64::MAX, 1 << 40, loaded + 8] {
        for code in [
            cuStreamSynchronize(wrong),
            cuStreamDestroy_v2(wrong),
            cuStreamWaitEvent(wrong, event, 0),
            cuStreamWaitEvent(stream, wrong, 0),
            cuEventRecord(event, wrong),
            cuEventRecord(wrong, stream),
            cuEventSynchronize(wrong),
            cuEventQuery(wrong),
            cuEventDestroy_v2(wrong),
            cuModuleUnload(wrong),
            cuModuleGetFunctionCount(Out::of(&mut (number as u32)), wrong),
            cuFuncLoad(wrong),
            cuFuncGetAttribute(Out::of(&mut number), 0, wrong),
            cuLaunchKernel(wrong, 1, 1, 1, 1, 1, 1, 0, 0, In::of(&[]), In::from_address(0)),
            cuGraphDestroy(wrong),
            cuGraphInstantiateWithFlags(Out::of(&mut wide), wrong, 0),
            cuGraphLaunch(wrong, stream),
            cuGraphExecDestroy(wrong),
            cuLinkComplete(wrong, Out::of(&mut wide), Out::of(&mut 0)),
            cuLinkDestroy(wrong),
        ] {
            fails(code, Status::InvalidHandle);
        }
        for code in [cuCtxSetCurrent(wrong), cuCtxPushCurrent_v2(wrong), cuCtxDestroy_v2(wrong)] {
            fails(code, Status::InvalidContext);
        }
        for code in [cuMemFree_v2(wrong), cuMemFreeHost(wrong)] {
            fails(code, Status::InvalidValue);
        }
        fails(cuMemHostUnregister(wrong), Status::HostMemoryNotRegistered);
    }
    ok(cuModuleUnload(loaded));
    fails(cuModuleUnload(loaded), Status::InvalidHandle);
    ok(cuStreamSynchronize(stream));
}
