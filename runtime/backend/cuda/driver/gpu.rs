//! A GPU through the CUDA driver, loaded at run time.

use super::pinned::Pinned;
use super::{COPIES_OUT, COPY_OUT, Driver, Graph, Kernel, Launch, Properties, Ptr, Purpose};
use crate::backend::{DeviceInfo, Memory, gib};
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUdevice_attribute as Attribute};
use std::collections::VecDeque;
use std::ffi::{CString, c_void};

/// The oldest driver that knows our PTX (version 8.4, CUDA 12.4), as `cuDriverGetVersion` counts.
const MIN_DRIVER: i32 = 12040;
/// The oldest GPUs that our PTX is for.
const MIN_CAPABILITY: (u32, u32) = (8, 0);
/// Bytes of one pinned staging buffer: large enough that a copy's start costs nothing, small beside any model.
const STAGING: usize = 16 << 20;

/// Bytes of the assembler's messages that an error shows, at most.
const JIT_LOG: usize = 2048;

/// One GPU, its primary context and one stream.
pub struct Gpu {
    properties: Properties,
    device: sys::CUdevice,
    context: sys::CUcontext,
    /// Null until [`Gpu::create`] has made it.
    stream: sys::CUstream,
    modules: Vec<sys::CUmodule>,
    /// Names of entries, and their functions.
    kernels: Vec<(String, sys::CUfunction)>,
    graphs: Vec<sys::CUgraphExec>,
    /// What copies to the device go through; the first is used next.
    staging: VecDeque<Pinned>,
    /// What waits for [`Driver::take_out`], the oldest first.
    outgoing: VecDeque<Pinned>,
    /// What the next copies of [`Driver::copy_out`] go to.
    idle: Vec<Pinned>,
    /// The last launch, for errors that show later.
    last: Last,
}

/// What a GPU was given last.
enum Last {
    Nothing,
    Launch(Kernel, Purpose),
    Graph,
}

// SAFETY: the handles are only used through `&mut self`, and every use makes the context current on its thread first.
unsafe impl Send for Gpu {}

fn line(e: DriverError) -> String {
    let text = |s: Result<&std::ffi::CStr, DriverError>| s.map_or("?".into(), |s| s.to_string_lossy().into_owned());
    format!("{} ({})", text(e.error_name()), text(e.error_string()))
}

/// Loads the driver and counts its devices. The error says what was looked for.
fn probe() -> Result<i32, String> {
    // SAFETY: only tries to open the library.
    if !unsafe { sys::is_culib_present() } {
        return Err("no CUDA driver (libcuda.so.1 not found)".to_string());
    }
    let mut version = 0;
    // SAFETY: writes one int; every driver has the function, initialized or not.
    unsafe { sys::cuDriverGetVersion(&raw mut version) }.result().map_err(line)?;
    if version < MIN_DRIVER {
        let [have, need] = [version, MIN_DRIVER].map(|v| format!("{}.{}", v / 1000, v % 1000 / 10));
        return Err(format!("the driver is for CUDA {have}, the kernels need {need} or newer (driver 550)"));
    }
    result::init().map_err(line)?;
    result::device::get_count().map_err(line)
}

