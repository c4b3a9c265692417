//! Types whose quants index a small table of values: IQ4, the 4-bit floats (E2M1), and the ternary types (-1, 0 and 1).

use bytemuck::{Pod, Zeroable};

use super::integers::{Integers, Scales, Scaling};
use super::plain::nibbles;
use super::{Block, Plane, Random, f16_to_f32};
use crate::gguf::GgmlType;

/// The sixteen values of a 4-bit code, denser near zero: `kvalues_iq4nl` of GGML's `ggml-common.h`.
const IQ4_VALUES: [f32; 16] =
    [-127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0];

/// The integers of a table as unsigned numbers: `zero` stands for 0.
const fn codes(table: &[f32; 16], zero: i32) -> [u8; 16] {
    let mut codes = [0; 16];
    let mut i = 0;
    while i < 16 {
        codes[i] = (table[i] as i32 + zero) as u8;
        i += 1;
    }
    codes
}

/// `out[i] = scale * table[q]` with q in the low half of `qs[i]`, `out[H + i]` with that in its high half.
#[inline(always)]
fn look_up<const H: usize, const N: usize>(table: &[f32; 16], scale: f32, qs: &[u8; H], out: &mut [f32; N]) {
    for i in 0..H {
        out[i] = scale * table[usize::from(qs[i] & 15)];
        out[H + i] = scale * table[usize::from(qs[i] >> 4)];
    }
}

/// `x = d * IQ4_VALUES[q]`
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct IQ4_NL {
    /// Scale, f16.
    d: [u8; 2],
    /// q, 4 bits: value i in the low half of byte i, value 16 + i in its high half.
    qs: [u8; 16],
}

impl Block for IQ4_NL {
    const TY: GgmlType = GgmlType::IQ4_NL;
    type Values = [f32; 32];
    const PLANES: &[Plane] = &[plane!(Quants: qs..), plane!(Scales: d..qs)];

    #[inline(always)]
    fn decode(&self, out: &mut [f32; 32]) {
        look_up(&IQ4_VALUES, f16_to_f32(self.d), &self.qs, out);
    }

    fn set_scales(&mut self, scale: f32, rng: &mut Random) {
        self.d = rng.f16(0.02 * scale);
    }
}

impl Integers for IQ4_NL {
    type Quants = [u8; 32];
    const BITS: u32 = 4;
    const ZERO: u8 = 128;
    const CODES: Option<[u8; 16]> = Some(codes(&IQ4_VALUES, 128));
    const SCALING: Scaling = Scaling::Block;

    #[inline(always)]
    fn quants(&self) -> [u8; 32] {
        nibbles(&self.qs)
    }

    #[inline(always)]
    fn scales(&self) -> Scales {
        Scales { d: self.d, ..Scales::default() }
    }
}

/// `x = (d * (scale - 32)) * IQ4_VALUES[q]`, a scale per 32 values
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct IQ4_XS {
    /// Scale of the scales, f16.
    d: [u8; 2],
    /// Bits 4 and 5 of the scales: scale i in bits 2 i, 2 i + 1 of this u16.
    scales_h: [u8; 2],
    /// Bits 0 to 3 of the scales: scale 2 i in the low half of byte i, scale 2 i + 1 in its high half.
    scales_l: [u8; 4],
    /// q: eight groups of 32 values, each placed as in [`IQ4_NL`].
    qs: [u8; 128],
}

impl Block for IQ4_XS {
    const TY: GgmlType = GgmlType::IQ4_XS;
    type Values = [f32; 256];
    // 8 bytes of scales: one load of a kernel.
    const PLANES: &[Plane] = &[plane!(Quants: qs..), plane!(Scales: d..qs)];

    #[inline(always)]
    fn decode(&self, out: &mut [f32; 256]) {
        let d = f16_to_f32(self.d);
        let scales_h = u16::from_le_bytes(self.scales_h);
        for (group, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let low = i32::from(self.scales_l[group / 2] >> (4 * (group % 2)) & 15);
            let high = i32::from(scales_h >> (2 * group) & 3);
            let scale = d * ((low | high << 4) - 32) as f32;
            look_up::<16, 32>(&IQ4_VALUES, scale, &self.qs.as_chunks().0[group], out);
        }
    }

    fn set_scales(&mut self, scale: f32, rng: &mut Random) {
        self.d = rng.f16(0.02 * scale);
    }
}

impl Integers for IQ4_XS {
    type Quants = [u8; 256];
    const BITS: u32 = 4;
    const ZERO: u8 = 128;
    const CODES: Option<[u8; 16]> = Some(codes(&IQ4_VALUES, 128));
    const SCALING: Scaling = Scaling::Groups(32);

    #[inline(always)]
    fn quants(&self) -> [u8; 256] {
        let mut q = [0; 256];
        for (q, qs) in q.as_chunks_mut::<32>().0.iter_mut().zip(self.qs.as_chunks().0) {
            *q = nibbles(qs);
        }
        q
    }

