//! Instructions one by one against Rust, on edge values and random ones.
//!
//! Inputs a, b, c are in %r10..%r12, as floats in %f10..%f12, and their low halves in %h10..%h12; the output is %r20.

mod common;

use common::{Rng, lanes32};

fn inputs() -> Vec<[u32; 3]> {
    let edges = [
        0u32,
        1,
        2,
        3,
        7,
        31,
        32,
        33,
        63,
        255,
        256,
        0x7f,
        0x80,
        0x7fff,
        0x8000,
        0xffff,
        0x1_0000,
        0x7fff_ffff,
        0x8000_0000,
        0x8000_0001,
        0xffff_ffff,
        0xffff_ff80,
        0x3f80_0000,
        0xbf80_0000,
        0x3f00_0000,
        0x4049_0fdb,
        0x7f80_0000,
        0xff80_0000,
        0x7fc0_0001,
        0x0000_0400,
        0x0080_0000,
        0x807f_ffff,
        0x4f00_0000,
        0xcf00_0000,
        0x5f00_0000,
        0x3f7f_ffff,
        0x3400_0000,
    ];
    let mut rng = Rng(11);
    let mut all: Vec<[u32; 3]> = Vec::new();
    for (i, &a) in edges.iter().enumerate() {
        for (j, &b) in edges.iter().enumerate() {
            all.push([a, b, edges[(3 * i + 5 * j + 1) % edges.len()]]);
        }
    }
    for _ in 0..2000 {
        all.push([rng.u32(), rng.u32(), rng.u32()]);
        // Floats of similar size, and small shift amounts.
        all.push([rng.f32().to_bits(), rng.f32().to_bits(), rng.f32().to_bits()]);
        all.push([rng.u32(), rng.u32() & 63, rng.u32() & 63]);
    }
    all
}

fn check(text: &str, want: impl Fn(u32, u32, u32) -> u32) {
    let inputs = inputs();
    for ([a, b, c], got) in inputs.iter().zip(lanes32(text, &inputs)) {
        let w = want(*a, *b, *c);
        assert_eq!(got, w, "{text}: a {a:#x} b {b:#x} c {c:#x}: {got:#x}, {w:#x} expected");
    }
}

/// 64-bit results: both halves, one after the other. Inputs {a, b} and {b, c} in %rd10 and %rd11, output %rd20.
fn check64(text: &str, want: impl Fn(u64, u64, u32) -> u64) {
    for (part, shift) in [("%r20, _", 0), ("_, %r20", 32)] {
        let whole = format!(
            "mov.b64 %rd10, {{%r10, %r11}}; mov.b64 %rd11, {{%r11, %r12}};\n{text}\nmov.b64 {{{part}}}, %rd20;"
        );
        check(&whole, |a, b, c| {
            (want(u64::from(b) << 32 | u64::from(a), u64::from(c) << 32 | u64::from(b), c) >> shift) as u32
        });
    }
}

fn f(v: u32) -> f32 {
    f32::from_bits(v)
}

/// The NaN of f32 arithmetic.
fn canon(v: f32) -> u32 {
    if v.is_nan() { 0x7fff_ffff } else { v.to_bits() }
}

