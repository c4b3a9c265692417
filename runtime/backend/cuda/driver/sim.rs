//! The simulator as a device: the same PTX on the CPU, every access checked. A finding of the checks is an error.

use super::{COPIES_OUT, COPY_OUT, Driver, Graph, Kernel, Launch, Properties, Ptr};
use crate::backend::{Memory, gib, system_memory};
use ptx_sim::{Counters, Device, Gpu as GpuModel, LaunchConfig, Limits, Module, Roofline};
use std::collections::{BTreeMap, VecDeque};

/// Bytes of host memory that the simulator takes for each byte of device memory, its shadows included.
const HOST_BYTES_PER_BYTE: u64 = 6;

/// Few, so that even small tests divide attention into parts.
const N_SMS: u32 = 4;

/// A simulated GPU.
pub struct Sim {
    properties: Properties,
    device: Device,
    kernels: Vec<ptx_sim::Kernel>,
    graphs: Vec<Vec<Launch>>,
    /// What waits for [`Driver::take_out`], the oldest first.
    copies: VecDeque<Vec<u8>>,
    memory: u64,
    /// By entry: launches, and their counters added up.
    counted: BTreeMap<String, (u64, Counters)>,
    /// By entry: its latest launch.
    latest: BTreeMap<String, Launched>,
}

struct Launched {
    kernel: ptx_sim::Kernel,
    config: LaunchConfig,
    counters: Counters,
}

impl Sim {
    /// A GPU of this compute capability, which decides whose PTX runs.
    pub fn new(capability: (u32, u32)) -> Sim {
        // What the simulated GPU may hold follows from the memory of the host.
        let memory = system_memory().map_or(1 << 30, |m| m.free / HOST_BYTES_PER_BYTE);
        Sim {
            properties: Properties { name: "PTX simulator".to_string(), capability, n_sms: N_SMS },
            device: Device::new(Limits {
                global_bytes: memory,
                host_threads: rayon::current_num_threads(),
                ..Limits::default()
            }),
            kernels: vec![],
            graphs: vec![],
            copies: VecDeque::new(),
            memory,
            counted: BTreeMap::new(),
            latest: BTreeMap::new(),
        }
    }

    /// With this many streaming multiprocessors: what attention is divided by.
    pub fn with_sms(mut self, n_sms: u32) -> Sim {
        self.properties.n_sms = n_sms;
        self
    }

    /// What has run so far, by entry: launches, and their counters added up.
    pub fn counted(&self) -> &BTreeMap<String, (u64, Counters)> {
        &self.counted
    }

    /// What an entry's latest launch takes at least on `gpu`, with this many registers per thread; none if it never ran.
    pub fn roofline(&self, entry: &str, gpu: &GpuModel, registers: u32) -> Option<Roofline> {
        let Launched { kernel, config, counters } = self.latest.get(entry)?;
        Some(Roofline::estimate(gpu, kernel, config, counters, registers))
    }

    /// What has run so far in one line.
    pub fn summary(&self) -> String {
        let mut all = Counters::default();
        self.counted.values().for_each(|(_, counters)| all.add(counters));
        format!(
            "{} kernels, {} launches, {:.1} million warp instructions, {} read, {} written: checked by the simulator",
            self.counted.len(),
            self.counted.values().map(|(launches, _)| launches).sum::<u64>(),
            all.total_instructions() as f64 / 1e6,
            gib(all.dram_read_bytes),
            gib(all.dram_write_bytes),
        )
    }
}

impl Driver for Sim {
    fn properties(&self) -> &Properties {
        &self.properties
    }

    fn memory(&self) -> Option<Memory> {
        Some(Memory { total: self.memory, free: self.memory.saturating_sub(self.device.allocated()) })
    }

