//! The K types: 256 values with scales that are themselves quantized, one per 16 or 32 values.

use bytemuck::{Pod, Zeroable};

use super::integers::{Integers, Scales, Scaling, negated};
use super::{Block, Plane, Random, f16_to_f32};
use crate::gguf::GgmlType;

/// `x = (d * scale) * q - dmin * min`, a scale and a min per 16 values
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct Q2_K {
    /// Group i of 16 values: scale in the low half of byte i, min in its high half.
    scales: [u8; 16],
    /// q, 2 bits: value 128 h + 32 j + l in bits 2 j, 2 j + 1 of byte 32 h + l.
    qs: [u8; 64],
    /// Scale of the scales, f16.
    d: [u8; 2],
    /// Scale of the mins, f16.
    dmin: [u8; 2],
}

impl Block for Q2_K {
    const TY: GgmlType = GgmlType::Q2_K;
    type Values = [f32; 256];
    const PLANES: &[Plane] = &[plane!(Quants: qs..d), plane!(Scales: scales..qs), plane!(Supers: d..)];

    #[inline(always)]
    fn decode(&self, out: &mut [f32; 256]) {
        let (d, dmin) = (f16_to_f32(self.d), f16_to_f32(self.dmin));
        for (group, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let scale = d * f32::from(self.scales[group] & 15);
            let min = dmin * f32::from(self.scales[group] >> 4);
            let (qs, shift) = two_bits(&self.qs, group);
            for i in 0..16 {
                out[i] = scale * i32::from(qs[i] >> shift & 3) as f32 - min;
            }
        }
    }

    fn set_scales(&mut self, scale: f32, rng: &mut Random) {
        self.d = rng.f16(0.02 * scale);
        self.dmin = rng.f16(0.02 * scale);
    }
}

impl Integers for Q2_K {
    type Quants = [u8; 256];
    const BITS: u32 = 2;
    const ZERO: u8 = 0;
    const SCALING: Scaling = Scaling::NibblesMin;

    #[inline(always)]
    fn quants(&self) -> [u8; 256] {
        let mut q = [0; 256];
        for (group, q) in q.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let (qs, shift) = two_bits(&self.qs, group);
            for i in 0..16 {
                q[i] = qs[i] >> shift & 3;
            }
        }
        q
    }

    #[inline(always)]
    fn scales(&self) -> Scales {
        Scales { d: self.d, m: negated(self.dmin), scales: self.scales, ..Scales::default() }
    }
}

/// The 16 bytes of `qs` that hold the 2-bit values of a group of 16, and the lowest of their two bits.
#[inline(always)]
fn two_bits(qs: &[u8; 64], group: usize) -> (&[u8; 16], usize) {
    let (half, j, quarter) = (group / 8, group / 2 % 4, group % 2);
    (&qs.as_chunks().0[2 * half + quarter], 2 * j)
}

/// `x = (d * (scale - 32)) * (q - 4)`, a scale per 16 values
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct Q3_K {
    /// Bit 2 of q: value 32 j + l in bit j of byte l.
    hmask: [u8; 32],
    /// Bits 0 and 1 of q, placed as in [`Q2_K`].
    qs: [u8; 64],
    /// Scale of group i of 16 values, 6 bits: bits 0 to 3 in the low (i < 8) or high half of byte i % 8, bits 4 and 5 in
    /// bits 2 (i / 4) and above of byte 8 + i % 4.
    scales: [u8; 12],
    /// Scale of the scales, f16.
    d: [u8; 2],
}

impl Block for Q3_K {
    const TY: GgmlType = GgmlType::Q3_K;
    type Values = [f32; 256];
    const PLANES: &[Plane] =
        &[plane!(Quants: qs..scales), plane!(Highs: hmask..qs), plane!(Scales: scales..d), plane!(Supers: d..)];

    #[inline(always)]
    fn decode(&self, out: &mut [f32; 256]) {
        let d = f16_to_f32(self.d);
        for (group, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let low = self.scales[group % 8] >> (4 * (group / 8)) & 15;
            let high = self.scales[8 + group % 4] >> (2 * (group / 4)) & 3;
            let scale = d * (i32::from(low | high << 4) - 32) as f32;
            let (qs, shift) = two_bits(&self.qs, group);
            let hmask: &[u8; 16] = &self.hmask.as_chunks().0[group % 2];
            for i in 0..16 {
                let q = qs[i] >> shift & 3 | (hmask[i] >> (group / 2) & 1) << 2;
                out[i] = scale * (i32::from(q) - 4) as f32;
            }
        }
    }

    fn set_scales(&mut self, scale: f32, rng: &mut Random) {
        self.d = rng.f16(0.02 * scale);
    }
}

