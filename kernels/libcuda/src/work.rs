//! What runs in a stream, and how.

use crate::log::{Topic, say};
use crate::options::{Findings, current};
use crate::raw::Callback;
use crate::state::State;
use crate::status::{Outcome, Status};
use ptx_sim::{Check, Fault, Kernel, LaunchConfig, Report};
use std::io::Write;
use std::time::Instant;

/// One piece of work.
#[derive(Clone)]
pub enum Action {
    Launch {
        kernel: Kernel,
        config: LaunchConfig,
        params: Vec<u8>,
    },
    /// `bytes` bytes of a repeated pattern.
    Fill {
        to: u64,
        pattern: Vec<u8>,
        bytes: u64,
    },
    Copy {
        to: u64,
        from: u64,
        bytes: u64,
    },
    /// A copy whose source was pageable: these bytes were there at the call.
    Write {
        to: u64,
        data: Vec<u8>,
    },
    Free(u64),
    Call(Callback),
    /// An event's time.
    Mark(u64),
}

impl State {
    /// Runs a piece of work. What fails is an error of the device, which a later call returns.
    pub fn perform(&mut self, device: usize, action: Action) {
        let done = match action {
            Action::Launch { kernel, config, params } => self.launch(device, &kernel, config, &params),
            Action::Fill { to, pattern, bytes } => {
                let data: Vec<u8> = pattern.iter().copied().cycle().take(bytes as usize).collect();
                self.write(to, &data)
            }
            Action::Copy { to, from, bytes } => self.copy(to, from, bytes),
            Action::Write { to, data } => self.write(to, &data),
            Action::Free(address) => self.free(address, &[crate::memory::Kind::Device]),
            Action::Mark(event) => {
                // It may have been destroyed since.
                if let Ok(event) = self.events.get_mut(event) {
                    event.came = Some(Instant::now());
                }
                Ok(())
            }
            // `Queues::next` hands callbacks out by themselves.
            Action::Call(_) => Ok(()),
        };
        if let Err(refusal) = done {
            if let Some(why) = refusal.why {
                say(Topic::Fault, &why);
            }
            self.devices[device].fail(refusal.status);
        }
    }

    fn launch(&mut self, index: usize, kernel: &Kernel, config: LaunchConfig, params: &[u8]) -> Outcome {
        self.exchange(index, true)?;
        let done = self.devices[index].sim.launch(kernel, config, params);
        self.exchange(index, false)?;
        verdict(done.map_err(|fault| status_of(&fault).because(fault))?)
    }
}

/// What a launch printed goes out, what it did wrong into the log; the first error of it.
fn verdict(report: Report) -> Outcome {
    if !report.printed.is_empty() {
        let mut out = std::io::stdout().lock();
        // A program whose stdout is closed goes on.
        let _ = out.write_all(report.printed.concat().as_bytes()).and_then(|()| out.flush());
    }
    report.findings.iter().for_each(|finding| say(Topic::Finding, &finding.to_string()));
    let is_error = |check: Check| match check {
        Check::OutOfBounds => Some(Status::IllegalAddress),
        Check::Misaligned => Some(Status::MisalignedAddress),
        _ => (current().findings == Findings::Errors).then_some(Status::LaunchFailed),
    };
    report.findings.iter().find_map(|finding| is_error(finding.check)).map_or(Ok(()), |status| Err(status.into()))
}

/// What a driver returns for a launch that does not begin, or does not end well.
pub fn status_of(fault: &Fault) -> Status {
    match fault {
        Fault::Params { .. } | Fault::Empty { .. } | Fault::Limit { .. } => Status::InvalidValue,
        Fault::Cooperative { .. } => Status::CooperativeLaunchTooLarge,
        Fault::Thread { .. } => Status::LaunchOutOfResources,
        Fault::Endless { .. } | Fault::Deadlock { .. } => Status::LaunchTimeout,
        Fault::Trap { .. } => Status::LaunchFailed,
    }
}
