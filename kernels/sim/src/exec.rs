//! Runs a warp: picks one of its parts, executes instructions, handles divergence.

use crate::counters::Stats;
use crate::cta::{Barrier, CtaState};
use crate::error::Fault;
use crate::finding::{Check, Finding, Sink};
use crate::ir::*;
use crate::launch::Launch;
use crate::warp::{FULL, Part, Pending, State, Warp};

/// Everything one warp touches while it runs.
pub(crate) struct Exec<'a> {
    pub launch: &'a Launch<'a>,
    pub prog: &'a Program,
    pub cta: &'a mut CtaState,
    pub barriers: &'a mut Vec<Barrier>,
    pub warp: &'a mut Warp,
    pub stats: &'a mut Stats,
    pub sink: &'a mut Sink,
    pub pc: usize,
}

/// What an instruction does to the part that executes it.
pub(crate) enum Flow {
    Next,
    /// Taken by these lanes; the others fall through.
    Jump(u32, u32),
    /// Wait in this state, and execute the instruction again.
    Hold(State),
    /// Arrived at a barrier.
    Arrived,
    /// These lanes are done.
    Exit(u32),
    /// These lanes went elsewhere; the others execute the instruction again.
    Split(u32),
    /// Give others a turn.
    Yield,
    Fault(Box<Fault>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    Done,
    Blocked,
    Budget,
}

/// A part that keeps running this many blocks while others wait lets them run (a lane may wait for another).
const PATIENCE: u32 = 4096;

impl Exec<'_> {
    pub fn line(&self) -> u32 {
        self.prog.lines[self.pc]
    }

    pub fn thread(&self, lane: u32) -> [u32; 3] {
        self.launch.shape.thread(self.warp.index * 32 + lane)
    }

    pub fn report(&mut self, check: Check, lane: u32, message: impl FnOnce() -> String) {
        let (line, kernel, block, thread) = (self.line(), &self.prog.name, self.cta.block, self.thread(lane));
        self.sink.add(check, line, || Finding {
            check,
            kernel: kernel.clone(),
            line,
            block,
            thread,
            message: message(),
            count: 1,
        });
    }

    /// Runs until the warp ends or blocks, or `budget` instructions are spent.
    pub fn run(&mut self, budget: &mut u64) -> Result<Stop, Box<Fault>> {
        loop {
            let Some(k) = self.pick() else {
                return Ok(if self.warp.done() { Stop::Done } else { Stop::Blocked });
            };
            let Part { pc, mask, state } = self.warp.parts[k];
            let alone = self.warp.parts.len() == 1;
            let mut forced = state == State::Forced;
            self.pc = pc as usize;
            loop {
                if *budget == 0 {
                    self.warp.parts[k] = Part { pc: self.pc as u32, mask, state: State::Ready };
                    return Ok(Stop::Budget);
                }
                *budget -= 1;
                let flow = self.step(mask, forced);
                forced = false;
                let next = self.pc + 1;
                match flow {
                    Flow::Next => self.pc = next,
                    Flow::Jump(target, taken) if taken == mask => self.pc = target as usize,
                    Flow::Jump(_, 0) => self.pc = next,
                    Flow::Jump(target, taken) => {
                        self.warp.parts[k] = Part { pc: next as u32, mask: mask & !taken, state: State::Ready };
                        self.warp.parts.push(Part { pc: target, mask: taken, state: State::Ready });
                        break;
                    }
                    Flow::Hold(state) => {
                        self.warp.parts[k] = Part { pc: self.pc as u32, mask, state };
                        break;
                    }
                    Flow::Arrived => {
                        self.warp.parts[k] = Part { pc: self.pc as u32, mask, state: State::Barrier };
                        break;
                    }
                    Flow::Exit(lanes) => {
                        self.warp.exited |= lanes;
                        if lanes == mask {
                            self.warp.parts.swap_remove(k);
                        } else {
                            self.warp.parts[k] = Part { pc: next as u32, mask: mask & !lanes, state: State::Ready };
                        }
                        break;
                    }
                    Flow::Split(gone) => {
                        self.warp.parts[k] = Part { pc: self.pc as u32, mask: mask & !gone, state: State::Ready };
                        break;
                    }
                    Flow::Yield => {
                        self.warp.parts[k] = Part { pc: next as u32, mask, state: State::Ready };
                        return Ok(Stop::Budget);
                    }
                    Flow::Fault(f) => return Err(f),
                }
                if !alone && self.prog.block_start[self.pc] {
                    self.warp.parts[k] = Part { pc: self.pc as u32, mask, state: State::Ready };
                    break;
                }
            }
        }
    }

