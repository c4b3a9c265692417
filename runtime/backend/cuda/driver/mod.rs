//! What the CUDA backend asks of a device: memory, kernels, graphs. Two implementations, a GPU through the CUDA driver and, with
//! the feature `sim`, the simulator; everything above this trait runs on both.

mod gpu;
mod pinned;
#[cfg(feature = "sim")]
mod sim;

pub use gpu::{Gpu, gpus};
#[cfg(feature = "sim")]
pub use sim::Sim;

use crate::backend::Memory;
use crate::plan::OpKind;
use std::fmt;

/// Bytes of one copy of [`Driver::copy_out`], at most.
pub const COPY_OUT: usize = 4096;
/// Copies of [`Driver::copy_out`] that may be under way: so many steps of a greedy text run at most before the host has seen the choice
/// of the first. More would hide a longer pause of the host, and compute more tokens in vain behind the end of a text. Unmeasured.
pub const COPIES_OUT: usize = 4;

/// An address in device memory.
pub type Ptr = u64;

/// A kernel of a loaded module, by its index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kernel(pub usize);

/// A recorded sequence of launches, by its index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Graph(pub usize);

/// What a kernel is launched for, as errors say it.
#[derive(Clone, PartialEq, Debug)]
pub enum Purpose {
    /// An operation, and its index in the plan's list.
    Op(OpKind, usize),
    /// The tensor of this name, which is brought into planes.
    Tensor(String),
    /// The rows of a decode.
    Step,
    /// The largest logits of a row.
    Best,
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Purpose::Op(kind, i) => write!(f, "{kind} (op {i})"),
            Purpose::Tensor(name) => write!(f, "tensor {name}"),
            Purpose::Step => write!(f, "the step"),
            Purpose::Best => write!(f, "the largest logits"),
        }
    }
}

/// One launch of a kernel.
#[derive(Clone, PartialEq, Debug)]
pub struct Launch {
    /// Which kernel.
    pub kernel: Kernel,
    /// What it is launched for.
    pub purpose: Purpose,
    /// Blocks in x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block in x, y and z.
    pub block: [u32; 3],
    /// The parameter struct, as the kernel takes it.
    pub params: Vec<u8>,
    /// Whether it may begin before the launch before it has ended: the kernel waits by itself for what it reads.
    pub dependent: bool,
}

/// What decides which kernels are loaded and how work is divided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Properties {
    /// The name that the device gives itself.
    pub name: String,
    /// Compute capability: (9, 0) is Hopper.
    pub capability: (u32, u32),
    /// Streaming multiprocessors.
    pub n_sms: u32,
}

/// A device with one stream of work. Everything runs in the order of the calls. Errors are one line.
pub trait Driver: Send {
    /// What the device is.
    fn properties(&self) -> &Properties;

    /// Its memory, where the system tells.
    fn memory(&self) -> Option<Memory>;

    /// Loads PTX and finds `entries` in it: their kernels, in the same order.
    fn load(&mut self, name: &str, ptx: &str, entries: &[&str]) -> Result<Vec<Kernel>, String>;

    /// Loads machine code and finds `entries` in it, as [`Driver::load`] does in PTX. None from a device that runs PTX itself.
    fn load_cubin(&mut self, name: &str, cubin: &[u8], entries: &[&str]) -> Result<Option<Vec<Kernel>>, String>;

    /// Memory of unknown content, aligned to 256 bytes.
    fn alloc(&mut self, bytes: u64) -> Result<Ptr, String>;

    /// Frees what [`Driver::alloc`] gave.
    fn free(&mut self, ptr: Ptr);

    /// Overwrites this many bytes with zeros.
    fn zero(&mut self, ptr: Ptr, bytes: u64) -> Result<(), String>;

    /// Copies to the device. `bytes` may be reused when it returns.
    fn upload(&mut self, ptr: Ptr, bytes: &[u8]) -> Result<(), String>;

    /// Waits for all work, then copies from the device.
    fn download(&mut self, ptr: Ptr, bytes: &mut [u8]) -> Result<(), String>;

    /// Copies at most [`COPY_OUT`] bytes from the device behind all work so far, without waiting; [`Driver::take_out`] gives them.
    /// At most [`COPIES_OUT`] copies may be under way.
    fn copy_out(&mut self, ptr: Ptr, bytes: usize) -> Result<(), String>;

    /// Waits for the oldest copy that [`Driver::copy_out`] began, not for work behind it, and gives its first bytes.
    fn take_out(&mut self, bytes: &mut [u8]) -> Result<(), String>;

    /// Starts a kernel. The error names its entry and its purpose.
    fn launch(&mut self, launch: &Launch) -> Result<(), String>;

    /// Records launches as one unit that [`Driver::replay`] starts at once.
    fn record(&mut self, launches: &[Launch]) -> Result<Graph, String>;

    /// Starts the launches of a graph.
    fn replay(&mut self, graph: Graph) -> Result<(), String>;

    /// Forgets all graphs.
    fn forget(&mut self);

    /// Waits for all work. The error names the launch that failed, where the device tells.
    fn wait(&mut self) -> Result<(), String>;
}

/// Memory of a device that is freed together.
#[derive(Default)]
pub struct Allocations(Vec<Ptr>);

impl Allocations {
    /// [`Driver::alloc`]. The error gives the bytes and what they are for.
    pub fn alloc(&mut self, driver: &mut impl Driver, bytes: u64, what: &str) -> Result<Ptr, String> {
        let ptr = driver.alloc(bytes).map_err(|e| format!("{bytes} bytes of {what}: {e}"))?;
        self.0.push(ptr);
        Ok(ptr)
    }

    /// Frees all of it.
    pub fn free(&mut self, driver: &mut impl Driver) {
        for ptr in self.0.drain(..) {
            driver.free(ptr);
        }
    }
}
