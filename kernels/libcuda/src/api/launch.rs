//! Launches.

use crate::capture::issue;
use crate::entry::entries;
use crate::raw::{self, In};
use crate::state::with;
use crate::status::{Outcome, Status};
use crate::work::{Action, status_of};
use ptx_sim::{Kernel, LaunchConfig};

/// `CU_LAUNCH_PARAM_*`: what stands in `extra`.
const END: u64 = 0;
const BUFFER_POINTER: u64 = 1;
const BUFFER_SIZE: u64 = 2;

/// `CUlaunchAttributeID`
mod attribute {
    pub const COOPERATIVE: u32 = 2;
    pub const CLUSTER_DIMENSION: u32 = 4;
    pub const PROGRAMMATIC_STREAM_SERIALIZATION: u32 = 6;
}

/// `CUlaunchAttribute`: 8 bytes of identity, a union of 64.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Attribute {
    id: u32,
    pad: u32,
    value: [u32; 16],
}

/// `CUlaunchConfig`
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Config {
    grid: [u32; 3],
    block: [u32; 3],
    dynamic_shared: u32,
    stream: u64,
    attributes: In<Attribute>,
    n_attributes: u32,
}

/// The block of parameters, from pointers to each of them or from one buffer.
fn params(kernel: &Kernel, each: In<u64>, extra: In<u64>) -> Outcome<Vec<u8>> {
    let n = kernel.param_bytes() as usize;
    let mut block = vec![0; n];
    if extra.is_null() {
        for (i, param) in kernel.params().iter().enumerate() {
            let (start, bytes) = (param.offset as usize, param.bytes as usize);
            raw::read(each.at(i).get()?, &mut block[start..start + bytes])?;
        }
        return Ok(block);
    }
    let (mut buffer, mut size) = (0, 0);
    for i in (0..).step_by(2) {
        match extra.at(i).get()? {
            END => break,
            BUFFER_POINTER => buffer = extra.at(i + 1).get()?,
            BUFFER_SIZE => size = In::<u64>::from_address(extra.at(i + 1).get()?).get()?,
            _ => return Err(Status::InvalidValue.into()),
        }
    }
    if size != n as u64 {
        let what = format!("{}: {size} bytes of parameters, the kernel takes {n}", kernel.name());
        return Err(Status::InvalidValue.because(what));
    }
    raw::read(buffer, &mut block)?;
    Ok(block)
}

/// Errors: what a driver finds before the kernel runs.
fn start(function: u64, config: LaunchConfig, stream: u64, each: In<u64>, extra: In<u64>) -> Outcome {
    let (kernel, params) = with(|state| {
        state.current()?;
        let function = state.functions.get(function)?;
        let device = state.contexts.get(function.context)?.device;
        let key = state.stream(stream)?;
        if state.device_of(key) != device {
            return Err(Status::InvalidHandle.because("function and stream are of different devices"));
        }
        let kernel = function.kernel.clone();
        let params = params(&kernel, each, extra)?;
        if config.dynamic_shared > function.dynamic_shared {
            let (asked, most) = (config.dynamic_shared, function.dynamic_shared);
            let what = format!("{}: {asked} bytes of dynamic shared memory, it may have {most}", kernel.name());
            return Err(Status::InvalidValue.because(what));
        }
        let checked = state.devices[device].sim.check_launch(&kernel, &config, params.len());
        checked.map_err(|fault| status_of(&fault).because(fault))?;
        Ok((kernel, params))
    })?;
    issue(stream, Action::Launch { kernel, config, params })
}

entries! { Initialized:

#[allow(clippy::too_many_arguments)] // of the API
fn cuLaunchKernel(
    function: u64,
    grid_x: u32,
    grid_y: u32,
    grid_z: u32,
    block_x: u32,
    block_y: u32,
    block_z: u32,
    dynamic_shared: u32,
    stream: u64,
    each: In<u64>,
    extra: In<u64>,
) {
    let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
    let config = LaunchConfig { grid, block, dynamic_shared, cooperative: false, dependent: false };
    start(function, config, stream, each, extra)
}

#[allow(clippy::too_many_arguments)] // of the API
fn cuLaunchCooperativeKernel(
    function: u64,
    grid_x: u32,
    grid_y: u32,
    grid_z: u32,
    block_x: u32,
    block_y: u32,
    block_z: u32,
    dynamic_shared: u32,
    stream: u64,
    each: In<u64>,
) {
    let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
    let config = LaunchConfig { grid, block, dynamic_shared, cooperative: true, dependent: false };
    start(function, config, stream, each, In::from_address(0))
}

fn cuLaunchKernelEx(config: In<Config>, function: u64, each: In<u64>, extra: In<u64>) {
    let Config { grid, block, dynamic_shared, stream, attributes, n_attributes } = config.get()?;
    let mut config = LaunchConfig { grid, block, dynamic_shared, cooperative: false, dependent: false };
    for i in 0..n_attributes as usize {
        let Attribute { id, value, .. } = attributes.at(i).get()?;
        match id {
            attribute::COOPERATIVE => config.cooperative = value[0] != 0,
            attribute::PROGRAMMATIC_STREAM_SERIALIZATION => config.dependent = value[0] != 0,
            attribute::CLUSTER_DIMENSION if value[..3].iter().any(|n| *n > 1) => {
                return Err(Status::NotSupported.because("clusters of more than one block"));
            }
            // The others are hints.
            _ => {}
        }
    }
    start(function, config, stream, each, extra)
}

}