#[test]
fn integer_arithmetic() {
    check("add.s32 %r20, %r10, %r11;", |a, b, _| a.wrapping_add(b));
    check("sub.u32 %r20, %r10, %r11;", |a, b, _| a.wrapping_sub(b));
    check("add.sat.s32 %r20, %r10, %r11;", |a, b, _| (a as i32).saturating_add(b as i32) as u32);
    check("sub.sat.s32 %r20, %r10, %r11;", |a, b, _| (a as i32).saturating_sub(b as i32) as u32);
    check("mul.lo.s32 %r20, %r10, %r11;", |a, b, _| a.wrapping_mul(b));
    check("mul.hi.u32 %r20, %r10, %r11;", |a, b, _| ((u64::from(a) * u64::from(b)) >> 32) as u32);
    check("mul.hi.s32 %r20, %r10, %r11;", |a, b, _| ((i64::from(a as i32) * i64::from(b as i32)) >> 32) as u32);
    check("mad.lo.s32 %r20, %r10, %r11, %r12;", |a, b, c| a.wrapping_mul(b).wrapping_add(c));
    check("mad.hi.u32 %r20, %r10, %r11, %r12;", |a, b, c| {
        (((u64::from(a) * u64::from(b)) >> 32) as u32).wrapping_add(c)
    });
    check("mul24.lo.u32 %r20, %r10, %r11;", |a, b, _| (a & 0xff_ffff).wrapping_mul(b & 0xff_ffff));
    check("mul24.hi.u32 %r20, %r10, %r11;", |a, b, _| {
        ((u64::from(a & 0xff_ffff) * u64::from(b & 0xff_ffff)) >> 16) as u32
    });
    check("mad24.lo.s32 %r20, %r10, %r11, %r12;", |a, b, c| {
        ((a << 8) as i32 >> 8).wrapping_mul((b << 8) as i32 >> 8).wrapping_add(c as i32) as u32
    });
    check("min.s32 %r20, %r10, %r11;", |a, b, _| (a as i32).min(b as i32) as u32);
    check("max.u32 %r20, %r10, %r11;", |a, b, _| a.max(b));
    check("abs.s32 %r20, %r10;", |a, _, _| (a as i32).wrapping_abs() as u32);
    check("neg.s32 %r20, %r10;", |a, _, _| a.wrapping_neg());
    check("or.b32 %r11, %r11, 1; div.s32 %r20, %r10, %r11;", |a, b, _| (a as i32).wrapping_div((b | 1) as i32) as u32);
    check("or.b32 %r11, %r11, 1; rem.u32 %r20, %r10, %r11;", |a, b, _| a % (b | 1));
    check("sad.s32 %r20, %r10, %r11, %r12;", |a, b, c| (a as i32).abs_diff(b as i32).wrapping_add(c));
    check64("mul.wide.u32 %rd20, %r10, %r11;", |a, _, _| (a & 0xffff_ffff) * (a >> 32));
    check64("mul.wide.s32 %rd20, %r10, %r11;", |a, _, _| (i64::from(a as i32) * i64::from((a >> 32) as i32)) as u64);
    check64("mad.wide.s32 %rd20, %r10, %r11, %rd11;", |a, b, _| {
        ((i64::from(a as i32) * i64::from((a >> 32) as i32)) as u64).wrapping_add(b)
    });
    check64("mul.lo.u64 %rd20, %rd10, %rd11;", |a, b, _| a.wrapping_mul(b));
    check64("mul.hi.s64 %rd20, %rd10, %rd11;", |a, b, _| ((i128::from(a as i64) * i128::from(b as i64)) >> 64) as u64);
    check64("sub.s64 %rd20, %rd10, %rd11;", |a, b, _| a.wrapping_sub(b));
    check64("min.s64 %rd20, %rd10, %rd11;", |a, b, _| (a as i64).min(b as i64) as u64);
    check64("or.b64 %rd11, %rd11, 1; div.u64 %rd20, %rd10, %rd11;", |a, b, _| a / (b | 1));
    check64("or.b64 %rd11, %rd11, 1; rem.s64 %rd20, %rd10, %rd11;", |a, b, _| {
        (a as i64).wrapping_rem((b | 1) as i64) as u64
    });
}

