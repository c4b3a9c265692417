//! Choosing a device by name, among the backends that [`super::REGISTRY`] lists.

use super::{Backend, DeviceInfo, Error, REGISTRY, WithReference, cpu, reference};
use std::fmt;
use std::str::FromStr;
use thiserror::Error as ThisError;

/// Opens a device by its index, the first without one.
pub type OpenDevice = fn(Option<usize>) -> Result<Box<dyn Backend>, Error>;

/// A backend, as the names of devices refer to it.
#[derive(Debug)]
pub struct Registered {
    /// The beginning of its devices' names: `wgpu`.
    pub name: &'static str,
    /// Whether a name may have an index: `wgpu:1`.
    pub has_index: bool,
    /// The devices of this machine.
    pub devices: fn() -> Vec<DeviceInfo>,
    /// Opens a device by its index, the first without one.
    pub open: OpenDevice,
}

impl PartialEq for Registered {
    fn eq(&self, other: &Registered) -> bool {
        self.name == other.name
    }
}

impl Eq for Registered {}

/// The device that a user asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeviceChoice {
    /// The first real GPU that can run the model, else the CPU.
    Auto,
    /// A device by its name.
    Named(DeviceName),
}

/// `NAME`, `NAME:INDEX`, `NAME+ref`, `NAME:INDEX+ref`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeviceName {
    backend: &'static Registered,
    index: Option<usize>,
    /// Operations that the backend lacks run on the reference.
    with_reference: bool,
}

impl DeviceChoice {
    /// The CPU.
    pub const CPU: DeviceChoice = DeviceChoice::whole(&cpu::REGISTERED);

    /// The reference: the definition of every operation.
    pub const REFERENCE: DeviceChoice = DeviceChoice::whole(&reference::REGISTERED);

    const fn whole(backend: &'static Registered) -> DeviceChoice {
        DeviceChoice::Named(DeviceName { backend, index: None, with_reference: false })
    }
}

/// The end of a name that asks for [`WithReference`].
const WITH_REFERENCE: &str = "+ref";

/// A text that names no device.
#[derive(Clone, PartialEq, Eq, Debug, ThisError)]
#[error("{name}: not a device, expected auto, or one of {}, which may end in {WITH_REFERENCE}", names())]
pub struct UnknownDevice {
    name: String,
}

/// Every name, with its index where it may have one.
fn names() -> String {
    let forms = |backend: &&Registered| match backend.has_index {
        true => format!("{0}, {0}:N", backend.name),
        false => backend.name.to_string(),
    };
    REGISTRY.iter().map(forms).collect::<Vec<_>>().join(", ")
}

impl FromStr for DeviceChoice {
    type Err = UnknownDevice;

    fn from_str(s: &str) -> Result<DeviceChoice, UnknownDevice> {
        if s == "auto" {
            return Ok(DeviceChoice::Auto);
        }
        let unknown = || UnknownDevice { name: s.to_string() };
        let (device, with_reference) = match s.strip_suffix(WITH_REFERENCE) {
            Some(device) => (device, true),
            None => (s, false),
        };
        let (name, index) = match device.split_once(':') {
            Some((name, index)) => (name, Some(number(index).ok_or_else(unknown)?)),
            None => (device, None),
        };
        let backend = REGISTRY.iter().copied().find(|backend| backend.name == name).ok_or_else(unknown)?;
        let is_reference = backend == &reference::REGISTERED && with_reference;
        match is_reference || index.is_some() && !backend.has_index {
            true => Err(unknown()),
            false => Ok(DeviceChoice::Named(DeviceName { backend, index, with_reference })),
        }
    }
}

/// Decimal digits without a sign or leading zeros.
fn number(digits: &str) -> Option<usize> {
    let plain = digits.bytes().all(|digit| digit.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    digits.parse().ok().filter(|_| plain)
}

impl DeviceName {
    /// Whether the reference runs what the device lacks.
    pub fn with_reference(&self) -> bool {
        self.with_reference
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.backend.name)?;
        if let Some(index) = self.index {
            write!(f, ":{index}")?;
        }
        f.write_str(if self.with_reference { WITH_REFERENCE } else { "" })
    }
}

/// Every device that [`open`] could open, in the order of the registry. A GPU that several backends drive is listed by each.
pub fn available() -> Vec<DeviceInfo> {
    REGISTRY.iter().flat_map(|backend| (backend.devices)()).collect()
}

/// The available devices in one line, for errors.
fn listing() -> String {
    let describe = |d: DeviceInfo| match d.id.contains(':') {
        true => format!("{} ({}, {})", d.id, d.name, d.kind),
        false => d.id,
    };
    available().into_iter().map(describe).collect::<Vec<_>>().join(", ")
}

/// Opens the chosen device.
///
/// Errors: it is not here; the message says what was looked for and what there is.
pub fn open(choice: DeviceChoice) -> Result<Box<dyn Backend>, Error> {
    let name = match choice {
        DeviceChoice::Named(name) => name,
        DeviceChoice::Auto => {
            let gpu = available().into_iter().find(|device| device.is_gpu);
            return open(gpu.and_then(|gpu| gpu.id.parse().ok()).unwrap_or(DeviceChoice::CPU));
        }
    };
    let device = (name.backend.open)(name.index).map_err(|e| match e {
        Error::Absent { device, what } => Error::Absent { device, what: format!("{what}; available: {}", listing()) },
        e => e,
    })?;
    Ok(if name.with_reference { Box::new(WithReference::new(device)) } else { device })
}
