//! Floating point of 32 and 64 bits: PTX ISA, "Floating Point Instructions".
//!
//! The `.approx` functions are computed in f64 and rounded once, so they are at least as accurate as the hardware's;
//! their last bits differ from it.

use crate::error::At;
use crate::fp::{self, FTZ, Rnd, SAT, canon, f, ftz};
use crate::ir::*;
use crate::lower::context::Lower;
use crate::lower::modifiers::Mods;
use crate::lower::rows::*;
use crate::parse::ast::AstInst;
use crate::ty::Ty;

/// How an instruction rounds, and what it does to subnormals, overflows and NaNs.
pub(super) struct Rounding {
    pub mode: Rnd,
    /// A mode was given. `div`, `rcp` and `sqrt` need one, or `approx` or `full`.
    pub given: bool,
    pub ftz: bool,
    pub sat: bool,
    pub relu: bool,
    pub nan: bool,
    pub approx: bool,
    pub full: bool,
}

impl Rounding {
    fn parse(m: &mut Mods) -> Rounding {
        let mode = m.one_of(&[("rn", Rnd::Rn), ("rz", Rnd::Rz), ("rm", Rnd::Rm), ("rp", Rnd::Rp)]);
        Rounding {
            mode: mode.unwrap_or(Rnd::Rn),
            given: mode.is_some(),
            ftz: m.take("ftz"),
            sat: m.take("sat"),
            relu: m.take("relu"),
            nan: m.take("NaN"),
            approx: m.take("approx"),
            full: m.take("full"),
        }
    }

    /// The bits that the functions of [`crate::fp`] take.
    fn bits(&self) -> u32 {
        self.mode as u32 | if self.ftz { FTZ } else { 0 } | if self.sat { SAT } else { 0 }
    }
}

/// Functions of one f32 that the hardware approximates, in f64.
fn approx(name: &str) -> Option<Any> {
    macro_rules! of {
        ($e:expr) => {
            |a, _, _, imm| {
                let a = if imm & FTZ != 0 { ftz(a as u32) } else { a as u32 };
                let r = canon($e(f64::from(f(a))) as f32);
                u64::from(if imm & FTZ != 0 { ftz(r) } else { r })
            }
        };
    }
    Some(match name {
        "rcp" => of!(|x: f64| 1.0 / x),
        "sqrt" => of!(f64::sqrt),
        "rsqrt" => of!(|x: f64| 1.0 / x.sqrt()),
        "sin" => of!(f64::sin),
        "cos" => of!(f64::cos),
        "lg2" => of!(f64::log2),
        "ex2" => of!(f64::exp2),
        "tanh" => of!(f64::tanh),
        _ => return None,
    })
}

/// A quotient that the hardware approximates, in f64.
fn approx_div(a: u64, b: u64, _: u64, imm: u32) -> u64 {
    let flush = |x: u32| if imm & FTZ != 0 { ftz(x) } else { x };
    let quotient = f64::from(f(flush(a as u32))) / f64::from(f(flush(b as u32)));
    flush(canon(quotient as f32)).into()
}

/// Sources of an instruction.
fn arity(name: &str) -> usize {
    match name {
        "fma" => 3,
        "add" | "sub" | "mul" | "min" | "max" | "div" => 2,
        _ => 1,
    }
}

