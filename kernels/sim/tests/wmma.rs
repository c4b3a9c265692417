//! `wmma` against plain products: every shape, every layout of each matrix in memory, every type.

mod common;

use common::{Params, Rng, clean, device, expect, kernel, line_of, wrap};
use ptx_sim::{Check, LaunchConfig, Module, Report};

/// A type of elements: its name, bytes, registers of a 16 x 16 matrix as a multiplicand and as a sum.
#[derive(Clone, Copy, PartialEq)]
enum Ty {
    F16,
    BF16,
    Tf32,
    S8,
    U8,
    F32,
    S32,
    F64,
}

impl Ty {
    fn name(self) -> &'static str {
        ["f16", "bf16", "tf32", "s8", "u8", "f32", "s32", "f64"][self as usize]
    }

    fn bytes(self) -> usize {
        [2, 2, 4, 1, 1, 4, 4, 8][self as usize]
    }

    /// A small whole number, as this type has it.
    fn bits(self, value: i32) -> Vec<u8> {
        let float = (value as f32).to_bits();
        match self {
            Ty::F16 if value == 0 => vec![0; 2],
            Ty::F16 => {
                let half = float >> 16 & 0x8000 | ((float >> 23 & 255) - 112) << 10 | float >> 13 & 1023;
                half.to_le_bytes()[..2].to_vec()
            }
            Ty::BF16 => float.to_le_bytes()[2..].to_vec(),
            Ty::Tf32 | Ty::F32 => float.to_le_bytes().to_vec(),
            Ty::S8 | Ty::U8 => vec![value as u8],
            Ty::S32 => value.to_le_bytes().to_vec(),
            Ty::F64 => f64::from(value).to_le_bytes().to_vec(),
        }
    }

    /// Values from `from` on, few enough that every sum is exact in the type that sums have.
    fn random(self, rng: &mut Rng) -> i32 {
        let value = (rng.u32() % 17) as i32 - 8;
        if self == Ty::U8 { value + 200 } else { value }
    }
}

/// Registers of a matrix, as the PTX ISA prescribes.
fn registers(ty: Ty, rows: usize, cols: usize, multiplicand: bool) -> usize {
    match ty {
        Ty::F16 if multiplicand => 8,
        Ty::F64 => rows * cols / 32,
        _ => rows * cols / 32 / (4 / ty.bytes()),
    }
}

struct Product {
    shape: [usize; 3],
    types: [Ty; 4],
    column_major: [bool; 4],
    space: &'static str,
    padding: usize,
}

impl Product {
    /// The text of a kernel that loads A, B and C, multiplies, and stores D.
    fn text(&self) -> String {
        let [m, n, k] = self.shape;
        let Product { types: [d, a, b, c], column_major, space, .. } = self;
        let parts = [("a", *a, m, k, 0), ("b", *b, k, n, 1), ("c", *c, m, n, 2), ("d", *d, m, n, 3)];
        let mut body = String::from(
            "ld.param.u64 %rd1, [a]; ld.param.u64 %rd2, [b]; ld.param.u64 %rd3, [c]; ld.param.u64 %rd4, [d];\n",
        );
        let layout = |at: usize| if column_major[at] { "col" } else { "row" };
        let shape = format!("m{m}n{n}k{k}");
        let mut lists = vec![];
        for (name, ty, rows, cols, at) in parts {
            let count = registers(ty, rows, cols, at < 2);
            let prefix = if ty == Ty::F64 { "%fd" } else { "%r" };
            let first = if ty == Ty::F64 { 4 * at } else { 1 + 10 * at };
            let list: Vec<String> = (0..count).map(|i| format!("{prefix}{}", first + i)).collect();
            let list = format!("{{{}}}", list.join(", "));
            let (length, stride) = (if column_major[at] { rows } else { cols }, format!("%r{}", 50 + at));
            body += &format!("mov.u32 {stride}, {};\n", length + self.padding);
            if name != "d" {
                let op = format!("wmma.load.{name}.sync.aligned.{}.{shape}{space}.{}", layout(at), ty.name());
                body += &format!("{op} {list}, [%rd{}], {stride};\n", at + 1);
            }
            lists.push(list);
        }
        let types =
            if *a == Ty::F16 { format!("{}.{}", d.name(), c.name()) } else { self.types.map(Ty::name).join(".") };
        let rounding = if *d == Ty::F64 { ".rn" } else { "" };
        body += &format!(
            "wmma.mma.sync.aligned.{}.{}.{shape}.{types}{rounding} {}, {}, {}, {};\n",
            layout(0),
            layout(1),
            lists[3],
            lists[0],
            lists[1],
            lists[2]
        );
        body +=
            &format!("wmma.store.d.sync.aligned.{}.{shape}{space}.{} [%rd4], {}, %r53;", layout(3), d.name(), lists[3]);
        wrap(".param .u64 a, .param .u64 b, .param .u64 c, .param .u64 d", &body)
    }

