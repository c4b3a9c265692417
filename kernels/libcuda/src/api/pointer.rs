//! What an address is: `cuPointerGetAttribute`.

use crate::entry::entries;
use crate::memory::{Kind, Memory};
use crate::raw::{In, Out, Text};
use crate::state::with;
use crate::status::{Outcome, Status};

/// `CUpointer_attribute`
mod attribute {
    pub const CONTEXT: u32 = 1;
    pub const MEMORY_TYPE: u32 = 2;
    pub const DEVICE_POINTER: u32 = 3;
    pub const HOST_POINTER: u32 = 4;
    pub const BUFFER_ID: u32 = 7;
    pub const IS_MANAGED: u32 = 8;
    pub const DEVICE_ORDINAL: u32 = 9;
    pub const RANGE_START: u32 = 11;
    pub const RANGE_SIZE: u32 = 12;
    pub const MAPPED: u32 = 13;
}

/// `CUmemorytype`
const HOST: u32 = 1;
const DEVICE: u32 = 2;

/// A value of an attribute: its bytes, of a length that depends on the attribute.
fn value(memory: &Memory, which: u32, address: u64) -> Outcome<Vec<u8>> {
    let on_device = memory.allocation(address, 0);
    let pinned = memory.pinned(address, 0);
    let (start, bytes, owner) = match (on_device, pinned) {
        (Some((start, a)), _) => (start, a.bytes, a.owner),
        (None, Some((start, p))) => (start, p.bytes, p.owner),
        (None, None) => return Err(Status::InvalidValue.into()),
    };
    let kind = on_device.map(|(_, a)| a.kind);
    let of_host = matches!(kind, None | Some(Kind::Mapped));
    match which {
        attribute::CONTEXT => Ok(owner.to_le_bytes().to_vec()),
        attribute::MEMORY_TYPE => Ok(if of_host { HOST } else { DEVICE }.to_le_bytes().to_vec()),
        attribute::DEVICE_POINTER if on_device.is_some() => Ok(address.to_le_bytes().to_vec()),
        attribute::HOST_POINTER if of_host || kind == Some(Kind::Managed) => {
            let host = on_device.and_then(|(start, a)| Some(a.host? + (address - start)));
            Ok(host.unwrap_or(address).to_le_bytes().to_vec())
        }
        attribute::BUFFER_ID | attribute::RANGE_START => Ok(start.to_le_bytes().to_vec()),
        attribute::IS_MANAGED => Ok(vec![(kind == Some(Kind::Managed)).into()]),
        attribute::DEVICE_ORDINAL => Ok(on_device.map_or(0, |(_, a)| a.device as i32).to_le_bytes().to_vec()),
        attribute::RANGE_SIZE => Ok(bytes.to_le_bytes().to_vec()),
        attribute::MAPPED => Ok(vec![on_device.is_some().into()]),
        attribute::DEVICE_POINTER | attribute::HOST_POINTER => Err(Status::InvalidValue.into()),
        _ => Err(Status::NotSupported.because(format!("attribute {which} of an address"))),
    }
}

fn put(out: Out<u8>, bytes: &[u8]) -> Outcome {
    bytes.iter().enumerate().try_for_each(|(i, byte)| out.at(i).put(*byte))
}

entries! { Initialized:

fn cuPointerGetAttribute(out: Out<u8>, which: u32, address: u64) {
    with(|state| put(out, &value(&state.memory, which, address)?))
}

// Attributes that an address does not have are left as they are.
fn cuPointerGetAttributes(n: u32, which: In<u32>, out: In<Out<u8>>, address: u64) {
    with(|state| {
        for i in 0..n as usize {
            if let Ok(bytes) = value(&state.memory, which.at(i).get()?, address) {
                put(out.at(i).get()?, &bytes)?;
            }
        }
        Ok(())
    })
}

// A hint for copies that this library does not need.
fn cuPointerSetAttribute(_value: Text, _which: u32, address: u64) {
    with(|state| state.memory.place(address, 0).map(|_| ()))
}

}
