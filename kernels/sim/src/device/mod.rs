//! A simulated device: its memory as the host sees it, and launches (`launch`) in the order of one stream (`stream`).

mod launch;
mod report;
mod stream;

use std::collections::HashMap;

pub use self::report::Report;
use self::stream::Stream;
use crate::check::finding::Checks;
use crate::check::global::Memory;
use crate::config::Limits;
use crate::error::HostError;
use crate::module::{Module, ModuleData};

/// A device with one stream.
pub struct Device {
    limits: Limits,
    mem: Memory,
    stream: Stream,
    /// Number of the latest launch, for `%gridid` and the counters; never 0.
    serial: u32,
    /// Addresses of the variables of each module that has run here.
    globals: HashMap<u64, Vec<u64>>,
    /// Address of the workspace of cooperative grids, or 0.
    workspace: u64,
    /// The checks of later launches and reads.
    pub checks: Checks,
}

impl Device {
    /// A device without memory in use, with all checks on.
    pub fn new(limits: Limits) -> Device {
        Device::after(limits, 0)
    }

    /// The same, with addresses that begin after `first`, a multiple of 4 GiB: those of several devices are apart.
    pub fn after(limits: Limits, first: u64) -> Device {
        Device {
            limits,
            mem: Memory::after(first),
            stream: Stream::default(),
            serial: 0,
            globals: HashMap::new(),
            workspace: 0,
            checks: Checks::ALL,
        }
    }

    /// Allocates uninitialized global memory; its address. Allocations are far apart: an index out of one does not land in
    /// another.
    ///
    /// Errors: less than `bytes` is left of the limit.
    pub fn alloc(&mut self, bytes: u64) -> Result<u64, HostError> {
        self.mem.alloc(bytes, self.limits.global_bytes)
    }

    /// Allocates memory and writes `data` to it; its address.
    pub fn upload(&mut self, data: &[u8]) -> Result<u64, HostError> {
        let address = self.alloc(data.len() as u64)?;
        self.write(address, data)?;
        Ok(address)
    }

    /// Frees an allocation. Errors: the address is not the start of one.
    pub fn free(&mut self, address: u64) -> Result<(), HostError> {
        self.mem.free(address)
    }

    /// Host to device, in stream order: the earlier kernels have ended. Errors: the range is not inside one allocation.
    pub fn write(&mut self, address: u64, data: &[u8]) -> Result<(), HostError> {
        self.synchronize();
        self.mem.host_write(address, data)
    }

    /// Device to host, in stream order. Errors: the range is not inside one allocation, or was not written as a whole.
    pub fn read(&mut self, address: u64, out: &mut [u8]) -> Result<(), HostError> {
        self.synchronize();
        self.mem.host_read(address, out, self.checks.uninitialized_memory)
    }

    /// Sets `bytes` bytes to `value`.
    pub fn fill(&mut self, address: u64, value: u8, bytes: u64) -> Result<(), HostError> {
        self.write(address, &vec![value; bytes as usize])
    }

    /// Copies inside the device. Errors: those of [`Device::read`] and [`Device::write`].
    pub fn copy(&mut self, to: u64, from: u64, bytes: u64) -> Result<(), HostError> {
        let mut data = vec![0; bytes as usize];
        self.read(from, &mut data)?;
        self.write(to, &data)
    }

    /// Copies inside the device as a GPU does: what was never written may be copied, and stays what it is.
    /// Errors: a range is not inside one allocation.
    pub fn copy_as_is(&mut self, to: u64, from: u64, bytes: u64) -> Result<(), HostError> {
        self.synchronize();
        self.mem.copy(to, from, bytes)
    }

    /// [`Device::write`] of numbers.
    pub fn write_f32(&mut self, address: u64, data: &[f32]) -> Result<(), HostError> {
        let bytes: Vec<u8> = data.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.write(address, &bytes)
    }

    /// [`Device::read`] of `n` numbers.
    pub fn read_f32(&mut self, address: u64, n: usize) -> Result<Vec<f32>, HostError> {
        let mut bytes = vec![0; 4 * n];
        self.read(address, &mut bytes)?;
        Ok(bytes.chunks_exact(4).map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect())
    }

    /// Waits for the stream: the next launch has no predecessor that may still run.
    pub fn synchronize(&mut self) {
        self.stream.synchronize();
    }

    /// Bytes of global memory in use.
    pub fn allocated(&self) -> u64 {
        self.mem.allocated
    }

    /// The address of a variable of a module, if it has one of this name. The first use of a module allocates and initializes
    /// its variables.
    pub fn global(&mut self, module: &Module, name: &str) -> Result<Option<u64>, HostError> {
        let addresses = self.module_globals(&module.0)?;
        Ok(module.0.globals.iter().position(|g| g.name == name).map(|i| addresses[i]))
    }

    /// Frees the variables of a module. A later launch of it begins with new ones.
    pub fn unload(&mut self, module: &Module) {
        for address in self.globals.remove(&module.0.id).into_iter().flatten() {
            let _ = self.mem.free(address); // which succeeds: the address was given by `alloc`, and freed nowhere else
        }
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
            let mut from = 0;
            for &hole in g.functions.iter().chain([&bytes.len()]) {
                self.mem.host_write(address + from as u64, &bytes[from..hole])?;
                from = (hole + 8).min(bytes.len());
            }
        }
        self.globals.insert(module.id, addresses.clone());
        Ok(addresses)
    }
}