impl Lower<'_> {
    pub fn float(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        let name = match i.op[0].as_str() {
            "mad" => "fma",
            name @ ("add" | "sub" | "mul" | "fma" | "min" | "max" | "neg" | "abs" | "div" | "rcp" | "sqrt"
            | "rsqrt" | "sin" | "cos" | "lg2" | "ex2" | "tanh") => name,
            "setp" | "set" => return self.compare(i, m),
            "copysign" => return self.copy_sign(i, m),
            "testp" => return self.test_property(i, m),
            _ => return Ok(false),
        };
        let o = Rounding::parse(m);
        let ty = m.ty()?;
        if i.args.len() != 1 + arity(name) {
            return m.wrong_count();
        }
        match ty {
            Ty::F32 => self.float32(i, m, name, &o),
            Ty::F64 => self.float64(i, m, name, &o),
            Ty::F16 | Ty::F16x2 | Ty::BF16 | Ty::BF16x2 => self.half(i, m, name, &o, ty),
            _ => m.unknown(),
        }
    }

    fn copy_sign(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        let wide = m.ty()? == Ty::F64;
        let f: Any = if wide {
            |a, b, _, _| (b & !(1 << 63)) | (a & (1 << 63))
        } else {
            |a, b, _, _| (b & 0x7fff_ffff) | (a & 0x8000_0000)
        };
        let t = if wide { Ty::F64 } else { Ty::F32 };
        self.any(i, Class::Float32, f, 0, t, [t; 3])
    }

    fn test_property(&mut self, i: &AstInst, m: &mut Mods) -> Result<bool, At> {
        const KINDS: [(&str, u32); 6] =
            [("finite", 0), ("infinite", 1), ("number", 2), ("notanumber", 3), ("normal", 4), ("subnormal", 5)];
        let (Some(kind), ty) = (m.one_of(&KINDS), m.ty()?) else {
            return m.unknown();
        };
        let f: Any = |a, _, _, imm| {
            let x = if imm & 8 != 0 { f64::from_bits(a) } else { f64::from(f(a as u32)) };
            let (normal, sub) = if imm & 8 != 0 {
                (x.is_normal(), x.is_subnormal())
            } else {
                (f(a as u32).is_normal(), f(a as u32).is_subnormal())
            };
            u64::from([x.is_finite(), x.is_infinite(), !x.is_nan(), x.is_nan(), normal, sub][(imm & 7) as usize])
        };
        self.any(i, Class::Predicate, f, kind | if ty == Ty::F64 { 8 } else { 0 }, Ty::Pred, [ty; 3])
    }

    fn float32(&mut self, i: &AstInst, m: &Mods, name: &str, o: &Rounding) -> Result<bool, At> {
        let t = Ty::F32;
        if o.relu {
            return m.unknown();
        }
        if o.approx || o.full {
            let f = if name == "div" { Some(approx_div as Any) } else { approx(name) };
            let Some(f) = f else { return m.unknown() };
            return self.any(i, Class::Special, f, o.bits(), t, [t; 3]);
        }
        if o.mode == Rnd::Rn && !o.sat {
            if let Some(f) = plain_two(name, o) {
                return self.two(i, Class::Float32, f, t);
            }
            if name == "fma" {
                let f: W3 = if o.ftz {
                    w3!(|a, b, c| ftz(canon(fp::fma32(f(ftz(a)), f(ftz(b)), f(ftz(c))))))
                } else {
                    w3!(|a, b, c| canon(fp::fma32(f(a), f(b), f(c))))
                };
                return self.three(i, Class::Float32, f, [t; 3]);
            }
        }
        let one: Option<W1> = match (name, o.ftz) {
            ("neg", false) => Some(w1!(|a| if f(a).is_nan() { fp::NAN32 } else { a ^ 0x8000_0000 })),
            ("neg", true) => Some(w1!(|a| if f(a).is_nan() { fp::NAN32 } else { ftz(a) ^ 0x8000_0000 })),
            ("abs", false) => Some(w1!(|a| if f(a).is_nan() { fp::NAN32 } else { a & 0x7fff_ffff })),
            ("abs", true) => Some(w1!(|a| if f(a).is_nan() { fp::NAN32 } else { ftz(a) & 0x7fff_ffff })),
            _ => None,
        };
        if let Some(f) = one {
            let [d, a] = self.args(i)?;
            let op = Op::W1 { f, d: self.wd(d)?, a: self.w(a, t)? };
            self.emit(Class::Float32, op);
            return Ok(true);
        }
        let (f, class): (Any, Class) = match name {
            "add" => (fp::add_f32, Class::Float32),
            "sub" => (fp::sub_f32, Class::Float32),
            "mul" => (fp::mul_f32, Class::Float32),
            "fma" => (fp::fma_f32, Class::Float32),
            "div" if o.given => (fp::div_f32, Class::Special),
            "sqrt" if o.given => (fp::sqrt_f32, Class::Special),
            "rcp" if o.given => (fp::rcp_f32, Class::Special),
            _ => return m.unknown(),
        };
        self.any(i, class, f, o.bits(), t, [t; 3])
    }

    fn float64(&mut self, i: &AstInst, m: &Mods, name: &str, o: &Rounding) -> Result<bool, At> {
        let t = Ty::F64;
        if o.sat || (o.ftz && !o.approx) {
            return m.unknown();
        }
        let f: Any = match (name, o.mode) {
            ("add", Rnd::Rn) => |a, b, _, _| (f64::from_bits(a) + f64::from_bits(b)).to_bits(),
            ("sub", Rnd::Rn) => |a, b, _, _| (f64::from_bits(a) - f64::from_bits(b)).to_bits(),
            ("mul", Rnd::Rn) => |a, b, _, _| (f64::from_bits(a) * f64::from_bits(b)).to_bits(),
            ("fma", Rnd::Rn) => |a, b, c, _| f64::from_bits(a).mul_add(f64::from_bits(b), f64::from_bits(c)).to_bits(),
            ("add", _) => fp::add_f64,
            ("sub", _) => fp::sub_f64,
            ("mul", _) => fp::mul_f64,
            ("div", _) => fp::div_f64,
            ("sqrt", _) => fp::sqrt_f64,
            ("rcp", _) if o.approx => |a, _, _, _| (1.0 / f64::from_bits(a)).to_bits(),
            ("rcp", _) => |a, _, _, imm| fp::div_f64(1f64.to_bits(), a, 0, imm),
            ("rsqrt", _) if o.approx => |a, _, _, _| (1.0 / f64::from_bits(a).sqrt()).to_bits(),
            ("neg", _) => |a, _, _, _| a ^ (1 << 63),
            ("abs", _) => |a, _, _, _| a & !(1 << 63),
            ("min", _) => |a, b, _, _| {
                let (x, y) = (f64::from_bits(a), f64::from_bits(b));
                if y.is_nan() || x < y || (x == y && x.is_sign_negative()) { a } else { b }
            },
            ("max", _) => |a, b, _, _| {
                let (x, y) = (f64::from_bits(a), f64::from_bits(b));
                if y.is_nan() || x > y || (x == y && x.is_sign_positive()) { a } else { b }
            },
            _ => return m.unknown(),
        };
        self.any(i, Class::Float64, f, o.bits(), t, [t; 3])
    }
}

