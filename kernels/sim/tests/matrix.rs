//! `mma.sync` against plain products; where elements go is written out from the PTX ISA's formulas for each shape.

mod common;

use common::{Params, Rng, clean, device, kernel, wrap};
use ptx_sim::LaunchConfig;

/// Row and column of element `i` of a lane's fragment.
type Place = fn(i: usize, lane: usize) -> (usize, usize);

struct Shape {
    inst: &'static str,
    k: usize,
    /// Bits of an element of A and B
    bits: u32,
    /// Elements of a lane: A, B
    counts: (usize, usize),
    a: Place,
    b: Place,
    value: fn(u32) -> f64,
    /// A random element's bits
    random: fn(u32) -> u32,
    integer: bool,
}

fn half(v: u32) -> f64 {
    // Only small multiples of 1/4 are used: sign, exponent, mantissa.
    let (s, e, m) = (v >> 15 & 1, v >> 10 & 31, v & 1023);
    let x = if e == 0 { 0.0 } else { f64::from(1024 + m) * 2f64.powi(e as i32 - 25) };
    if s != 0 { -x } else { x }
}

fn bf16(v: u32) -> f64 {
    f64::from(f32::from_bits(v << 16))
}

/// A float of 8 bits with this number of bits of the mantissa (OCP 8-bit floating point specification). Only values below 2 are used.
fn tiny(v: u32, mantissa: i32) -> f64 {
    let bias = (1 << (6 - mantissa)) - 1;
    let (e, m) = ((v & 127) as i32 >> mantissa, f64::from(v & ((1 << mantissa) - 1)) / f64::from(1 << mantissa));
    let x = if e == 0 { m * 2f64.powi(1 - bias) } else { (1.0 + m) * 2f64.powi(e - bias) };
    if v & 128 != 0 { -x } else { x }
}

fn e4m3(v: u32) -> f64 {
    tiny(v, 3)
}

fn e5m2(v: u32) -> f64 {
    tiny(v, 2)
}

/// Multiples of 1/4 in -4..4 as f32 bits.
fn quarter(r: u32) -> u32 {
    ((r % 33) as f32 / 4.0 - 4.0).to_bits()
}

fn quarter_half(r: u32) -> u32 {
    let bits = quarter(r);
    if bits << 1 == 0 { 0 } else { (bits >> 16 & 0x8000) + (((bits >> 23 & 0xff) - 112) << 10) + (bits >> 13 & 1023) }
}

fn quarter_bf16(r: u32) -> u32 {
    quarter(r) >> 16
}

