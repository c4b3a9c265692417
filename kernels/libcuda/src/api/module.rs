//! Modules and libraries. A library is a module here: it is loaded for the current context.

use crate::entry::entries;
use crate::gpu::SHARED_PER_BLOCK;
use crate::handles::Handles;
use crate::image;
use crate::raw::{In, Out, Text};
use crate::state::{Function, Loaded, State, run_device, with};
use crate::status::{Outcome, Refusal, Status};
use ptx_sim::Module;

/// `CUjit_option`: where the assembler's messages go, and how many bytes fit; the driver writes back how many it wrote.
const ERROR_LOG_BUFFER: u32 = 5;
const ERROR_LOG_BUFFER_SIZE_BYTES: u32 = 6;

/// The caller's buffer for messages of the assembler.
#[derive(Default)]
struct JitLog {
    buffer: u64,
    room: usize,
}

impl JitLog {
    fn of(n: u32, options: In<u32>, values: In<u64>) -> Outcome<JitLog> {
        let mut log = JitLog::default();
        for i in 0..n as usize {
            match options.at(i).get()? {
                ERROR_LOG_BUFFER => log.buffer = values.at(i).get()?,
                ERROR_LOG_BUFFER_SIZE_BYTES => log.room = values.at(i).get()? as usize,
                _ => {}
            }
        }
        Ok(log)
    }

    /// Gives the reason of a refusal to the caller, or leaves it for the log.
    fn take(&self, mut refusal: Refusal) -> Refusal {
        if self.buffer != 0
            && self.room > 0
            && let Some(why) = refusal.why.take()
        {
            let n = why.len().min(self.room - 1);
            // A buffer that is not null has room.
            let _ = crate::raw::write(self.buffer, &[&why.as_bytes()[..n], &[0]].concat());
        }
        refusal
    }
}

/// The PTX at an address, as a module of the current context.
fn load(out: Out<u64>, address: u64) -> Outcome {
    let capability = with(|state| {
        state.no_capture()?;
        let device = state.current_device()?;
        Ok(state.devices[device].model.capability)
    })?;
    let text = image::ptx(address, capability)?;
    let module = Module::load("module", &text).map_err(|e| {
        let line = text.lines().nth(e.line.saturating_sub(1) as usize).unwrap_or_default().trim();
        Status::InvalidPtx.because(format!("{e}: {line}"))
    })?;
    with(|state| out.put(state.modules.add(Loaded { context: state.current()?, module })))
}

fn load_with(out: Out<u64>, address: u64, log: &JitLog) -> Outcome {
    load(out, address).map_err(|refusal| log.take(refusal))
}

/// The function of this name; the same handle each time.
fn function(state: &mut State, module: u64, name: &str) -> Outcome<u64> {
    let loaded = state.modules.get(module)?;
    let known = state.functions.iter().find(|(_, f)| f.module == module && f.kernel.name() == name);
    if let Some((handle, _)) = known {
        return Ok(handle);
    }
    let kernel = loaded.module.kernel(name).ok_or_else(|| match loaded.module.refusal(name) {
        Some(why) => Status::InvalidPtx.because(why),
        None => Status::NotFound.into(),
    })?;
    let dynamic_shared = SHARED_PER_BLOCK.saturating_sub(kernel.static_shared());
    let context = loaded.context;
    Ok(state.functions.add(Function { context, module, kernel, dynamic_shared }))
}

fn names(modules: &Handles<Loaded>, module: u64) -> Outcome<Vec<String>> {
    Ok(modules.get(module)?.module.kernel_names().map(str::to_string).collect())
}

fn unload(module: u64) -> Outcome {
    let device = with(|state| {
        state.no_capture()?;
        let context = state.modules.get(module)?.context;
        Ok(state.contexts.get(context)?.device)
    })?;
    run_device(device)?;
    with(|state| state.unload(module))
}

fn variable(address: Out<u64>, bytes: Out<usize>, handle: u64, name: &str) -> Outcome {
    with(|state| {
        let loaded = state.modules.get(handle)?;
        let size = loaded.module.global_bytes(name).ok_or(Status::NotFound)?;
        let module = loaded.module.clone();
        let device = state.contexts.get(loaded.context)?.device;
        let at = state.devices[device].sim.global(&module, name).map_err(|e| Status::OutOfMemory.because(e))?;
        let at = at.ok_or(Status::NotFound)?;
        state.know_variable(at, size, device, handle);
        address.offer(at);
        bytes.offer(size as usize);
        Ok(())
    })
}

entries! { Initialized:

fn cuModuleLoadData(out: Out<u64>, image: u64) {
    load(out, image)
}

fn cuModuleLoadDataEx(out: Out<u64>, image: u64, n: u32, options: In<u32>, values: In<u64>) {
    load_with(out, image, &JitLog::of(n, options, values)?)
}

fn cuModuleLoadFatBinary(out: Out<u64>, image: u64) {
    load(out, image)
}

fn cuModuleLoad(out: Out<u64>, path: Text) {
    let path = path.get()?;
    let mut bytes = std::fs::read(&path).map_err(|e| Status::FileNotFound.because(format!("{path}: {e}")))?;
    bytes.push(0);
    load(out, bytes.as_ptr().expose_provenance() as u64)
}

fn cuModuleUnload(module: u64) {
    unload(module)
}

fn cuModuleGetLoadingMode(out: Out<u32>) {
    out.put(1) // CU_MODULE_EAGER_LOADING
}

fn cuModuleGetFunction(out: Out<u64>, module: u64, name: Text) {
    let name = name.get()?;
    with(|state| out.put(function(state, module, &name)?))
}

fn cuModuleGetFunctionCount(out: Out<u32>, module: u64) {
    with(|state| out.put(names(&state.modules, module)?.len() as u32))
}

fn cuModuleGetGlobal_v2(address: Out<u64>, bytes: Out<usize>, module: u64, name: Text) {
    variable(address, bytes, module, &name.get()?)
}

fn cuLibraryLoadData(
    out: Out<u64>,
    code: u64,
    options: In<u32>,
    values: In<u64>,
    n: u32,
    _library_options: u64,
    _library_values: u64,
    _library_n: u32,
) {
    load_with(out, code, &JitLog::of(n, options, values)?)
}

fn cuLibraryUnload(library: u64) {
    unload(library)
}

fn cuLibraryGetKernel(out: Out<u64>, library: u64, name: Text) {
    let name = name.get()?;
    with(|state| out.put(function(state, library, &name)?))
}

fn cuLibraryGetModule(out: Out<u64>, library: u64) {
    with(|state| state.modules.get(library).map(|_| ()))?;
    out.put(library)
}

fn cuLibraryGetKernelCount(out: Out<u32>, library: u64) {
    with(|state| out.put(names(&state.modules, library)?.len() as u32))
}

fn cuLibraryEnumerateKernels(out: Out<u64>, n: u32, library: u64) {
    with(|state| {
        let names = names(&state.modules, library)?;
        for (i, name) in names.iter().take(n as usize).enumerate() {
            out.at(i).put(function(state, library, name)?)?;
        }
        Ok(())
    })
}

fn cuLibraryGetGlobal(address: Out<u64>, bytes: Out<usize>, library: u64, name: Text) {
    variable(address, bytes, library, &name.get()?)
}

}
