//! A lower bound on a launch's time on a named GPU: the longest of the times that the limits of the GPU need (the roofline
//! model: Williams, Waterman and Patterson, 2009).

use crate::config::LaunchConfig;
use crate::count::counters::Counters;
use crate::ir::Class;
use crate::module::Kernel;

/// Public figures of one GPU.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gpu {
    /// As [`Gpu::named`] finds it.
    pub name: &'static str,
    /// Streaming multiprocessors (SMs)
    pub sms: u32,
    /// Boost clock, GHz
    pub clock: f64,
    /// DRAM bandwidth, bytes per second
    pub dram: f64,
    /// L2 to SM bandwidth, bytes per clock of one SM
    pub l2_per_clock: f64,
    /// DRAM latency, seconds
    pub latency: f64,
    /// 32-bit registers per SM
    pub registers: u32,
    /// Warps that are resident on an SM, at most
    pub warps_per_sm: u32,
    /// Blocks that are resident on an SM, at most
    pub blocks_per_sm: u32,
    /// Shared memory per SM, bytes
    pub shared_per_sm: u32,
    /// Shared memory that the system takes per block, bytes
    pub shared_per_block: u32,
    /// Integer lane instructions per clock of one SM
    pub int_rate: f64,
    /// Lane instructions on floats and halves per clock of one SM
    pub float_rate: f64,
    /// Conversions and special functions, lane instructions per clock of one SM
    pub special_rate: f64,
    /// Dense tensor operations (multiply and add are two) of f16 inputs, per clock of one SM
    pub tensor_rate: f64,
}

/// The GPUs whose figures are known: data sheets (H100 SXM5, A100 SXM4 80 GB, RTX 4090) and the arithmetic throughput table of the CUDA C++ Programming Guide;
/// latencies are rounded from public microbenchmarks.
pub const GPUS: [Gpu; 3] = [
    Gpu {
        name: "H100",
        sms: 132,
        clock: 1.83,
        dram: 3.35e12,
        l2_per_clock: 64.0,
        latency: 600e-9,
        registers: 65536,
        warps_per_sm: 64,
        blocks_per_sm: 32,
        shared_per_sm: 228 << 10,
        shared_per_block: 1 << 10,
        int_rate: 64.0,
        float_rate: 128.0,
        special_rate: 16.0,
        tensor_rate: 4096.0,
    },
    Gpu {
        name: "A100",
        sms: 108,
        clock: 1.41,
        dram: 2.039e12,
        l2_per_clock: 64.0,
        latency: 500e-9,
        registers: 65536,
        warps_per_sm: 64,
        blocks_per_sm: 32,
        shared_per_sm: 164 << 10,
        shared_per_block: 1 << 10,
        int_rate: 64.0,
        float_rate: 64.0,
        special_rate: 16.0,
        tensor_rate: 2048.0,
    },
    Gpu {
        name: "RTX 4090",
        sms: 128,
        clock: 2.52,
        dram: 1.008e12,
        l2_per_clock: 64.0,
        latency: 550e-9,
        registers: 65536,
        warps_per_sm: 48,
        blocks_per_sm: 24,
        shared_per_sm: 100 << 10,
        shared_per_block: 1 << 10,
        int_rate: 64.0,
        float_rate: 128.0,
        special_rate: 16.0,
        tensor_rate: 1024.0,
    },
];

impl Gpu {
    /// The GPU of this name, in any case of letters.
    pub fn named(name: &str) -> Option<&'static Gpu> {
        GPUS.iter().find(|g| g.name.eq_ignore_ascii_case(name))
    }
}

/// The times that each limit of a GPU needs, in seconds. The longest is the estimate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Roofline {
    /// Blocks resident per SM, given registers and shared memory
    pub blocks_per_sm: u32,
    /// Warps resident per SM
    pub warps_per_sm: u32,
    /// Resident warps over the most possible
    pub occupancy: f64,
    /// Distinct bytes over the DRAM's bandwidth
    pub dram: f64,
    /// Distinct bytes over what the bytes in flight sustain at the DRAM's latency (Little's law)
    pub latency: f64,
    /// Sectors asked for over the L2's bandwidth
    pub l2: f64,
    /// Lane instructions over the issue and unit rates
    pub compute: f64,
    /// Matrix instructions over the rate of the tensor cores
    pub tensor: f64,
    /// Passes over shared memory, one per clock
    pub shared: f64,
}

