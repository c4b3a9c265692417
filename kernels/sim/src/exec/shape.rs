//! The grid and the blocks of a launch, and the special registers that show them.

use crate::ir::Special;

/// Grid, blocks and shared memory of a launch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Blocks, and threads of a block.
    pub grid: [u32; 3],
    pub block: [u32; 3],
    /// Threads of a block, in all.
    pub threads: u32,
    /// Bytes of shared memory of a block.
    pub dynamic_shared: u32,
    pub total_shared: u32,
    /// Number of the launch on this device.
    pub serial: u32,
    /// Address of a cooperative grid's workspace (its barrier), or 0.
    pub workspace: u64,
}

impl Shape {
    /// Index of a thread in its block to coordinates.
    #[inline]
    pub fn thread(&self, flat: u32) -> [u32; 3] {
        let [x, y, _] = self.block;
        [flat % x, flat / x % y, flat / (x * y)]
    }

    /// Index of a block in its grid to coordinates.
    pub fn cta(&self, flat: u32) -> [u32; 3] {
        let [x, y, _] = self.grid;
        [flat % x, flat / x % y, flat / x / y]
    }
}

/// The number of streaming multiprocessors that `%nsmid` shows.
const SMS: u32 = 132;

/// The value of a special register in one lane.
#[inline]
pub(super) fn special(s: Special, launch: &Shape, block: [u32; 3], warp: u32, lane: u32) -> u32 {
    let axis = |v: [u32; 3], a: u8| v[usize::from(a)];
    let flat = block[0] + launch.grid[0] * (block[1] + launch.grid[1] * block[2]);
    match s {
        Special::Tid(a) => axis(launch.thread(warp * 32 + lane), a),
        Special::Ntid(a) => axis(launch.block, a),
        Special::Ctaid(a) => axis(block, a),
        Special::Nctaid(a) => axis(launch.grid, a),
        Special::LaneId => lane,
        Special::WarpId => warp,
        Special::NWarpId => launch.threads.div_ceil(32),
        Special::SmId => flat % SMS,
        Special::NSmId => SMS,
        Special::GridId => launch.serial,
        Special::MaskEq => 1 << lane,
        Special::MaskLt => (1 << lane) - 1,
        Special::MaskLe => u32::MAX >> (31 - lane),
        Special::MaskGt => !(u32::MAX >> (31 - lane)),
        Special::MaskGe => !((1 << lane) - 1),
        Special::DynamicShared => launch.dynamic_shared,
        Special::TotalShared => launch.total_shared,
        Special::WorkspaceHigh => (launch.workspace >> 32) as u32,
        Special::WorkspaceLow => launch.workspace as u32,
        Special::Zero => 0,
        Special::One => 1,
    }
}
