//! What backends say of devices.

/// What a device is, for lists.
#[derive(Clone, PartialEq, Debug)]
pub struct DeviceInfo {
    /// What [`DeviceChoice`] calls it.
    pub id: String,
    /// What the driver calls it.
    pub name: String,
    /// `cpu`, `software`, `integrated GPU`, `discrete GPU`, ...
    pub kind: String,
    /// A real GPU: what `auto` looks for.
    pub is_gpu: bool,
    /// Bytes of memory, and of these the free ones; None if the system does not report them.
    pub memory: Option<Memory>,
    /// Sizes that bound what can be loaded, each with its unit.
    pub limits: Vec<String>,
    /// Optional features that the backend uses here.
    pub features: Vec<String>,
}

/// A device's memory, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
    /// All of it.
    pub total: u64,
    /// Bytes that no process uses.
    pub free: u64,
}

/// The system's memory, as far as this process may have it.
pub fn system_memory() -> Option<Memory> {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    let (mut total, mut free) = (system.total_memory(), system.available_memory());
    if total == 0 {
        return None; // a system without /proc
    }
    if let Some(limits) = system.cgroup_limits() {
        // Cached files count towards the limit, but the system drops them when memory is needed.
        let unused = limits.total_memory.saturating_sub(limits.rss);
        (total, free) = (total.min(limits.total_memory), free.min(unused));
    }
    Some(Memory { total, free })
}

/// `bytes` in GiB, MiB or KiB.
pub fn gib(bytes: u64) -> String {
    let kib = bytes as f64 / 1024.0;
    match bytes {
        0..0x10_0000 => format!("{kib:.1} KiB"),
        0x10_0000..0x4000_0000 => format!("{:.1} MiB", kib / 1024.0),
        _ => format!("{:.1} GiB", kib / 1024.0 / 1024.0),
    }
}
