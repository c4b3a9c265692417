//! One instruction for all lanes of a part: counts it, and hands it to the code for its operation.

use std::sync::atomic::{Ordering::SeqCst, fence};

use super::compute::apply;
use super::memory::lanes;
use super::warp::{FULL, Part, State};
use super::{Exec, Flow};
use crate::error::Fault;
use crate::ir::*;

impl Exec<'_> {
    /// `mask`: lanes of the part. `forced`: it no longer waits for other lanes.
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
            Op::W1 { f, d, a } => apply!(self, m, f(w a) -> w d),
            Op::W2 { f, d, a, b } => apply!(self, m, f(w a, w b) -> w d),
            Op::W3 { f, d, a, b, c } => apply!(self, m, f(w a, w b, w c) -> w d),
            Op::Lop3 { lut, d, a, b, c } => self.lop3(*lut, *d, [*a, *b, *c], m),
            Op::D1 { f, d, a } => apply!(self, m, f(d a) -> d d),
            Op::D2 { f, d, a, b } => apply!(self, m, f(d a, d b) -> d d),
            Op::D3 { f, d, a, b, c } => apply!(self, m, f(d a, d b, d c) -> d d),
            Op::Widen { f, d, a } => apply!(self, m, f(w a) -> d d),
            Op::Narrow { f, d, a } => apply!(self, m, f(d a) -> w d),
            Op::Wide2 { f, d, a, b } => apply!(self, m, f(w a, w b) -> d d),
            Op::Wide3 { f, d, a, b, c } => apply!(self, m, f(w a, w b, d c) -> d d),
            Op::Shift64 { f, d, a, b } => apply!(self, m, f(d a, w b) -> d d),
            Op::Pack { d, lo, hi } => self.pack(*d, *lo, *hi, m),
            Op::Unpack { lo, hi, a } => self.unpack(*lo, *hi, *a, m),
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
            Op::SelW { d, a, b, p } => self.select_w(*d, *a, *b, *p, m),
            Op::SelD { d, a, b, p } => self.select_d(*d, *a, *b, *p, m),
            Op::Pred { f, d, a, b } => {
                self.use_p(*a, m);
                self.use_p(*b, m);
                let r = f(self.warp.p[usize::from(*a)], self.warp.p[usize::from(*b)]);
                self.warp.put_p(*d, m, r);
            }
            Op::Carry { f, d, a, b, read, write } => self.carry(*f, [*d, *a, *b], *read, *write, m),
            Op::Any { f, imm, d, s } => self.any(*f, *imm, *d, *s, m),
            Op::Clock { d } => self.clock(*d, m),
            Op::IsSpace { space, d, a } => self.is_space(*space, *d, *a, m),

            Op::Ld(mem) => self.load(mem, m),
            Op::St(mem) => self.store(mem, m),
            Op::Atom(a) => self.atomic(a, m),
            Op::CpAsync(c) => self.cp_async(c, m),
            Op::CpCommit => lanes(m).for_each(|l| self.warp.committed[l] += 1),
            Op::CpWait(n) => self.cp_wait(*n, m),
            Op::LdMatrix(l) => return self.ldmatrix(l, m, true, forced),
            Op::MovMatrix { d, a } => return self.movmatrix(*d, *a, m, forced),
            Op::StMatrix(l) => return self.ldmatrix(l, m, false, forced),
            Op::Printf { format, args, ret } => self.printf(*format, *args, *ret, m),

            Op::Mma(mma) => return self.mma(mma, m, forced),
            Op::WmmaLoad(w) => return self.wmma_move(w, m, true, forced),
            Op::WmmaStore(w) => return self.wmma_move(w, m, false, forced),
            Op::Wmma(w) => return self.wmma(w, m, forced),
            Op::Shfl(s) => return self.shuffle(s, m, forced),
            Op::Vote { mode, d, a, negate, mask } => return self.vote((*mode, *d, *a, *negate, *mask), m, forced),
            Op::Match { all, d, p, a, mask } => return self.matching((*all, *d, *p, *a, *mask), m, forced),
            Op::Redux { f, d, a, mask } => return self.redux(*f, (*d, *a, *mask), m, forced),
            Op::Elect { d, p, mask } => return self.elect(*d, *p, *mask, m, forced),
            Op::ActiveMask { d } => self.warp.put_w(*d, m, &[m; LANES]),
            Op::WarpSync { mask } => return self.warp_sync(*mask, m, forced),
            Op::Bar(bar) => return self.barrier(bar, m, mask, forced),
            Op::Fence => {
                fence(SeqCst);
                self.warp.fenced = true;
            }
            Op::DepWait => self.warp.waited = true,
            Op::DepLaunch => self.launch_dependents(),

            Op::Bra { target } => return Flow::Jump(*target, m),
            Op::Brx { index, targets } => return self.indexed_branch(*index, targets, m),
            Op::Exit => return Flow::Exit(m),
            Op::Trap => return self.trap(m),
            Op::Nanosleep => return Flow::Yield,
            Op::Nop | Op::Prefetch => {}
        }
        Flow::Next
    }

    fn launch_dependents(&self) {
        if !self.warp.waited {
            self.launch.early_trigger();
        }
    }

    /// `brx.idx`: the lanes that share the first lane's target go there; the others execute the instruction again.
    fn indexed_branch(&mut self, index: R, targets: &[u32], m: u32) -> Flow {
        self.use_w(index, m);
        let row = self.warp.w[usize::from(index)];
        let first = row[m.trailing_zeros() as usize];
        let same = lanes(m).filter(|&l| row[l] == first).fold(0, |acc, l| acc | 1 << l);
        match targets.get(first as usize) {
            Some(&t) if same == m => Flow::Jump(t, m),
            Some(&t) => {
                self.warp.parts.push(Part { pc: t, mask: same, state: State::Ready });
                Flow::Split(same)
            }
            None => self.deadlock(format!("brx.idx: index {first} of {} targets", targets.len())),
        }
    }

    fn trap(&self, m: u32) -> Flow {
        let (kernel, line) = (self.prog.name.clone(), self.line());
        let thread = self.thread(m.trailing_zeros());
        Flow::Fault(Fault::Trap { kernel, line, block: self.cta.block, thread }.into())
    }

    pub fn deadlock(&self, message: String) -> Flow {
        let (kernel, line) = (self.prog.name.clone(), self.line());
        Flow::Fault(Fault::Deadlock { kernel, line, block: self.cta.block, message }.into())
    }

    /// True if the mask has all lanes of the warp that exist.
    pub fn whole(&self, m: u32) -> bool {
        m == FULL || m == self.warp.lanes
    }
}