#[test]
fn sixteen_bits() {
    let wide = |text: &str| format!("{text} cvt.u32.u16 %r20, %h1;");
    check(&wide("add.s16 %h1, %h10, %h11;"), |a, b, _| a.wrapping_add(b) & 0xffff);
    check(&wide("sub.u16 %h1, %h10, %h11;"), |a, b, _| a.wrapping_sub(b) & 0xffff);
    check(&wide("mul.lo.s16 %h1, %h10, %h11;"), |a, b, _| (a as u16).wrapping_mul(b as u16).into());
    check(&wide("min.s16 %h1, %h10, %h11;"), |a, b, _| u32::from((a as i16).min(b as i16) as u16));
    check(&wide("neg.s16 %h1, %h10;"), |a, _, _| u32::from((a as u16).wrapping_neg()));
    check(&wide("not.b16 %h1, %h10;"), |a, _, _| !a & 0xffff);
    check(&wide("shl.b16 %h1, %h10, %r11;"), |a, b, _| if b > 15 { 0 } else { (a << b) & 0xffff });
    check(&wide("shr.s16 %h1, %h10, %r11;"), |a, b, _| u32::from((a as i16 >> b.min(15)) as u16));
    check("mul.wide.s16 %r20, %h10, %h11;", |a, b, _| (i32::from(a as i16) * i32::from(b as i16)) as u32);
    check("mul.wide.u16 %r20, %h10, %h11;", |a, b, _| u32::from(a as u16) * u32::from(b as u16));
    let halves = |a: u32, b: u32, f: &dyn Fn(u16, u16) -> u16| {
        u32::from(f((a >> 16) as u16, (b >> 16) as u16)) << 16 | u32::from(f(a as u16, b as u16))
    };
    check("add.u16x2 %r20, %r10, %r11;", |a, b, _| halves(a, b, &u16::wrapping_add));
    check("max.u16x2 %r20, %r10, %r11;", |a, b, _| halves(a, b, &|x, y| x.max(y)));
    check("min.s16x2 %r20, %r10, %r11;", |a, b, _| halves(a, b, &|x, y| (x as i16).min(y as i16) as u16));
    check("cvt.s32.s16 %r20, %h10;", |a, _, _| a as i16 as i32 as u32);
    check("cvt.s16.s8 %h1, %r10; cvt.u32.u16 %r20, %h1;", |a, _, _| a as i8 as i16 as u16 as u32);
    check("mov.b32 %r20, {%h11, %h10};", |a, b, _| a << 16 | b & 0xffff);
    check("mov.b32 {%h1, %h2}, %r10; mov.b32 %r20, {%h2, %h1};", |a, _, _| a.rotate_left(16));
}

#[test]
fn carries() {
    check("add.cc.u32 %r1, %r10, %r11; addc.u32 %r20, %r12, 0;", |a, b, c| {
        c.wrapping_add(u32::from(a.checked_add(b).is_none()))
    });
    check("sub.cc.u32 %r1, %r10, %r11; subc.u32 %r20, %r12, 0;", |a, b, c| c.wrapping_sub(u32::from(a < b)));
    check("mad.lo.cc.u32 %r1, %r10, %r11, %r12; madc.hi.u32 %r20, %r10, %r11, 0;", |a, b, c| {
        ((u64::from(a) * u64::from(b) + u64::from(c)) >> 32) as u32
    });
    check64("add.cc.u64 %rd1, %rd10, %rd11; addc.u64 %rd20, %rd10, %rd11;", |a, b, _| {
        a.wrapping_add(b).wrapping_add(u64::from(a.checked_add(b).is_none()))
    });
}

#[test]
fn dot_products() {
    let bytes = |v: u32, signed: bool| v.to_le_bytes().map(|b| if signed { i32::from(b as i8) } else { i32::from(b) });
    for (at, a_signed) in [("s32", true), ("u32", false)] {
        for (bt, b_signed) in [("s32", true), ("u32", false)] {
            check(&format!("dp4a.{at}.{bt} %r20, %r10, %r11, %r12;"), |a, b, c| {
                let dot: i32 = bytes(a, a_signed).iter().zip(bytes(b, b_signed)).map(|(x, y)| x * y).sum();
                c.wrapping_add(dot as u32)
            });
            for (half, first) in [("lo", 0), ("hi", 2)] {
                check(&format!("dp2a.{half}.{at}.{bt} %r20, %r10, %r11, %r12;"), |a, b, c| {
                    let x =
                        [a as u16, (a >> 16) as u16].map(|h| if a_signed { i32::from(h as i16) } else { i32::from(h) });
                    let y = bytes(b, b_signed);
                    c.wrapping_add(x[0].wrapping_mul(y[first]).wrapping_add(x[1].wrapping_mul(y[first + 1])) as u32)
                });
            }
        }
    }
}