    /// Merges parts that met, and picks the one to run.
    fn pick(&mut self) -> Option<usize> {
        let parts = &mut self.warp.parts;
        if parts.len() == 1 {
            return match parts[0].state {
                State::Ready | State::Forced => Some(0),
                State::Sync | State::Gather => {
                    parts[0].state = State::Forced;
                    Some(0)
                }
                State::Barrier => None,
            };
        }
        let mut i = 0;
        while i < parts.len() {
            let mut j = i + 1;
            while j < parts.len() {
                let (a, b) = (parts[i], parts[j]);
                if a.pc == b.pc && a.state != State::Barrier && b.state != State::Barrier {
                    parts[i] = Part { pc: a.pc, mask: a.mask | b.mask, state: State::Ready };
                    parts.swap_remove(j);
                } else {
                    j += 1;
                }
            }
            i += 1;
        }
        let order = &self.prog.order;
        let runnable = |p: &Part| matches!(p.state, State::Ready | State::Forced);
        let best = (0..parts.len())
            .filter(|&i| runnable(&parts[i]))
            .min_by_key(|&i| (order[parts[i].pc as usize], parts[i].pc));
        if let Some(best) = best {
            self.warp.switches += 1;
            if self.warp.switches.is_multiple_of(PATIENCE) {
                let turn = (self.warp.switches / PATIENCE) as usize;
                let ready: Vec<usize> = (0..parts.len()).filter(|&i| runnable(&parts[i])).collect();
                return Some(ready[turn % ready.len()]);
            }
            return Some(best);
        }
        // Nobody can move: whoever waits for lanes inside the warp goes on without them.
        let held = parts
            .iter()
            .position(|p| p.state == State::Sync)
            .or_else(|| parts.iter().position(|p| p.state == State::Gather))?;
        parts[held].state = State::Forced;
        Some(held)
    }

    /// The register is read by these lanes: all must have a value.
    #[inline]
    pub fn use_w(&mut self, r: R, m: u32) {
        if self.warp.ready_w[usize::from(r)] & m != m {
            self.not_ready(Reg::W(r), m);
        }
    }

    #[inline]
    pub fn use_d(&mut self, r: R, m: u32) {
        if self.warp.ready_d[usize::from(r)] & m != m {
            self.not_ready(Reg::D(r), m);
        }
    }

    #[inline]
    pub fn use_p(&mut self, r: R, m: u32) {
        if self.warp.ready_p[usize::from(r)] & m != m {
            self.not_ready(Reg::P(r), m);
        }
    }

    pub fn use_reg(&mut self, r: Reg, m: u32) {
        if *self.warp.ready(r) & m != m {
            self.not_ready(r, m);
        }
    }

    /// Either the first use of a load, or a register without a value.
    #[cold]
    fn not_ready(&mut self, r: Reg, m: u32) {
        if let Some(issued) =
            self.warp.pending.iter().filter(|p| p.reg == r && p.lanes & m != 0).map(|p| p.issued).max()
        {
            self.loads_return(issued);
        }
        let missing = m & !*self.warp.ready(r);
        if missing != 0 {
            self.report(Check::UninitializedRegister, missing.trailing_zeros(), || {
                "an operand is a register that was never written".to_string()
            });
            *self.warp.ready(r) |= missing;
        }
    }

    /// The loads up to `issued` have to be back: the moment at which bytes in flight are counted.
    pub fn loads_return(&mut self, issued: u64) {
        let w = &mut *self.warp;
        if issued > w.completed {
            let bytes = w.issued - w.completed;
            self.stats.c.first_uses += 1;
            self.stats.c.in_flight_sum += bytes;
            self.stats.c.in_flight_max = self.stats.c.in_flight_max.max(bytes);
            w.completed = issued;
        }
        let mut k = 0;
        while k < w.pending.len() {
            let p = w.pending[k];
            if p.issued <= issued {
                w.pending.swap_remove(k);
                *w.ready(p.reg) |= p.lanes;
            } else {
                k += 1;
            }
        }
    }

    /// Marks the destination of a global load as in flight.
    pub fn in_flight(&mut self, reg: Reg, lanes: u32) {
        let issued = self.warp.issued;
        self.warp.pending.retain(|p| p.reg != reg || p.lanes & !lanes != 0);
        *self.warp.ready(reg) &= !lanes;
        self.warp.pending.push(Pending { reg, lanes, issued });
        if self.warp.pending.len() > 512 {
            let oldest = self.warp.pending[0].issued;
            self.loads_return(oldest);
        }
    }

