//! What the simulated GPUs say of themselves.

use ptx_sim::Gpu;
use std::ops::RangeInclusive;

/// A GPU of [`ptx_sim::GPUS`], and what that table has no column for (data sheets; CUDA C++ Programming Guide, table of compute capabilities).
#[derive(Debug, PartialEq)]
pub struct Model {
    /// As [`Gpu::named`] finds it.
    pub name: &'static str,
    /// Compute capability.
    pub capability: (u32, u32),
    /// Bytes of DRAM.
    pub memory: u64,
    /// Bytes of L2.
    pub l2: u32,
    /// Bits of the DRAM's bus.
    pub bus: u32,
    /// Clock of the DRAM, kHz.
    pub memory_clock: u32,
}

pub const MODELS: [Model; 3] = [
    Model { name: "H100", capability: (9, 0), memory: 80 << 30, l2: 50 << 20, bus: 5120, memory_clock: 2_619_000 },
    Model { name: "A100", capability: (8, 0), memory: 80 << 30, l2: 40 << 20, bus: 5120, memory_clock: 1_593_000 },
    Model { name: "RTX 4090", capability: (8, 9), memory: 24 << 30, l2: 72 << 20, bus: 384, memory_clock: 10_501_000 },
];

/// Threads of a block at most.
const THREADS: i32 = 1024;
/// Bytes of shared memory that a block may have without asking for more.
pub const SHARED_PER_BLOCK: u32 = 48 << 10;
/// Registers of a thread that occupancy is computed with. The registers of PTX are virtual; only ptxas knows their number.
pub const REGISTERS: u32 = 32;

/// `CUdevice_attribute`, those with a value other than 0.
mod attribute {
    pub const MAX_THREADS_PER_BLOCK: i32 = 1;
    pub const MAX_BLOCK_DIM_X: i32 = 2;
    pub const MAX_BLOCK_DIM_Y: i32 = 3;
    pub const MAX_BLOCK_DIM_Z: i32 = 4;
    pub const MAX_GRID_DIM_X: i32 = 5;
    pub const MAX_GRID_DIM_Y: i32 = 6;
    pub const MAX_GRID_DIM_Z: i32 = 7;
    pub const MAX_SHARED_MEMORY_PER_BLOCK: i32 = 8;
    pub const TOTAL_CONSTANT_MEMORY: i32 = 9;
    pub const WARP_SIZE: i32 = 10;
    pub const MAX_PITCH: i32 = 11;
    pub const MAX_REGISTERS_PER_BLOCK: i32 = 12;
    pub const CLOCK_RATE: i32 = 13;
    pub const TEXTURE_ALIGNMENT: i32 = 14;
    pub const GPU_OVERLAP: i32 = 15;
    pub const MULTIPROCESSOR_COUNT: i32 = 16;
    pub const CAN_MAP_HOST_MEMORY: i32 = 19;
    pub const CONCURRENT_KERNELS: i32 = 31;
    pub const MEMORY_CLOCK_RATE: i32 = 36;
    pub const GLOBAL_MEMORY_BUS_WIDTH: i32 = 37;
    pub const L2_CACHE_SIZE: i32 = 38;
    pub const MAX_THREADS_PER_MULTIPROCESSOR: i32 = 39;
    pub const ASYNC_ENGINE_COUNT: i32 = 40;
    pub const UNIFIED_ADDRESSING: i32 = 41;
    pub const COMPUTE_CAPABILITY_MAJOR: i32 = 75;
    pub const COMPUTE_CAPABILITY_MINOR: i32 = 76;
    pub const STREAM_PRIORITIES_SUPPORTED: i32 = 78;
    pub const GLOBAL_L1_CACHE_SUPPORTED: i32 = 79;
    pub const LOCAL_L1_CACHE_SUPPORTED: i32 = 80;
    pub const MAX_SHARED_MEMORY_PER_MULTIPROCESSOR: i32 = 81;
    pub const MAX_REGISTERS_PER_MULTIPROCESSOR: i32 = 82;
    pub const MANAGED_MEMORY: i32 = 83;
    pub const COOPERATIVE_LAUNCH: i32 = 95;
    pub const MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: i32 = 97;
    pub const MAX_BLOCKS_PER_MULTIPROCESSOR: i32 = 106;
    pub const RESERVED_SHARED_MEMORY_PER_BLOCK: i32 = 111;
    pub const MEMORY_POOLS_SUPPORTED: i32 = 115;
}

/// Numbers of attributes that drivers know; others are refused.
pub const ATTRIBUTES: RangeInclusive<i32> = 1..=160;

