//! What executes a plan. The reference is the definition of every operation; the other backends are checked against it.
//!
//! This is the only file that names all backends: each is a folder, and a row of [`REGISTRY`].

pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
mod info;
mod interface;
pub mod reference;
mod registry;
#[cfg(feature = "wgpu")]
pub mod wgpu;
mod with_reference;

pub use info::{DeviceInfo, Memory, gib, system_memory};
pub use interface::{
    Backend, BackendOptions, Error, Footprint, Precision, Readback, Replaced, TooLarge, Unsupported, check_supported,
};
pub use registry::{DeviceChoice, DeviceName, Registered, UnknownDevice, available, open};
pub use with_reference::WithReference;

/// The row of a backend that this build leaves out.
#[cfg(not(all(feature = "cuda", feature = "wgpu", feature = "sim")))]
macro_rules! left_out {
    ($name:literal, $has_index:literal, $feature:literal) => {
        Registered {
            name: $name,
            has_index: $has_index,
            devices: Vec::new,
            open: |_| {
                let what = concat!("this build of pronk has no ", $name, " backend (feature ", $feature, ")");
                Err(Error::Absent { device: $name.to_string(), what: what.to_string() })
            },
        }
    };
}

/// Every backend, in the order in which `auto` tries their GPUs. Opening one that this build leaves out is an error that names its feature.
pub static REGISTRY: &[&Registered] = &[
    &cpu::REGISTERED,
    #[cfg(feature = "cuda")]
    &cuda::REGISTERED,
    #[cfg(not(feature = "cuda"))]
    &left_out!("cuda", true, "cuda"),
    #[cfg(feature = "wgpu")]
    &wgpu::REGISTERED,
    #[cfg(not(feature = "wgpu"))]
    &left_out!("wgpu", true, "wgpu"),
    #[cfg(feature = "sim")]
    &cuda::SIMULATOR,
    #[cfg(not(feature = "sim"))]
    &left_out!("sim", false, "sim"),
    &reference::REGISTERED,
];