fn properties(device: sys::CUdevice) -> Result<Properties, DriverError> {
    // SAFETY: `device` comes from the driver.
    let get = |a| unsafe { result::device::get_attribute(device, a) }.map(|v| v as u32);
    let major = get(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
    let minor = get(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
    Ok(Properties {
        name: result::device::get_name(device)?,
        capability: (major, minor),
        n_sms: get(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
    })
}

/// Every GPU that the driver lists; none where there is no driver.
pub fn gpus() -> Vec<DeviceInfo> {
    let describe = |ordinal: i32| -> Option<DeviceInfo> {
        let device = result::device::get(ordinal).ok()?;
        let Properties { name, capability, n_sms } = properties(device).ok()?;
        // SAFETY: `device` comes from the driver.
        let total = unsafe { result::device::total_mem(device) }.ok()? as u64;
        Some(DeviceInfo {
            id: format!("cuda:{ordinal}"),
            name,
            kind: "discrete GPU".to_string(),
            is_gpu: capability >= MIN_CAPABILITY,
            memory: Some(Memory { total, free: total }),
            limits: vec![format!("{n_sms} SMs"), gib(total)],
            features: vec![format!("sm_{}{}", capability.0, capability.1)],
        })
    };
    (0..probe().unwrap_or(0)).filter_map(describe).collect()
}

impl Gpu {
    /// Opens the GPU of this ordinal. The error says what was looked for.
    pub fn open(ordinal: usize) -> Result<Gpu, String> {
        let count = probe()?;
        let ordinal =
            i32::try_from(ordinal).ok().filter(|n| *n < count).ok_or(format!("the driver lists {count} GPUs"))?;
        let device = result::device::get(ordinal).map_err(line)?;
        let properties = properties(device).map_err(line)?;
        if properties.capability < MIN_CAPABILITY {
            let [(a, b), (c, d)] = [properties.capability, MIN_CAPABILITY];
            return Err(format!("{} has compute capability {a}.{b}, the kernels need {c}.{d}", properties.name));
        }
        Gpu::create(device, properties).map_err(line)
    }

    fn create(device: sys::CUdevice, properties: Properties) -> Result<Gpu, DriverError> {
        // SAFETY: `device` comes from the driver; the context is released when the Gpu is dropped.
        let context = unsafe { result::primary_ctx::retain(device)? };
        // Whole from here on, so that a step that fails below frees what the steps before it took.
        let mut gpu = Gpu {
            properties,
            device,
            context,
            stream: std::ptr::null_mut(),
            modules: vec![],
            kernels: vec![],
            graphs: vec![],
            staging: VecDeque::new(),
            outgoing: VecDeque::new(),
            idle: vec![],
            last: Last::Nothing,
        };
        // SAFETY: the context was just retained.
        unsafe { result::ctx::set_current(context)? };
        gpu.stream = result::stream::create(result::stream::StreamKind::NonBlocking)?;
        let pinned = |n: usize, bytes: usize| (0..n).map(move |_| Pinned::new(bytes));
        gpu.staging = pinned(2, STAGING).collect::<Result<_, _>>()?;
        gpu.idle = pinned(COPIES_OUT, COPY_OUT).collect::<Result<_, _>>()?;
        Ok(gpu)
    }

    fn current(&self) -> Result<(), String> {
        // SAFETY: the context lives as long as the Gpu.
        unsafe { result::ctx::set_current(self.context) }.map_err(line)
    }

    /// An error that may belong to any launch up to the last.
    fn late(&self, e: DriverError) -> String {
        let what = match &self.last {
            Last::Nothing => return line(e),
            Last::Launch(kernel, purpose) => self.label(*kernel, purpose),
            Last::Graph => "the recorded step".to_string(),
        };
        format!("{}, at or before {what}", line(e))
    }

    /// What errors call a launch.
    fn label(&self, kernel: Kernel, purpose: &Purpose) -> String {
        format!("{} for {purpose}", self.kernels[kernel.0].0)
    }

    fn start(&mut self, launch: &Launch) -> Result<(), String> {
        let mut serial = sys::CUlaunchAttribute_st {
            id: sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
            pad: [0; 4],
            value: sys::CUlaunchAttributeValue { programmaticStreamSerializationAllowed: 1 },
        };
        let config = sys::CUlaunchConfig {
            gridDimX: launch.grid[0],
            gridDimY: launch.grid[1],
            gridDimZ: launch.grid[2],
            blockDimX: launch.block[0],
            blockDimY: launch.block[1],
            blockDimZ: launch.block[2],
            sharedMemBytes: 0,
            hStream: self.stream,
            attrs: &raw mut serial,
            numAttrs: launch.dependent as u32,
        };
        let mut size = launch.params.len();
        let mut extra = [
            sys::CU_LAUNCH_PARAM_BUFFER_POINTER_AS_INT as usize as *mut c_void,
            launch.params.as_ptr().cast_mut().cast(),
            sys::CU_LAUNCH_PARAM_BUFFER_SIZE_AS_INT as usize as *mut c_void,
            (&raw mut size).cast(),
            std::ptr::null_mut(), // CU_LAUNCH_PARAM_END
        ];
        let kernel = self.kernels[launch.kernel.0].1;
        // SAFETY: the kernel belongs to a loaded module, its parameters are one struct of the size that it declares (held by a
        // test), whose pointers are to live allocations; config, attribute and parameters outlive the call.
        let started =
            unsafe { sys::cuLaunchKernelEx(&raw const config, kernel, std::ptr::null_mut(), extra.as_mut_ptr()) };
        started.result().map_err(|e| format!("{}: {}", self.label(launch.kernel, &launch.purpose), line(e)))
    }

    /// Loads PTX that ends in a zero, or machine code, and finds `entries` in it. The error has what the assembler says, in one line.
    fn load_image(&mut self, name: &str, image: &[u8], entries: &[&str]) -> Result<Vec<Kernel>, String> {
        let mut log = [0u8; JIT_LOG];
        let mut options =
            [sys::CUjit_option::CU_JIT_ERROR_LOG_BUFFER, sys::CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
        let mut values: [*mut c_void; 2] = [log.as_mut_ptr().cast(), JIT_LOG as *mut c_void];
        let mut module = std::ptr::null_mut();
        // SAFETY: the image is whole: text up to a zero, or an ELF file, which has its own length. The log and both arrays outlive the
        // call.
        let loaded = unsafe {
            sys::cuModuleLoadDataEx(
                &raw mut module,
                image.as_ptr().cast(),
                options.len() as u32,
                options.as_mut_ptr(),
                values.as_mut_ptr(),
            )
        };
        loaded.result().map_err(|e| {
            let text = log.split(|byte| *byte == 0).next().unwrap_or(&[]);
            let said = String::from_utf8_lossy(text).split_whitespace().collect::<Vec<_>>().join(" ");
            if said.is_empty() { format!("{name}: {}", line(e)) } else { format!("{name}: {}: {said}", line(e)) }
        })?;
        self.modules.push(module);
        let first = self.kernels.len();
        for entry in entries {
            let symbol = CString::new(*entry).map_err(|e| format!("{entry}: {e}"))?;
            // SAFETY: the module is loaded.
            let kernel = unsafe { result::module::get_function(module, symbol) };
            let kernel = kernel.map_err(|e| format!("{name}: {entry}: {}", line(e)))?;
            // Lazy loading would bring the code in at the first launch, which a capture may not.
            // SAFETY: the function belongs to the module.
            let brought = unsafe { sys::cuFuncLoad(kernel) }.result();
            brought.map_err(|e| format!("{name}: {entry}: {}", line(e)))?;
            self.kernels.push((entry.to_string(), kernel));
        }
        Ok((first..self.kernels.len()).map(Kernel).collect())
    }
}

impl Driver for Gpu {
    fn properties(&self) -> &Properties {
        &self.properties
    }

    fn memory(&self) -> Option<Memory> {
        self.current().ok()?;
        let (free, total) = result::mem_get_info().ok()?;
        Some(Memory { total: total as u64, free: free as u64 })
    }

    fn load(&mut self, name: &str, ptx: &str, entries: &[&str]) -> Result<Vec<Kernel>, String> {
        self.current()?;
        let ptx = CString::new(ptx).map_err(|e| format!("{name}: {e}"))?;
        self.load_image(name, ptx.as_bytes_with_nul(), entries)
    }

    fn load_cubin(&mut self, name: &str, cubin: &[u8], entries: &[&str]) -> Result<Option<Vec<Kernel>>, String> {
        self.current()?;
        self.load_image(name, cubin, entries).map(Some)
    }

    fn alloc(&mut self, bytes: u64) -> Result<Ptr, String> {
        self.current()?;
        // SAFETY: the memory has no type; kernels write before they read, which the simulator checks.
        unsafe { result::malloc_sync(bytes.max(1) as usize) }.map_err(line)
    }

    fn free(&mut self, ptr: Ptr) {
        if self.current().is_ok() {
            // SAFETY: `ptr` came from `alloc`; the call waits for work that uses it. A failure has no one to tell.
            let _ = unsafe { result::free_sync(ptr) };
        }
    }

    fn zero(&mut self, ptr: Ptr, bytes: u64) -> Result<(), String> {
        self.current()?;
        // SAFETY: the range lies in a live allocation.
        unsafe { result::memset_d8_async(ptr, 0, bytes as usize, self.stream) }.map_err(line)
    }

    fn upload(&mut self, ptr: Ptr, bytes: &[u8]) -> Result<(), String> {
        self.current()?;
        for (i, piece) in bytes.chunks(STAGING).enumerate() {
            self.staging.rotate_left(1);
            let sent = self.staging[0].send(piece, ptr + (i * STAGING) as u64, self.stream);
            sent.map_err(|e| self.late(e))?;
        }
        Ok(())
    }

    fn download(&mut self, ptr: Ptr, bytes: &mut [u8]) -> Result<(), String> {
        self.current()?;
        for (i, piece) in bytes.chunks_mut(STAGING).enumerate() {
            let staging = &mut self.staging[0];
            let begun = staging.fetch(piece.len(), ptr + (i * STAGING) as u64, self.stream);
            begun.and_then(|()| staging.fetched(piece)).map_err(|e| self.late(e))?;
        }
        Ok(())
    }

    fn copy_out(&mut self, ptr: Ptr, bytes: usize) -> Result<(), String> {
        self.current()?;
        let mut copy = self.idle.pop().ok_or("too many copies are under way")?;
        let begun = copy.fetch(bytes, ptr, self.stream);
        self.outgoing.push_back(copy);
        begun.map_err(|e| self.late(e))
    }

    fn take_out(&mut self, bytes: &mut [u8]) -> Result<(), String> {
        self.current()?;
        let copy = self.outgoing.pop_front().ok_or("no copy is under way")?;
        let taken = copy.fetched(bytes);
        self.idle.push(copy);
        taken.map_err(|e| self.late(e))
    }

    fn launch(&mut self, launch: &Launch) -> Result<(), String> {
        self.current()?;
        self.start(launch)?;
        self.last = Last::Launch(launch.kernel, launch.purpose.clone());
        Ok(())
    }

    fn record(&mut self, launches: &[Launch]) -> Result<Graph, String> {
        self.current()?;
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream lives and no capture is under way on it.
        unsafe { result::stream::begin_capture(self.stream, mode) }.map_err(line)?;
        let started = launches.iter().try_for_each(|launch| self.start(launch));
        // SAFETY: the capture was begun above; it must end even after an error.
        let graph = unsafe { result::stream::end_capture(self.stream) };
        let exec = started.and_then(|()| {
            // SAFETY: the graph was just captured.
            let exec = unsafe { result::graph::instantiate(graph.map_err(line)?, sys::CUgraphInstantiate_flags(0)) };
            exec.map_err(line)
        });
        if let Ok(graph) = graph
            && !graph.is_null()
        {
            // SAFETY: the graph was just captured, and is not used any more.
            let _ = unsafe { result::graph::destroy(graph) };
        }
        self.graphs.push(exec?);
        Ok(Graph(self.graphs.len() - 1))
    }

    fn replay(&mut self, graph: Graph) -> Result<(), String> {
        self.current()?;
        self.last = Last::Graph;
        // SAFETY: the graph was instantiated by `record` and lives until `forget`; so do the buffers that it names.
        unsafe { result::graph::launch(self.graphs[graph.0], self.stream) }.map_err(|e| self.late(e))
    }

    fn forget(&mut self) {
        // What fails here has no one to tell, and the graphs are not used afterwards.
        let _ = self.wait();
        for graph in self.graphs.drain(..) {
            // SAFETY: instantiated by `record`, and all work has ended.
            let _ = unsafe { result::graph::exec_destroy(graph) };
        }
    }

    fn wait(&mut self) -> Result<(), String> {
        self.current()?;
        // SAFETY: the stream lives.
        unsafe { result::stream::synchronize(self.stream) }.map_err(|e| self.late(e))
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        self.forget();
        for module in self.modules.drain(..) {
            // SAFETY: loaded by `load`; no kernel of it is used any more.
            let _ = unsafe { result::module::unload(module) };
        }
        // Their context is current, and all work has ended.
        self.staging.clear();
        self.outgoing.clear();
        self.idle.clear();
        // SAFETY: the stream was made by `create` and the context retained by it; nothing uses them any more.
        unsafe {
            if !self.stream.is_null() {
                let _ = result::stream::destroy(self.stream);
            }
            let _ = result::primary_ctx::release(self.device);
        }
    }
}
