//! Everything that the library holds, behind one lock.

use crate::capture::Capture;
use crate::entry;
use crate::gpu::Model;
use crate::handles::{Handles, Kind};
use crate::host::at_exit;
use crate::log::{Topic, say};
use crate::memory::{Memory, addresses};
pub use crate::objects::{Context, Event, Function, Graph, Link, Loaded, Stream};
use crate::options::{NoWait, Options, current};
use crate::queue::{Next, Point, Queues};
use crate::status::{Outcome, Status};
use ptx_sim::{Checks, Device, Limits};
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// Bytes of host memory that the simulator takes for each byte of device memory, its shadows included.
const HOST_BYTES_PER_BYTE: u64 = 6;

/// A simulated GPU.
pub struct SimDevice {
    pub model: &'static Model,
    pub sms: u32,
    /// Bytes of its memory.
    pub memory: u64,
    /// Its addresses are below this.
    pub addresses_end: u64,
    /// Asynchronous work runs when something waits for it.
    pub lazy: bool,
    pub sim: Device,
    /// Its primary context, made when first asked for; and how many hold it.
    pub primary: Option<u64>,
    pub retained: u32,
    /// The handle of its one memory pool.
    pub pool: u64,
    trouble: Option<Trouble>,
}

/// An error of work that ran: it stays, as on a GPU.
struct Trouble {
    status: Status,
    /// A call has returned it.
    told: bool,
}

impl SimDevice {
    /// Records an error of work. The first stays.
    pub fn fail(&mut self, status: Status) {
        self.trouble.get_or_insert(Trouble { status, told: false });
    }

    /// For calls that wait: errors of the work so far.
    pub fn check(&mut self) -> Outcome {
        match &mut self.trouble {
            Some(trouble) => {
                trouble.told = true;
                Err(trouble.status.into())
            }
            None => Ok(()),
        }
    }

    /// For calls that do not wait: an error that a call has returned already.
    pub fn check_told(&self) -> Outcome {
        self.trouble.as_ref().filter(|trouble| trouble.told).map_or(Ok(()), |trouble| Err(trouble.status.into()))
    }
}

pub struct State {
    pub devices: Vec<SimDevice>,
    pub contexts: Handles<Context>,
    pub streams: Handles<Stream>,
    pub events: Handles<Event>,
    pub modules: Handles<Loaded>,
    pub functions: Handles<Function>,
    pub graphs: Handles<Graph>,
    pub execs: Handles<Graph>,
    pub links: Handles<Link>,
    /// Devices by the handles of their pools.
    pub pools: Handles<usize>,
    pub memory: Memory,
    pub queues: Queues,
    pub captures: Handles<Capture>,
}

static STATE: Mutex<Option<State>> = Mutex::new(None);
static INITIALIZED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The stack of contexts of a thread; the last is current. 0: none.
    static CURRENT: RefCell<Vec<u64>> = const { RefCell::new(vec![]) };
}

/// Runs `f` with the stack of contexts of this thread.
pub fn with_contexts<T>(f: impl FnOnce(&mut Vec<u64>) -> T) -> T {
    CURRENT.with_borrow_mut(f)
}

pub fn is_initialized() -> bool {
    INITIALIZED.load(Ordering::Acquire)
}

/// Makes the devices. Only the first call does.
pub fn initialize(options: &Options) {
    let mut state = STATE.lock().unwrap_or_else(|e| e.into_inner());
    if state.is_none() {
        *state = Some(State::new(options));
        INITIALIZED.store(true, Ordering::Release);
        at_exit(ended);
    }
}

/// What the log gets when the process ends.
extern "C" fn ended() {
    let _ = std::panic::catch_unwind(|| {
        // A call that is under way on another thread keeps the lock: then nothing is said.
        let Ok(mut state) = STATE.try_lock() else { return };
        let open = |state: &State| state.contexts.iter().filter(|(_, c)| c.active).map(|(handle, _)| handle).collect();
        let contexts: Vec<u64> = state.as_ref().map(open).unwrap_or_default();
        for context in contexts {
            say(Topic::Left, "a context");
            if let Some(state) = state.as_mut() {
                state.report_left(context);
            }
        }
        if current().calls {
            entry::report_calls();
        }
    });
}

/// The state, for as long as no callback is called. Errors: `cuInit` was not called.
fn lock() -> Outcome<Locked> {
    let guard = STATE.lock().unwrap_or_else(|e| e.into_inner());
    if guard.is_some() { Ok(Locked(guard)) } else { Err(Status::NotInitialized.into()) }
}

