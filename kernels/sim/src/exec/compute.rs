//! Operations on the registers of one lane at a time: the calls of row functions, and what no row function expresses.

use super::Exec;
use super::memory::lanes;
use crate::ir::*;

/// `apply!(self, m, f(w a, d b) -> d c)`: checks that the sources have values in the lanes `m`, calls the row function
/// `f`, and stores its result in these lanes. `w` and `d` are the register files of 32 and 64 bits.
macro_rules! apply {
    ($x:ident, $m:ident, $f:ident($($file:ident $source:ident),+) -> $to:ident $d:ident) => {{
        $(apply!(use $file, $x, *$source, $m);)+
        let mut result = [0; LANES];
        $f($(&$x.warp.$file[usize::from(*$source)],)+ &mut result);
        apply!(put $to, $x, *$d, $m, &result);
    }};
    (use w, $x:ident, $r:expr, $m:ident) => { $x.use_w($r, $m) };
    (use d, $x:ident, $r:expr, $m:ident) => { $x.use_d($r, $m) };
    (put w, $x:ident, $r:expr, $m:ident, $row:expr) => { $x.warp.put_w($r, $m, $row) };
    (put d, $x:ident, $r:expr, $m:ident, $row:expr) => { $x.warp.put_d($r, $m, $row) };
}

pub(super) use apply;

impl Exec<'_> {
    /// `lop3`: bit `4 a + 2 b + c` of the table is the result for the bits `a`, `b` and `c`.
    pub(super) fn lop3(&mut self, lut: u8, d: R, [a, b, c]: [R; 3], m: u32) {
        // An operand that the table ignores need not have a value.
        let t = u32::from(lut);
        for (r, change) in [(a, (t ^ t >> 4) & 0x0f), (b, (t ^ t >> 2) & 0x33), (c, (t ^ t >> 1) & 0x55)] {
            if change != 0 {
                self.use_w(r, m);
            }
        }
        let w = &self.warp.w;
        let (a, b, c) = (&w[usize::from(a)], &w[usize::from(b)], &w[usize::from(c)]);
        let mut r = [0; LANES];
        for k in (0..8).filter(|k| t >> k & 1 != 0) {
            let (fa, fb, fc) = ((k >> 2 & 1) - 1, (k >> 1 & 1) - 1, (k & 1) - 1);
            for i in 0..LANES {
                r[i] |= (a[i] ^ fa as u32) & (b[i] ^ fb as u32) & (c[i] ^ fc as u32);
            }
        }
        self.warp.put_w(d, m, &r);
    }

    pub(super) fn pack(&mut self, d: R, lo: R, hi: R, m: u32) {
        self.use_w(lo, m);
        self.use_w(hi, m);
        let (lo, hi) = (&self.warp.w[usize::from(lo)], &self.warp.w[usize::from(hi)]);
        let mut r = [0; LANES];
        for i in 0..LANES {
            r[i] = u64::from(hi[i]) << 32 | u64::from(lo[i]);
        }
        self.warp.put_d(d, m, &r);
    }

    pub(super) fn unpack(&mut self, lo: Option<R>, hi: Option<R>, a: R, m: u32) {
        self.use_d(a, m);
        let a = self.warp.d[usize::from(a)];
        if let Some(lo) = lo {
            self.warp.put_w(lo, m, &a.map(|v| v as u32));
        }
        if let Some(hi) = hi {
            self.warp.put_w(hi, m, &a.map(|v| (v >> 32) as u32));
        }
    }

    /// Stores the result of a comparison, one bit per lane.
    pub(super) fn put_compare(&mut self, bits: u32, out: &PredOut, m: u32) {
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

    /// `a` where the predicate holds, else `b`. Only the operand that a lane takes needs a value there.
    pub(super) fn select_w(&mut self, d: R, a: R, b: R, p: R, m: u32) {
        let p = self.predicate(p, m);
        self.use_w(a, m & p);
        self.use_w(b, m & !p);
        let r = select(p, &self.warp.w[usize::from(a)], &self.warp.w[usize::from(b)]);
        self.warp.put_w(d, m, &r);
    }

    pub(super) fn select_d(&mut self, d: R, a: R, b: R, p: R, m: u32) {
        let p = self.predicate(p, m);
        self.use_d(a, m & p);
        self.use_d(b, m & !p);
        let r = select(p, &self.warp.d[usize::from(a)], &self.warp.d[usize::from(b)]);
        self.warp.put_d(d, m, &r);
    }

    fn predicate(&mut self, p: R, m: u32) -> u32 {
        self.use_p(p, m);
        self.warp.p[usize::from(p)]
    }

    /// Addition with carry: `read` takes the carry of each lane, `write` sets it.
    pub(super) fn carry(
        &mut self,
        f: fn(u64, u64, bool) -> (u64, bool),
        [d, a, b]: [Reg; 3],
        read: bool,
        write: bool,
        m: u32,
    ) {
        self.use_reg(a, m);
        self.use_reg(b, m);
        for lane in lanes(m) {
            let carry = read && self.warp.carry >> lane & 1 != 0;
            let (v, out) = f(self.warp.get(a, lane), self.warp.get(b, lane), carry);
            self.warp.set(d, lane, v);
            if write {
                self.warp.carry = self.warp.carry & !(1 << lane) | u32::from(out) << lane;
            }
        }
    }

    pub(super) fn any(&mut self, f: Any, imm: u32, d: Reg, s: [Reg; 3], m: u32) {
        for r in s {
            self.use_reg(r, m);
        }
        for lane in lanes(m) {
            let w = &self.warp;
            let v = f(w.get(s[0], lane), w.get(s[1], lane), w.get(s[2], lane), imm);
            self.warp.set(d, lane, v);
        }
    }

    pub(super) fn clock(&mut self, d: Reg, m: u32) {
        self.cta.clock += 4;
        for lane in lanes(m) {
            self.warp.set(d, lane, self.cta.clock);
        }
    }

    /// A bit for each lane whose generic address lies in the space.
    pub(super) fn is_space(&mut self, space: crate::ty::Space, d: R, a: R, m: u32) {
        self.use_d(a, m);
        let a = self.warp.d[usize::from(a)];
        let bits = (0..LANES).fold(0, |acc, l| acc | u32::from(in_space(a[l], space)) << l);
        self.warp.put_p(d, m, bits);
    }
}

#[inline]
fn select<T: Copy + Default>(p: u32, a: &[T; LANES], b: &[T; LANES]) -> [T; LANES] {
    let mut r = [T::default(); LANES];
    for i in 0..LANES {
        r[i] = if p >> i & 1 != 0 { a[i] } else { b[i] };
    }
    r
}
