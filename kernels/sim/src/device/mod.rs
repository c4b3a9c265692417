//! The host's side: memory, launches, reports.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32};

use crate::check::finding::{Checks, Finding};
use crate::check::global::Memory;
use crate::count::counters::Counters;
use crate::error::{Fault, HostError};
use crate::exec::launch::Launch;
use crate::exec::warp::Shape;
use crate::module::{Kernel, Module, ModuleData};

/// What the simulated device can hold, and how it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of global memory. The host needs about 5.3 times what is allocated, for the checks.
    pub global_bytes: u64,
    /// Bytes of shared memory per block, static and dynamic (H100: 227 KiB).
    pub shared_bytes: u32,
    pub threads_per_block: u32,
    /// Blocks of a cooperative grid.
    pub cooperative_blocks: u32,
    /// Warp instructions of one block before it counts as endless.
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
    pub grid: [u32; 3],
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory.
    pub dynamic_shared: u32,
    /// All blocks are resident at once and may wait for each other.
    pub cooperative: bool,
    /// Programmatic dependent launch: the kernel may start before its predecessor has ended, and must execute
    /// `griddepcontrol.wait` before it touches what that one writes, or writes what it touches.
    pub dependent: bool,
}

impl LaunchConfig {
    /// One-dimensional grid and block.
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

/// What a launch did and what the checks found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Report {
    pub kernel: String,
    pub counters: Counters,
    /// By line; empty for a clean kernel.
    pub findings: Vec<Finding>,
    /// Output of the kernel's `printf`.
    pub printed: Vec<String>,
}

impl Report {
    /// The findings as one text, if there are any.
    pub fn check(&self) -> Result<(), String> {
        if self.findings.is_empty() {
            return Ok(());
        }
        Err(self.findings.iter().map(Finding::to_string).collect::<Vec<_>>().join("\n"))
    }
}

/// Launch numbers in the shadow of global memory; the last kernel of the stream and what may still run beside it.
#[derive(Debug, Default, Clone, Copy)]
struct Stream {
    /// First launch that may run until the previous one has ended; 0 if nothing does.
    first: u64,
    last: u64,
}

/// A device with one stream.
pub struct Device {
    limits: Limits,
    mem: Memory,
    stream: Stream,
    /// Of the latest launch: it may have let its successor start before its predecessors had ended, or ended before them.
    early: bool,
    never_waited: bool,
    launch: u64,
    serial: u32,
    globals: HashMap<u64, Vec<u64>>,
    workspace: u64,
    pub checks: Checks,
}

impl Device {
    pub fn new(limits: Limits) -> Device {
        Device {
            limits,
            mem: Memory::default(),
            stream: Stream::default(),
            early: false,
            never_waited: false,
            launch: 0,
            serial: 0,
            globals: HashMap::new(),
            workspace: 0,
            checks: Checks::ALL,
        }
    }

    /// Uninitialized global memory. Allocations are far apart: no index out of one reaches another.
    pub fn alloc(&mut self, bytes: u64) -> Result<u64, HostError> {
        self.mem.alloc(bytes, self.limits.global_bytes)
    }

    /// Allocates and writes.
    pub fn upload(&mut self, data: &[u8]) -> Result<u64, HostError> {
        let address = self.alloc(data.len() as u64)?;
        self.write(address, data)?;
        Ok(address)
    }

    pub fn free(&mut self, address: u64) -> Result<(), HostError> {
        self.mem.free(address)
    }

    /// Host to device, in stream order: the earlier kernels have ended.
    pub fn write(&mut self, address: u64, data: &[u8]) -> Result<(), HostError> {
        self.synchronize();
        self.mem.host_write(address, data)
    }

    /// Device to host, in stream order. Reading what nobody wrote is an error.
    pub fn read(&mut self, address: u64, out: &mut [u8]) -> Result<(), HostError> {
        self.synchronize();
        self.mem.host_read(address, out, self.checks.uninitialized_memory)
    }

    pub fn fill(&mut self, address: u64, value: u8, bytes: u64) -> Result<(), HostError> {
        self.write(address, &vec![value; bytes as usize])
    }

    pub fn copy(&mut self, to: u64, from: u64, bytes: u64) -> Result<(), HostError> {
        let mut data = vec![0; bytes as usize];
        self.read(from, &mut data)?;
        self.write(to, &data)
    }