#[test]
fn bytes_and_halves() {
    let bytes = |a: u32, b: u32, f: &dyn Fn(u8, u8) -> u8| {
        let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
        u32::from_le_bytes([0, 1, 2, 3].map(|i| f(a[i], b[i])))
    };
    let halves = |a: u32, b: u32, f: &dyn Fn(u16, u16) -> u16| {
        [0, 16].into_iter().fold(0, |d, at| d | u32::from(f((a >> at) as u16, (b >> at) as u16)) << at)
    };
    check("vadd4.u32.u32.u32 %r20, %r10, %r11, %r12;", |a, b, _| bytes(a, b, &u8::wrapping_add));
    check("vsub4.s32.s32.s32.sat %r20, %r10, %r11, %r12;", |a, b, _| {
        bytes(a, b, &|a, b| (a as i8).saturating_sub(b as i8) as u8)
    });
    check("vabsdiff4.u32.u32.u32 %r20, %r10, %r11, %r12;", |a, b, _| bytes(a, b, &u8::abs_diff));
    check("vabsdiff4.u32.u32.u32.add %r20, %r10, %r11, %r12;", |a, b, c| {
        let sum: u32 = bytes(a, b, &u8::abs_diff).to_le_bytes().into_iter().map(u32::from).sum();
        sum.wrapping_add(c)
    });
    check("vset4.u32.u32.lt %r20, %r10, %r11, %r12;", |a, b, _| bytes(a, b, &|a, b| u8::from(a < b)));
    check("vmax2.s32.s32.s32 %r20, %r10, %r11, %r12;", |a, b, _| halves(a, b, &|a, b| (a as i16).max(b as i16) as u16));
    check("vavrg2.u32.u32.u32 %r20, %r10, %r11, %r12;", |a, b, _| {
        halves(a, b, &|a, b| (u32::from(a) + u32::from(b)).div_ceil(2) as u16)
    });
}