const GROUPS: [Shape; 11] = [
    Shape {
        inst: "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32",
        k: 16,
        bits: 16,
        counts: (8, 4),
        a: |i, l| {
            (l / 4 + if i < 2 || (4..6).contains(&i) { 0 } else { 8 }, l % 4 * 2 + i % 2 + if i < 4 { 0 } else { 8 })
        },
        b: |i, l| (l % 4 * 2 + i % 2 + if i < 2 { 0 } else { 8 }, l / 4),
        value: half,
        random: quarter_half,
        integer: false,
    },
    Shape {
        inst: "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32",
        k: 8,
        bits: 16,
        counts: (4, 2),
        a: |i, l| (l / 4 + if i < 2 { 0 } else { 8 }, l % 4 * 2 + i % 2),
        b: |i, l| (l % 4 * 2 + i, l / 4),
        value: half,
        random: quarter_half,
        integer: false,
    },
    Shape {
        inst: "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32",
        k: 16,
        bits: 16,
        counts: (8, 4),
        a: |i, l| {
            (l / 4 + if i < 2 || (4..6).contains(&i) { 0 } else { 8 }, l % 4 * 2 + i % 2 + if i < 4 { 0 } else { 8 })
        },
        b: |i, l| (l % 4 * 2 + i % 2 + if i < 2 { 0 } else { 8 }, l / 4),
        value: bf16,
        random: quarter_bf16,
        integer: false,
    },
    Shape {
        inst: "mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32",
        k: 8,
        bits: 16,
        counts: (4, 2),
        a: |i, l| (l / 4 + if i < 2 { 0 } else { 8 }, l % 4 * 2 + i % 2),
        b: |i, l| (l % 4 * 2 + i, l / 4),
        value: bf16,
        random: quarter_bf16,
        integer: false,
    },
    Shape {
        inst: "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32",
        k: 8,
        bits: 32,
        counts: (4, 2),
        a: |i, l| (l / 4 + i % 2 * 8, l % 4 + i / 2 * 4),
        b: |i, l| (l % 4 + 4 * i, l / 4),
        value: |v| f64::from(f32::from_bits(v)),
        random: quarter,
        integer: false,
    },
    Shape {
        inst: "mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32",
        k: 4,
        bits: 32,
        counts: (2, 1),
        a: |i, l| (l / 4 + i * 8, l % 4),
        b: |_, l| (l % 4, l / 4),
        value: |v| f64::from(f32::from_bits(v)),
        random: quarter,
        integer: false,
    },
    Shape {
        inst: "mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32",
        k: 16,
        bits: 8,
        counts: (8, 4),
        a: |i, l| (l / 4 + if i < 4 { 0 } else { 8 }, l % 4 * 4 + i % 4),
        b: |i, l| (l % 4 * 4 + i, l / 4),
        value: |v| f64::from(v as i8),
        random: |r| r & 255,
        integer: true,
    },
    Shape {
        inst: "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32",
        k: 32,
        bits: 8,
        counts: (16, 8),
        a: |i, l| {
            (l / 4 + if i < 4 || (8..12).contains(&i) { 0 } else { 8 }, l % 4 * 4 + i % 4 + if i < 8 { 0 } else { 16 })
        },
        b: |i, l| (l % 4 * 4 + i % 4 + if i < 4 { 0 } else { 16 }, l / 4),
        value: e4m3,
        random: |r| (r % 0x38) | (r & 0x80),
        integer: false,
    },
    Shape {
        inst: "mma.sync.aligned.m16n8k32.row.col.f32.e5m2.e5m2.f32",
        k: 32,
        bits: 8,
        counts: (16, 8),
        a: |i, l| {
            (l / 4 + if i < 4 || (8..12).contains(&i) { 0 } else { 8 }, l % 4 * 4 + i % 4 + if i < 8 { 0 } else { 16 })
        },
        b: |i, l| (l % 4 * 4 + i % 4 + if i < 4 { 0 } else { 16 }, l / 4),
        value: e5m2,
        random: |r| (r % 0x40) | (r & 0x80),
        integer: false,
    },
    Shape {
        inst: "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32",
        k: 32,
        bits: 8,
        counts: (16, 8),
        a: |i, l| {
            (l / 4 + if i < 4 || (8..12).contains(&i) { 0 } else { 8 }, l % 4 * 4 + i % 4 + if i < 8 { 0 } else { 16 })
        },
        b: |i, l| (l % 4 * 4 + i % 4 + if i < 4 { 0 } else { 16 }, l / 4),
        value: |v| f64::from(v as i8),
        random: |r| r & 255,
        integer: true,
    },
    Shape {
        inst: "mma.sync.aligned.m16n8k32.row.col.satfinite.s32.u8.u8.s32",
        k: 32,
        bits: 8,
        counts: (16, 8),
        a: |i, l| {
            (l / 4 + if i < 4 || (8..12).contains(&i) { 0 } else { 8 }, l % 4 * 4 + i % 4 + if i < 8 { 0 } else { 16 })
        },
        b: |i, l| (l % 4 * 4 + i % 4 + if i < 4 { 0 } else { 16 }, l / 4),
        value: |v| f64::from(v as u8),
        random: |r| r & 255,
        integer: true,
    },
];

fn c_place(i: usize, lane: usize) -> (usize, usize) {
    (lane / 4 + i / 2 * 8, lane % 4 * 2 + i % 2)
}

fn list(prefix: &str, first: usize, n: usize) -> String {
    let names: Vec<String> = (first..first + n).map(|i| format!("%{prefix}{i}")).collect();
    format!("{{{}}}", names.join(", "))
}

