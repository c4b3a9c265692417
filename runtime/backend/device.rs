//! Choosing a device by name.

use super::{Backend, Error, cpu::Cpu};
use thiserror::Error as ThisError;

/// What a user asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeviceChoice {
    /// The first real GPU, else the CPU.
    Auto,
    Cpu,
    /// A CUDA GPU by its ordinal; the first without one.
    Cuda(Option<usize>),
    /// The CUDA kernels on the simulator.
    Sim,
    /// A wgpu adapter by its index; the first without one.
    Wgpu(Option<usize>),
}

#[derive(Clone, PartialEq, Eq, Debug, ThisError)]
#[error("{0}: not a device, expected auto, cpu, cuda, cuda:N, sim, wgpu or wgpu:N")]
pub struct UnknownDevice(String);

impl std::str::FromStr for DeviceChoice {
    type Err = UnknownDevice;
    fn from_str(s: &str) -> Result<DeviceChoice, UnknownDevice> {
        let unknown = || UnknownDevice(s.to_string());
        match s.split_once(':') {
            None if s == "auto" => Ok(DeviceChoice::Auto),
            None if s == "cpu" => Ok(DeviceChoice::Cpu),
            None if s == "cuda" => Ok(DeviceChoice::Cuda(None)),
            None if s == "sim" => Ok(DeviceChoice::Sim),
            None if s == "wgpu" => Ok(DeviceChoice::Wgpu(None)),
            Some(("cuda", n)) => Ok(DeviceChoice::Cuda(Some(n.parse().map_err(|_| unknown())?))),
            Some(("wgpu", n)) => Ok(DeviceChoice::Wgpu(Some(n.parse().map_err(|_| unknown())?))),
            _ => Err(unknown()),
        }
    }
}

/// What a device is, for lists.
#[derive(Clone, PartialEq, Debug)]
pub struct DeviceInfo {
    /// What [`DeviceChoice`] calls it.
    pub id: String,
    pub name: String,
    /// `cpu`, `software`, `integrated GPU`, `discrete GPU`, ...
    pub kind: String,
    /// A real GPU: what `auto` looks for.
    pub is_gpu: bool,
    /// Bytes of memory and how much of it is free, where the system tells.
    pub memory: Option<Memory>,
    /// Sizes that bound what can be loaded, each with its unit.
    pub limits: Vec<String>,
    /// Optional features that the backend uses here.
    pub features: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
    pub total: u64,
    pub free: u64,
}

/// The system's memory, as far as this process may have it.
pub(super) fn system_memory() -> Option<Memory> {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    let (mut total, mut free) = (system.total_memory(), system.available_memory());
    if let Some(limits) = system.cgroup_limits() {
        // What the system keeps of files counts towards the limit, but gives way.
        let unused = limits.total_memory.saturating_sub(limits.rss);
        (total, free) = (total.min(limits.total_memory), free.min(unused));
    }
    (total > 0).then_some(Memory { total, free })
}

/// Everything that [`open`] could open, the CPU first. A GPU that several backends drive is listed by each: CUDA first.
pub fn available() -> Vec<DeviceInfo> {
    let cpu = DeviceInfo {
        id: "cpu".to_string(),
        name: format!("{} threads, the reference", rayon::current_num_threads()),
        kind: "cpu".to_string(),
        is_gpu: false,
        memory: system_memory(),
        limits: vec![],
        features: vec![],
    };
    let groups = [
        vec![cpu],
        #[cfg(feature = "cuda")]
        super::cuda::available(),
        #[cfg(feature = "wgpu")]
        super::wgpu::available(),
        #[cfg(feature = "sim")]
        vec![super::cuda::simulator()],
    ];
    groups.into_iter().flatten().collect()
}

/// The available devices in one line, for errors.
#[cfg(feature = "cuda")]
fn listing() -> String {
    let describe = |d: DeviceInfo| match d.id.contains(':') {
        true => format!("{} ({}, {})", d.id, d.name, d.kind),
        false => d.id,
    };
    available().into_iter().map(describe).collect::<Vec<_>>().join(", ")
}

/// A backend that this build left out.
#[cfg(not(all(feature = "sim", feature = "wgpu")))]
fn left_out(device: &str, feature: &str) -> Result<Box<dyn Backend>, Error> {
    let what = format!("this build of pronk has no {feature} backend (feature {feature})");
    Err(Error::Absent { device: device.to_string(), what })
}

/// Opens the chosen device. The error says what was looked for and what there is.
pub fn open(choice: DeviceChoice) -> Result<Box<dyn Backend>, Error> {
    match choice {
        DeviceChoice::Cpu => Ok(Box::new(Cpu::default())),
        DeviceChoice::Auto => match available().into_iter().find(|d| d.is_gpu) {
            Some(gpu) => open(gpu.id.parse().map_err(|e: UnknownDevice| Error::Step(e.to_string()))?),
            None => open(DeviceChoice::Cpu),
        },
        #[cfg(feature = "cuda")]
        DeviceChoice::Cuda(ordinal) => match super::cuda::Cuda::open(ordinal) {
            Ok(gpu) => Ok(Box::new(gpu)),
            Err(what) => {
                let n = ordinal.map_or(String::new(), |n| format!(":{n}"));
                let what = format!("{what}; available: {}", listing());
                Err(Error::Absent { device: format!("cuda{n}"), what })
            }
        },
        #[cfg(feature = "sim")]
        DeviceChoice::Sim => Ok(Box::new(super::cuda::Cuda::sim())),
        #[cfg(not(feature = "cuda"))]
        DeviceChoice::Cuda(_) => left_out("cuda", "cuda"),
        #[cfg(not(feature = "sim"))]
        DeviceChoice::Sim => left_out("sim", "sim"),
        #[cfg(feature = "wgpu")]
        DeviceChoice::Wgpu(index) => Ok(Box::new(super::wgpu::Wgpu::open(index, Default::default())?)),
        #[cfg(not(feature = "wgpu"))]
        DeviceChoice::Wgpu(_) => left_out("wgpu", "wgpu"),
    }
}