    #[inline(always)]
    fn scales(&self) -> Scales {
        let scales_h = u16::from_le_bytes(self.scales_h);
        let mut scales = [0; 16];
        for (group, scale) in scales[..8].iter_mut().enumerate() {
            let low = self.scales_l[group / 2] >> (4 * (group % 2)) & 15;
            let high = (scales_h >> (2 * group) & 3) as u8;
            *scale = (low | high << 4).wrapping_sub(32);
        }
        Scales { d: self.d, scales, ..Scales::default() }
    }
}

/// The sixteen values of E2M1, doubled; scales are halved. Microscaling Formats (MX) Specification, Open Compute Project, 2023.
const E2M1_VALUES: [f32; 16] =
    [0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 0.0, -1.0, -2.0, -3.0, -4.0, -6.0, -8.0, -12.0];

/// `x = 2^(e - 128) * E2M1_VALUES[q]`
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct MXFP4 {
    /// Exponent of the scale, E8M0.
    e: u8,
    /// q, 4 bits: value i in the low half of byte i, value 16 + i in its high half.
    qs: [u8; 16],
}

impl Block for MXFP4 {
    const TY: GgmlType = GgmlType::MXFP4;
    type Values = [f32; 32];
    const PLANES: &[Plane] = &[plane!(Quants: qs..), plane!(Scales: e..qs)];

    #[inline(always)]
    fn decode(&self, out: &mut [f32; 32]) {
        let scale = match self.e {
            e @ 0..2 => f32::from_bits(1 << (21 + e)), // subnormal: 2^-149 is the last bit
            e => f32::from_bits(u32::from(e - 1) << 23),
        };
        look_up(&E2M1_VALUES, scale, &self.qs, out);
    }

    fn set_scales(&mut self, scale: f32, rng: &mut Random) {
        // 2^-8 to 2^-2 where scale is 1. Between two powers of 2 the nearer one is the likelier.
        let exponent = (scale.log2() + rng.uniform(0.5)).round();
        self.e = (120.0 + exponent).max(0.0) as u8 + self.e % 7;
    }
}

impl Integers for MXFP4 {
    type Quants = [u8; 32];
    const BITS: u32 = 4;
    const ZERO: u8 = 16;
    const CODES: Option<[u8; 16]> = Some(codes(&E2M1_VALUES, 16));
    const SCALING: Scaling = Scaling::Exponent;

    #[inline(always)]
    fn quants(&self) -> [u8; 32] {
        nibbles(&self.qs)
    }

    #[inline(always)]
    fn scales(&self) -> Scales {
        Scales { scales: [self.e; 16], ..Scales::default() }
    }
}

/// `x = d / 2 * E2M1_VALUES[q]`, a scale d per 16 values
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct NVFP4 {
    /// Scales, E4M3 without sign.
    d: [u8; 4],
    /// q, 4 bits: value 16 g + i in the low half of byte 8 g + i, value 16 g + 8 + i in its high half.
    qs: [u8; 32],
}

impl Block for NVFP4 {
    const TY: GgmlType = GgmlType::NVFP4;
    type Values = [f32; 64];
    const PLANES: &[Plane] = &[plane!(Quants: qs..), plane!(Scales: d..qs)];

    #[inline(always)]
    fn decode(&self, out: &mut [f32; 64]) {
        for (group, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let qs: &[u8; 8] = &self.qs.as_chunks().0[group];
            look_up(&E2M1_VALUES, half_e4m3(self.d[group]), qs, out);
        }
    }

    fn set_scales(&mut self, scale: f32, rng: &mut Random) {
        // The sign stays random: it has no meaning.
        self.d = self.d.map(|d| e4m3(rng.uniform(scale).abs()) | d & 0x80);
    }
}

impl Integers for NVFP4 {
    type Quants = [u8; 64];
    const BITS: u32 = 4;
    const ZERO: u8 = 16;
    const CODES: Option<[u8; 16]> = Some(codes(&E2M1_VALUES, 16));
    const SCALING: Scaling = Scaling::Float8;

    #[inline(always)]
    fn quants(&self) -> [u8; 64] {
        let mut q = [0; 64];
        for (q, qs) in q.as_chunks_mut::<16>().0.iter_mut().zip(self.qs.as_chunks::<8>().0) {
            for i in 0..8 {
                q[i] = qs[i] & 15;
                q[i + 8] = qs[i] >> 4;
            }
        }
        q
    }

    #[inline(always)]
    fn scales(&self) -> Scales {
        let mut scales = [0; 16];
        for (scale, d) in scales.iter_mut().zip(self.d) {
            *scale = if d == 0x7f { 0 } else { d & 0x7f };
        }
        Scales { scales, ..Scales::default() }
    }
}

/// Half of an E4M3 number, its sign ignored; 0 for the byte 0x7f, a NaN of E4M3.
#[inline(always)]
fn half_e4m3(d: u8) -> f32 {
    if d == 0x7f {
        return 0.0;
    }
    let (exponent, mantissa) = (d >> 3 & 15, d & 7);
    match exponent {
        0 => f32::from(mantissa) * f32::from_bits((127 - 10) << 23), // 2^-6 / 8 / 2
        _ => f32::from_bits((u32::from(exponent) + 127 - 8) << 23 | u32::from(mantissa) << 20),
    }
}