/// Functions of two f32 that round to nearest and do not saturate.
fn plain_two(name: &str, o: &Rounding) -> Option<W2> {
    Some(match (name, o.ftz) {
        ("add", false) => w2!(|a, b| canon(f(a) + f(b))),
        ("sub", false) => w2!(|a, b| canon(f(a) - f(b))),
        ("mul", false) => w2!(|a, b| canon(f(a) * f(b))),
        ("add", true) => w2!(|a, b| ftz(canon(f(ftz(a)) + f(ftz(b))))),
        ("sub", true) => w2!(|a, b| ftz(canon(f(ftz(a)) - f(ftz(b))))),
        ("mul", true) => w2!(|a, b| ftz(canon(f(ftz(a)) * f(ftz(b))))),
        ("div", false) if o.given => w2!(|a, b| canon(f(a) / f(b))),
        ("min", false) if o.nan => w2!(|a, b| fp::min32(f(a), f(b), true)),
        ("max", false) if o.nan => w2!(|a, b| fp::max32(f(a), f(b), true)),
        ("min", false) => w2!(|a, b| fp::min32(f(a), f(b), false)),
        ("max", false) => w2!(|a, b| fp::max32(f(a), f(b), false)),
        ("min", true) if !o.nan => w2!(|a, b| fp::min32(f(ftz(a)), f(ftz(b)), false)),
        ("max", true) if !o.nan => w2!(|a, b| fp::max32(f(ftz(a)), f(ftz(b)), false)),
        _ => return None,
    })
}