#[test]
fn products() {
    for s in &GROUPS {
        let mut rng = Rng(21);
        let a: Vec<u32> = (0..16 * s.k).map(|_| (s.random)(rng.u32())).collect();
        let b: Vec<u32> = (0..s.k * 8).map(|_| (s.random)(rng.u32())).collect();
        let c: Vec<i32> = (0..16 * 8).map(|_| rng.u32() as i32 >> 8).collect();
        // Every lane's registers: 4 of A, 2 of B, 4 of C.
        let mut regs = vec![[0u32; 10]; 32];
        let per = 32 / s.bits as usize;
        for (l, r) in regs.iter_mut().enumerate() {
            for i in 0..s.counts.0 {
                let (row, col) = (s.a)(i, l);
                r[i / per] |= a[row * s.k + col] << (s.bits as usize * (i % per));
            }
            for i in 0..s.counts.1 {
                let (row, col) = (s.b)(i, l);
                r[4 + i / per] |= b[row * 8 + col] << (s.bits as usize * (i % per));
            }
            for i in 0..4 {
                let (row, col) = c_place(i, l);
                let v = c[row * 8 + col];
                r[6 + i] = if s.integer { v as u32 } else { (v as f32 / 4.0).to_bits() };
            }
        }
        let file = if s.integer { "r" } else { "f" };
        let (na, nb) = (s.counts.0 / per, s.counts.1 / per);
        let mut body = String::from(
            "ld.param.u64 %rd1, [p]; mov.u32 %r1, %tid.x; mul.wide.u32 %rd2, %r1, 40; add.s64 %rd1, %rd1, %rd2;\n",
        );
        for i in 0..10 {
            let reg = if i < 6 { format!("%r{}", 10 + i) } else { format!("%{file}{}", 20 + i) };
            body += &format!("ld.global.b32 {reg}, [%rd1+{}];\n", 4 * i);
        }
        body += &format!(
            "{} {}, {}, {}, {};\n",
            s.inst,
            list(file, 26, 4),
            list("r", 10, na),
            list("r", 14, nb),
            list(file, 26, 4)
        );
        for i in 0..4 {
            body += &format!("st.global.b32 [%rd1+{}], %{file}{};\n", 24 + 4 * i, 26 + i);
        }
        let mut dev = device();
        let p = dev.upload(&regs.iter().flatten().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>()).unwrap();
        let k = kernel(&wrap(".param .u64 p", &body));
        clean(&dev.launch(&k, LaunchConfig::linear(1, 32), &Params::default().u64(p).0).unwrap());
        let mut out = vec![0; 1280];
        dev.read(p, &mut out).unwrap();
        for l in 0..32 {
            for i in 0..4 {
                let at = 40 * l + 24 + 4 * i;
                let got = u32::from_le_bytes(out[at..at + 4].try_into().unwrap());
                let (row, col) = c_place(i, l);
                let dot: f64 = (0..s.k).map(|x| (s.value)(a[row * s.k + x]) * (s.value)(b[x * 8 + col])).sum();
                let c = c[row * 8 + col];
                if s.integer {
                    assert_eq!(i64::from(got as i32), i64::from(c) + dot as i64, "{} {row} {col}", s.inst);
                } else {
                    assert_eq!(
                        f64::from(f32::from_bits(got)),
                        (f64::from(c as f32 / 4.0) + dot) as f32 as f64,
                        "{} {row} {col}",
                        s.inst
                    );
                }
            }
        }
    }
}

#[test]
fn saturation_and_half_accumulators() {
    // 32 products of 127 * 127 onto the largest integer.
    let body = |sat: &str| {
        format!(
            "ld.param.u64 %rd1, [p]; mov.u32 %r1, 0x7f7f7f7f; mov.u32 %r2, 0x7fffff00;\n\
             mma.sync.aligned.m16n8k32.row.col{sat}.s32.s8.s8.s32 {{%r4,%r5,%r6,%r7}}, {{%r1,%r1,%r1,%r1}}, {{%r1,%r1}}, {{%r2,%r2,%r2,%r2}};\n\
             st.global.u32 [%rd1], %r4;"
        )
    };
    let run = |text: &str| {
        let mut dev = device();
        let p = dev.alloc(4).unwrap();
        let k = kernel(&wrap(".param .u64 p", text));
        clean(&dev.launch(&k, LaunchConfig::linear(1, 32), &Params::default().u64(p).0).unwrap());
        let mut v = [0; 4];
        dev.read(p, &mut v).unwrap();
        u32::from_le_bytes(v)
    };
    assert_eq!(run(&body(".satfinite")), i32::MAX as u32);
    assert_eq!(run(&body("")), 0x7fff_ff00u32 + 32 * 127 * 127);
    // Halves: 16 products of 1 * 2 and 0.5.
    let text = "ld.param.u64 %rd1, [p]; mov.u32 %r1, 0x3c003c00; mov.u32 %r2, 0x40004000; mov.u32 %r3, 0x38003800;\n\
                mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%r4,%r5}, {%r1,%r1,%r1,%r1}, {%r2,%r2}, {%r3,%r3};\n\
                st.global.u32 [%rd1], %r4;";
    // 32.5 in f16
    assert_eq!(run(text), 0x5010_5010);
}

