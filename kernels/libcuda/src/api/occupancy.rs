//! Occupancy. Registers count as if each kernel had [`crate::gpu::REGISTERS`]: only ptxas knows how many it has.

use crate::entry::entries;
use crate::raw::Out;
use crate::state::{Function, SimDevice, with};
use crate::status::{Outcome, Status};

/// What depends on the size of a block: bytes of dynamic shared memory (`CUoccupancyB2DSize`).
type SharedOfBlock = extern "C" fn(i32) -> usize;

fn with_function(function: u64, f: impl FnOnce(&Function, &SimDevice) -> Outcome) -> Outcome {
    with(|state| {
        let function = state.functions.get(function)?;
        let device = state.contexts.get(function.context)?.device;
        f(function, &state.devices[device])
    })
}

fn blocks(function: &Function, device: &SimDevice, threads: i32, dynamic_shared: usize) -> Outcome<u32> {
    let threads = u32::try_from(threads).ok().filter(|n| (1..=1024).contains(n)).ok_or(Status::InvalidValue)?;
    let dynamic = u32::try_from(dynamic_shared).map_err(|_| Status::InvalidValue)?;
    Ok(device.model.blocks_per_sm(threads, dynamic.saturating_add(function.kernel.static_shared())))
}

fn blocks_per_sm(out: Out<i32>, function: u64, threads: i32, dynamic_shared: usize) -> Outcome {
    with_function(function, |f, device| out.put(blocks(f, device, threads, dynamic_shared)? as i32))
}

/// The largest block with which most warps are resident, and the blocks that fill the device.
fn best_block(
    grid: Out<i32>,
    block: Out<i32>,
    function: u64,
    of_block: Option<SharedOfBlock>,
    dynamic_shared: usize,
    limit: i32,
) -> Outcome {
    let most = with(|state| {
        let function = state.functions.get(function)?;
        Ok(function.kernel.max_threads().map_or(1024, |t| t.iter().product::<u32>() as i32))
    })?;
    let limit = if limit > 0 { most.min(limit) } else { most };
    let sizes = (1..=limit / 32).rev().map(|warps| 32 * warps).chain((limit < 32).then_some(limit.max(1)));
    // The caller's function is called without the lock.
    let sizes: Vec<(i32, usize)> = sizes.map(|n| (n, of_block.map_or(dynamic_shared, |shared| shared(n)))).collect();
    with_function(function, |f, device| {
        let mut best = (0, 0, 0);
        for (threads, shared) in sizes {
            let blocks = blocks(f, device, threads, shared)? as i32;
            if threads * blocks > best.0 {
                best = (threads * blocks, threads, blocks);
            }
        }
        block.put(best.1)?;
        grid.put(best.2 * device.sms as i32)
    })
}

entries! { Initialized:

fn cuOccupancyMaxActiveBlocksPerMultiprocessor(out: Out<i32>, function: u64, threads: i32, dynamic_shared: usize) {
    blocks_per_sm(out, function, threads, dynamic_shared)
}

fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
    out: Out<i32>,
    function: u64,
    threads: i32,
    dynamic_shared: usize,
    _flags: u32,
) {
    blocks_per_sm(out, function, threads, dynamic_shared)
}

fn cuOccupancyMaxPotentialBlockSize(
    grid: Out<i32>,
    block: Out<i32>,
    function: u64,
    of_block: Option<SharedOfBlock>,
    dynamic_shared: usize,
    limit: i32,
) {
    best_block(grid, block, function, of_block, dynamic_shared, limit)
}

fn cuOccupancyMaxPotentialBlockSizeWithFlags(
    grid: Out<i32>,
    block: Out<i32>,
    function: u64,
    of_block: Option<SharedOfBlock>,
    dynamic_shared: usize,
    limit: i32,
    _flags: u32,
) {
    best_block(grid, block, function, of_block, dynamic_shared, limit)
}

// The largest size with which this many blocks still fit.
fn cuOccupancyAvailableDynamicSMemPerBlock(out: Out<usize>, function: u64, n_blocks: i32, threads: i32) {
    with_function(function, |f, device| {
        let n = u32::try_from(n_blocks).ok().filter(|n| *n > 0).ok_or(Status::InvalidValue)?;
        if blocks(f, device, threads, 0)? < n {
            return Err(Status::InvalidValue.into());
        }
        let gpu = device.model.gpu();
        let each = (gpu.shared_per_sm / n).saturating_sub(gpu.shared_per_block).min(device.model.shared_optin());
        out.put(each.saturating_sub(f.kernel.static_shared()) as usize)
    })
}

}