    pub fn write_f32(&mut self, address: u64, data: &[f32]) -> Result<(), HostError> {
        let bytes: Vec<u8> = data.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.write(address, &bytes)
    }

    pub fn read_f32(&mut self, address: u64, n: usize) -> Result<Vec<f32>, HostError> {
        let mut bytes = vec![0; 4 * n];
        self.read(address, &mut bytes)?;
        Ok(bytes.chunks_exact(4).map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect())
    }

    /// Waits for the stream: the next launch has no predecessor that may still run.
    pub fn synchronize(&mut self) {
        self.stream = Stream::default();
    }

    /// Bytes of global memory in use.
    pub fn allocated(&self) -> u64 {
        self.mem.allocated
    }

    /// The address of a module's variable; allocates and initializes the module's variables at first use.
    pub fn global(&mut self, module: &Module, name: &str) -> Result<Option<u64>, HostError> {
        let addresses = self.module_globals(&module.0)?;
        Ok(module.0.globals.iter().position(|g| g.name == name).map(|i| addresses[i]))
    }

    fn module_globals(&mut self, module: &ModuleData) -> Result<Vec<u64>, HostError> {
        if let Some(a) = self.globals.get(&module.id) {
            return Ok(a.clone());
        }
        let addresses = module
            .globals
            .iter()
            .map(|g| self.mem.alloc(g.bytes.len() as u64, self.limits.global_bytes))
            .collect::<Result<Vec<_>, _>>()?;
        for (g, &address) in module.globals.iter().zip(&addresses) {
            let mut bytes = g.bytes.clone();
            for &(at, to, add) in &g.pointers {
                bytes[at..at + 8].copy_from_slice(&addresses[to].wrapping_add(add as u64).to_le_bytes());
            }
            self.mem.host_write(address, &bytes)?;
        }
        self.globals.insert(module.id, addresses.clone());
        Ok(addresses)
    }

