//! What an address is: of a device, of the host, or of both.

use crate::host::Pages;
use crate::raw;
use crate::state::State;
use crate::status::{Outcome, Status};
use std::collections::BTreeMap;
use std::ops::Range;

/// Addresses of devices are below this. Programs, their heaps and their libraries lie above, or below 4 GiB.
const DEVICES_END: u64 = 0x5000 << 32;

/// Where the addresses of device `i` of `n` begin and end. Both are multiples of 4 GiB, as [`ptx_sim::Device::after`] takes them.
pub fn addresses(i: u64, n: u64) -> Range<u64> {
    let span = ((DEVICES_END >> 32) / n) << 32;
    i * span..(i + 1) * span
}

/// What has memory on a device.
pub struct Allocation {
    pub bytes: u64,
    pub device: usize,
    /// The context or, of a variable, the module it belongs to.
    pub owner: u64,
    pub kind: Kind,
    /// Where the host sees it: at the same address, but for memory that was pinned first.
    pub host: Option<u64>,
    /// The pages there, if they belong to it.
    _pages: Option<Pages>,
}

/// How memory of a device was asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Device,
    Managed,
    /// Of the host, mapped for the device.
    Mapped,
    Variable,
}

/// Memory of the host that the driver knows.
pub struct Pinned {
    pub bytes: u64,
    pub owner: u64,
    /// None: the caller's own, registered.
    pages: Option<Pages>,
}

impl Pinned {
    pub fn is_registered(&self) -> bool {
        self.pages.is_none()
    }
}

/// Whose the bytes at an address are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Of this device alone.
    Device(usize),
    /// Of host and device: the host's are copied to the device before each kernel, and back after it.
    Both(usize),
    /// Of the host, and known to the driver: copies may run later.
    Pinned,
    /// Of the host: a copy must be done with them when the call returns.
    Pageable,
}

/// Everything that was allocated, by its address.
#[derive(Default)]
pub struct Memory {
    pub allocations: BTreeMap<u64, Allocation>,
    pub pinned: BTreeMap<u64, Pinned>,
}

/// The entry of a map that holds all of a range.
fn holding<T>(map: &BTreeMap<u64, T>, size: impl Fn(&T) -> u64, address: u64, bytes: u64) -> Option<(u64, &T)> {
    let (base, found) = map.range(..=address).next_back()?;
    let offset = address - base;
    let inside = offset <= size(found) && bytes <= size(found) - offset && (bytes > 0 || offset < size(found).max(1));
    inside.then_some((*base, found))
}

impl Memory {
    /// The allocation with all of the range.
    pub fn allocation(&self, address: u64, bytes: u64) -> Option<(u64, &Allocation)> {
        holding(&self.allocations, |a| a.bytes, address, bytes)
    }

    /// The pinned memory with all of the range.
    pub fn pinned(&self, address: u64, bytes: u64) -> Option<(u64, &Pinned)> {
        holding(&self.pinned, |p| p.bytes, address, bytes)
    }

    /// Whose a range is. Errors: addresses of a device, but not of one allocation.
    pub fn place(&self, address: u64, bytes: u64) -> Outcome<Place> {
        if let Some((_, allocation)) = self.allocation(address, bytes) {
            let of_both = allocation.host.is_some();
            return Ok(if of_both { Place::Both(allocation.device) } else { Place::Device(allocation.device) });
        }
        if self.pinned(address, bytes).is_some() {
            return Ok(Place::Pinned);
        }
        if address == 0 || (1 << 32..DEVICES_END).contains(&address) {
            let what = format!("address {address:#x}: {bytes} bytes are not inside one live allocation");
            return Err(Status::InvalidValue.because(what));
        }
        Ok(Place::Pageable)
    }
}

impl State {
    /// Memory of the current context's device. `Mapped` and `Managed` memory has pages at the same address.
    pub fn allocate(&mut self, bytes: u64, kind: Kind) -> Outcome<u64> {
        let owner = self.current()?;
        let index = self.contexts.get(owner)?.device;
        let device = &mut self.devices[index];
        let address = device.sim.alloc(bytes).map_err(|_| Status::OutOfMemory)?;
        let shared = matches!(kind, Kind::Managed | Kind::Mapped).then(|| Pages::at(address, bytes as usize));
        let pages = match shared.transpose() {
            Ok(pages) if address + bytes <= device.addresses_end => pages,
            other => {
                let _ = device.sim.free(address); // given above
                return Err(other.err().unwrap_or(Status::OutOfMemory.into()));
            }
        };
        let host = pages.as_ref().map(Pages::address);
        self.memory.allocations.insert(address, Allocation { bytes, device: index, owner, kind, host, _pages: pages });
        Ok(address)
    }

    /// The address at which the current device sees memory of the host. Pinned memory gets one when first asked for.
    pub fn map(&mut self, address: u64) -> Outcome<u64> {
        let of_host = |a: &Allocation| {
            a.kind == Kind::Mapped && a.host.is_some_and(|start| (start..start + a.bytes).contains(&address))
        };
        let known = self.memory.allocations.iter().find(|(_, a)| of_host(a));
        if let Some((base, a)) = known {
            return Ok(base + (address - a.host.unwrap_or(*base)));
        }
        let (start, bytes) =
            self.memory.pinned(address, 0).map(|(start, p)| (start, p.bytes)).ok_or(Status::InvalidValue)?;
        let base = self.allocate(bytes, Kind::Device)?;
        if let Some(a) = self.memory.allocations.get_mut(&base) {
            (a.kind, a.host) = (Kind::Mapped, Some(start));
        }
        Ok(base + (address - start))
    }

