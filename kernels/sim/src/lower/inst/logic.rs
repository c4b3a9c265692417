//! Logic, shifts, bit fields, comparisons, selections and moves.

use crate::error::At;
use crate::ir::*;
use crate::lower::Lower;
use crate::lower::operands::Mods;
use crate::lower::rows::*;
use crate::parse::ast::{Arg, AstInst};
use crate::ty::Ty;

/// `prmt` in its default mode: nibble `i` of the selector names one of eight bytes, its top bit replicates the sign.
fn prmt(a: u32, b: u32, c: u32) -> u32 {
    let bytes = u64::from(b) << 32 | u64::from(a);
    let mut d = 0;
    for i in 0..4 {
        let sel = c >> (4 * i);
        let mut v = (bytes >> (8 * (sel & 7))) as u8;
        if sel & 8 != 0 {
            v = ((v as i8) >> 7) as u8;
        }
        d |= u32::from(v) << (8 * i);
    }
    d
}

/// The special modes of `prmt` use only the two low bits of the selector.
fn prmt_mode(a: u64, b: u64, c: u64, mode: u32) -> u64 {
    let s = c as u32 & 3;
    let pick = |i: u32| -> u32 {
        match mode {
            0 => s + i,
            1 => (s + 8 - i) & 7,
            2 => s,
            3 => i.max(s),
            4 => i.min(s),
            _ => ((s & 1) * 2) + (i & 1),
        }
    };
    let sel = (0..4).fold(0, |acc, i| acc | (pick(i) & 7) << (4 * i));
    u64::from(prmt(a as u32, b as u32, sel))
}

fn bit_field_extract(a: u64, b: u64, c: u64, imm: u32) -> u64 {
    let (bits, signed) = (imm & 0xff, imm & 0x100 != 0);
    let (pos, len) = (b as u32 & 0xff, c as u32 & 0xff);
    let sign_at = pos.saturating_add(len).saturating_sub(1).min(bits - 1);
    let sign = signed && len > 0 && (a >> sign_at) & 1 != 0;
    let mut d = 0;
    for i in 0..bits {
        let set = if i < len && pos + i < bits { (a >> (pos + i)) & 1 != 0 } else { sign };
        d |= u64::from(set) << i;
    }
    d
}

fn reverse(a: u64, bits: u32) -> u64 {
    if bits == 64 { a.reverse_bits() } else { u64::from((a as u32).reverse_bits()) }
}

/// Position of the most significant bit that differs from the sign, or the shift that would bring it to the top.
fn find_msb(a: u64, imm: u32) -> u64 {
    let (bits, signed, shift) = (imm & 0xff, imm & 0x100 != 0, imm & 0x200 != 0);
    let mut v = if bits == 64 { a } else { a & 0xffff_ffff };
    if signed && (v >> (bits - 1)) & 1 != 0 {
        v = !v & if bits == 64 { u64::MAX } else { 0xffff_ffff };
    }
    if v == 0 {
        return 0xffff_ffff;
    }
    let msb = 63 - v.leading_zeros();
    u64::from(if shift { bits - 1 - msb } else { msb })
}