    /// Runs a kernel to its end. `params` is the parameter block, laid out as `Kernel::params` says.
    pub fn launch(&mut self, kernel: &Kernel, config: LaunchConfig, params: &[u8]) -> Result<Report, Fault> {
        let p = &*kernel.program;
        let name = || p.name.clone();
        let limit = |what, value: u64, limit: u64| {
            if value > limit { Err(Fault::Limit { kernel: name(), what, value, limit }) } else { Ok(()) }
        };
        let product = |v: [u32; 3]| v.iter().map(|&x| u64::from(x)).product::<u64>();
        let (threads, ctas) = (product(config.block), product(config.grid));
        if threads == 0 || ctas == 0 {
            return Err(Fault::Limit {
                kernel: name(),
                what: "an empty grid or block of threads:",
                value: 0,
                limit: 0,
            });
        }
        limit("threads per block:", threads, self.limits.threads_per_block.min(1024).into())?;
        if let Some(max) = p.maxntid {
            limit("threads per block (.maxntid):", threads, product(max))?;
        }
        if let Some(req) = p.reqntid.filter(|r| *r != config.block) {
            return Err(Fault::Limit {
                kernel: name(),
                what: "threads per block (.reqntid):",
                value: threads,
                limit: product(req),
            });
        }
        limit("blocks:", ctas, (1 << 22) - 2)?;
        let shared = u64::from(p.static_shared) + u64::from(config.dynamic_shared);
        limit("bytes of shared memory:", shared, self.limits.shared_bytes.into())?;
        if params.len() != p.param_bytes as usize {
            return Err(Fault::Params { kernel: name(), given: params.len(), expected: p.param_bytes as usize });
        }
        let resident = u64::from(self.limits.cooperative_blocks);
        if config.cooperative && ctas > resident {
            return Err(Fault::Cooperative { kernel: name(), ctas, resident });
        }
        let globals = self.module_globals(&kernel.module).map_err(|_| Fault::Limit {
            kernel: name(),
            what: "bytes of module variables:",
            value: kernel.module.globals.iter().map(|g| g.bytes.len() as u64).sum(),
            limit: self.limits.global_bytes - self.mem.allocated,
        })?;
        let workspace = if config.cooperative { self.workspace()? } else { 0 };
        self.number_launch();
        let [before, after] = self.owners(config.dependent);
        if let Ok(mut sync) = self.mem.sync.lock() {
            sync.clear();
        }
        let launch = Launch {
            prog: p,
            mem: &self.mem,
            shape: Shape {
                grid: config.grid,
                block: config.block,
                threads: threads as u32,
                dynamic_shared: config.dynamic_shared,
                total_shared: shared as u32,
                serial: self.serial,
                workspace,
            },
            params,
            symbols: p.symbols.iter().map(|&(_, (g, off))| globals[g].wrapping_add(off as u64)).collect(),
            ctas: ctas as u32,
            checks: self.checks,
            id: self.launch,
            owned_before: before,
            owned_after: after,
            cooperative: config.cooperative,
            max_instructions: self.limits.instructions_per_block,
            released: AtomicBool::new(false),
            wide_atomics: Mutex::new(()),
            triggered_early: AtomicBool::new(false),
            never_waited: AtomicBool::new(false),
            printed: Mutex::new(Vec::new()),
            next: AtomicU32::new(0),
            stop: AtomicBool::new(false),
        };
        let host = match self.limits.host_threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        };
        let outcome = launch.run(host);
        let (early, never) = (launch.triggered_early.into_inner(), launch.never_waited.into_inner());
        let printed = launch.printed.into_inner().unwrap_or_default();
        self.stream = Stream { first: before.map_or(self.launch, |(first, _)| first), last: self.launch };
        (self.early, self.never_waited) = (config.dependent && (early || never), config.dependent && never);
        let (stats, sink) = outcome.map_err(|f| *f)?;
        Ok(Report { kernel: name(), counters: stats.finish(p), findings: sink.sorted(), printed })
    }

    /// What `cooperative_groups` expects behind `%envreg1` and `%envreg2`: zeroed words for the grid's barrier.
    fn workspace(&mut self) -> Result<u64, Fault> {
        const BYTES: u64 = 64;
        let full = |_| Fault::Limit { kernel: "workspace".into(), what: "bytes:", value: BYTES, limit: 0 };
        if self.workspace == 0 {
            self.workspace = self.mem.alloc(BYTES, u64::MAX).map_err(full)?;
        }
        self.mem.host_write(self.workspace, &[0; BYTES as usize]).map_err(full)?;
        Ok(self.workspace)
    }

    fn number_launch(&mut self) {
        self.serial = self.serial.wrapping_add(1).max(1);
        self.launch += 1;
        if self.launch > 0xfffe {
            self.mem.forget_launches();
            self.launch = 1;
            self.stream = Stream::default();
        }
    }

    /// Launches whose memory a new one must not touch, before and after its `griddepcontrol.wait`.
    ///
    /// The predecessor always. Its own predecessors as well, if it let this launch start before it had waited for them;
    /// and even after this launch's wait, if it ended without waiting for them.
    fn owners(&self, dependent: bool) -> [Option<(u64, u64)>; 2] {
        let Stream { first, last } = self.stream;
        if !dependent || last == 0 {
            return [None, None];
        }
        let before = (if self.early { first } else { last }, last);
        let after = (self.never_waited && first < last).then(|| (first, last - 1));
        [Some(before), after]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Launch numbers in the shadow have 16 bits; when they start again, nothing old may look new.
    #[test]
    fn launch_numbers_wrap() {
        let text = ".version 8.4\n.target sm_80\n.visible .entry k(.param .u64 p)\n{\n.reg .b64 %rd<3>; .reg .b32 %r<4>;\n\
                    ld.param.u64 %rd1, [p]; mov.u32 %r1, %ctaid.x; mul.wide.u32 %rd2, %r1, 4; add.s64 %rd2, %rd1, %rd2;\n\
                    ld.global.u32 %r2, [%rd2]; add.u32 %r2, %r2, 1; st.global.u32 [%rd2], %r2;\nret;\n}\n";
        let kernel = Module::load("m", text).unwrap().kernel("k").unwrap();
        let mut dev = Device::new(Limits::default());
        let p = dev.upload(&[0; 16]).unwrap();
        // Launch 1 marks the words; launch 1 of the next round sees them with other blocks.
        for (launch, blocks) in [(0, 4), (0xfffd, 4), (0xfffe, 1), (1, 2)] {
            dev.launch = launch;
            let report = dev.launch(&kernel, LaunchConfig::linear(blocks, 1), &p.to_le_bytes()).unwrap();
            assert_eq!(report.check(), Ok(()));
        }
        assert_eq!(dev.launch, 2);
        let mut out = [0; 16];
        dev.read(p, &mut out).unwrap();
        assert_eq!((out[0], out[4], out[8]), (4, 3, 2));
    }
}