#[test]
fn matrix_loads_and_stores() {
    // Shared memory holds halves 0, 1, 2, ... in rows of 8; lane l gets row l / 4, elements 2 (l % 4) and the next.
    let setup = "ld.param.u64 %rd1, [p]; .shared .align 16 .b8 s[512]; mov.u32 %r1, %tid.x; mov.u32 %r2, s;\n\
                 shl.b32 %r3, %r1, 4; add.s32 %r3, %r2, %r3; shl.b32 %r4, %r1, 3; mov.u32 %r5, 0;\n\
                 FILL:\nadd.s32 %r6, %r4, %r5; cvt.u16.u32 %h1, %r6; shl.b32 %r7, %r5, 1; add.s32 %r7, %r3, %r7; st.shared.u16 [%r7], %h1;\n\
                 add.s32 %r5, %r5, 1; setp.lt.u32 %p1, %r5, 8;\n@%p1 bra FILL;\nbar.sync 0;\n";
    let store =
        "mul.wide.u32 %rd2, %r1, 16; add.s64 %rd1, %rd1, %rd2; st.global.v4.u32 [%rd1], {%r20, %r21, %r22, %r23};";
    let run = |text: &str| -> Vec<[u32; 8]> {
        let mut dev = device();
        let p = dev.alloc(512).unwrap();
        let k = kernel(&wrap(".param .u64 p", &format!("{setup}{text}\n{store}")));
        clean(&dev.launch(&k, LaunchConfig::linear(1, 32), &Params::default().u64(p).0).unwrap());
        let mut v = vec![0; 512];
        dev.read(p, &mut v).unwrap();
        let h: Vec<u32> = v.chunks_exact(2).map(|c| u32::from(u16::from_le_bytes([c[0], c[1]]))).collect();
        h.chunks_exact(8).map(|c| c.try_into().unwrap()).collect()
    };
    let plain = run("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r20, %r21, %r22, %r23}, [%r3];");
    let trans = run("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%r20, %r21, %r22, %r23}, [%r3];");
    for l in 0..32u32 {
        for i in 0..4 {
            for half in 0..2 {
                let (r, c) = (l / 4, l % 4 * 2 + half);
                assert_eq!(plain[l as usize][(2 * i + half) as usize], 64 * i + 8 * r + c);
                assert_eq!(trans[l as usize][(2 * i + half) as usize], 64 * i + 8 * c + r);
            }
        }
    }
    // Out and back, transposed.
    let back = run("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r20, %r21}, [%r3]; bar.warp.sync -1;\n\
         stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%r3], {%r20, %r21}; bar.warp.sync -1;\n\
         ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r20, %r21}, [%r3]; ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r22}, [%r3]; mov.u32 %r23, 0;");
    for l in 0..32u32 {
        let (r, c) = (l / 4, l % 4 * 2);
        assert_eq!(
            back[l as usize][..6],
            [8 * c + r, 8 * c + 8 + r, 64 + 8 * c + r, 64 + 8 * c + 8 + r, 8 * c + r, 8 * c + 8 + r]
        );
    }
}

/// Element (r, c) is `8 r + c`; each lane gets two elements of a column.
#[test]
fn a_matrix_is_transposed_in_registers() {
    let body = "ld.param.u64 %rd1, [p]; mov.u32 %r1, %tid.x; mul.wide.u32 %rd2, %r1, 4; add.s64 %rd1, %rd1, %rd2;\n\
                ld.global.u32 %r2, [%rd1];\nmovmatrix.sync.aligned.m8n8.trans.b16 %r3, %r2;\nst.global.u32 [%rd1], %r3;";
    let elements: Vec<u8> = (0..64u16).flat_map(u16::to_le_bytes).collect();
    let mut dev = device();
    let p = dev.upload(&elements).unwrap();
    let k = kernel(&wrap(".param .u64 p", body));
    clean(&dev.launch(&k, LaunchConfig::linear(1, 32), &Params::default().u64(p).0).unwrap());
    let mut got = vec![0; 128];
    dev.read(p, &mut got).unwrap();
    let want: Vec<u8> = (0..64u16).flat_map(|i| (8 * (i % 8) + i / 8).to_le_bytes()).collect();
    assert_eq!(got, want);
}