#[test]
fn logic_and_bit_fields() {
    check("and.b32 %r1, %r10, %r11; or.b32 %r2, %r1, %r12; xor.b32 %r3, %r2, %r10; not.b32 %r20, %r3;", |a, b, c| {
        !((a & b | c) ^ a)
    });
    check("cnot.b32 %r20, %r10;", |a, _, _| u32::from(a == 0));
    for lut in [0x00u32, 0xea, 0x96, 0x6a, 0xca, 0xf8, 0x1b, 0x80, 0xe8, 0xff, 0xf0, 0xcc, 0xaa] {
        check(&format!("lop3.b32 %r20, %r10, %r11, %r12, {lut};"), |a, b, c| {
            (0..32).fold(0, |r, i| r | (lut >> ((a >> i & 1) << 2 | (b >> i & 1) << 1 | (c >> i & 1)) & 1) << i)
        });
    }
    check("shl.b32 %r20, %r10, %r11;", |a, b, _| a.checked_shl(b).unwrap_or(0));
    check("shr.u32 %r20, %r10, %r11;", |a, b, _| a.checked_shr(b).unwrap_or(0));
    check("shr.s32 %r20, %r10, %r11;", |a, b, _| (a as i32 >> b.min(31)) as u32);
    check64("shl.b64 %rd20, %rd10, %r12;", |a, _, c| a.checked_shl(c).unwrap_or(0));
    check64("shr.s64 %rd20, %rd10, %r12;", |a, _, c| (a as i64 >> c.min(63)) as u64);
    let funnel = |a: u32, b: u32| u64::from(b) << 32 | u64::from(a);
    check("shf.r.wrap.b32 %r20, %r10, %r11, %r12;", |a, b, c| (funnel(a, b) >> (c & 31)) as u32);
    check("shf.l.wrap.b32 %r20, %r10, %r11, %r12;", |a, b, c| (funnel(a, b) << (c & 31) >> 32) as u32);
    check("shf.r.clamp.b32 %r20, %r10, %r11, %r12;", |a, b, c| (funnel(a, b) >> c.min(32)) as u32);
    check("shf.l.clamp.b32 %r20, %r10, %r11, %r12;", |a, b, c| (funnel(a, b) << c.min(32) >> 32) as u32);
    check("popc.b32 %r20, %r10;", |a, _, _| a.count_ones());
    check("clz.b32 %r20, %r10;", |a, _, _| a.leading_zeros());
    check("brev.b32 %r20, %r10;", |a, _, _| a.reverse_bits());
    check("bfind.u32 %r20, %r10;", |a, _, _| if a == 0 { u32::MAX } else { 31 - a.leading_zeros() });
    check("bfind.s32 %r20, %r10;", |a, _, _| {
        let v = if a >> 31 != 0 { !a } else { a };
        if v == 0 { u32::MAX } else { 31 - v.leading_zeros() }
    });
    check("bfind.shiftamt.u32 %r20, %r10;", |a, _, _| if a == 0 { u32::MAX } else { a.leading_zeros() });
    check64("clz.b64 %r1, %rd10; popc.b64 %r2, %rd11; mov.b64 %rd20, {%r1, %r2};", |a, b, _| {
        u64::from(b.count_ones()) << 32 | u64::from(a.leading_zeros())
    });
    let field = |a: u32, b: u32, c: u32| -> u32 {
        let (pos, len) = (b & 255, c & 255);
        (0..len.min(32)).fold(0, |r, i| if pos + i < 32 { r | (a >> (pos + i) & 1) << i } else { r })
    };
    check("bfe.u32 %r20, %r10, %r11, %r12;", field);
    check("bfe.s32 %r20, %r10, %r11, %r12;", |a, b, c| {
        let (pos, len) = (b & 255, c & 255);
        if len == 0 {
            return 0;
        }
        let sign = a >> (pos + len - 1).min(31) & 1;
        (0..32).fold(0, |r, i| r | if i < len && pos + i < 32 { a >> (pos + i) & 1 } else { sign } << i)
    });
    check("bfi.b32 %r20, %r10, %r11, %r12, 5;", |a, b, c| {
        let pos = c & 255;
        (0..5).fold(b, |r, i| if pos + i < 32 { r & !(1 << (pos + i)) | (a >> i & 1) << (pos + i) } else { r })
    });
    check64("bfi.b64 %rd20, %rd10, %rd11, 32, 32;", |a, b, _| a << 32 | b & 0xffff_ffff);
    check("prmt.b32 %r20, %r10, %r11, %r12;", |a, b, c| {
        let bytes: Vec<u8> = a.to_le_bytes().into_iter().chain(b.to_le_bytes()).collect();
        (0..4).fold(0, |r, i| {
            let sel = c >> (4 * i) & 15;
            let v = bytes[sel as usize & 7];
            r | u32::from(if sel & 8 != 0 { if v & 0x80 != 0 { 0xff } else { 0 } } else { v }) << (8 * i)
        })
    });
    check("prmt.b32.f4e %r20, %r10, %r11, %r12;", |a, b, c| (funnel(a, b) >> (8 * (c & 3))) as u32);
    check("prmt.b32.rc16 %r20, %r10, %r11, %r12;", |a, _, c| (a >> (16 * (c & 1)) & 0xffff) * 0x1_0001);
    check("szext.clamp.s32 %r20, %r10, %r11;", |a, b, _| match b {
        0 => 0,
        32.. => a,
        n => ((a << (32 - n)) as i32 >> (32 - n)) as u32,
    });
    check("bmsk.clamp.b32 %r20, %r10, %r11;", |a, b, _| {
        ((((1u64 << b.min(32)) - 1) << a.min(32)) & 0xffff_ffff) as u32
    });
}

