//! What a device can hold, and how a kernel is launched.

/// What the simulated device can hold, and how it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of global memory. The host needs 5.25 times what is allocated, for the checks.
    pub global_bytes: u64,
    /// Bytes of shared memory per block, static and dynamic (H100: 227 KiB).
    pub shared_bytes: u32,
    /// Threads of a block, at most 1024.
    pub threads_per_block: u32,
    /// Blocks of a cooperative grid: all are resident at once.
    pub cooperative_blocks: u32,
    /// Warp instructions that one block may execute; a block that needs more counts as endless.
    pub instructions_per_block: u64,
    /// Host threads; 0 takes all cores. One makes float atomics reproducible.
    pub host_threads: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            global_bytes: 4 << 30,
            shared_bytes: 227 << 10,
            threads_per_block: 1024,
            cooperative_blocks: 132 * 8,
            instructions_per_block: 4_000_000_000,
            host_threads: 0,
        }
    }
}

/// How a kernel is launched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaunchConfig {
    /// Blocks: x, y, z.
    pub grid: [u32; 3],
    /// Threads of a block: x, y, z.
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory per block.
    pub dynamic_shared: u32,
    /// All blocks are resident at once and may wait for each other.
    pub cooperative: bool,
    /// Programmatic dependent launch: the kernel may start before its predecessor has ended. It must execute
    /// `griddepcontrol.wait` before it accesses what the predecessor writes, or writes what the predecessor reads.
    pub dependent: bool,
}

impl LaunchConfig {
    /// One-dimensional grid and block, no dynamic shared memory.
    pub fn linear(blocks: u32, threads: u32) -> LaunchConfig {
        LaunchConfig {
            grid: [blocks, 1, 1],
            block: [threads, 1, 1],
            dynamic_shared: 0,
            cooperative: false,
            dependent: false,
        }
    }
}
