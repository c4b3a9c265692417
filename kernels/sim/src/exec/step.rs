//! One instruction for all lanes of a part.

use crate::error::Fault;
use crate::exec::warp::{FULL, Part, State};
use crate::exec::{Exec, Flow};
use crate::ir::*;

impl Exec<'_> {
    pub fn step(&mut self, mask: u32, forced: bool) -> Flow {
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
                let bits = (0..LANES).fold(0, |acc, l| acc | u32::from(in_space(a[l], *space)) << l);
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