    /// Forgets pinned memory, and its address on a device.
    pub fn unpin(&mut self, start: u64) -> Outcome {
        let mapped = self.memory.allocations.iter().find(|(_, a)| a.host == Some(start)).map(|(base, _)| *base);
        self.memory.pinned.remove(&start);
        mapped.map_or(Ok(()), |base| self.free(base, &[Kind::Mapped]))
    }

    /// The host's address of memory that both see.
    fn host_address(&self, address: u64) -> u64 {
        match self.memory.allocation(address, 0) {
            Some((base, Allocation { host: Some(host), .. })) => host + (address - base),
            _ => address,
        }
    }

    /// Frees what [`State::allocate`] gave. Errors: the address is not the start of such memory.
    pub fn free(&mut self, address: u64, kinds: &[Kind]) -> Outcome {
        let known = self.memory.allocations.get(&address).filter(|a| kinds.contains(&a.kind));
        let Some(allocation) = known else {
            return Err(Status::InvalidValue.because(format!("address {address:#x} is not the start of live memory")));
        };
        let device = &mut self.devices[allocation.device];
        device.sim.free(address).map_err(|e| Status::InvalidValue.because(e))?;
        self.memory.allocations.remove(&address);
        Ok(())
    }

    /// Pinned memory of the host.
    pub fn pin(&mut self, bytes: u64) -> Outcome<u64> {
        let owner = self.current()?;
        let pages = Pages::new(bytes as usize)?;
        let address = pages.address();
        self.memory.pinned.insert(address, Pinned { bytes, owner, pages: Some(pages) });
        Ok(address)
    }

    /// Takes memory of the caller as pinned. Errors: some of it is pinned already.
    pub fn register(&mut self, address: u64, bytes: u64) -> Outcome {
        let owner = self.current()?;
        if address == 0 || bytes == 0 {
            return Err(Status::InvalidValue.into());
        }
        let before = self.memory.pinned.range(..address + bytes).next_back();
        if before.is_some_and(|(start, pinned)| start + pinned.bytes > address) {
            return Err(Status::HostMemoryAlreadyRegistered.into());
        }
        self.memory.pinned.insert(address, Pinned { bytes, owner, pages: None });
        Ok(())
    }

    /// Records the memory of a module's variable.
    pub fn know_variable(&mut self, address: u64, bytes: u64, device: usize, module: u64) {
        let variable = Allocation { bytes, device, owner: module, kind: Kind::Variable, host: None, _pages: None };
        self.memory.allocations.insert(address, variable);
    }

    /// Any to any.
    pub fn copy(&mut self, to: u64, from: u64, bytes: u64) -> Outcome {
        match (self.memory.place(to, bytes)?, self.memory.place(from, bytes)?) {
            (Place::Device(a), Place::Device(b)) if a == b => {
                self.devices[a].sim.copy_as_is(to, from, bytes).map_err(|e| Status::InvalidValue.because(e))
            }
            _ => {
                let mut data = vec![0; bytes as usize];
                self.read(from, &mut data)?;
                self.write(to, &data)
            }
        }
    }

    pub fn read(&mut self, from: u64, data: &mut [u8]) -> Outcome {
        let Place::Device(index) = self.memory.place(from, data.len() as u64)? else {
            return raw::read(self.host_address(from), data);
        };
        let sim = &mut self.devices[index].sim;
        // The host may copy what no kernel has written, which a kernel may not read.
        let checks = std::mem::replace(&mut sim.checks.uninitialized_memory, false);
        let read = sim.read(from, data);
        sim.checks.uninitialized_memory = checks;
        read.map_err(|e| Status::InvalidValue.because(e))
    }

    pub fn write(&mut self, to: u64, data: &[u8]) -> Outcome {
        match self.memory.place(to, data.len() as u64)? {
            Place::Device(index) => {
                self.devices[index].sim.write(to, data).map_err(|e| Status::InvalidValue.because(e))
            }
            Place::Both(_) | Place::Pinned | Place::Pageable => raw::write(self.host_address(to), data),
        }
    }

    /// Copies what host and device share to the device, or back.
    pub fn exchange(&mut self, device: usize, to_device: bool) -> Outcome {
        let of_device = self.memory.allocations.iter().filter(|(_, a)| a.device == device);
        let shared: Vec<_> = of_device.filter_map(|(address, a)| Some((*address, a.host?, a.bytes))).collect();
        for (address, host, bytes) in shared {
            let sim = &mut self.devices[device].sim;
            if to_device {
                let data = raw::bytes(host, bytes as usize)?;
                sim.write(address, &data).map_err(|e| Status::InvalidValue.because(e))?;
            } else {
                let mut data = vec![0; bytes as usize];
                sim.read(address, &mut data).map_err(|e| Status::InvalidValue.because(e))?;
                raw::write(host, &data)?;
            }
        }
        Ok(())
    }
}