struct Locked(MutexGuard<'static, Option<State>>);

/// Runs `f` with the state.
pub fn with<T>(f: impl FnOnce(&mut State) -> Outcome<T>) -> Outcome<T> {
    match lock()?.0.as_mut() {
        Some(state) => f(state),
        None => Err(Status::NotInitialized.into()),
    }
}

/// Runs all work that a point of a stream needs. The state must not be locked: callbacks are called.
pub fn run_to(point: Point) -> Outcome {
    loop {
        let next = with(|state| {
            let next = state.queues.next(point);
            if let Next::Run(work) = next {
                state.perform(work.device, work.action);
                return Ok(None);
            }
            Ok(Some(next))
        })?;
        match next {
            None | Some(Next::Run(_)) => {}
            Some(Next::Done) => return Ok(()),
            Some(Next::Call { callback, stream, device }) => {
                let status = with(|state| Ok(state.devices[device].check().map_or_else(|e| e.status as i32, |()| 0)))?;
                callback.call(status);
                with(|state| {
                    state.queues.called(stream);
                    Ok(())
                })?;
            }
            // Unmeasured: as long as a short callback takes.
            Some(Next::Wait) => std::thread::sleep(Duration::from_micros(50)),
        }
    }
}

/// Runs all work of a device.
pub fn run_device(device: usize) -> Outcome {
    let ends = with(|state| {
        let streams = state.queues.streams_of(device);
        Ok(streams.map(|stream| state.queues.end(stream)).collect::<Vec<_>>())
    })?;
    ends.into_iter().try_for_each(run_to)?;
    with(|state| {
        state.devices[device].sim.synchronize();
        let State { queues, streams, .. } = state;
        queues.tidy(|stream| streams.get(stream).is_ok());
        Ok(())
    })
}

/// Waits for a point, unless a test left this kind of wait out.
pub fn wait(point: Point, kind: NoWait) -> Outcome {
    if current().no_wait == Some(kind) { Ok(()) } else { run_to(point) }
}

impl State {
    fn new(options: &Options) -> State {
        let mut pools = Handles::new(Kind::Pool);
        let devices = (0..options.devices as usize).map(|ordinal| {
            let model = options.model;
            let sms = options.sms.unwrap_or(model.gpu().sms);
            let held = free_host_memory() / HOST_BYTES_PER_BYTE / options.devices;
            let memory = options.memory_mib.map_or(model.memory.min(held), |mib| mib << 20);
            let limits = Limits {
                global_bytes: memory,
                shared_bytes: model.shared_optin(),
                cooperative_blocks: sms * model.gpu().blocks_per_sm,
                ..Limits::default()
            };
            let addresses = addresses(ordinal as u64, options.devices);
            let mut sim = Device::after(limits, addresses.start);
            sim.checks = if options.checks { Checks::ALL } else { Checks::NONE };
            let pool = pools.add(ordinal);
            SimDevice {
                model,
                sms,
                memory,
                addresses_end: addresses.end,
                lazy: options.lazy,
                sim,
                primary: None,
                retained: 0,
                pool,
                trouble: None,
            }
        });
        State {
            devices: devices.collect(),
            contexts: Handles::new(Kind::Context),
            streams: Handles::new(Kind::Stream),
            events: Handles::new(Kind::Event),
            modules: Handles::new(Kind::Module),
            functions: Handles::new(Kind::Function),
            graphs: Handles::new(Kind::Graph),
            execs: Handles::new(Kind::GraphExec),
            links: Handles::new(Kind::Link),
            pools,
            memory: Memory::default(),
            queues: Queues::default(),
            captures: Handles::new(Kind::Capture),
        }
    }

    /// The device of this ordinal.
    pub fn device(&mut self, ordinal: i32) -> Outcome<&mut SimDevice> {
        let index = usize::try_from(ordinal).map_err(|_| Status::InvalidDevice)?;
        Ok(self.devices.get_mut(index).ok_or(Status::InvalidDevice)?)
    }

    /// The current context of this thread. Errors: none, or it is destroyed.
    pub fn current(&self) -> Outcome<u64> {
        let handle = with_contexts(|stack| stack.last().copied()).filter(|handle| *handle != 0);
        let handle = handle.ok_or(Status::InvalidContext)?;
        match self.contexts.get(handle) {
            Ok(context) if context.active => Ok(handle),
            _ => Err(Status::ContextIsDestroyed.into()),
        }
    }

    /// The device of the current context.
    pub fn current_device(&self) -> Outcome<usize> {
        Ok(self.contexts.get(self.current()?)?.device)
    }

    /// The key of a stream's queue: its handle, or the ordinal of the device whose legacy stream 0, 1 and 2 stand for.
    pub fn stream(&self, handle: u64) -> Outcome<u64> {
        if handle <= 2 {
            return Ok(self.current_device()? as u64);
        }
        self.streams.get(handle).map(|_| handle)
    }

    /// The device of a stream by its key.
    pub fn device_of(&self, key: u64) -> usize {
        self.streams.get(key).map_or(key as usize, |stream| stream.device)
    }

    /// The streams that work of `key` comes after by itself: the blocking ones after the legacy stream, and it after them.
    pub fn implied(&self, key: u64) -> Vec<u64> {
        match self.streams.get(key) {
            Ok(stream) if stream.blocking => vec![stream.device as u64],
            Ok(_) => vec![],
            Err(_) => {
                let others = self.streams.iter().filter(|(_, s)| s.blocking && s.device as u64 == key);
                others.map(|(handle, _)| handle).collect()
            }
        }
    }

    /// What is left of a context goes into the log.
    pub fn report_left(&mut self, context: u64) {
        let count = |n: usize, one: &str| (n > 0).then(|| format!("{n} {one}{}", if n == 1 { "" } else { "s" }));
        let memory = self.memory.allocations.values().filter(|a| a.owner == context);
        let (n, bytes) = memory.fold((0, 0), |(n, bytes), a| (n + 1, bytes + a.bytes));
        let left = [
            count(self.streams.iter().filter(|(_, s)| s.context == context).count(), "stream"),
            count(self.events.iter().filter(|(_, e)| e.context == context).count(), "event"),
            count(self.modules.iter().filter(|(_, m)| m.context == context).count(), "module"),
            count(self.graphs.iter().filter(|(_, g)| g.context == context).count(), "graph"),
            count(self.execs.iter().filter(|(_, g)| g.context == context).count(), "executable graph"),
            count(self.links.iter().filter(|(_, l)| l.context == context).count(), "link"),
            count(self.memory.pinned.values().filter(|p| p.owner == context).count(), "pinned block"),
            count(n, "allocation").map(|text| format!("{text} of {bytes} bytes")),
        ];
        let left: Vec<String> = left.into_iter().flatten().collect();
        if !left.is_empty() {
            say(Topic::Left, &left.join(", "));
        }
    }

    /// Frees all that belongs to a context, whose work has run.
    pub fn close(&mut self, context: u64) -> Outcome {
        self.report_left(context);
        self.streams.remove_if(|s| s.context == context);
        self.events.remove_if(|e| e.context == context);
        let modules: Vec<u64> = self.modules.iter().filter(|(_, m)| m.context == context).map(|(m, _)| m).collect();
        modules.into_iter().try_for_each(|module| self.unload(module))?;
        self.graphs.remove_if(|g| g.context == context);
        self.execs.remove_if(|g| g.context == context);
        self.links.remove_if(|l| l.context == context);
        self.memory.pinned.retain(|_, p| p.owner != context);
        let memory = self.memory.allocations.iter().filter(|(_, a)| a.owner == context);
        let memory: Vec<u64> = memory.map(|(address, _)| *address).collect();
        use crate::memory::Kind::{Device, Managed, Mapped};
        memory.into_iter().try_for_each(|address| self.free(address, &[Device, Managed, Mapped]))?;
        let context = self.contexts.get_mut(context)?;
        context.active = false;
        let device = &mut self.devices[context.device];
        device.trouble = None;
        Ok(())
    }

    /// Forgets a module, its functions and its variables.
    pub fn unload(&mut self, handle: u64) -> Outcome {
        let loaded = self.modules.remove(handle)?;
        self.functions.remove_if(|function| function.module == handle);
        let device = self.contexts.get(loaded.context)?.device;
        self.devices[device].sim.unload(&loaded.module);
        self.memory.allocations.retain(|_, variable| variable.owner != handle);
        Ok(())
    }
}

/// Bytes of the host's memory that are free, as Linux counts; 6 GiB where it does not say.
fn free_host_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kib.map_or(6 << 30, |kib| kib << 10)
}