    fn load(&mut self, name: &str, ptx: &str, entries: &[&str]) -> Result<Vec<Kernel>, String> {
        let module = Module::load(name, ptx).map_err(|e| e.to_string())?;
        let first = self.kernels.len();
        for entry in entries {
            let refused = || module.refusal(entry).map_or(format!("{name}: no entry {entry}"), |why| why.to_string());
            let kernel = module.kernel(entry).ok_or_else(refused)?;
            self.kernels.push(kernel);
        }
        Ok((first..self.kernels.len()).map(Kernel).collect())
    }

    fn load_cubin(&mut self, _: &str, _: &[u8], _: &[&str]) -> Result<Option<Vec<Kernel>>, String> {
        Ok(None)
    }

    fn alloc(&mut self, bytes: u64) -> Result<Ptr, String> {
        self.device.alloc(bytes.max(1)).map_err(|e| e.to_string())
    }

    fn free(&mut self, ptr: Ptr) {
        self.device.free(ptr).expect("freed once, what alloc gave");
    }

    fn zero(&mut self, ptr: Ptr, bytes: u64) -> Result<(), String> {
        self.device.fill(ptr, 0, bytes).map_err(|e| e.to_string())
    }

    fn upload(&mut self, ptr: Ptr, bytes: &[u8]) -> Result<(), String> {
        self.device.write(ptr, bytes).map_err(|e| e.to_string())
    }

    fn download(&mut self, ptr: Ptr, bytes: &mut [u8]) -> Result<(), String> {
        self.wait()?;
        // The host may look at rows that no step has used yet, which kernels may not.
        let checked = std::mem::replace(&mut self.device.checks.uninitialized_memory, false);
        let read = self.device.read(ptr, bytes).map_err(|e| e.to_string());
        self.device.checks.uninitialized_memory = checked;
        read
    }

    fn copy_out(&mut self, ptr: Ptr, bytes: usize) -> Result<(), String> {
        assert!(bytes <= COPY_OUT && self.copies.len() < COPIES_OUT, "more than the trait allows");
        let mut copy = vec![0; bytes];
        self.download(ptr, &mut copy)?;
        self.copies.push_back(copy);
        Ok(())
    }

    fn take_out(&mut self, bytes: &mut [u8]) -> Result<(), String> {
        let copy = self.copies.pop_front().ok_or("no copy is under way")?;
        bytes.copy_from_slice(&copy[..bytes.len()]);
        Ok(())
    }

    fn launch(&mut self, launch: &Launch) -> Result<(), String> {
        let config = LaunchConfig {
            grid: launch.grid,
            block: launch.block,
            dynamic_shared: 0,
            cooperative: false,
            dependent: launch.dependent,
        };
        let kernel = &self.kernels[launch.kernel.0];
        let label = || format!("{} for {}", kernel.name(), launch.purpose);
        let report = self.device.launch(kernel, config, &launch.params).map_err(|e| format!("{}: {e}", label()))?;
        let (launches, counters) = self.counted.entry(report.kernel.clone()).or_default();
        *launches += 1;
        counters.add(&report.counters);
        let launched = Launched { kernel: kernel.clone(), config, counters: report.counters };
        self.latest.insert(report.kernel, launched);
        match report.findings.first() {
            None => Ok(()),
            Some(first) => {
                let more = match report.findings.len() - 1 {
                    0 => String::new(),
                    n => format!(" (and {n} more)"),
                };
                Err(format!("{}: {first}{more}", label()))
            }
        }
    }

    fn record(&mut self, launches: &[Launch]) -> Result<Graph, String> {
        self.graphs.push(launches.to_vec());
        Ok(Graph(self.graphs.len() - 1))
    }

    fn replay(&mut self, graph: Graph) -> Result<(), String> {
        let launches = std::mem::take(&mut self.graphs[graph.0]);
        let done = launches.iter().try_for_each(|launch| self.launch(launch));
        self.graphs[graph.0] = launches;
        done
    }

    fn forget(&mut self) {
        self.graphs.clear();
    }

    fn wait(&mut self) -> Result<(), String> {
        self.device.synchronize();
        Ok(())
    }
}