impl Integers for Q3_K {
    type Quants = [u8; 256];
    const BITS: u32 = 3;
    const ZERO: u8 = 4;
    const SCALING: Scaling = Scaling::Groups(16);

    #[inline(always)]
    fn quants(&self) -> [u8; 256] {
        let mut q = [0; 256];
        for (group, q) in q.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let (qs, shift) = two_bits(&self.qs, group);
            let hmask: &[u8; 16] = &self.hmask.as_chunks().0[group % 2];
            for i in 0..16 {
                q[i] = qs[i] >> shift & 3 | (hmask[i] >> (group / 2) & 1) << 2;
            }
        }
        q
    }

    #[inline(always)]
    fn scales(&self) -> Scales {
        let mut scales = [0; 16];
        for (group, scale) in scales.iter_mut().enumerate() {
            let low = self.scales[group % 8] >> (4 * (group / 8)) & 15;
            let high = self.scales[8 + group % 4] >> (2 * (group / 4)) & 3;
            *scale = (low | high << 4).wrapping_sub(32);
        }
        Scales { d: self.d, scales, ..Scales::default() }
    }
}

/// `x = (d * scale) * q - dmin * min`, a scale and a min per 32 values
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct Q4_K {
    /// Scale of the scales, f16.
    d: [u8; 2],
    /// Scale of the mins, f16.
    dmin: [u8; 2],
    /// Eight scales and eight mins of 6 bits: see [`scale_min`].
    scales: [u8; 12],
    /// q, 4 bits: value 64 j + l in the low half of byte 32 j + l, value 64 j + 32 + l in its high half.
    qs: [u8; 128],
}

impl Block for Q4_K {
    const TY: GgmlType = GgmlType::Q4_K;
    type Values = [f32; 256];
    // 16 bytes of scales: one load of a kernel.
    const PLANES: &[Plane] = &[plane!(Quants: qs..), plane!(Scales: d..qs)];

    #[inline(always)]
    fn decode(&self, out: &mut [f32; 256]) {
        let (d, dmin) = (f16_to_f32(self.d), f16_to_f32(self.dmin));
        for (group, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let (scale, min) = scale_min(&self.scales, group);
            let (scale, min) = (d * f32::from(scale), dmin * f32::from(min));
            let qs: &[u8; 32] = &self.qs.as_chunks().0[group / 2];
            let shift = 4 * (group % 2);
            for i in 0..32 {
                out[i] = scale * i32::from(qs[i] >> shift & 15) as f32 - min;
            }
        }
    }

    fn set_scales(&mut self, scale: f32, rng: &mut Random) {
        self.d = rng.f16(0.02 * scale);
        self.dmin = rng.f16(0.02 * scale);
    }
}

impl Integers for Q4_K {
    type Quants = [u8; 256];
    const BITS: u32 = 4;
    const ZERO: u8 = 0;
    const SCALING: Scaling = Scaling::GroupsMin;

    #[inline(always)]
    fn quants(&self) -> [u8; 256] {
        let mut q = [0; 256];
        for (group, q) in q.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let qs: &[u8; 32] = &self.qs.as_chunks().0[group / 2];
            for i in 0..32 {
                q[i] = qs[i] >> (4 * (group % 2)) & 15;
            }
        }
        q
    }

    #[inline(always)]
    fn scales(&self) -> Scales {
        scales_mins(self.d, self.dmin, &self.scales)
    }
}

/// `x = (d * scale) * q - dmin * min`, a scale and a min per 32 values
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct Q5_K {
    /// Scale of the scales, f16.
    d: [u8; 2],
    /// Scale of the mins, f16.
    dmin: [u8; 2],
    /// Eight scales and eight mins of 6 bits: see [`scale_min`].
    scales: [u8; 12],
    /// Bit 4 of q: value 32 j + l in bit j of byte l.
    qh: [u8; 32],
    /// Bits 0 to 3 of q, placed as in [`Q4_K`].
    qs: [u8; 128],
}

impl Block for Q5_K {
    const TY: GgmlType = GgmlType::Q5_K;
    type Values = [f32; 256];
    // 16 bytes of scales: one load of a kernel.
    const PLANES: &[Plane] = &[plane!(Quants: qs..), plane!(Highs: qh..qs), plane!(Scales: d..qh)];

    #[inline(always)]
    fn decode(&self, out: &mut [f32; 256]) {
        let (d, dmin) = (f16_to_f32(self.d), f16_to_f32(self.dmin));
        for (group, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let (scale, min) = scale_min(&self.scales, group);
            let (scale, min) = (d * f32::from(scale), dmin * f32::from(min));
            let qs: &[u8; 32] = &self.qs.as_chunks().0[group / 2];
            let shift = 4 * (group % 2);
            for i in 0..32 {
                let q = qs[i] >> shift & 15 | (self.qh[i] >> group & 1) << 4;
                out[i] = scale * i32::from(q) as f32 - min;
            }
        }
    }