#[test]
fn comparisons_and_selections() {
    let set = |text: &str| format!("{text} selp.b32 %r20, 1, 0, %p1;");
    check(&set("setp.lt.s32 %p1, %r10, %r11;"), |a, b, _| ((a as i32) < b as i32).into());
    check(&set("setp.hs.u32 %p1, %r10, %r11;"), |a, b, _| (a >= b).into());
    check(&set("setp.eq.f32 %p1, %f10, %f11;"), |a, b, _| (f(a) == f(b)).into());
    check(&set("setp.ne.f32 %p1, %f10, %f11;"), |a, b, _| (f(a) < f(b) || f(a) > f(b)).into());
    check(&set("setp.neu.f32 %p1, %f10, %f11;"), |a, b, _| (f(a) != f(b)).into());
    check(&set("setp.ltu.f32 %p1, %f10, %f11;"), |a, b, _| f(a).partial_cmp(&f(b)).is_none_or(|o| o.is_lt()).into());
    check(&set("setp.gt.f32 %p1, %f10, %f11;"), |a, b, _| (f(a) > f(b)).into());
    check(&set("setp.nan.f32 %p1, %f10, %f11;"), |a, b, _| (f(a).is_nan() || f(b).is_nan()).into());
    check(&set("setp.eq.ftz.f32 %p1, %f10, 0f00000000;"), |a, _, _| (f(a) == 0.0 || f(a).is_subnormal()).into());
    let both = "setp.lt.s32 %p2, %r11, %r12; setp.gt.and.u32 %p1|%p3, %r10, %r11, %p2; selp.b32 %r20, 1, 0, %p1;\
                @%p3 add.u32 %r20, %r20, 2;";
    check(both, |a, b, c| {
        let second = (b as i32) < c as i32;
        u32::from(a > b && second) + 2 * u32::from(a <= b && second)
    });
    check(&set("setp.eq.s32 %p2, %r12, 0; setp.ne.or.s32 %p1, %r10, %r11, !%p2;"), |a, b, c| (a != b || c != 0).into());
    check(&set("setp.lt.s16 %p1, %h10, %h11;"), |a, b, _| ((a as i16) < b as i16).into());
    check(
        &set("mov.b64 %rd10, {%r10, %r11}; mov.b64 %rd11, {%r11, %r12}; setp.lt.s64 %p1, %rd10, %rd11;"),
        |a, b, c| ((u64::from(b) << 32 | u64::from(a)) as i64).lt(&((u64::from(c) << 32 | u64::from(b)) as i64)).into(),
    );
    check(
        &set("setp.ne.u32 %p2, %r10, 0; setp.ne.u32 %p3, %r11, 0; xor.pred %p4, %p2, %p3; not.pred %p1, %p4;"),
        |a, b, _| ((a != 0) == (b != 0)).into(),
    );
    check("set.lt.u32.s32 %r20, %r10, %r11;", |a, b, _| if (a as i32) < b as i32 { u32::MAX } else { 0 });
    check("set.gt.f32.f32 %f1, %f10, %f11; mov.b32 %r20, %f1;", |a, b, _| if f(a) > f(b) { 0x3f80_0000 } else { 0 });
    check("slct.b32.s32 %r20, %r10, %r11, %r12;", |a, b, c| if c as i32 >= 0 { a } else { b });
    check("@%p0 mov.u32 %r20, 1; ".replace("@%p0 ", "").as_str(), |_, _, _| 1);
    check(&set("testp.subnormal.f32 %p1, %f10;"), |a, _, _| f(a).is_subnormal().into());
    check(&set("testp.number.f32 %p1, %f10;"), |a, _, _| (!f(a).is_nan()).into());
    check("copysign.f32 %f1, %f10, %f11; mov.b32 %r20, %f1;", |a, b, _| b & 0x7fff_ffff | a & 0x8000_0000);
}

fn float(text: &str, want: impl Fn(f32, f32, f32) -> f32) {
    check(&format!("{text} mov.b32 %r20, %f1;"), |a, b, c| canon(want(f(a), f(b), f(c))));
}

