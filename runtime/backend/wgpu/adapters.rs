//! Finding adapters and opening devices on them.

use super::super::{DeviceInfo, Error, gib, system_memory};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use wgpu::{Adapter, Backends, DeviceType};

/// The adapters that can compute: those of Vulkan, Metal and DX12, or those of GL where there are none.
fn adapters() -> Vec<Adapter> {
    let of = |backends: Backends| {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = backends;
        let instance = wgpu::Instance::new(descriptor);
        let mut found = pollster::block_on(instance.enumerate_adapters(backends));
        found.retain(|a| a.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS));
        found
    };
    let first = of(Backends::PRIMARY);
    if first.is_empty() { of(Backends::GL) } else { first }
}

fn id(index: usize) -> String {
    format!("wgpu:{index}")
}

/// Every adapter that [`super::Wgpu::open`] takes, by its index.
pub fn available() -> Vec<DeviceInfo> {
    let describe = |(index, adapter): (usize, &Adapter)| {
        let (info, limits) = (adapter.get_info(), adapter.limits());
        let kind = match info.device_type {
            DeviceType::DiscreteGpu => "discrete GPU",
            DeviceType::IntegratedGpu => "integrated GPU",
            DeviceType::VirtualGpu => "virtual GPU",
            DeviceType::Cpu => "software",
            DeviceType::Other => "unknown",
        };
        let software = info.device_type == DeviceType::Cpu;
        DeviceInfo {
            id: id(index),
            name: format!("{}, {}", info.name, info.backend),
            kind: kind.to_string(),
            is_gpu: !software,
            memory: if software { system_memory() } else { None },
            limits: vec![
                format!("{} per binding", gib(limits.max_storage_buffer_binding_size)),
                format!("{} per buffer", gib(limits.max_buffer_size)),
                format!("{} KiB of workgroup memory", limits.max_compute_workgroup_storage_size / 1024),
            ],
            features: vec![],
        }
    };
    adapters().iter().enumerate().map(describe).collect()
}

/// How tests open an adapter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Compile shaders with bounds checks, and clear workgroup memory.
    pub checked: bool,
    /// Take the kernels for GPUs on an adapter that is a CPU, too.
    pub plain: bool,
    /// Bytes of a weight that one binding may hold at most, if that is less than the adapter's limit.
    pub max_weight_binding: Option<u64>,
    /// Storage buffers that a kernel may bind at most, if that is less than the adapter's limit.
    pub max_buffers: Option<u32>,
}

/// What bounds a kernel's bindings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BindingLimits {
    /// Bytes of a weight that one binding holds.
    pub max_weight: u64,
    /// Storage buffers that a kernel can bind.
    pub max_buffers: u32,
}

/// A device of wgpu, with the errors that it reported.
pub struct Gpu {
    /// `wgpu:0`
    pub name: String,
    /// Makes buffers and pipelines.
    pub device: wgpu::Device,
    /// Takes commands and writes.
    pub queue: wgpu::Queue,
    /// The adapter is a CPU.
    pub software: bool,
    /// The invocations of a subgroup, where the kernels for adapters that are CPUs are taken: `Permutation::subgroup`.
    pub subgroup: Option<u32>,
    /// What bounds a kernel's bindings: the adapter's limits, or smaller ones from the options.
    pub limits: BindingLimits,
    /// Shaders are compiled with bounds checks, and workgroup memory is cleared.
    pub checked: bool,
    /// Bytes of the buffers made for the loaded plan.
    pub allocated: AtomicU64,
    /// The first error outside any scope: a lost device, a failure while running.
    fault: Arc<Mutex<Option<String>>>,
}

impl Gpu {
    /// Opens adapter `index`, the first without one.
    pub fn open(index: Option<usize>, options: Options) -> Result<Gpu, Error> {
        let mut all = adapters();
        let index = index.unwrap_or(0);
        if index >= all.len() {
            let what = match all.len() {
                0 => "no adapter (no Vulkan, Metal, DX12 or GL driver found)".to_string(),
                n => format!("no such adapter, there are {n}"),
            };
            return Err(Error::Absent { device: id(index), what });
        }
        let adapter = all.swap_remove(index);
        let mut limits = adapter.limits();
        let max_buffers = &mut limits.max_storage_buffers_per_shader_stage;
        *max_buffers = options.max_buffers.map_or(*max_buffers, |limit| limit.min(*max_buffers));
        let features = adapter.features() & wgpu::Features::SUBGROUP;
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("pronk"),
            required_features: features,
            required_limits: limits.clone(),
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            ..Default::default()
        };
        let opened = pollster::block_on(adapter.request_device(&descriptor));
        let (device, queue) =
            opened.map_err(|e| Error::Device { device: id(index), what: one_line(&e.to_string()) })?;