    fn step(&mut self, mask: u32, forced: bool) -> Flow {
        let prog = self.prog;
        let inst = &prog.code[self.pc];
        let mut m = mask;
        if inst.guard != NO_GUARD {
            self.use_p(inst.guard, mask);
            let p = self.warp.p[usize::from(inst.guard)];
            m &= if inst.negated { !p } else { p };
        }
        let count = &mut self.stats.executed[self.pc];
        count.0 += 1;
        count.1 += u64::from(m.count_ones());
        if m == 0 {
            return Flow::Next;
        }
        match &inst.op {
            Op::W1 { f, d, a } => {
                self.use_w(*a, m);
                let mut r = [0; LANES];
                f(&self.warp.w[usize::from(*a)], &mut r);
                self.warp.put_w(*d, m, &r);
            }
            Op::W2 { f, d, a, b } => {
                self.use_w(*a, m);
                self.use_w(*b, m);
                let mut r = [0; LANES];
                f(&self.warp.w[usize::from(*a)], &self.warp.w[usize::from(*b)], &mut r);
                self.warp.put_w(*d, m, &r);
            }
            Op::W3 { f, d, a, b, c } => {
                self.use_w(*a, m);
                self.use_w(*b, m);
                self.use_w(*c, m);
                let mut r = [0; LANES];
                let w = &self.warp.w;
                f(&w[usize::from(*a)], &w[usize::from(*b)], &w[usize::from(*c)], &mut r);
                self.warp.put_w(*d, m, &r);
            }
            Op::Lop3 { lut, d, a, b, c } => {
                // An operand that the table ignores need not have a value.
                let t = u32::from(*lut);
                for (r, change) in [(*a, (t ^ t >> 4) & 0x0f), (*b, (t ^ t >> 2) & 0x33), (*c, (t ^ t >> 1) & 0x55)] {
                    if change != 0 {
                        self.use_w(r, m);
                    }
                }
                let mut r = [0; LANES];
                let (a, b, c) =
                    (&self.warp.w[usize::from(*a)], &self.warp.w[usize::from(*b)], &self.warp.w[usize::from(*c)]);
                for k in (0..8).filter(|k| t >> k & 1 != 0) {
                    let (fa, fb, fc) = ((k >> 2 & 1) - 1, (k >> 1 & 1) - 1, (k & 1) - 1);
                    for i in 0..LANES {
                        r[i] |= (a[i] ^ fa as u32) & (b[i] ^ fb as u32) & (c[i] ^ fc as u32);
                    }
                }
                self.warp.put_w(*d, m, &r);
            }
            Op::D1 { f, d, a } => {
                self.use_d(*a, m);
                let mut r = [0; LANES];
                f(&self.warp.d[usize::from(*a)], &mut r);
                self.warp.put_d(*d, m, &r);
            }
            Op::D2 { f, d, a, b } => {
                self.use_d(*a, m);
                self.use_d(*b, m);
                let mut r = [0; LANES];
                f(&self.warp.d[usize::from(*a)], &self.warp.d[usize::from(*b)], &mut r);
                self.warp.put_d(*d, m, &r);
            }
            Op::D3 { f, d, a, b, c } => {
                self.use_d(*a, m);
                self.use_d(*b, m);
                self.use_d(*c, m);
                let mut r = [0; LANES];
                let w = &self.warp.d;
                f(&w[usize::from(*a)], &w[usize::from(*b)], &w[usize::from(*c)], &mut r);
                self.warp.put_d(*d, m, &r);
            }
            Op::Widen { f, d, a } => {
                self.use_w(*a, m);
                let mut r = [0; LANES];
                f(&self.warp.w[usize::from(*a)], &mut r);
                self.warp.put_d(*d, m, &r);
            }
            Op::Narrow { f, d, a } => {
                self.use_d(*a, m);
                let mut r = [0; LANES];
                f(&self.warp.d[usize::from(*a)], &mut r);
                self.warp.put_w(*d, m, &r);
            }
            Op::Wide2 { f, d, a, b } => {
                self.use_w(*a, m);
                self.use_w(*b, m);
                let mut r = [0; LANES];
                f(&self.warp.w[usize::from(*a)], &self.warp.w[usize::from(*b)], &mut r);
                self.warp.put_d(*d, m, &r);
            }
            Op::Wide3 { f, d, a, b, c } => {
                self.use_w(*a, m);
                self.use_w(*b, m);
                self.use_d(*c, m);
                let mut r = [0; LANES];
                f(&self.warp.w[usize::from(*a)], &self.warp.w[usize::from(*b)], &self.warp.d[usize::from(*c)], &mut r);
                self.warp.put_d(*d, m, &r);
            }
            Op::Shift64 { f, d, a, b } => {
                self.use_d(*a, m);
                self.use_w(*b, m);
                let mut r = [0; LANES];
                f(&self.warp.d[usize::from(*a)], &self.warp.w[usize::from(*b)], &mut r);
                self.warp.put_d(*d, m, &r);
            }
            Op::Pack { d, lo, hi } => {
                self.use_w(*lo, m);
                self.use_w(*hi, m);
                let (lo, hi) = (&self.warp.w[usize::from(*lo)], &self.warp.w[usize::from(*hi)]);
                let mut r = [0; LANES];
                for i in 0..LANES {
                    r[i] = u64::from(hi[i]) << 32 | u64::from(lo[i]);
                }
                self.warp.put_d(*d, m, &r);
            }
            Op::Unpack { lo, hi, a } => {
                self.use_d(*a, m);
                let a = self.warp.d[usize::from(*a)];
                if let Some(lo) = lo {
                    self.warp.put_w(*lo, m, &a.map(|v| v as u32));
                }
                if let Some(hi) = hi {
                    self.warp.put_w(*hi, m, &a.map(|v| (v >> 32) as u32));
                }
            }
            Op::SetW { f, a, b, out } => {
                self.use_w(*a, m);
                self.use_w(*b, m);
                let bits = f(&self.warp.w[usize::from(*a)], &self.warp.w[usize::from(*b)]);
                self.put_compare(bits, out, m);
            }
            Op::SetD { f, a, b, out } => {
                self.use_d(*a, m);
                self.use_d(*b, m);
                let bits = f(&self.warp.d[usize::from(*a)], &self.warp.d[usize::from(*b)]);
                self.put_compare(bits, out, m);
            }
            Op::SelW { d, a, b, p } => {
                self.use_p(*p, m);
                let p = self.warp.p[usize::from(*p)];
                self.use_w(*a, m & p);
                self.use_w(*b, m & !p);
                let (a, b) = (&self.warp.w[usize::from(*a)], &self.warp.w[usize::from(*b)]);
                let mut r = [0; LANES];
                for i in 0..LANES {
                    r[i] = if p >> i & 1 != 0 { a[i] } else { b[i] };
                }
                self.warp.put_w(*d, m, &r);
            }
            Op::SelD { d, a, b, p } => {
                self.use_p(*p, m);
                let p = self.warp.p[usize::from(*p)];
                self.use_d(*a, m & p);
                self.use_d(*b, m & !p);
                let (a, b) = (&self.warp.d[usize::from(*a)], &self.warp.d[usize::from(*b)]);
                let mut r = [0; LANES];
                for i in 0..LANES {
                    r[i] = if p >> i & 1 != 0 { a[i] } else { b[i] };
                }
                self.warp.put_d(*d, m, &r);
            }
            Op::Pred { f, d, a, b } => {
                self.use_p(*a, m);
                self.use_p(*b, m);
                let r = f(self.warp.p[usize::from(*a)], self.warp.p[usize::from(*b)]);
                self.warp.put_p(*d, m, r);
            }
            Op::Carry { f, d, a, b, read, write } => {
                self.use_reg(*a, m);
                self.use_reg(*b, m);
                for lane in (0..LANES).filter(|l| m >> l & 1 != 0) {
                    let carry = *read && self.warp.carry >> lane & 1 != 0;
                    let (v, out) = f(self.warp.get(*a, lane), self.warp.get(*b, lane), carry);
                    self.warp.set(*d, lane, v);
                    if *write {
                        self.warp.carry = self.warp.carry & !(1 << lane) | u32::from(out) << lane;
                    }
                }
            }
            Op::Any { f, imm, d, s } => {
                for r in s {
                    self.use_reg(*r, m);
                }
                for lane in (0..LANES).filter(|l| m >> l & 1 != 0) {
                    let w = &self.warp;
                    let v = f(w.get(s[0], lane), w.get(s[1], lane), w.get(s[2], lane), *imm);
                    self.warp.set(*d, lane, v);
                }
            }
            Op::Clock { d } => {
                self.cta.clock += 4;
                for lane in (0..LANES).filter(|l| m >> l & 1 != 0) {
                    self.warp.set(*d, lane, self.cta.clock);
                }
            }
            Op::Bra { target } => return Flow::Jump(*target, m),
            Op::Brx { index, targets } => {
                self.use_w(*index, m);
                let row = self.warp.w[usize::from(*index)];
                let first = row[m.trailing_zeros() as usize];
                let same = (0..LANES).filter(|&l| m >> l & 1 != 0 && row[l] == first).fold(0, |acc, l| acc | 1 << l);
                return match targets.get(first as usize) {
                    Some(&t) if same == m => Flow::Jump(t, m),
                    // The others come back here as a part of their own.
                    Some(&t) => {
                        self.warp.parts.push(Part { pc: t, mask: same, state: State::Ready });
                        Flow::Split(same)
                    }
                    None => self.deadlock(format!("brx.idx: index {first} of {} targets", targets.len())),
                };
            }
            Op::Exit => return Flow::Exit(m),
            Op::Trap => {
                let (kernel, line) = (self.prog.name.clone(), self.line());
                let thread = self.thread(m.trailing_zeros());
                return Flow::Fault(Fault::Trap { kernel, line, block: self.cta.block, thread }.into());
            }
            Op::Nanosleep => return Flow::Yield,
            Op::Nop | Op::Prefetch | Op::DepLaunch => {
                if matches!(inst.op, Op::DepLaunch) && !self.warp.waited {
                    self.launch.early_trigger();
                }
            }
            _ => return self.step_memory(&inst.op, m, mask, forced),
        }
        Flow::Next
    }