#[test]
fn single_precision() {
    float("add.f32 %f1, %f10, %f11;", |a, b, _| a + b);
    float("sub.rn.f32 %f1, %f10, %f11;", |a, b, _| a - b);
    float("mul.f32 %f1, %f10, %f11;", |a, b, _| a * b);
    float("fma.rn.f32 %f1, %f10, %f11, %f12;", f32::mul_add);
    float("div.rn.f32 %f1, %f10, %f11;", |a, b, _| a / b);
    float("rcp.rn.f32 %f1, %f10;", |a, _, _| 1.0 / a);
    float("sqrt.rn.f32 %f1, %f10;", |a, _, _| a.sqrt());
    float("neg.f32 %f1, %f10;", |a, _, _| -a);
    float("abs.f32 %f1, %f10;", |a, _, _| a.abs());
    let ftz = |x: f32| if x.is_subnormal() { 0f32.copysign(x) } else { x };
    float("add.ftz.f32 %f1, %f10, %f11;", |a, b, _| ftz(ftz(a) + ftz(b)));
    float("mul.ftz.f32 %f1, %f10, %f11;", |a, b, _| ftz(ftz(a) * ftz(b)));
    float("fma.rn.ftz.f32 %f1, %f10, %f11, %f12;", |a, b, c| ftz(ftz(a).mul_add(ftz(b), ftz(c))));
    let sat = |x: f32| if x > 0.0 { x.min(1.0) } else { 0.0 };
    float("add.sat.f32 %f1, %f10, %f11;", |a, b, _| sat(a + b));
    float("fma.rn.sat.f32 %f1, %f10, %f11, %f12;", |a, b, c| sat(a.mul_add(b, c)));
    // A NaN loses against a number; -0 is less than +0.
    let min = |a: f32, b: f32| if a.is_nan() || (b < a || b == a && b.is_sign_negative()) { b } else { a };
    float("min.f32 %f1, %f10, %f11;", |a, b, _| min(a, b));
    float("max.f32 %f1, %f10, %f11;", |a, b, _| -min(-a, -b));
    float("max.NaN.f32 %f1, %f10, %f11;", |a, b, _| if a.is_nan() || b.is_nan() { f32::NAN } else { -min(-a, -b) });
}

/// Directed rounding against exact rational arithmetic in i128, for values whose sums and products fit.
#[test]
fn directed_rounding() {
    let near = |v: u32| f32::from_bits(v & 0x80ff_ffff | 0x3f00_0000);
    let exact = |v: f32| (f64::from(v) * (1u64 << 40) as f64) as i128;
    // The f32 below or above x / 2^scale.
    let round = |x: i128, scale: u32, mode: &str| -> f32 {
        let mut r = (x as f64 / 2f64.powi(scale as i32)) as f32;
        let over = |r: f32| (f64::from(r) * 2f64.powi(60)) as i128 > x << (60 - scale);
        let under = |r: f32| ((f64::from(r) * 2f64.powi(60)) as i128) < x << (60 - scale);
        let down = mode == "rm" || mode == "rz" && x > 0;
        while down && over(r) {
            r = r.next_down();
        }
        while down && !over(r.next_up()) {
            r = r.next_up();
        }
        while !down && under(r) {
            r = r.next_up();
        }
        while !down && !under(r.next_down()) {
            r = r.next_down();
        }
        r
    };
    let setup = "and.b32 %r1, %r10, 0x80ffffff; or.b32 %r1, %r1, 0x3f000000; mov.b32 %f2, %r1;\
                 and.b32 %r1, %r11, 0x80ffffff; or.b32 %r1, %r1, 0x3f000000; mov.b32 %f3, %r1;";
    for mode in ["rz", "rm", "rp"] {
        check(&format!("{setup} add.{mode}.f32 %f1, %f2, %f3; mov.b32 %r20, %f1;"), |a, b, _| {
            let (a, b) = (near(a), near(b));
            let sum = exact(a) + exact(b);
            if sum == 0 { if mode == "rm" { (-0f32).to_bits() } else { 0 } } else { round(sum, 40, mode).to_bits() }
        });
        check(&format!("{setup} mul.{mode}.f32 %f1, %f2, %f3; mov.b32 %r20, %f1;"), |a, b, _| {
            let (a, b) = (near(a), near(b));
            round((exact(a) >> 12) * (exact(b) >> 12), 56, mode).to_bits()
        });
        // A quotient is rounded right if its product with the divisor and that of its neighbour enclose the dividend.
        let inputs = inputs();
        let got = lanes32(&format!("{setup} div.{mode}.f32 %f1, %f2, %f3; mov.b32 %r20, %f1;"), &inputs);
        for ([a, b, _], q) in inputs.iter().zip(got) {
            let (a, b, q) = (near(*a), near(*b), f(q));
            let product = |q: f32| f64::from(q) * f64::from(b.abs()) * f64::from(b.signum());
            let (x, next) = if mode == "rp" || mode == "rz" && q < 0.0 {
                (
                    product(q) * f64::from(b.signum()) - f64::from(a * b.signum()),
                    product(q.next_down()) * f64::from(b.signum()) - f64::from(a * b.signum()),
                )
            } else {
                (
                    f64::from(a * b.signum()) - product(q) * f64::from(b.signum()),
                    f64::from(a * b.signum()) - product(q.next_up()) * f64::from(b.signum()),
                )
            };
            assert!(x >= 0.0 && next < 0.0, "{mode} {a:e} / {b:e} = {q:e}");
        }
    }
}