/// The nearest E4M3 number to 0 <= v < 448: no sign, 4 bits of exponent, 3 bits of mantissa.
fn e4m3(v: f32) -> u8 {
    const SMALLEST_NORMAL: f32 = 1.0 / 64.0;
    const STEP_BELOW: f32 = SMALLEST_NORMAL / 8.0;
    if v < SMALLEST_NORMAL {
        return (v / STEP_BELOW).round() as u8;
    }
    (((v.to_bits() + (1 << 19)) >> 20) - ((127 - 7) << 3)) as u8 // 3 of 23 bits, rounded; bias 7, not 127
}

/// `x = d * (q - 1)`
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct TQ1_0 {
    /// Five q to a byte ([`digit`]): value 32 j + l is digit j of byte l (l < 32), value 160 + 16 j + l digit j of byte 32 + l.
    qs: [u8; 48],
    /// Four q to a byte: value 240 + 4 j + l is digit j of byte l.
    qh: [u8; 4],
    /// Scale, f16.
    d: [u8; 2],
}

/// Digit `j` to base 3, the first one largest, of a byte that is the fraction 0.(digits) times 256, rounded up.
#[inline(always)]
fn digit(byte: u8, j: usize) -> i32 {
    const POWERS: [u8; 5] = [1, 3, 9, 27, 81];
    (i32::from(byte.wrapping_mul(POWERS[j])) * 3) >> 8
}

impl Block for TQ1_0 {
    const TY: GgmlType = GgmlType::TQ1_0;
    type Values = [f32; 256];
    const PLANES: &[Plane] = &[plane!(Quants: qs..qh), plane!(Highs: qh..d), plane!(Supers: d..)];

    #[inline(always)]
    fn decode(&self, out: &mut [f32; 256]) {
        let d = f16_to_f32(self.d);
        let (first, rest) = out.split_at_mut(160);
        let (second, third) = rest.split_at_mut(80);
        let (qs, ql) = self.qs.split_at(32);
        for (out, bytes) in [(first, qs), (second, ql), (third, &self.qh[..])] {
            for (j, out) in out.chunks_exact_mut(bytes.len()).enumerate() {
                for (out, byte) in out.iter_mut().zip(bytes) {
                    *out = d * (digit(*byte, j) - 1) as f32;
                }
            }
        }
    }

    fn set_scales(&mut self, scale: f32, rng: &mut Random) {
        self.d = rng.f16(scale);
    }
}

impl Integers for TQ1_0 {
    type Quants = [u8; 256];
    const BITS: u32 = 2;
    const ZERO: u8 = 1;
    const SCALING: Scaling = Scaling::Block;

    #[inline(always)]
    fn quants(&self) -> [u8; 256] {
        let mut q = [0; 256];
        let (first, rest) = q.split_at_mut(160);
        let (second, third) = rest.split_at_mut(80);
        let (qs, ql) = self.qs.split_at(32);
        for (q, bytes) in [(first, qs), (second, ql), (third, &self.qh[..])] {
            for (j, q) in q.chunks_exact_mut(bytes.len()).enumerate() {
                for (q, byte) in q.iter_mut().zip(bytes) {
                    *q = digit(*byte, j) as u8;
                }
            }
        }
        q
    }

    #[inline(always)]
    fn scales(&self) -> Scales {
        Scales { d: self.d, ..Scales::default() }
    }
}

/// `x = d * (q - 1)`
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct TQ2_0 {
    /// q, 2 bits: value 128 h + 32 j + l in bits 2 j, 2 j + 1 of byte 32 h + l.
    qs: [u8; 64],
    /// Scale, f16.
    d: [u8; 2],
}

impl Block for TQ2_0 {
    const TY: GgmlType = GgmlType::TQ2_0;
    type Values = [f32; 256];
    const PLANES: &[Plane] = &[plane!(Quants: qs..d), plane!(Supers: d..)];

    #[inline(always)]
    fn decode(&self, out: &mut [f32; 256]) {
        let d = f16_to_f32(self.d);
        for (group, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let qs: &[u8; 32] = &self.qs.as_chunks().0[group / 4];
            for i in 0..32 {
                out[i] = d * (i32::from(qs[i] >> (2 * (group % 4)) & 3) - 1) as f32;
            }
        }
    }

    fn set_scales(&mut self, scale: f32, rng: &mut Random) {
        self.d = rng.f16(scale);
    }
}

impl Integers for TQ2_0 {
    type Quants = [u8; 256];
    const BITS: u32 = 2;
    const ZERO: u8 = 1;
    const SCALING: Scaling = Scaling::Block;

    #[inline(always)]
    fn quants(&self) -> [u8; 256] {
        let mut q = [0; 256];
        for (group, q) in q.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let qs: &[u8; 32] = &self.qs.as_chunks().0[group / 4];
            for i in 0..32 {
                q[i] = qs[i] >> (2 * (group % 4)) & 3;
            }
        }
        q
    }

    #[inline(always)]
    fn scales(&self) -> Scales {
        Scales { d: self.d, ..Scales::default() }
    }
}
