//! Contexts: the primary one of each device, and others. The stack of each thread has the current one at its end.

use crate::entry::entries;
use crate::options::NoWait;
use crate::raw::Out;
use crate::state::{Context, run_device, with, with_contexts};
use crate::status::{Outcome, Status};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

/// `CUlimit`, and their values where nothing was set.
const LIMITS: [(u32, usize); 5] = [(0, 1024), (1, 1 << 20), (2, 8 << 20), (3, 2), (4, 2048)];
/// `CUfunc_cache`
static CACHE_CONFIG: AtomicU32 = AtomicU32::new(0);
static SET: Mutex<BTreeMap<u32, usize>> = Mutex::new(BTreeMap::new());

fn create(out: Out<u64>, device: i32) -> Outcome {
    let handle = with(|state| {
        state.device(device)?;
        Ok(state.contexts.add(Context { device: device as usize, active: true }))
    })?;
    out.put(handle)?;
    with_contexts(|stack| stack.push(handle));
    Ok(())
}

/// Errors: no such context. 0 is none.
fn known(context: u64) -> Outcome {
    if context == 0 {
        return Ok(());
    }
    with(|state| if state.contexts.get(context)?.active { Ok(()) } else { Err(Status::ContextIsDestroyed.into()) })
}

/// Runs the work of a device and frees what belongs to a context.
fn close(context: u64) -> Outcome {
    let device = with(|state| Ok(state.contexts.get(context)?.device))?;
    run_device(device)?;
    with(|state| state.close(context))
}

entries! { Initialized:

fn cuDevicePrimaryCtxRetain(out: Out<u64>, device: i32) {
    with(|state| {
        let known = state.device(device)?.primary;
        let handle = known.unwrap_or_else(|| state.contexts.add(Context { device: device as usize, active: true }));
        state.contexts.get_mut(handle)?.active = true;
        out.put(handle)?;
        let device = state.device(device)?;
        device.primary = Some(handle);
        device.retained += 1;
        Ok(())
    })
}

fn cuDevicePrimaryCtxRelease_v2(device: i32) {
    let last = with(|state| {
        let device = state.device(device)?;
        device.retained = device.retained.checked_sub(1).ok_or(Status::InvalidContext)?;
        Ok(device.primary.filter(|_| device.retained == 0))
    })?;
    last.map_or(Ok(()), close)
}

fn cuDevicePrimaryCtxReset_v2(device: i32) {
    let (context, retained) = with(|state| state.device(device).map(|d| (d.primary, d.retained)))?;
    if let Some(context) = context {
        close(context)?;
        with(|state| {
            state.contexts.get_mut(context)?.active = retained > 0;
            Ok(())
        })?;
    }
    Ok(())
}

fn cuDevicePrimaryCtxSetFlags_v2(device: i32, _flags: u32) {
    with(|state| state.device(device).map(|_| ()))
}

fn cuDevicePrimaryCtxGetState(device: i32, flags: Out<u32>, active: Out<i32>) {
    with(|state| {
        let retained = state.device(device)?.retained;
        flags.offer(0);
        active.put((retained > 0).into())
    })
}

fn cuCtxCreate_v2(out: Out<u64>, _flags: u32, device: i32) {
    create(out, device)
}

fn cuCtxCreate_v3(out: Out<u64>, _affinities: u64, _n: i32, _flags: u32, device: i32) {
    create(out, device)
}

fn cuCtxCreate_v4(out: Out<u64>, _params: u64, _flags: u32, device: i32) {
    create(out, device)
}

fn cuCtxDestroy_v2(context: u64) {
    known(context)?;
    let is_primary = with(|state| Ok(state.devices.iter().any(|d| d.primary == Some(context))))?;
    if context == 0 || is_primary {
        return Err(Status::InvalidContext.into());
    }
    close(context)?;
    with_contexts(|stack| {
        if stack.last() == Some(&context) {
            stack.pop();
        }
    });
    with(|state| state.contexts.remove(context).map(|_| ()))
}

fn cuCtxSetCurrent(context: u64) {
    known(context)?;
    with_contexts(|stack| {
        stack.pop();
        if context != 0 {
            stack.push(context);
        }
    });
    Ok(())
}

fn cuCtxGetCurrent(out: Out<u64>) {
    out.put(with_contexts(|stack| stack.last().copied().unwrap_or(0)))
}

fn cuCtxPushCurrent_v2(context: u64) {
    known(context)?;
    with_contexts(|stack| stack.push(context));
    Ok(())
}

fn cuCtxPopCurrent_v2(out: Out<u64>) {
    let context = with_contexts(Vec::pop).ok_or(Status::InvalidContext)?;
    out.offer(context);
    Ok(())
}

fn cuCtxGetDevice(out: Out<i32>) {
    with(|state| out.put(state.current_device()? as i32))
}

fn cuCtxGetDevice_v2(out: Out<i32>, context: u64) {
    with(|state| {
        let context = if context == 0 { state.current()? } else { context };
        out.put(state.contexts.get(context)?.device as i32)
    })
}

fn cuCtxGetFlags(out: Out<u32>) {
    with(|state| {
        state.current()?;
        out.put(0)
    })
}

fn cuCtxSetFlags(_flags: u32) {
    with(|state| state.current().map(|_| ()))
}

fn cuCtxGetApiVersion(context: u64, out: Out<u32>) {
    known(context)?;
    out.put(3020)
}

fn cuCtxGetId(context: u64, out: Out<u64>) {
    with(|state| {
        let context = if context == 0 { state.current()? } else { context };
        state.contexts.get(context)?;
        out.put(context)
    })
}

fn cuCtxSynchronize() {
    let device = with(|state| {
        let device = state.current_device()?;
        state.not_capturing(|_, of| of == device)?;
        Ok(device)
    })?;
    if crate::options::current().no_wait != Some(NoWait::Streams) {
        run_device(device)?;
    }
    with(|state| state.devices[device].check())
}

fn cuCtxGetStreamPriorityRange(least: Out<i32>, greatest: Out<i32>) {
    least.offer(0);
    greatest.offer(-5);
    Ok(())
}

// Limits are kept and not enforced: the simulator has its own.
fn cuCtxGetLimit(out: Out<usize>, limit: u32) {
    let default = LIMITS.iter().find(|(known, _)| *known == limit).ok_or(Status::UnsupportedLimit)?.1;
    out.put(SET.lock().unwrap_or_else(|e| e.into_inner()).get(&limit).copied().unwrap_or(default))
}

fn cuCtxSetLimit(limit: u32, value: usize) {
    if !LIMITS.iter().any(|(known, _)| *known == limit) {
        return Err(Status::UnsupportedLimit.into());
    }
    SET.lock().unwrap_or_else(|e| e.into_inner()).insert(limit, value);
    Ok(())
}

// A preference, which is kept and has no effect.
fn cuCtxGetCacheConfig(out: Out<u32>) {
    out.put(CACHE_CONFIG.load(Ordering::Relaxed))
}

fn cuCtxSetCacheConfig(config: u32) {
    CACHE_CONFIG.store(config, Ordering::Relaxed);
    Ok(())
}

fn cuCtxEnablePeerAccess(context: u64, _flags: u32) {
    known(context)?;
    Err(Status::PeerAccessUnsupported.into())
}

fn cuCtxDisablePeerAccess(context: u64) {
    known(context)?;
    Err(Status::PeerAccessUnsupported.into())
}

}
