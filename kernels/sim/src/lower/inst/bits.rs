//! Instructions on the bits of a register: permutations, counts, fields, masks.

use crate::error::At;
use crate::ir::*;
use crate::lower::context::Lower;
use crate::lower::modifiers::Mods;
use crate::lower::rows::*;
use crate::parse::ast::AstInst;
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

/// `bfi`: the lowest bits of `a` into `b`. `c`: position, and length times 256.
fn bit_field_insert(a: u64, b: u64, c: u64, bits: u32) -> u64 {
    let (pos, len) = (c as u32 & 0xff, (c as u32 >> 8) & 0xff);
    let mut d = b;
    for i in 0..len {
        if pos + i < bits {
            d = d & !(1 << (pos + i)) | (if i < bits { (a >> i) & 1 } else { 0 }) << (pos + i);
        }
    }
    d
}

impl Lower<'_> {
    pub fn bits(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        match i.op[0].as_str() {
            "prmt" => self.permute(i, m),
            "popc" | "clz" | "brev" | "bfind" => self.count_bits(i, m),
            "bfe" => self.field_extract(i, m),
            "bfi" => self.field_insert(i, m),
            "bmsk" => self.bit_mask(i, m),
            "szext" => self.sign_or_zero_extend(i, m),
            _ => Ok(false),
        }
    }

    fn permute(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        if m.ty()? != Ty::B32 {
            return m.unknown();
        }
        let mode = m.one_of(&[("f4e", 0), ("b4e", 1), ("rc8", 2), ("ecl", 3), ("ecr", 4), ("rc16", 5)]);
        if let Some(mode) = mode {
            return self.any(i, Class::Integer, prmt_mode, mode, Ty::B32, [Ty::B32; 3]);
        }
        self.three(i, Class::Integer, w3!(|a, b, c| prmt(a, b, c)), [Ty::B32; 3])
    }

    fn count_bits(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        let shift = m.take("shiftamt");
        let ty = m.ty()?;
        let imm = (8 * ty.size()) | u32::from(ty.signed()) << 8 | u32::from(shift) << 9;
        let (f, d): (Any, Ty) = match i.op[0].as_str() {
            "popc" => (|a, _, _, _| u64::from(a.count_ones()), Ty::U32),
            "clz" => (|a, _, _, imm| u64::from(a.leading_zeros() + (imm & 0xff) - 64), Ty::U32),
            "brev" => (|a, _, _, imm| reverse(a, imm & 0xff), ty),
            _ => (|a, _, _, imm| find_msb(a, imm), Ty::U32),
        };
        self.args::<2>(i)?;
        self.any(i, Class::Integer, f, imm, d, [ty; 3])
    }

    fn field_extract(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        let ty = m.ty()?;
        self.args::<4>(i)?;
        if ty == Ty::U32 {
            let f = w3!(|a, b, c| {
                let (pos, len) = (b & 0xff, c & 0xff);
                let shifted = if pos > 31 { 0 } else { a >> pos };
                if len > 31 { shifted } else { shifted & ((1 << len) - 1) }
            });
            return self.three(i, Class::Integer, f, [ty; 3]);
        }
        let imm = (8 * ty.size()) | (u32::from(ty.signed()) << 8);
        self.any(i, Class::Integer, bit_field_extract, imm, ty, [ty, Ty::U32, Ty::U32])
    }

    fn field_insert(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        let ty = m.ty()?;
        let [d, a, b, pos, len] = self.args(i)?;
        let (pos, len) = (self.w(pos, Ty::U32)?, self.w(len, Ty::U32)?);
        let joined = self.new_w()?;
        let f = w2!(|a, b| (a & 0xff) | (b & 0xff) << 8);
        self.emit(Class::Integer, Op::W2 { f, d: joined, a: pos, b: len });
        let s = [self.src(a, ty)?, self.src(b, ty)?, Reg::W(joined)];
        let d = self.dst(d, ty)?;
        self.emit(Class::Integer, Op::Any { f: bit_field_insert, imm: 8 * ty.size(), d, s });
        Ok(true)
    }

    fn bit_mask(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
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

    fn sign_or_zero_extend(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
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
        let imm = u32::from(wrap) | u32::from(ty.signed()) << 1;
        self.any(i, Class::Integer, f, imm, ty, [ty, Ty::U32, Ty::U32])
    }
}
