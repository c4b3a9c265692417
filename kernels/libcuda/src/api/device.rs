//! Devices.

use crate::entry::entries;
use crate::gpu::ATTRIBUTES;
use crate::raw::{Out, Text};
use crate::state::{SimDevice, with};
use crate::status::{Outcome, Status};

/// Writes a name and a zero into a buffer of `room` bytes, cut to fit.
fn put_text(out: Out<u8>, room: i32, text: &str) -> Outcome {
    let room = usize::try_from(room).ok().filter(|room| *room > 0).ok_or(Status::InvalidValue)?;
    let n = text.len().min(room - 1);
    text.as_bytes()[..n].iter().chain(&[0]).enumerate().try_for_each(|(i, byte)| out.at(i).put(*byte))
}

/// As a bus would number it.
fn bus_id(ordinal: i32) -> String {
    format!("0000:{:02x}:00.0", ordinal + 1)
}

fn uuid(ordinal: i32) -> [u8; 16] {
    let mut id = *b"ptx-sim device 0";
    id[15] += ordinal as u8;
    id
}

fn with_device(ordinal: i32, f: impl FnOnce(&mut SimDevice) -> Outcome) -> Outcome {
    with(|state| f(state.device(ordinal)?))
}

entries! { Initialized:

fn cuDeviceGetCount(out: Out<i32>) {
    with(|state| out.put(state.devices.len() as i32))
}

fn cuDeviceGet(out: Out<i32>, ordinal: i32) {
    with_device(ordinal, |_| out.put(ordinal))
}

fn cuDeviceGetName(out: Out<u8>, room: i32, device: i32) {
    with_device(device, |d| put_text(out, room, &format!("PTX simulator ({})", d.model.name)))
}

fn cuDeviceGetUuid(out: Out<[u8; 16]>, device: i32) {
    with_device(device, |_| out.put(uuid(device)))
}

fn cuDeviceGetUuid_v2(out: Out<[u8; 16]>, device: i32) {
    with_device(device, |_| out.put(uuid(device)))
}

fn cuDeviceGetLuid(_out: Out<u8>, _mask: Out<u32>, _device: i32) {
    Err(Status::NotSupported.into()) // of Windows
}

fn cuDeviceTotalMem_v2(out: Out<usize>, device: i32) {
    with_device(device, |d| out.put(d.memory as usize))
}

fn cuDeviceGetAttribute(out: Out<i32>, attribute: i32, device: i32) {
    with_device(device, |d| {
        if !ATTRIBUTES.contains(&attribute) {
            return Err(Status::InvalidValue.into());
        }
        out.put(d.model.attribute(attribute, d.sms))
    })
}

fn cuDeviceComputeCapability(major: Out<i32>, minor: Out<i32>, device: i32) {
    with_device(device, |d| {
        major.put(d.model.capability.0 as i32)?;
        minor.put(d.model.capability.1 as i32)
    })
}

fn cuDeviceGetPCIBusId(out: Out<u8>, room: i32, device: i32) {
    with_device(device, |_| put_text(out, room, &bus_id(device)))
}

fn cuDeviceGetByPCIBusId(out: Out<i32>, id: Text) {
    let id = id.get()?;
    with(|state| {
        let at = (0..state.devices.len() as i32).find(|ordinal| bus_id(*ordinal).eq_ignore_ascii_case(&id));
        out.put(at.ok_or(Status::InvalidDevice)?)
    })
}

// Copies between devices go through the host.
fn cuDeviceCanAccessPeer(out: Out<i32>, device: i32, peer: i32) {
    with(|state| {
        state.device(device)?;
        state.device(peer)?;
        out.put(0)
    })
}

}
