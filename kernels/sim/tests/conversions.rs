//! Conversions and half precision against exact arithmetic in f64.

mod common;

use common::{Rng, lanes32};

fn f(v: u32) -> f32 {
    f32::from_bits(v)
}

/// A small format's value: `exp` and `man` bits, infinities unless `finite`.
fn decode(v: u32, exp: u32, man: u32, finite: bool) -> f64 {
    let (sign, e, m) = (v >> (exp + man) & 1, v >> man & ((1 << exp) - 1), v & ((1 << man) - 1));
    let bias = (1 << (exp - 1)) - 1;
    let top = e == (1 << exp) - 1;
    let magnitude = match (top && !finite, top && finite && m == (1 << man) - 1) {
        (true, _) if m == 0 => f64::INFINITY,
        (true, _) | (_, true) => f64::NAN,
        _ if e == 0 => f64::from(m) * 2f64.powi(1 - bias - man as i32),
        _ => f64::from(m + (1 << man)) * 2f64.powi(e as i32 - bias - man as i32),
    };
    if sign != 0 { -magnitude } else { magnitude }
}

fn half(v: u32) -> f64 {
    decode(v & 0xffff, 5, 10, false)
}

fn bf16(v: u32) -> f64 {
    f64::from(f(v << 16))
}

/// The value of a table that is nearest to x, ties to the even code: rounding by its definition. `table` ascends from zero.
fn nearest(x: f64, table: &[f64], sign: u32, overflow: u32) -> u32 {
    let a = x.abs();
    let s = if x.is_sign_negative() { sign } else { 0 };
    let last = table.len() - 1;
    if a > table[last] {
        // Half a step beyond the largest rounds to infinity.
        let step = table[last] - table[last - 1];
        return s | if a >= table[last] + step / 2.0 { overflow } else { last as u32 };
    }
    let hi = table.partition_point(|t| *t < a);
    if table[hi] == a || hi == 0 {
        return s | hi as u32;
    }
    let (below, above) = (a - table[hi - 1], table[hi] - a);
    s | if below < above || below == above && (hi - 1) % 2 == 0 { hi as u32 - 1 } else { hi as u32 }
}

fn half_table() -> Vec<f64> {
    (0..0x7c00).map(half).collect()
}

fn bf16_table() -> Vec<f64> {
    (0..0x7f80).map(bf16).collect()
}

