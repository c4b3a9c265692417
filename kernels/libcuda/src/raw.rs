//! The pointers that a caller hands over, as the types of parameters. The driver API defines them as valid or null: null is refused here,
//! and no check can tell the rest. All of them have the size and the passing convention of a C pointer.

use crate::status::{Outcome, Status};
use std::ffi::{CStr, c_char};

/// Where a result goes.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Out<T>(*mut T);

impl<T> Out<T> {
    /// Errors: null.
    pub fn put(self, value: T) -> Outcome {
        if self.0.is_null() {
            return Err(Status::InvalidValue.into());
        }
        // SAFETY: not null, so the caller has room for one `T` there.
        unsafe { self.0.write_unaligned(value) };
        Ok(())
    }

    /// Writes unless the pointer is null: the caller does not want the value then.
    pub fn offer(self, value: T) {
        let _ = self.put(value);
    }

    /// Element `i` of an array.
    pub fn at(self, i: usize) -> Out<T> {
        Out(self.0.wrapping_add(i))
    }

    pub fn is_null(&self) -> bool {
        self.0.is_null()
    }
}

impl<T: Copy> Out<T> {
    /// What lies there before the call. Errors: null.
    pub fn get(self) -> Outcome<T> {
        In(self.0.cast_const()).get()
    }
}

/// Where a value comes from.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct In<T>(*const T);

impl<T: Copy> In<T> {
    /// Errors: null.
    pub fn get(self) -> Outcome<T> {
        if self.0.is_null() {
            return Err(Status::InvalidValue.into());
        }
        // SAFETY: not null, so the caller has a `T` there.
        Ok(unsafe { self.0.read_unaligned() })
    }

    /// Element `i` of an array.
    pub fn at(self, i: usize) -> In<T> {
        In(self.0.wrapping_add(i))
    }

    pub fn is_null(&self) -> bool {
        self.0.is_null()
    }

    /// Of values at this address.
    pub fn from_address(address: u64) -> In<T> {
        In(std::ptr::with_exposed_provenance(address as usize))
    }
}

#[cfg(test)]
impl<T> Out<T> {
    pub fn of(value: &mut T) -> Out<T> {
        Out(value)
    }
}

#[cfg(test)]
impl<T> In<T> {
    pub fn of(values: &[T]) -> In<T> {
        In(values.as_ptr())
    }
}

/// A C string.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Text(*const c_char);

impl Text {
    /// Errors: null, or not UTF-8.
    pub fn get(self) -> Outcome<String> {
        Ok(String::from_utf8(self.bytes()?).map_err(|_| Status::InvalidValue)?)
    }

    /// All bytes before the zero. Errors: null.
    pub fn bytes(self) -> Outcome<Vec<u8>> {
        if self.0.is_null() {
            return Err(Status::InvalidValue.into());
        }
        // SAFETY: not null, so the caller has a string that ends with a zero there.
        Ok(unsafe { CStr::from_ptr(self.0) }.to_bytes().to_vec())
    }

    #[cfg(test)]
    pub fn of(text: &CStr) -> Text {
        Text(text.as_ptr())
    }

    pub fn from_address(address: u64) -> Text {
        Text(std::ptr::with_exposed_provenance(address as usize))
    }
}

/// Copies from host memory. Errors: null.
pub fn read(address: u64, out: &mut [u8]) -> Outcome {
    if address == 0 && !out.is_empty() {
        return Err(Status::InvalidValue.into());
    }
    let from: *const u8 = std::ptr::with_exposed_provenance(address as usize);
    // SAFETY: the caller of the API has this many bytes at the address; `out` is of this library.
    unsafe { std::ptr::copy(from, out.as_mut_ptr(), out.len()) };
    Ok(())
}

/// The same, into a new buffer.
pub fn bytes(address: u64, n: usize) -> Outcome<Vec<u8>> {
    let mut out = vec![0; n];
    read(address, &mut out)?;
    Ok(out)
}

/// Copies to host memory. Errors: null.
pub fn write(address: u64, data: &[u8]) -> Outcome {
    if address == 0 && !data.is_empty() {
        return Err(Status::InvalidValue.into());
    }
    let to: *mut u8 = std::ptr::with_exposed_provenance_mut(address as usize);
    // SAFETY: the caller of the API has room for this many bytes at the address; `data` is of this library.
    unsafe { std::ptr::copy(data.as_ptr(), to, data.len()) };
    Ok(())
}

/// A function of the caller, and what it takes.
#[derive(Clone, Copy)]
pub enum Callback {
    /// Of `cuLaunchHostFunc`: takes the data.
    Host { function: HostFunction, data: u64 },
    /// Of `cuStreamAddCallback`: takes the stream, the status of its work and the data.
    Stream { function: StreamFunction, stream: u64, data: u64 },
}

pub type HostFunction = extern "C" fn(u64);
pub type StreamFunction = extern "C" fn(u64, i32, u64);

impl Callback {
    /// Calls it. `status`: of the work before it.
    pub fn call(self, status: i32) {
        match self {
            Callback::Host { function, data } => function(data),
            Callback::Stream { function, stream, data } => function(stream, status, data),
        }
    }
}

/// Calls an entry point with zeros: no handle, no pointer, no size.
#[cfg(test)]
pub fn call_with_zeros(function: *const ()) -> i32 {
    type Entry = extern "C" fn(u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64) -> i32;
    // SAFETY: all entry points return an i32 and take at most 11 integers or pointers. In C's calling convention the caller removes what
    // they do not take.
    let function: Entry = unsafe { std::mem::transmute(function) };
    function(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
}