impl Model {
    /// The GPU of this name, in any case of letters.
    pub fn named(name: &str) -> Option<&'static Model> {
        MODELS.iter().find(|model| model.name.eq_ignore_ascii_case(name))
    }

    /// Its row of the simulator's table.
    pub fn gpu(&self) -> &'static Gpu {
        Gpu::named(self.name).expect("every model is a GPU of the simulator: a test")
    }

    /// Bytes of shared memory that a block can ask for.
    pub fn shared_optin(&self) -> u32 {
        self.gpu().shared_per_sm - self.gpu().shared_per_block
    }

    /// `cuDeviceGetAttribute`, with this many streaming multiprocessors.
    pub fn attribute(&self, which: i32, sms: u32) -> i32 {
        use attribute::*;
        let gpu = self.gpu();
        match which {
            MAX_THREADS_PER_BLOCK | MAX_BLOCK_DIM_X | MAX_BLOCK_DIM_Y => THREADS,
            MAX_BLOCK_DIM_Z => 64,
            MAX_GRID_DIM_X | MAX_PITCH => i32::MAX,
            MAX_GRID_DIM_Y | MAX_GRID_DIM_Z => 65535,
            MAX_SHARED_MEMORY_PER_BLOCK => SHARED_PER_BLOCK as i32,
            TOTAL_CONSTANT_MEMORY => 64 << 10,
            WARP_SIZE => 32,
            MAX_REGISTERS_PER_BLOCK | MAX_REGISTERS_PER_MULTIPROCESSOR => gpu.registers as i32,
            CLOCK_RATE => (gpu.clock * 1e6) as i32,
            TEXTURE_ALIGNMENT => 512,
            MULTIPROCESSOR_COUNT => sms as i32,
            MEMORY_CLOCK_RATE => self.memory_clock as i32,
            GLOBAL_MEMORY_BUS_WIDTH => self.bus as i32,
            L2_CACHE_SIZE => self.l2 as i32,
            MAX_THREADS_PER_MULTIPROCESSOR => 32 * gpu.warps_per_sm as i32,
            ASYNC_ENGINE_COUNT => 3,
            COMPUTE_CAPABILITY_MAJOR => self.capability.0 as i32,
            COMPUTE_CAPABILITY_MINOR => self.capability.1 as i32,
            MAX_SHARED_MEMORY_PER_MULTIPROCESSOR => gpu.shared_per_sm as i32,
            MAX_SHARED_MEMORY_PER_BLOCK_OPTIN => self.shared_optin() as i32,
            MAX_BLOCKS_PER_MULTIPROCESSOR => gpu.blocks_per_sm as i32,
            RESERVED_SHARED_MEMORY_PER_BLOCK => gpu.shared_per_block as i32,
            GPU_OVERLAP
            | CAN_MAP_HOST_MEMORY
            | CONCURRENT_KERNELS
            | UNIFIED_ADDRESSING
            | STREAM_PRIORITIES_SUPPORTED
            | GLOBAL_L1_CACHE_SUPPORTED
            | LOCAL_L1_CACHE_SUPPORTED
            | MANAGED_MEMORY
            | COOPERATIVE_LAUNCH
            | MEMORY_POOLS_SUPPORTED => 1,
            _ => 0,
        }
    }

    /// Blocks of `threads` threads and `shared` bytes of shared memory that one multiprocessor holds at once.
    pub fn blocks_per_sm(&self, threads: u32, shared: u32) -> u32 {
        let gpu = self.gpu();
        let warps = threads.div_ceil(32).max(1);
        let by_shared = gpu.shared_per_sm / shared.saturating_add(gpu.shared_per_block);
        let by_registers = gpu.registers / (REGISTERS * 32 * warps);
        gpu.blocks_per_sm.min(gpu.warps_per_sm / warps).min(by_shared).min(by_registers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_is_a_gpu_of_the_simulator() {
        for model in &MODELS {
            assert!(Gpu::named(model.name).is_some(), "{}", model.name);
            assert_eq!(model.attribute(attribute::MULTIPROCESSOR_COUNT, model.gpu().sms) as u32, model.gpu().sms);
        }
    }

    /// Compute capability 9.0: 64 warps, 32 blocks, 228 KiB; a block takes 1 KiB more than it asks for.
    #[test]
    fn occupancy_is_the_least_of_the_limits() {
        let h100 = &MODELS[0];
        assert_eq!(h100.blocks_per_sm(1024, 0), 2);
        assert_eq!(h100.blocks_per_sm(32, 0), 32);
        assert_eq!(h100.blocks_per_sm(256, 100 << 10), 2);
        assert_eq!(h100.blocks_per_sm(256, 227 << 10), 1);
    }
}