        let fault = Arc::new(Mutex::new(None));
        let keep = |fault: &Arc<Mutex<Option<String>>>| {
            let fault = fault.clone();
            move |what: String| {
                if let Ok(mut fault) = fault.lock() {
                    fault.get_or_insert(one_line(&what));
                }
            }
        };
        let (uncaptured, lost) = (keep(&fault), keep(&fault));
        device.on_uncaptured_error(Arc::new(move |e: wgpu::Error| uncaptured(e.to_string())));
        device.set_device_lost_callback(move |reason, what| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                lost(format!("the device is lost: {what}"));
            }
        });
        let max_weight = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
        let info = adapter.get_info();
        let software = info.device_type == DeviceType::Cpu;
        let one_size = features.contains(wgpu::Features::SUBGROUP) && info.subgroup_min_size == info.subgroup_max_size;
        Ok(Gpu {
            name: id(index),
            device,
            queue,
            software,
            subgroup: (software && one_size && !options.plain).then_some(info.subgroup_min_size),
            limits: BindingLimits {
                max_weight: options.max_weight_binding.map_or(max_weight, |limit| limit.min(max_weight)),
                max_buffers: limits.max_storage_buffers_per_shader_stage,
            },
            checked: options.checked,
            allocated: AtomicU64::new(0),
            fault,
        })
    }

    /// An error that names the device.
    pub fn error(&self, what: impl Into<String>) -> Error {
        Error::Device { device: self.name.clone(), what: what.into() }
    }

    /// The first error that nothing else reported.
    pub fn check(&self) -> Result<(), Error> {
        match self.fault.lock() {
            Ok(fault) => fault.as_ref().map_or(Ok(()), |what| Err(self.error(what.clone()))),
            Err(_) => Err(self.error("an error was lost")),
        }
    }

    /// Runs `make`; errors of the device inside it become one that begins with `what`.
    pub fn scoped<T>(&self, what: impl FnOnce() -> String, make: impl FnOnce() -> T) -> Result<T, Error> {
        use wgpu::ErrorFilter::{Internal, OutOfMemory, Validation};
        let scopes = [Validation, OutOfMemory, Internal].map(|filter| self.device.push_error_scope(filter));
        let made = make();
        let mut first = None;
        for scope in scopes.into_iter().rev() {
            first = pollster::block_on(scope.pop()).or(first);
        }
        match first {
            Some(e) => Err(self.error(format!("{}: {}", what(), one_line(&e.to_string())))),
            None => Ok(made),
        }
    }

    /// Bytes that one binding holds at most.
    pub fn max_binding(&self) -> u64 {
        let limits = self.device.limits();
        limits.max_storage_buffer_binding_size.min(limits.max_buffer_size)
    }

    /// A zeroed buffer that kernels bind whole. The error names `what` it was for.
    pub fn bound_buffer(&self, what: &str, size: u64) -> Result<wgpu::Buffer, Error> {
        let has = self.max_binding();
        if size > has {
            let what = format!("one binding of {what}");
            return Err(Error::Memory { device: self.name.clone(), what, needs: size, has });
        }
        use wgpu::BufferUsages as Usages;
        self.buffer(what, size, Usages::STORAGE | Usages::COPY_DST | Usages::COPY_SRC)
    }

    /// A zeroed buffer. The error names `what` it was for.
    pub fn buffer(&self, what: &str, size: u64, usage: wgpu::BufferUsages) -> Result<wgpu::Buffer, Error> {
        let has = self.device.limits().max_buffer_size;
        if size > has {
            return Err(Error::Memory { device: self.name.clone(), what: what.to_string(), needs: size, has });
        }
        let descriptor =
            wgpu::BufferDescriptor { label: Some(what), size: buffer_bytes(size), usage, mapped_at_creation: false };
        self.allocated.fetch_add(descriptor.size, Ordering::Relaxed);
        let needs = || format!("{} for {what}", gib(size));
        self.scoped(needs, || self.device.create_buffer(&descriptor))
    }

    /// Waits until everything submitted so far has run.
    pub fn wait(&self) -> Result<(), Error> {
        let waited = self.device.poll(wgpu::PollType::wait_indefinitely());
        waited.map_err(|e| self.error(one_line(&e.to_string())))?;
        self.check()
    }
}

/// Bytes of a buffer for `size` bytes: whole vectors, one at least.
pub fn buffer_bytes(size: u64) -> u64 {
    size.next_multiple_of(16).max(16)
}

fn one_line(what: &str) -> String {
    what.split_whitespace().collect::<Vec<_>>().join(" ")
}