#[test]
fn approximations_are_close() {
    let inputs = inputs();
    type F = fn(f64) -> f64;
    let table: [(&str, F); 9] = [
        ("rcp.approx.f32", |x| 1.0 / x),
        ("rcp.approx.ftz.f32", |x| 1.0 / x),
        ("sqrt.approx.f32", f64::sqrt),
        ("rsqrt.approx.f32", |x| 1.0 / x.sqrt()),
        ("ex2.approx.f32", f64::exp2),
        ("lg2.approx.f32", f64::log2),
        ("sin.approx.f32", f64::sin),
        ("cos.approx.f32", f64::cos),
        ("tanh.approx.f32", f64::tanh),
    ];
    for (name, want) in table {
        for ([a, ..], got) in inputs.iter().zip(lanes32(&format!("{name} %f1, %f10; mov.b32 %r20, %f1;"), &inputs)) {
            let (x, got) = (f64::from(f(*a)), f(got));
            let want = want(x) as f32;
            if name.contains("ftz") && (f(*a).is_subnormal() || want.is_subnormal()) {
                continue;
            }
            assert!(got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(), "{name} {x:e}: {got:e} {want:e}");
        }
    }
    float("div.full.f32 %f1, %f10, %f11;", |a, b, _| (f64::from(a) / f64::from(b)) as f32);
}

#[test]
fn double_precision() {
    let d = f64::from_bits;
    // The payload of a NaN is the host's.
    let same = |v: f64| if v.is_nan() { 0 } else { v.to_bits() };
    let run = |op: &str, want: fn(f64, f64) -> f64| {
        let text = format!(
            "mov.b64 %fd10, {{%r10, %r11}}; mov.b64 %fd11, {{%r11, %r12}}; {op}\n\
             mov.b64 %rd20, %fd1; testp.notanumber.f64 %p1, %fd1; @%p1 mov.u64 %rd20, 0;"
        );
        check64(&text, |a, b, _| same(want(d(a), d(b))));
    };
    run("add.f64 %fd1, %fd10, %fd11;", |a, b| a + b);
    run("mul.rn.f64 %fd1, %fd10, %fd11;", |a, b| a * b);
    run("fma.rn.f64 %fd1, %fd10, %fd11, %fd10;", |a, b| a.mul_add(b, a));
    run("div.rn.f64 %fd1, %fd10, %fd11;", |a, b| a / b);
    run("sqrt.rn.f64 %fd1, %fd10;", |a, _| a.sqrt());
    run("neg.f64 %fd1, %fd10;", |a, _| -a);
    run("abs.f64 %fd1, %fd10;", |a, _| a.abs());
    run(
        "max.f64 %fd1, %fd10, %fd11;",
        |a, b| if a.is_nan() || b > a || b == a && b.is_sign_positive() { b } else { a },
    );
}