fn inputs() -> Vec<[u32; 3]> {
    let mut rng = Rng(5);
    let mut all: Vec<[u32; 3]> = Vec::new();
    for e in [
        0u32, 0x8000, 0x3c00, 0xbc00, 1, 0x3ff, 0x400, 0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x7e00, 0x3f80, 0x7f80, 0x0080,
        0x7f7f,
    ] {
        for g in [0u32, 0x8000, 0x3c00, 0x1400, 0x7bff, 0x8001, 0x7c00, 0x4200] {
            all.push([e | g << 16, g | e << 16, g | g << 16]);
        }
    }
    for _ in 0..3000 {
        all.push([rng.u32(), rng.u32(), rng.u32()]);
        // f32 values in the range of halves, with many ties.
        let v = rng.f32() * 2f32.powi(rng.u32() as i32 % 24 - 4);
        all.push([v.to_bits(), v.to_bits() & !0xfff, (v * 1000.0).to_bits()]);
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

fn round_half(x: f64, table: &[f64]) -> u32 {
    if x.is_nan() { 0x7fff } else { nearest(x, table, 0x8000, 0x7c00) }
}

fn round_bf16(x: f64, table: &[f64]) -> u32 {
    if x.is_nan() { 0x7fff } else { nearest(x, table, 0x8000, 0x7f80) }
}

#[test]
fn half_to_single_and_back() {
    let (ht, bt) = (half_table(), bf16_table());
    let canon = |v: f64| if v.is_nan() { 0x7fff_ffff } else { (v as f32).to_bits() };
    check("cvt.f32.f16 %f1, %h10; mov.b32 %r20, %f1;", |a, _, _| canon(half(a)));
    check("cvt.f32.bf16 %f1, %h10; mov.b32 %r20, %f1;", |a, _, _| canon(bf16(a & 0xffff)));
    check("cvt.rn.f16.f32 %h1, %f10; cvt.u32.u16 %r20, %h1;", |a, _, _| round_half(f(a).into(), &ht));
    check("cvt.rn.bf16.f32 %h1, %f10; cvt.u32.u16 %r20, %h1;", |a, _, _| round_bf16(f(a).into(), &bt));
    check("cvt.rn.f16x2.f32 %r20, %f10, %f11;", |a, b, _| {
        round_half(f(a).into(), &ht) << 16 | round_half(f(b).into(), &ht)
    });
    check("cvt.rn.bf16x2.f32 %r20, %f10, %f11;", |a, b, _| {
        round_bf16(f(a).into(), &bt) << 16 | round_bf16(f(b).into(), &bt)
    });
    check("cvt.rn.relu.f16x2.f32 %r20, %f10, %f11;", |a, b, _| {
        let relu = |v: u32| round_half(if f(v) < 0.0 { 0.0 } else { f(v).into() }, &ht);
        let _ = relu(a);
        relu(a) << 16 | relu(b)
    });
    // Towards zero: the largest half whose magnitude is not above.
    check("cvt.rz.f16.f32 %h1, %f10; cvt.u32.u16 %r20, %h1;", |a, _, _| {
        let x = f64::from(f(a));
        if x.is_nan() {
            return 0x7fff;
        }
        let sign = if x.is_sign_negative() { 0x8000 } else { 0 };
        sign | if x.is_infinite() { 0x7c00 } else { ht.partition_point(|t| *t <= x.abs()) as u32 - 1 }
    });
    check("cvt.rn.f16.s32 %h1, %r10; cvt.u32.u16 %r20, %h1;", |a, _, _| round_half((a as i32).into(), &ht));
    check(
        "cvt.rna.tf32.f32 %r20, %f10;",
        |a, _, _| if f(a).is_nan() { 0x7fff_ffff } else { a.wrapping_add(0x1000) & !0x1fff },
    );
}

#[test]
fn eight_bit_floats() {
    let e4m3: Vec<f64> = (0..0x7f).map(|v| decode(v, 4, 3, true)).collect();
    let e5m2: Vec<f64> = (0..0x7c).map(|v| decode(v, 5, 2, false)).collect();
    let finite = |x: f64, t: &[f64]| if x.is_nan() { 0x7f } else { nearest(x, t, 0x80, t.len() as u32 - 1) };
    check("cvt.rn.satfinite.e4m3x2.f32 %h1, %f10, %f11; cvt.u32.u16 %r20, %h1;", |a, b, _| {
        finite(f(a).into(), &e4m3) << 8 | finite(f(b).into(), &e4m3)
    });
    check("cvt.rn.satfinite.e5m2x2.f32 %h1, %f10, %f11; cvt.u32.u16 %r20, %h1;", |a, b, _| {
        finite(f(a).into(), &e5m2) << 8 | finite(f(b).into(), &e5m2)
    });
    check("cvt.rn.satfinite.e4m3x2.f16x2 %h1, %r10; cvt.u32.u16 %r20, %h1;", |a, _, _| {
        finite(half(a >> 16), &e4m3) << 8 | finite(half(a), &e4m3)
    });
    let ht = half_table();
    check("cvt.rn.f16x2.e4m3x2 %r20, %h10;", |a, _, _| {
        let one = |v: u32| round_half(decode(v & 0xff, 4, 3, true), &ht);
        one(a >> 8) << 16 | one(a)
    });
}

#[test]
fn float_to_integer() {
    check("cvt.rzi.s32.f32 %r20, %f10;", |a, _, _| f(a) as i32 as u32);
    check("cvt.rni.s32.f32 %r20, %f10;", |a, _, _| f(a).round_ties_even() as i32 as u32);
    check("cvt.rmi.s32.f32 %r20, %f10;", |a, _, _| f(a).floor() as i32 as u32);
    check("cvt.rpi.u32.f32 %r20, %f10;", |a, _, _| f(a).ceil() as u32);
    check("cvt.rzi.u64.f32 %rd10, %f10; cvt.u32.u64 %r20, %rd10;", |a, _, _| f(a) as u64 as u32);
    check("cvt.rni.s8.f32 %h1, %f10; cvt.s32.s8 %r20, %h1;", |a, _, _| i32::from(f(a).round_ties_even() as i8) as u32);
    check("cvt.rzi.s32.f16 %r20, %h10;", |a, _, _| half(a) as i32 as u32);
    check("cvt.rzi.ftz.s32.f32 %r20, %f10;", |a, _, _| f(a) as i32 as u32);
    check("cvt.f64.f32 %fd1, %f10; cvt.rzi.s32.f64 %r20, %fd1;", |a, _, _| f(a) as i32 as u32);
}

#[test]
fn integer_to_float_and_rounding_to_integers() {
    let float = |text: &str, want: &dyn Fn(u32, u32) -> f32| {
        check(&format!("{text} mov.b32 %r20, %f1;"), |a, b, _| {
            let w = want(a, b);
            if w.is_nan() { 0x7fff_ffff } else { w.to_bits() }
        });
    };
    float("cvt.rn.f32.s32 %f1, %r10;", &|a, _| a as i32 as f32);
    float("cvt.rn.f32.u32 %f1, %r10;", &|a, _| a as f32);
    float("cvt.rz.f32.u32 %f1, %r10;", &|a, _| {
        let r = a as f32;
        if f64::from(r) > f64::from(a) { r.next_down() } else { r }
    });
    float("mov.b64 %rd10, {%r10, %r11}; cvt.rn.f32.s64 %f1, %rd10;", &|a, b| {
        (u64::from(b) << 32 | u64::from(a)) as i64 as f32
    });
    float("mov.b64 %rd10, {%r10, %r11}; cvt.rp.f32.u64 %f1, %rd10;", &|a, b| {
        let v = u64::from(b) << 32 | u64::from(a);
        let r = v as f32;
        if (r as u128) < u128::from(v) { r.next_up() } else { r }
    });
    float("cvt.rni.f32.f32 %f1, %f10;", &|a, _| f(a).round_ties_even());
    float("cvt.rzi.f32.f32 %f1, %f10;", &|a, _| f(a).trunc());
    float("cvt.sat.f32.f32 %f1, %f10;", &|a, _| if f(a) > 0.0 { f(a).min(1.0) } else { 0.0 });
    float("mov.b64 %fd10, {%r10, %r11}; cvt.rn.f32.f64 %f1, %fd10;", &|a, b| {
        f64::from_bits(u64::from(b) << 32 | u64::from(a)) as f32
    });
}

#[test]
fn integer_to_integer() {
    check("cvt.s32.s8 %r20, %r10;", |a, _, _| i32::from(a as i8) as u32);
    check("cvt.u32.u8 %r20, %r10;", |a, _, _| a & 0xff);
    check("cvt.sat.s8.s32 %r20, %r10;", |a, _, _| (a as i32).clamp(-128, 127) as u32);
    check("cvt.sat.u8.s32 %r20, %r10;", |a, _, _| (a as i32).clamp(0, 255) as u32);
    check("cvt.sat.u32.s32 %r20, %r10;", |a, _, _| (a as i32).max(0) as u32);
    check("cvt.s64.s32 %rd10, %r10; shr.u64 %rd10, %rd10, 32; cvt.u32.u64 %r20, %rd10;", |a, _, _| {
        (a as i32 >> 31) as u32
    });
    check("cvt.pack.sat.s8.s32.b32 %r20, %r10, %r11, %r12;", |a, b, c| {
        let s = |v: u32| (v as i32).clamp(-128, 127) as u8;
        c << 16 | u32::from(s(a)) << 8 | u32::from(s(b))
    });
    check("cvt.pack.sat.u16.s32 %r20, %r10, %r11;", |a, b, _| {
        let s = |v: u32| (v as i32).clamp(0, 65535) as u32;
        s(a) << 16 | s(b)
    });
}

/// Sums and products of halves are exact in f64. An f16 fma can span 80 binary places, which are too many; the inputs here
/// span at most 50.
#[test]
fn half_arithmetic() {
    let (ht, bt) = (half_table(), bf16_table());
    let both = |v: u32, w: u32, x: u32, op: &dyn Fn(f64, f64, f64) -> f64| {
        let one = |v, w, x| round_half(op(half(v), half(w), half(x)), &ht);
        one(v >> 16, w >> 16, x >> 16) << 16 | one(v, w, x)
    };
    check("add.f16x2 %r20, %r10, %r11;", |a, b, c| both(a, b, c, &|x, y, _| x + y));
    check("sub.f16x2 %r20, %r10, %r11;", |a, b, c| both(a, b, c, &|x, y, _| x - y));
    check("mul.f16x2 %r20, %r10, %r11;", |a, b, c| both(a, b, c, &|x, y, _| x * y));
    check("add.f16 %h1, %h10, %h11; cvt.u32.u16 %r20, %h1;", |a, b, c| both(a, b, c, &|x, y, _| x + y) & 0xffff);
    check("mul.rn.f16 %h1, %h10, %h11; cvt.u32.u16 %r20, %h1;", |a, b, c| both(a, b, c, &|x, y, _| x * y) & 0xffff);
    // The exponent of c is kept near that of a product of ones.
    let near = |v: u32| v & 0x83ff_83ff | 0x3c00_3c00;
    let setup = "and.b32 %r1, %r10, 0x83ff83ff; or.b32 %r1, %r1, 0x3c003c00; and.b32 %r2, %r11, 0x83ff83ff; or.b32 %r2, %r2, 0x3c003c00;\
                 and.b32 %r3, %r12, 0x83ff83ff; or.b32 %r3, %r3, 0x3c003c00;";
    check(&format!("{setup} fma.rn.f16x2 %r20, %r1, %r2, %r3;"), |a, b, c| {
        both(near(a), near(b), near(c), &|x, y, z| x * y + z)
    });
    check(&format!("{setup} fma.rn.relu.f16x2 %r20, %r1, %r2, %r3;"), |a, b, c| {
        both(near(a), near(b), near(c), &|x, y, z| (x * y + z).max(0.0))
    });
    let sat = |v: f64| if v > 0.0 { v.min(1.0) } else { 0.0 };
    check(&format!("{setup} fma.rn.sat.f16x2 %r20, %r1, %r2, %r3;"), |a, b, c| {
        both(near(a), near(b), near(c), &|x, y, z| sat(x * y + z))
    });
    let min = |x: f64, y: f64| if x.is_nan() || (y < x || y == x && y.is_sign_negative()) { y } else { x };
    check("min.f16x2 %r20, %r10, %r11;", |a, b, c| both(a, b, c, &|x, y, _| min(x, y)));
    check("max.f16x2 %r20, %r10, %r11;", |a, b, c| both(a, b, c, &|x, y, _| -min(-x, -y)));
    check("neg.f16x2 %r20, %r10;", |a, b, c| both(a, b, c, &|x, _, _| -x));
    check("abs.f16x2 %r20, %r10;", |a, b, c| both(a, b, c, &|x, _, _| x.abs()));
    check("ex2.approx.f16x2 %r20, %r10;", |a, b, c| both(a, b, c, &|x, _, _| x.exp2()));
    check("tanh.approx.f16 %h1, %h10; cvt.u32.u16 %r20, %h1;", |a, b, c| both(a, b, c, &|x, _, _| x.tanh()) & 0xffff);
    let bfs = |v: u32, w: u32, x: u32, op: &dyn Fn(f64, f64, f64) -> f64| {
        let one = |v: u32, w: u32, x: u32| round_bf16(op(bf16(v & 0xffff), bf16(w & 0xffff), bf16(x & 0xffff)), &bt);
        one(v >> 16, w >> 16, x >> 16) << 16 | one(v, w, x)
    };
    check("mul.bf16x2 %r20, %r10, %r11;", |a, b, c| bfs(a, b, c, &|x, y, _| x * y));
    let near = |v: u32| v & 0x807f_807f | 0x3f80_3f80;
    let setup = setup.replace("83ff", "807f").replace("3c00", "3f80");
    check(&format!("{setup} fma.rn.bf16x2 %r20, %r1, %r2, %r3;"), |a, b, c| {
        bfs(near(a), near(b), near(c), &|x, y, z| x * y + z)
    });
    check(&format!("{setup} add.bf16x2 %r20, %r1, %r2;"), |a, b, c| bfs(near(a), near(b), near(c), &|x, y, _| x + y));
    check("set.le.f16x2.f16x2 %r20, %r10, %r11;", |a, b, _| {
        let one = |a, b| if half(a) <= half(b) { 0x3c00 } else { 0 };
        one(a >> 16, b >> 16) << 16 | one(a, b)
    });
    check(
        "setp.neu.f16x2 %p1|%p2, %r10, %r11; selp.b32 %r1, 1, 0, %p1; selp.b32 %r2, 2, 0, %p2; or.b32 %r20, %r1, %r2;",
        |a, b, _| u32::from(half(a) != half(b)) | u32::from(half(a >> 16) != half(b >> 16)) << 1,
    );
    check("setp.gt.f16 %p1, %h10, %h11; selp.b32 %r20, 1, 0, %p1;", |a, b, _| u32::from(half(a) > half(b)));
}
