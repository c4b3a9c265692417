//! Instructions on two halves or four bytes of a register: `vadd4`, `vabsdiff2`, `vset4` and the like, without selectors of lanes.

use crate::error::At;
use crate::ir::*;
use crate::lower::context::Lower;
use crate::lower::modifiers::Mods;
use crate::parse::ast::AstInst;
use crate::ty::Ty;

/// What is done in each lane, by the name without the number of lanes.
const OPERATIONS: [(&str, u32); 6] =
    [("vadd", 0), ("vsub", 1), ("vavrg", 2), ("vabsdiff", 3), ("vmin", 4), ("vmax", 5)];

/// What `vset` compares; numbers follow those of [`OPERATIONS`].
const COMPARISONS: [(&str, u32); 6] = [("eq", 6), ("ne", 7), ("lt", 8), ("le", 9), ("gt", 10), ("ge", 11)];

/// Bits of the variant, above the operation.
const BYTES: u32 = 1 << 8;
const A_SIGNED: u32 = 1 << 9;
const B_SIGNED: u32 = 1 << 10;
const D_SIGNED: u32 = 1 << 11;
const SATURATE: u32 = 1 << 12;
/// The results are added up, and to the third operand.
const ADD: u32 = 1 << 13;

/// One lane's exact result.
fn lane(a: i64, b: i64, operation: u32) -> i64 {
    match operation {
        0 => a + b,
        1 => a - b,
        // Halves are rounded away from zero.
        2 if a + b < 0 => (a + b) >> 1,
        2 => (a + b + 1) >> 1,
        3 => (a - b).abs(),
        4 => a.min(b),
        5 => a.max(b),
        6 => i64::from(a == b),
        7 => i64::from(a != b),
        8 => i64::from(a < b),
        9 => i64::from(a <= b),
        10 => i64::from(a > b),
        _ => i64::from(a >= b),
    }
}

fn lanes(a: u64, b: u64, c: u64, variant: u32) -> u64 {
    let bits = if variant & BYTES != 0 { 8 } else { 16 };
    let limit = 1i64 << bits;
    let part = |v: u64, at: u32, signed: bool| {
        let low = (v >> at) as i64 & (limit - 1);
        if signed && low >= limit / 2 { low - limit } else { low }
    };
    let (low, high) = if variant & D_SIGNED != 0 { (-limit / 2, limit / 2 - 1) } else { (0, limit - 1) };
    let (mut packed, mut sum) = (0, c as u32);
    for at in (0..32).step_by(bits) {
        let exact = lane(part(a, at, variant & A_SIGNED != 0), part(b, at, variant & B_SIGNED != 0), variant & 0xff);
        let value = if variant & SATURATE != 0 { exact.clamp(low, high) } else { exact };
        packed |= ((value & (limit - 1)) as u32) << at;
        sum = sum.wrapping_add(value as u32);
    }
    u64::from(if variant & ADD != 0 { sum } else { packed })
}

impl Lower<'_> {
    pub fn simd(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        let name = i.op[0].as_str();
        let stem = name.strip_suffix(['2', '4']).unwrap_or_default();
        let operation = OPERATIONS.iter().find(|(known, _)| *known == stem).map(|(_, n)| *n);
        if operation.is_none() && stem != "vset" {
            return Ok(false);
        }
        let Some(operation) = operation.or_else(|| m.one_of(&COMPARISONS)) else { return m.unknown() };
        let mut variant = operation;
        let mut set = |bit: u32, on: bool| variant |= if on { bit } else { 0 };
        set(BYTES, name.ends_with('4'));
        if stem != "vset" {
            set(D_SIGNED, word(m)? == Ty::S32);
        }
        set(A_SIGNED, word(m)? == Ty::S32);
        set(B_SIGNED, word(m)? == Ty::S32);
        set(SATURATE, m.take("sat"));
        set(ADD, m.take("add"));
        self.any(i, Class::Integer, lanes, variant, Ty::U32, [Ty::U32; 3])?;
        if i.args.len() == 4 { Ok(true) } else { m.wrong_count() }
    }
}

/// The next type: of 32 bits, signed or not.
fn word(m: &mut Mods) -> Result<Ty, At> {
    match m.ty()? {
        ty @ (Ty::U32 | Ty::S32) => Ok(ty),
        _ => m.unknown(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lane_by_itself() {
        let four = |operation: u32, a: u32, b: u32, flags: u32| {
            lanes(a.into(), b.into(), 100, operation | BYTES | flags) as u32
        };
        assert_eq!(four(0, 0x01ff_8005, 0x0101_8001, 0), 0x0200_0006, "wraps");
        assert_eq!(four(0, 0x01ff_8005, 0x0101_8001, SATURATE), 0x02ff_ff06);
        assert_eq!(four(0, 0x7f80_ff01, 0x0180_0101, SATURATE | A_SIGNED | B_SIGNED | D_SIGNED), 0x7f80_0002);
        assert_eq!(four(3, 0x00ff_1020, 0xff00_2010, 0), 0xffff_1010);
        assert_eq!(four(3, 0x00ff_1020, 0xff00_2010, ADD), 100 + 255 + 255 + 16 + 16);
        assert_eq!(four(2, 0x0001_0203, 0x0000_0102, 0), 0x0001_0203);
        assert_eq!(four(2, 0x0000_00fd, 0x0000_00fe, A_SIGNED | B_SIGNED | D_SIGNED), 0x0000_00fd);
        assert_eq!(four(8, 0x0102_ff04, 0x0201_0004, 0), 0x0100_0000);
        assert_eq!(four(8, 0x0102_ff04, 0x0201_0004, A_SIGNED | B_SIGNED), 0x0100_0100);
        assert_eq!(lanes(0xffff_0001, 0x0001_8000, 0, 5 | A_SIGNED | B_SIGNED), 0x0001_0001);
    }
}