    pub fn deadlock(&self, message: String) -> Flow {
        let (kernel, line) = (self.prog.name.clone(), self.line());
        Flow::Fault(Fault::Deadlock { kernel, line, block: self.cta.block, message }.into())
    }

    fn put_compare(&mut self, bits: u32, out: &PredOut, m: u32) {
        let (mut d, mut q) = (bits, !bits);
        if let Some((op, c)) = out.combine {
            self.use_p(c, m);
            let c = self.warp.p[usize::from(c)];
            (d, q) = match op {
                Bool::And => (d & c, q & c),
                Bool::Or => (d | c, q | c),
                Bool::Xor => (d ^ c, q ^ c),
            };
        }
        self.warp.put_p(out.d, m, d);
        if let Some(r) = out.q {
            self.warp.put_p(r, m, q);
        }
    }

    /// Memory and everything that involves more than one lane.
    fn step_memory(&mut self, op: &Op, m: u32, active: u32, forced: bool) -> Flow {
        match op {
            Op::Ld(mem) => self.load(mem, m),
            Op::St(mem) => self.store(mem, m),
            Op::Atom(a) => self.atomic(a, m),
            Op::CpAsync(c) => self.cp_async(c, m),
            Op::CpCommit => (0..LANES).filter(|l| m >> l & 1 != 0).for_each(|l| self.warp.committed[l] += 1),
            Op::CpWait(n) => self.cp_wait(*n, m),
            Op::LdMatrix(l) => return self.ldmatrix(l, m, true, forced),
            Op::StMatrix(l) => return self.ldmatrix(l, m, false, forced),
            Op::Mma(mma) => return self.mma(mma, m, forced),
            Op::Shfl(s) => return self.shuffle(s, m, forced),
            Op::Vote { mode, d, a, negate, mask } => return self.vote((*mode, *d, *a, *negate, *mask), m, forced),
            Op::Match { all, d, p, a, mask } => {
                return self.matching((*all, *d, *p, *a, *mask), m, forced);
            }
            Op::Redux { f, d, a, mask } => return self.redux(*f, (*d, *a, *mask), m, forced),
            Op::Elect { d, p, mask } => return self.elect(*d, *p, *mask, m, forced),
            Op::ActiveMask { d } => self.warp.put_w(*d, m, &[m; LANES]),
            Op::WarpSync { mask } => return self.warp_sync(*mask, m, forced),
            Op::Bar(bar) => return self.barrier(bar, m, active, forced),
            Op::Fence => {
                std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
                self.warp.fenced = true;
            }
            Op::DepWait => self.warp.waited = true,
            Op::IsSpace { space, d, a } => {
                self.use_d(*a, m);
                let a = self.warp.d[usize::from(*a)];
                let bits = (0..LANES).fold(0, |acc, l| acc | u32::from(crate::exec_mem::in_space(a[l], *space)) << l);
                self.warp.put_p(*d, m, bits);
            }
            Op::Printf { format, args, ret } => self.printf(*format, *args, *ret, m),
            _ => {}
        }
        Flow::Next
    }

    /// Is the mask the whole warp, as far as it exists?
    pub fn whole(&self, m: u32) -> bool {
        m == FULL || m == self.warp.lanes
    }
}