    fn set_scales(&mut self, scale: f32, rng: &mut Random) {
        self.d = rng.f16(0.02 * scale);
        self.dmin = rng.f16(0.02 * scale);
    }
}

impl Integers for Q5_K {
    type Quants = [u8; 256];
    const BITS: u32 = 5;
    const ZERO: u8 = 0;
    const SCALING: Scaling = Scaling::GroupsMin;

    #[inline(always)]
    fn quants(&self) -> [u8; 256] {
        let mut q = [0; 256];
        for (group, q) in q.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let qs: &[u8; 32] = &self.qs.as_chunks().0[group / 2];
            for i in 0..32 {
                q[i] = qs[i] >> (4 * (group % 2)) & 15 | (self.qh[i] >> group & 1) << 4;
            }
        }
        q
    }

    #[inline(always)]
    fn scales(&self) -> Scales {
        scales_mins(self.d, self.dmin, &self.scales)
    }
}

/// Scale and min of a group of 32 values in [`Q4_K`] and [`Q5_K`].
///
/// Scales 0 to 3 are the low six bits of bytes 0 to 3, mins 0 to 3 those of bytes 4 to 7. Scales and mins 4 to 7 have
/// their low four bits in the halves of bytes 8 to 11, and their high two bits on top of scales and mins 0 to 3.
#[inline(always)]
fn scale_min(scales: &[u8; 12], group: usize) -> (u8, u8) {
    match group {
        0..4 => (scales[group] & 63, scales[group + 4] & 63),
        _ => (scales[group + 4] & 15 | scales[group - 4] >> 6 << 4, scales[group + 4] >> 4 | scales[group] >> 6 << 4),
    }
}

/// The scales of a block of [`Q4_K`] and [`Q5_K`].
#[inline(always)]
fn scales_mins(d: [u8; 2], dmin: [u8; 2], packed: &[u8; 12]) -> Scales {
    let mut all = Scales { d, m: negated(dmin), ..Scales::default() };
    for group in 0..8 {
        (all.scales[group], all.mins[group]) = scale_min(packed, group);
    }
    all
}

/// `x = (d * scale) * (q - 32)`, a scale per 16 values
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct Q6_K {
    /// Bits 0 to 3 of q: value 128 h + 64 j + l in the low (j = 0) or high half of byte 64 h + l.
    ql: [u8; 128],
    /// Bits 4 and 5 of q: value 128 h + 32 j + l in bits 2 j, 2 j + 1 of byte 32 h + l.
    qh: [u8; 64],
    scales: [i8; 16],
    /// Scale of the scales, f16.
    d: [u8; 2],
}

impl Block for Q6_K {
    const TY: GgmlType = GgmlType::Q6_K;
    type Values = [f32; 256];
    const PLANES: &[Plane] =
        &[plane!(Quants: ql..qh), plane!(Highs: qh..scales), plane!(Scales: scales..d), plane!(Supers: d..)];

    #[inline(always)]
    fn decode(&self, out: &mut [f32; 256]) {
        let d = f16_to_f32(self.d);
        for (group, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let scale = d * f32::from(self.scales[group]);
            let (half, j) = (group / 8, group / 4 % 2);
            let ql: &[u8; 16] = &self.ql.as_chunks().0[4 * half + group % 4];
            let (qh, shift) = two_bits(&self.qh, group);
            for i in 0..16 {
                let q = ql[i] >> (4 * j) & 15 | (qh[i] >> shift & 3) << 4;
                out[i] = scale * (i32::from(q) - 32) as f32;
            }
        }
    }

    fn set_scales(&mut self, scale: f32, rng: &mut Random) {
        self.d = rng.f16(0.02 * scale);
    }
}

impl Integers for Q6_K {
    type Quants = [u8; 256];
    const BITS: u32 = 6;
    const ZERO: u8 = 32;
    const SCALING: Scaling = Scaling::Groups(16);

    #[inline(always)]
    fn quants(&self) -> [u8; 256] {
        let mut q = [0; 256];
        for (group, q) in q.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let ql: &[u8; 16] = &self.ql.as_chunks().0[4 * (group / 8) + group % 4];
            let (qh, shift) = two_bits(&self.qh, group);
            for i in 0..16 {
                q[i] = ql[i] >> (4 * (group / 4 % 2)) & 15 | (qh[i] >> shift & 3) << 4;
            }
        }
        q
    }

    #[inline(always)]
    fn scales(&self) -> Scales {
        Scales { d: self.d, scales: self.scales.map(i8::cast_unsigned), ..Scales::default() }
    }
}
