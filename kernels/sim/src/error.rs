//! Errors: PTX that cannot be loaded, calls of the host that cannot be carried out, launches that do not end well.

use thiserror::Error;

/// PTX text that cannot be loaded, or a kernel of it that cannot.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{module}:{line}: {message}")]
pub struct LoadError {
    /// The name given to [`crate::Module::load`].
    pub module: String,
    /// Line of the text, from 1.
    pub line: u32,
    /// What is wrong there.
    pub message: String,
}

/// An error without the module's name, which only `Module::load` knows.
#[derive(Debug, Clone)]
pub(crate) struct At {
    pub line: u32,
    pub message: String,
}

impl At {
    pub fn new(line: u32, message: impl Into<String>) -> At {
        At { line, message: message.into() }
    }

    pub fn of(self, module: &str) -> LoadError {
        LoadError { module: module.to_string(), line: self.line, message: self.message }
    }
}

/// A call of the host that cannot be carried out.
// The fields are what the messages say.
#[allow(missing_docs)]
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HostError {
    #[error("address {address:#x}: {bytes} bytes are not inside one live allocation")]
    BadRange { address: u64, bytes: u64 },
    #[error("allocation of {bytes} bytes: {allocated} of the limit {limit} are in use")]
    OutOfMemory { bytes: u64, allocated: u64, limit: u64 },
    /// `first`: offset of the first byte without a value.
    #[error("address {address:#x}: {bytes} bytes are read by the host and byte {first} of them was never written")]
    Uninitialized { address: u64, bytes: u64, first: u64 },
}

/// A launch that was refused or that could not run to its end.
///
/// `kernel` is a name, `line` a line of the PTX text from 1, `block` and `thread` are indices (x, y, z).
#[allow(missing_docs)]
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Fault {
    #[error("{kernel}: {what} {value}, the limit is {limit}")]
    Limit { kernel: String, what: &'static str, value: u64, limit: u64 },
    #[error("{kernel}: cannot start a thread of the simulator: {what}")]
    Thread { kernel: String, what: String },
    #[error("{kernel}: the grid or the block is empty")]
    Empty { kernel: String },
    #[error("{kernel}: parameters are {given} bytes, the kernel takes {expected}")]
    Params { kernel: String, given: usize, expected: usize },
    #[error("{kernel}: a cooperative grid of {ctas} blocks does not fit, {resident} can be resident")]
    Cooperative { kernel: String, ctas: u64, resident: u64 },
    #[error("{kernel}:{line}: trap, block {block:?} thread {thread:?}")]
    Trap { kernel: String, line: u32, block: [u32; 3], thread: [u32; 3] },
    #[error("{kernel}:{line}: more than {limit} warp instructions in block {block:?} (an endless loop?)")]
    Endless { kernel: String, line: u32, block: [u32; 3], limit: u64 },
    #[error("{kernel}:{line}: deadlock in block {block:?}: {message}")]
    Deadlock { kernel: String, line: u32, block: [u32; 3], message: String },
}
