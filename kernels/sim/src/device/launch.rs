//! Launches: their limits, and the run.

use super::{Device, Report};
use crate::config::LaunchConfig;
use crate::error::Fault;
use crate::exec::launch::{Launch, Progress};
use crate::exec::shape::Shape;
use crate::ir::Program;
use crate::module::Kernel;

/// Threads of a block that the hardware allows.
const THREADS: u32 = 1024;

/// Blocks that the shadow of global memory can tell apart.
const BLOCKS: u64 = (1 << 22) - 2;

impl Device {
    /// Runs a kernel to its end. `params` is the parameter block, laid out as [`Kernel::params`] says.
    ///
    /// Errors: a launch beyond the limits, or one that did not run to its end. Defects that the checks find are no errors;
    /// they are in the report.
    pub fn launch(&mut self, kernel: &Kernel, config: LaunchConfig, params: &[u8]) -> Result<Report, Fault> {
        let p = &*kernel.program;
        self.check_launch(kernel, &config, params.len())?;
        let (threads, ctas, shared) = self.sizes(p, &config)?;
        let globals = self.module_globals(&kernel.module).map_err(|_| Fault::Limit {
            kernel: p.name.clone(),
            what: "bytes of module variables:",
            value: kernel.module.globals.iter().map(|g| g.bytes.len() as u64).sum(),
            limit: self.limits.global_bytes - self.mem.allocated,
        })?;
        let workspace = if config.cooperative { self.workspace()? } else { 0 };
        self.serial = self.serial.wrapping_add(1).max(1);
        if self.stream.advance() {
            self.mem.forget_launches();
        }
        let [before, after] = self.stream.owners(config.dependent);
        if let Ok(mut sync) = self.mem.sync.lock() {
            sync.clear();
        }
        let launch = Launch {
            prog: p,
            mem: &self.mem,
            shape: Shape {
                grid: config.grid,
                block: config.block,
                threads,
                dynamic_shared: config.dynamic_shared,
                total_shared: shared,
                serial: self.serial,
                workspace,
            },
            params,
            symbols: p.symbols.iter().map(|&(_, (g, off))| globals[g].wrapping_add(off as u64)).collect(),
            ctas,
            checks: self.checks,
            id: self.stream.number,
            owned_before: before,
            owned_after: after,
            cooperative: config.cooperative,
            max_instructions: self.limits.instructions_per_block,
            progress: Progress::default(),
        };
        let host = match self.limits.host_threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        };
        let outcome = launch.run(host);
        let progress = launch.progress;
        let (early, never) = (progress.triggered_early.into_inner(), progress.never_waited.into_inner());
        self.stream.launched(before, config.dependent, early, never);
        let printed = progress.printed.into_inner().unwrap_or_default();
        let (stats, sink) = outcome.map_err(|f| *f)?;
        Ok(Report { kernel: p.name.clone(), counters: stats.finish(p), findings: sink.sorted(), printed })
    }

    /// Whether a launch is within the limits and its parameter block has `params` bytes: the errors of [`Device::launch`] that
    /// need no run.
    pub fn check_launch(&self, kernel: &Kernel, config: &LaunchConfig, params: usize) -> Result<(), Fault> {
        let p = &*kernel.program;
        self.sizes(p, config)?;
        let expected = p.param_bytes as usize;
        if params != expected {
            return Err(Fault::Params { kernel: p.name.clone(), given: params, expected });
        }
        Ok(())
    }

    /// Threads of a block, blocks, and bytes of shared memory, if they are within the limits.
    fn sizes(&self, p: &Program, config: &LaunchConfig) -> Result<(u32, u32, u32), Fault> {
        let beyond = |what, value, limit| Fault::Limit { kernel: p.name.clone(), what, value, limit };
        let at_most =
            |what, value: u64, limit: u64| if value > limit { Err(beyond(what, value, limit)) } else { Ok(()) };
        let product = |v: [u32; 3]| v.iter().map(|&x| u64::from(x)).product::<u64>();
        let (threads, ctas) = (product(config.block), product(config.grid));
        if threads == 0 || ctas == 0 {
            return Err(Fault::Empty { kernel: p.name.clone() });
        }
        at_most("threads per block:", threads, self.limits.threads_per_block.min(THREADS).into())?;
        if let Some(max) = p.maxntid {
            at_most("threads per block (.maxntid):", threads, product(max))?;
        }
        if let Some(req) = p.reqntid.filter(|r| *r != config.block) {
            return Err(beyond("threads per block (.reqntid):", threads, product(req)));
        }
        at_most("blocks:", ctas, BLOCKS)?;
        let shared = u64::from(p.static_shared) + u64::from(config.dynamic_shared);
        at_most("bytes of shared memory:", shared, self.limits.shared_bytes.into())?;
        let resident = u64::from(self.limits.cooperative_blocks);
        if config.cooperative && ctas > resident {
            return Err(Fault::Cooperative { kernel: p.name.clone(), ctas, resident });
        }
        Ok((threads as u32, ctas as u32, shared as u32))
    }

    /// What `cooperative_groups` expects at the address in `%envreg1` and `%envreg2`: zeroed words for the grid's barrier.
    fn workspace(&mut self) -> Result<u64, Fault> {
        const BYTES: u64 = 64;
        let full = |_| Fault::Limit { kernel: "workspace".into(), what: "bytes:", value: BYTES, limit: 0 };
        if self.workspace == 0 {
            self.workspace = self.mem.alloc(BYTES, u64::MAX).map_err(full)?;
        }
        self.mem.host_write(self.workspace, &[0; BYTES as usize]).map_err(full)?;
        Ok(self.workspace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, Module};

    /// Launch numbers in the shadow have 16 bits; when they start again, the records of old launches must not look like new ones.
    #[test]
    fn launch_numbers_wrap() {
        let text = ".version 8.4\n.target sm_80\n.visible .entry k(.param .u64 p)\n{\n.reg .b64 %rd<3>; .reg .b32 %r<4>;\n\
                    ld.param.u64 %rd1, [p]; mov.u32 %r1, %ctaid.x; mul.wide.u32 %rd2, %r1, 4; add.s64 %rd2, %rd1, %rd2;\n\
                    ld.global.u32 %r2, [%rd2]; add.u32 %r2, %r2, 1; st.global.u32 [%rd2], %r2;\nret;\n}\n";
        let kernel = Module::load("m", text).unwrap().kernel("k").unwrap();
        let mut dev = Device::new(Limits::default());
        let p = dev.upload(&[0; 16]).unwrap();
        // Launch 1 marks the words; launch 1 of the next round sees them with other blocks.
        for (launch, blocks) in [(0, 4), (0xfffd, 4), (0xfffe, 1), (1, 2)] {
            dev.stream.number = launch;
            let report = dev.launch(&kernel, LaunchConfig::linear(blocks, 1), &p.to_le_bytes()).unwrap();
            assert_eq!(report.check(), Ok(()));
        }
        assert_eq!(dev.stream.number, 2);
        let mut out = [0; 16];
        dev.read(p, &mut out).unwrap();
        assert_eq!((out[0], out[4], out[8]), (4, 3, 2));
    }
}