impl Roofline {
    /// `registers` per thread come from `ptxas -v` or the compiled kernel: PTX has virtual registers only.
    pub fn estimate(
        gpu: &Gpu,
        kernel: &Kernel,
        config: &LaunchConfig,
        counters: &Counters,
        registers: u32,
    ) -> Roofline {
        let threads: u32 = config.block.iter().product();
        let blocks: f64 = config.grid.iter().map(|&g| f64::from(g)).product();
        let warps = threads.div_ceil(32).max(1);
        // Registers are allocated per warp in units of 256.
        let per_warp = (registers.max(1) * 32).next_multiple_of(256);
        let shared = kernel.static_shared() + config.dynamic_shared + gpu.shared_per_block;
        let resident = [
            gpu.registers / (per_warp * warps),
            gpu.warps_per_sm / warps,
            gpu.shared_per_sm / shared,
            gpu.blocks_per_sm,
        ];
        let blocks_per_sm = resident.into_iter().min().unwrap_or(0);
        let warps_per_sm = blocks_per_sm * warps;
        // SMs in use, and the share of the last wave that is full.
        let busy = blocks.min(f64::from(gpu.sms));
        let slots = f64::from(gpu.sms) * f64::from(blocks_per_sm.max(1));
        let wave = blocks / slots;
        let balance = if wave > 1.0 { wave.ceil() / wave } else { 1.0 };
        let clocks = |n: f64, rate: f64| n / (rate * busy * gpu.clock * 1e9) * balance;
        let lane = |classes: &[Class]| -> f64 {
            classes.iter().map(|c| counters.lane_instructions.get(c).copied().unwrap_or(0) as f64).sum()
        };
        let warp = |classes: &[Class]| -> f64 {
            classes.iter().map(|c| counters.instructions.get(c).copied().unwrap_or(0) as f64).sum()
        };
        let bytes = counters.dram_bytes() as f64;
        let resident_warps = (f64::from(warps_per_sm) * busy).min(blocks * f64::from(warps));
        let in_flight = (counters.in_flight_mean() * resident_warps).max(1.0);
        let issue = clocks(counters.total_instructions() as f64, 4.0);
        let int = clocks(lane(&[Class::Integer, Class::DotProduct, Class::Predicate]), gpu.int_rate);
        let float = clocks(lane(&[Class::Float32, Class::Half]), gpu.float_rate);
        let special = clocks(lane(&[Class::Special, Class::Convert]), gpu.special_rate);
        // The most common shape, m16n8k16: 4096 operations.
        let tensor = clocks(warp(&[Class::Matrix]) * 4096.0, gpu.tensor_rate);
        Roofline {
            blocks_per_sm,
            warps_per_sm,
            occupancy: f64::from(warps_per_sm) / f64::from(gpu.warps_per_sm),
            dram: bytes / gpu.dram,
            latency: if bytes == 0.0 { 0.0 } else { bytes / in_flight * gpu.latency },
            l2: clocks(counters.sectors_asked as f64 * 32.0, gpu.l2_per_clock),
            compute: issue.max(int).max(float).max(special),
            tensor,
            shared: clocks(counters.shared_wavefronts as f64, 1.0),
        }
    }

    /// Seconds: the longest of the times.
    pub fn time(&self) -> f64 {
        self.limits().into_iter().map(|(_, t)| t).fold(0.0, f64::max)
    }

    /// The limit whose time is the longest.
    pub fn bound(&self) -> &'static str {
        self.limits().into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).map_or("nothing", |(name, _)| name)
    }

    fn limits(&self) -> [(&'static str, f64); 6] {
        [
            ("DRAM bandwidth", self.dram),
            ("DRAM latency", self.latency),
            ("L2 bandwidth", self.l2),
            ("instructions", self.compute),
            ("tensor cores", self.tensor),
            ("shared memory", self.shared),
        ]
    }
}