impl Lower<'_> {
    /// A rarely used instruction, one lane at a time.
    pub fn any(&mut self, i: &AstInst, class: Class, f: Any, imm: u32, d: Ty, s: [Ty; 3]) -> Result<bool, At> {
        let n = i.args.len().saturating_sub(1);
        let mut regs = [None; 3];
        for (k, r) in regs.iter_mut().enumerate().take(n.min(3)) {
            let reg = self.src(&i.args[k + 1], s[k])?;
            *r = Some(self.fits(&i.args[k + 1], reg, s[k], false)?);
        }
        let Some(first) = regs[0] else {
            return self.err("operands missing");
        };
        let regs = regs.map(|r| r.unwrap_or(first));
        let reg = self.dst(&i.args[0], d)?;
        let d = self.fits(&i.args[0], reg, d, false)?;
        self.emit(class, Op::Any { f, imm, d, s: regs });
        Ok(true)
    }

    pub fn logic(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        let name = i.op[0].as_str();
        match name {
            "and" | "or" | "xor" | "not" | "cnot" => self.bitwise(i, m),
            "shl" | "shr" => self.shift(i, m),
            "shf" => {
                let wrap = m.take("wrap");
                if !wrap && !m.take("clamp") {
                    return m.unknown();
                }
                let right = m.take("r");
                if !right && !m.take("l") || m.ty()? != Ty::B32 {
                    return m.unknown();
                }
                let [d, a, b, c] = self.args(i)?;
                let f: W3 = match (right, wrap) {
                    (true, true) => {
                        w3!(|a, b, c| ((u64::from(b) << 32 | u64::from(a)) >> (c & 31)) as u32)
                    }
                    (true, false) => {
                        w3!(|a, b, c| ((u64::from(b) << 32 | u64::from(a)) >> c.min(32)) as u32)
                    }
                    (false, true) => w3!(|a, b, c| (((u64::from(b) << 32 | u64::from(a)) << (c & 31)) >> 32) as u32),
                    (false, false) => w3!(|a, b, c| (((u64::from(b) << 32 | u64::from(a)) << c.min(32)) >> 32) as u32),
                };
                let op = Op::W3 {
                    f,
                    d: self.wd(d)?,
                    a: self.w(a, Ty::B32)?,
                    b: self.w(b, Ty::B32)?,
                    c: self.w(c, Ty::U32)?,
                };
                self.emit(Class::Integer, op);
                Ok(true)
            }
            "lop3" => {
                if m.ty()? != Ty::B32 {
                    return m.unknown();
                }
                let [d, a, b, c, Arg::Int(lut @ 0..=255)] = self.args(i)? else {
                    return self.err("lop3 without a table");
                };
                let (d, a, b, c) = (self.wd(d)?, self.w(a, Ty::B32)?, self.w(b, Ty::B32)?, self.w(c, Ty::B32)?);
                let f: Option<W3> = match *lut as u8 {
                    0xea => Some(w3!(|a, b, c| (a & b) | c)),
                    0xf8 => Some(w3!(|a, b, c| a | (b & c))),
                    0x96 => Some(w3!(|a, b, c| a ^ b ^ c)),
                    0x6a => Some(w3!(|a, b, c| (a & b) ^ c)),
                    0xca => Some(w3!(|a, b, c| (a & b) | (!a & c))),
                    _ => None,
                };
                self.emit(
                    Class::Integer,
                    match f {
                        Some(f) => Op::W3 { f, d, a, b, c },
                        None => Op::Lop3 { lut: *lut as u8, d, a, b, c },
                    },
                );
                Ok(true)
            }
            "prmt" => {
                if m.ty()? != Ty::B32 {
                    return m.unknown();
                }
                let mode = m.one_of(&[("f4e", 0), ("b4e", 1), ("rc8", 2), ("ecl", 3), ("ecr", 4), ("rc16", 5)]);
                if let Some(mode) = mode {
                    return self.any(i, Class::Integer, prmt_mode, mode, Ty::B32, [Ty::B32; 3]);
                }
                let [d, a, b, c] = self.args(i)?;
                let op = Op::W3 {
                    f: w3!(|a, b, c| prmt(a, b, c)),
                    d: self.wd(d)?,
                    a: self.w(a, Ty::B32)?,
                    b: self.w(b, Ty::B32)?,
                    c: self.w(c, Ty::B32)?,
                };
                self.emit(Class::Integer, op);
                Ok(true)
            }
            "popc" | "clz" | "brev" | "bfind" => {
                let shift = m.take("shiftamt");
                let ty = m.ty()?;
                let bits = 8 * ty.size();
                let imm = bits | u32::from(ty.signed()) << 8 | u32::from(shift) << 9;
                let (f, d): (Any, Ty) = match name {
                    "popc" => (|a, _, _, _| u64::from(a.count_ones()), Ty::U32),
                    "clz" => (|a, _, _, imm| u64::from(a.leading_zeros() + (imm & 0xff) - 64), Ty::U32),
                    "brev" => (|a, _, _, imm| reverse(a, imm & 0xff), ty),
                    _ => (|a, _, _, imm| find_msb(a, imm), Ty::U32),
                };
                self.args::<2>(i)?;
                self.any(i, Class::Integer, f, imm, d, [ty; 3])
            }
            "bfe" => {
                let ty = m.ty()?;
                self.args::<4>(i)?;
                if ty == Ty::U32 {
                    let f = w3!(|a, b, c| {
                        let (pos, len) = (b & 0xff, c & 0xff);
                        let shifted = if pos > 31 { 0 } else { a >> pos };
                        if len > 31 { shifted } else { shifted & ((1 << len) - 1) }
                    });
                    let [d, a, b, c] = self.args(i)?;
                    let op =
                        Op::W3 { f, d: self.wd(d)?, a: self.w(a, ty)?, b: self.w(b, Ty::U32)?, c: self.w(c, Ty::U32)? };
                    self.emit(Class::Integer, op);
                    return Ok(true);
                }
                let imm = (8 * ty.size()) | (u32::from(ty.signed()) << 8);
                self.any(i, Class::Integer, bit_field_extract, imm, ty, [ty, Ty::U32, Ty::U32])
            }
            "bfi" => {
                let ty = m.ty()?;
                let [d, a, b, c, e] = self.args(i)?;
                // Position and length are joined into one operand: a helper row holds pos | len << 8.
                let (pos, len) = (self.w(c, Ty::U32)?, self.w(e, Ty::U32)?);
                let Reg::W(t) = self.new_reg(Ty::B32)? else {
                    return m.unknown();
                };
                self.emit(Class::Integer, Op::W2 { f: w2!(|a, b| (a & 0xff) | (b & 0xff) << 8), d: t, a: pos, b: len });
                let f: Any = |a, b, c, bits| {
                    let (pos, len) = (c as u32 & 0xff, (c as u32 >> 8) & 0xff);
                    let mut d = b;
                    for i in 0..len {
                        if pos + i < bits {
                            d = d & !(1 << (pos + i)) | (if i < bits { (a >> i) & 1 } else { 0 }) << (pos + i);
                        }
                    }
                    d
                };
                let s = [self.src(a, ty)?, self.src(b, ty)?, Reg::W(t)];
                let d = self.dst(d, ty)?;
                self.emit(Class::Integer, Op::Any { f, imm: 8 * ty.size(), d, s });
                Ok(true)
            }
            "bmsk" => {
                let wrap = m.take("wrap");
                if !wrap && !m.take("clamp") || m.ty()? != Ty::B32 {
                    return m.unknown();
                }
                let f: Any = |a, b, _, wrap| {
                    let (pos, len) = if wrap != 0 { (a & 31, b & 31) } else { (a.min(32), b.min(32)) };
                    (((1u64 << len) - 1) << pos) & 0xffff_ffff
                };
                self.any(i, Class::Integer, f, u32::from(wrap), Ty::B32, [Ty::U32; 3])
            }
            "szext" => {
                let wrap = m.take("wrap");
                if !wrap && !m.take("clamp") {
                    return m.unknown();
                }
                let ty = m.ty()?;
                let f: Any = |a, b, _, imm| {
                    let n = if imm & 1 != 0 { b as u32 & 31 } else { (b as u32).min(32) };
                    let v = a as u32;
                    u64::from(match (n, imm & 2 != 0) {
                        (0, _) => 0,
                        (32.., _) => v,
                        (n, true) => ((v << (32 - n)) as i32 >> (32 - n)) as u32,
                        (n, false) => v & ((1 << n) - 1),
                    })
                };
                self.any(
                    i,
                    Class::Integer,
                    f,
                    u32::from(wrap) | u32::from(ty.signed()) << 1,
                    ty,
                    [ty, Ty::U32, Ty::U32],
                )
            }
            "selp" => {
                let ty = m.ty()?;
                let [d, a, b, p] = self.args(i)?;
                let p = self.p(p)?;
                let op = if ty.size() == 8 {
                    Op::SelD { d: self.dd(d)?, a: self.d(a, ty)?, b: self.d(b, ty)?, p }
                } else {
                    Op::SelW { d: self.wd(d)?, a: self.w(a, ty)?, b: self.w(b, ty)?, p }
                };
                self.emit(Class::Move, op);
                Ok(true)
            }
            "slct" => {
                let ftz = m.take("ftz");
                let ty = m.ty()?;
                let c = m.ty()?;
                let f: Any = match (c, ftz) {
                    (Ty::S32, false) => |a, b, c, _| if c as i32 >= 0 { a } else { b },
                    (Ty::F32, _) => |a, b, c, _| {
                        if f32::from_bits(c as u32) >= 0.0 { a } else { b }
                    },
                    _ => return m.unknown(),
                };
                self.any(i, Class::Move, f, 0, ty, [ty, ty, c])
            }
            "mov" => self.mov(i, m),
            _ => Ok(false),
        }
    }

    fn bitwise(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        let ty = m.ty()?;
        let name = i.op[0].as_str();
        if matches!(name, "not" | "cnot") {
            let [d, a] = self.args(i)?;
            let op = match (name, ty.size(), ty) {
                ("not", _, Ty::Pred) => {
                    let a = self.p(a)?;
                    Op::Pred { f: |a, _| !a, d: self.pd(d)?, a, b: a }
                }
                ("not", 8, _) => Op::D1 { f: d1!(|a| !a), d: self.dd(d)?, a: self.d(a, ty)? },
                ("not", 4, _) => Op::W1 { f: w1!(|a| !a), d: self.wd(d)?, a: self.w(a, ty)? },
                ("not", ..) => Op::W1 { f: w1!(|a| !a & 0xffff), d: self.wd(d)?, a: self.w(a, ty)? },
                (_, 8, _) => Op::D1 { f: d1!(|a| u64::from(a == 0)), d: self.dd(d)?, a: self.d(a, ty)? },
                _ => Op::W1 { f: w1!(|a| u32::from(a == 0)), d: self.wd(d)?, a: self.w(a, ty)? },
            };
            self.emit(if ty == Ty::Pred { Class::Predicate } else { Class::Integer }, op);
            return Ok(true);
        }
        let [d, a, b] = self.args(i)?;
        type Fs = (fn(u32, u32) -> u32, W2, D2);
        let (p, w, q): Fs = match name {
            "and" => (|a, b| a & b, w2!(|a, b| a & b), d2!(|a, b| a & b)),
            "or" => (|a, b| a | b, w2!(|a, b| a | b), d2!(|a, b| a | b)),
            _ => (|a, b| a ^ b, w2!(|a, b| a ^ b), d2!(|a, b| a ^ b)),
        };
        let op = match (ty, ty.size()) {
            (Ty::Pred, _) => Op::Pred { f: p, a: self.p(a)?, b: self.p(b)?, d: self.pd(d)? },
            (_, 8) => Op::D2 { f: q, d: self.dd(d)?, a: self.d(a, ty)?, b: self.d(b, ty)? },
            _ => Op::W2 { f: w, d: self.wd(d)?, a: self.w(a, ty)?, b: self.w(b, ty)? },
        };
        self.emit(if ty == Ty::Pred { Class::Predicate } else { Class::Integer }, op);
        Ok(true)
    }

    /// Shifts clamp their amount at the width.
    fn shift(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        let ty = m.ty()?;
        let [d, a, b] = self.args(i)?;
        let left = i.op[0] == "shl";
        let op = if ty.size() == 8 {
            let f: fn(&Row64, &Row, &mut Row64) = match (left, ty.signed()) {
                (true, _) => mixed!((a: Row64, b: Row) -> Row64, if b > 63 { 0 } else { a << b }),
                (false, true) => {
                    mixed!((a: Row64, b: Row) -> Row64, ((a as i64) >> b.min(63)) as u64)
                }
                (false, false) => {
                    mixed!((a: Row64, b: Row) -> Row64, if b > 63 { 0 } else { a >> b })
                }
            };
            Op::Shift64 { f, d: self.dd(d)?, a: self.d(a, ty)?, b: self.w(b, Ty::U32)? }
        } else {
            let f: W2 = match (left, ty.signed(), ty.size()) {
                (true, _, 4) => w2!(|a, b| if b > 31 { 0 } else { a << b }),
                (true, ..) => w2!(|a, b| if b > 15 { 0 } else { (a << b) & 0xffff }),
                (false, true, 4) => w2!(|a, b| ((a as i32) >> b.min(31)) as u32),
                (false, true, _) => w2!(|a, b| (i32::from(a as i16) >> b.min(15)) as u32 & 0xffff),
                (false, false, _) => w2!(|a, b| if b > 31 { 0 } else { a >> b }),
            };
            Op::W2 { f, d: self.wd(d)?, a: self.w(a, ty)?, b: self.w(b, Ty::U32)? }
        };
        self.emit(Class::Integer, op);
        Ok(true)
    }

    fn mov(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        let ty = m.ty()?;
        let [d, a] = self.args(i)?;
        if let Arg::Name(n) = a
            && (matches!(
                n.as_str(),
                "%clock" | "%clock_hi" | "%clock64" | "%globaltimer" | "%globaltimer_lo" | "%globaltimer_hi"
            ))
        {
            let d = self.dst(d, ty)?;
            self.emit(Class::Move, Op::Clock { d });
            return Ok(true);
        }
        let op = match (d, a) {
            (Arg::List(to), a) => return self.unpack(to, a, ty),
            (d, Arg::List(from)) => return self.pack(d, from, ty),
            (d, a) if ty == Ty::Pred => {
                let a = self.p(a)?;
                Op::Pred { f: |a, _| a, d: self.pd(d)?, a, b: a }
            }
            (d, a) if ty.size() == 8 => match self.src(a, ty)? {
                Reg::D(a) => Op::D1 { f: d1!(|a| a), d: self.dd(d)?, a },
                Reg::W(a) => Op::Widen { f: mixed!((a: Row) -> Row64, u64::from(a)), d: self.dd(d)?, a },
                Reg::P(_) => return self.err("mov of a predicate to 64 bits"),
            },
            (d, a) => Op::W1 { f: w1!(|a| a), d: self.wd(d)?, a: self.w(a, ty)? },
        };
        self.emit(Class::Move, op);
        Ok(true)
    }

    fn pack(&mut self, d: &Arg, from: &[Arg], ty: Ty) -> Result<bool, At> {
        let op = match (ty.size(), from) {
            (8, [lo, hi]) => Op::Pack { d: self.dd(d)?, lo: self.w(lo, Ty::B32)?, hi: self.w(hi, Ty::B32)? },
            (4, [lo, hi]) => Op::W2 {
                f: w2!(|a, b| (a & 0xffff) | b << 16),
                d: self.wd(d)?,
                a: self.w(lo, Ty::B16)?,
                b: self.w(hi, Ty::B16)?,
            },
            (2, [lo, hi]) => Op::W2 {
                f: w2!(|a, b| (a & 0xff) | (b & 0xff) << 8),
                d: self.wd(d)?,
                a: self.w(lo, Ty::B8)?,
                b: self.w(hi, Ty::B8)?,
            },
            (4, [a, b, c, e]) => {
                let (lo, hi) = (self.new_reg(Ty::B16)?, self.new_reg(Ty::B16)?);
                for (t, x, y) in [(lo, a, b), (hi, c, e)] {
                    let Reg::W(t) = t else { return self.err("row") };
                    let op = Op::W2 {
                        f: w2!(|a, b| (a & 0xff) | (b & 0xff) << 8),
                        d: t,
                        a: self.w(x, Ty::B8)?,
                        b: self.w(y, Ty::B8)?,
                    };
                    self.emit(Class::Move, op);
                }
                let (Reg::W(a), Reg::W(b)) = (lo, hi) else {
                    return self.err("row");
                };
                Op::W2 { f: w2!(|a, b| a | b << 16), d: self.wd(d)?, a, b }
            }
            (8, [a, b, c, e]) => {
                let (lo, hi) = (self.new_reg(Ty::B32)?, self.new_reg(Ty::B32)?);
                for (t, x, y) in [(lo, a, b), (hi, c, e)] {
                    let Reg::W(t) = t else { return self.err("row") };
                    let op = Op::W2 {
                        f: w2!(|a, b| (a & 0xffff) | b << 16),
                        d: t,
                        a: self.w(x, Ty::B16)?,
                        b: self.w(y, Ty::B16)?,
                    };
                    self.emit(Class::Move, op);
                }
                let (Reg::W(lo), Reg::W(hi)) = (lo, hi) else {
                    return self.err("row");
                };
                Op::Pack { d: self.dd(d)?, lo, hi }
            }
            _ => return self.err("mov: this way of packing is not supported"),
        };
        self.emit(Class::Move, op);
        Ok(true)
    }

    fn unpack(&mut self, to: &[Arg], a: &Arg, ty: Ty) -> Result<bool, At> {
        let sink = |arg: &Arg| matches!(arg, Arg::Name(n) if n == "_");
        if let (8, [lo, hi]) = (ty.size(), to) {
            let op = Op::Unpack {
                lo: if sink(lo) { None } else { Some(self.wd(lo)?) },
                hi: if sink(hi) { None } else { Some(self.wd(hi)?) },
                a: self.d(a, ty)?,
            };
            self.emit(Class::Move, op);
            return Ok(true);
        }
        let bits = 8 * ty.size() / to.len() as u32;
        if bits * to.len() as u32 != 8 * ty.size() || bits < 8 {
            return self.err("mov: this way of unpacking is not supported");
        }
        let s = self.src(a, ty)?;
        // The source may be among the destinations: read it all first.
        let temps = to.iter().map(|_| self.new_reg(Ty::B32)).collect::<Result<Vec<_>, At>>()?;
        for (k, t) in temps.iter().enumerate() {
            let f: Any = |a, _, _, imm| (a >> (imm & 0xff)) & ((1 << (imm >> 8)) - 1);
            self.emit(Class::Move, Op::Any { f, imm: (k as u32 * bits) | (bits << 8), d: *t, s: [s; 3] });
        }
        for (t, to) in temps.iter().zip(to) {
            let (Reg::W(a), false) = (*t, sink(to)) else {
                continue;
            };
            let d = self.wd(to)?;
            self.emit(Class::Move, Op::W1 { f: w1!(|a| a), d, a });
        }
        Ok(true)
    }
}