    fn check(&self, rng: &mut Rng) {
        let [m, n, k] = self.shape;
        let [d, a, b, c] = self.types;
        let sizes = [(m, k), (k, n), (m, n)];
        let values = [a, b, c].into_iter().zip(sizes);
        let values: Vec<Vec<i32>> = values.map(|(ty, (r, c))| (0..r * c).map(|_| ty.random(rng)).collect()).collect();
        let place = |at: usize, (rows, cols): (usize, usize), r: usize, c: usize| {
            if self.column_major[at] { c * (rows + self.padding) + r } else { r * (cols + self.padding) + c }
        };
        let bytes = |at: usize, size: (usize, usize), ty: Ty, value: &dyn Fn(usize, usize) -> i32| {
            let lines =
                if self.column_major[at] { size.1 * (size.0 + self.padding) } else { size.0 * (size.1 + self.padding) };
            let mut out = vec![0; lines * ty.bytes()];
            for (r, c) in (0..size.0).flat_map(|r| (0..size.1).map(move |c| (r, c))) {
                let start = place(at, size, r, c) * ty.bytes();
                out[start..start + ty.bytes()].copy_from_slice(&ty.bits(value(r, c)));
            }
            out
        };
        let mut dev = device();
        let mut params = Params::default();
        for (at, ty) in [a, b, c].into_iter().enumerate() {
            let data = bytes(at, sizes[at], ty, &|r, c| values[at][r * sizes[at].1 + c]);
            params = params.u64(dev.upload(&data).unwrap());
        }
        let sum = |r: usize, c: usize| {
            values[2][r * n + c] + (0..k).map(|i| values[0][r * k + i] * values[1][i * n + c]).sum::<i32>()
        };
        let want = bytes(3, (m, n), d, &sum);
        let out = dev.upload(&vec![0; want.len()]).unwrap();
        let text = self.text();
        let report = dev.launch(&kernel(&text), LaunchConfig::linear(1, 32), &params.u64(out).0).unwrap();
        clean(&report);
        let mut got = vec![0; want.len()];
        dev.read(out, &mut got).unwrap();
        assert!(got == want, "{text}");
    }
}

#[test]
fn products_are_those_of_plain_matrices() {
    use Ty::*;
    let mut rng = Rng(5);
    let wide: [[usize; 3]; 3] = [[16, 16, 16], [8, 32, 16], [32, 8, 16]];
    let sixteen: [[Ty; 4]; 7] = [
        [F32, F16, F16, F32],
        [F16, F16, F16, F16],
        [F32, F16, F16, F16],
        [F16, F16, F16, F32],
        [F32, BF16, BF16, F32],
        [S32, S8, S8, S32],
        [S32, U8, S8, S32],
    ];
    let mut all: Vec<([usize; 3], [Ty; 4])> = vec![([16, 16, 8], [F32, Tf32, Tf32, F32]), ([8, 8, 4], [F64; 4])];
    all.extend(wide.iter().flat_map(|shape| sixteen.map(|types| (*shape, types))));
    for (shape, types) in all {
        for layouts in 0..16 {
            let column_major = [0, 1, 2, 3].map(|at| layouts >> at & 1 != 0);
            let space = if layouts % 3 == 0 { ".global" } else { "" };
            Product { shape, types, column_major, space, padding: 8 * (layouts % 2) }.check(&mut rng);
        }
    }
}

fn run(body: &str) -> Report {
    let text = wrap(".param .u64 p", &format!("ld.param.u64 %rd1, [p]; mov.u32 %r20, %tid.x;\n{body}"));
    let mut dev = device();
    let p = dev.upload(&[1; 256]).unwrap();
    dev.launch(&kernel(&text), LaunchConfig::linear(1, 32), &Params::default().u64(p).0).unwrap()
}

#[test]
fn defects_are_found() {
    let load = "wmma.load.a.sync.aligned.row.m16n16k16.global.s8 {%r1, %r2}, [%rd1], %r3;";
    clean(&run(&format!("mov.u32 %r3, 16;\n{load}")));
    let far = run(&format!("mov.u32 %r3, 17;\n{load}"));
    assert!(far.findings.iter().all(|found| found.check == Check::OutOfBounds) && !far.findings.is_empty());
    let body = "mov.u32 %r3, 16;\nsetp.lt.u32 %p1, %r20, 16;\n@!%p1 bra END;\nLOAD // load\nEND:\nbar.sync 0;";
    let body = body.replace("LOAD", load);
    let line = line_of(&wrap("", &format!("\n{body}")), "// load");
    expect(&run(&body), Check::DivergentMask, line, [0; 3], [0; 3]);
}

#[test]
fn what_has_no_such_form_is_refused() {
    for inst in [
        "wmma.load.a.sync.aligned.row.m16n16k16.s8 {%r1, %r2, %r3}, [%rd1], %r4;",
        "wmma.load.a.sync.aligned.row.m16n16k8.s8 {%r1}, [%rd1], %r4;",
        "wmma.load.c.sync.aligned.row.m16n16k16.s8 {%r1, %r2}, [%rd1], %r4;",
        "wmma.load.a.sync.aligned.row.m8n8k32.s4 {%r1}, [%rd1], %r4;",
        "wmma.store.a.sync.aligned.row.m16n16k16.s8 [%rd1], {%r1, %r2}, %r4;",
    ] {
        assert!(Module::load("m", &wrap("", inst)).is_err(), "{inst}");
    }
}
