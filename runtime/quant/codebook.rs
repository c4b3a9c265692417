//! Types whose quants index a codebook of 8 or 4 values each: IQ2 and IQ3 with signs, IQ1 with a shift of 1/8.

use bytemuck::{Pod, Zeroable};

use super::grids::{self, Grid};
use super::{Block, Plane, Random, f16_to_f32};
use crate::gguf::GgmlType;

static GRID_IQ2_XXS: [[i8; 8]; 256] = grids::IQ2_XXS.expand();
static GRID_IQ2_XS: [[i8; 8]; 512] = grids::IQ2_XS.expand();
static GRID_IQ2_S: [[i8; 8]; 1024] = grids::IQ2_S.expand();
static GRID_IQ3_XXS: [[i8; 4]; 256] = grids::IQ3_XXS.expand();
static GRID_IQ3_S: [[i8; 4]; 512] = grids::IQ3_S.expand();

/// `out[i] = scale * magnitudes[i]`, minus where bit i of `signs` is set.
#[inline(always)]
fn signed<const N: usize>(scale: f32, magnitudes: &[i8; N], signs: u32, out: &mut [f32; N]) {
    for i in 0..N {
        let v = scale * f32::from(magnitudes[i]);
        out[i] = f32::from_bits(v.to_bits() ^ (signs >> i & 1) << 31);
    }
}

/// Half `i` of an array of nibbles, low ones first.
#[inline(always)]
fn nibble(bytes: &[u8], i: usize) -> f32 {
    f32::from(bytes[i / 2] >> (4 * (i % 2)) & 15)
}

/// `x = (d * (scale + 1/2) / 4) * ±GRID_IQ2_XXS[q]`, a scale per 32 values
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct IQ2_XXS {
    /// Scale of the scales, f16.
    d: [u8; 2],
    /// For each 32 values four q of 8 bits, then a u32: four times seven signs ([`grids::eight_signs`]), and the scale in
    /// its upper 4 bits.
    qs: [[u8; 8]; 8],
}

impl Block for IQ2_XXS {
    const TY: GgmlType = GgmlType::IQ2_XXS;
    type Values = [f32; 256];
    const PLANES: &[Plane] = &[plane!(Quants: qs..), plane!(Supers: d..qs)];
    const GRID: Option<&Grid> = Some(&grids::IQ2_XXS);

    #[inline(always)]
    fn decode(&self, out: &mut [f32; 256]) {
        let d = f16_to_f32(self.d);
        for (group, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let [q0, q1, q2, q3, rest @ ..] = self.qs[group];
            let rest = u32::from_le_bytes(rest);
            let scale = d * (0.5 + (rest >> 28) as f32) * 0.25;
            for (i, (q, out)) in [q0, q1, q2, q3].into_iter().zip(out.as_chunks_mut().0).enumerate() {
                signed(scale, &GRID_IQ2_XXS[usize::from(q)], grids::eight_signs(rest >> (7 * i)), out);
            }
        }
    }

    fn set_scales(&mut self, scale: f32, rng: &mut Random) {
        self.d = rng.f16(0.02 * scale);
    }
}

/// `x = (d * (scale + 1/2) / 4) * ±GRID_IQ2_XS[q]`, a scale per 16 values
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct IQ2_XS {
    /// Scale of the scales, f16.
    d: [u8; 2],
    /// For each 8 values a u16: q in its low 9 bits, seven signs ([`grids::eight_signs`]) above.
    qs: [[u8; 2]; 32],
    /// Nibbles, low ones first.
    scales: [u8; 8],
}

impl Block for IQ2_XS {
    const TY: GgmlType = GgmlType::IQ2_XS;
    type Values = [f32; 256];
    const PLANES: &[Plane] = &[plane!(Quants: qs..scales), plane!(Scales: scales..), plane!(Supers: d..qs)];
    const GRID: Option<&Grid> = Some(&grids::IQ2_XS);

    #[inline(always)]
    fn decode(&self, out: &mut [f32; 256]) {
        let d = f16_to_f32(self.d);
        for (i, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
            let q = u32::from(u16::from_le_bytes(self.qs[i]));
            let scale = d * (0.5 + nibble(&self.scales, i / 2)) * 0.25;
            signed(scale, &GRID_IQ2_XS[q as usize & 511], grids::eight_signs(q >> 9), out);
        }
    }

    fn set_scales(&mut self, scale: f32, rng: &mut Random) {
        self.d = rng.f16(0.02 * scale);
    }
}

/// `x = (d * (scale + 1/2) / 4) * ±GRID_IQ2_S[q]`, a scale per 16 values
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct IQ2_S {
    /// Scale of the scales, f16.
    d: [u8; 2],
    /// Bits 0 to 7 of the q of 8 values each.
    qs: [u8; 32],
    /// Signs of 8 values each.
    signs: [u8; 32],
    /// Bits 8 and 9 of q: q i in bits 2 (i % 4) and above of byte i / 4.
    qh: [u8; 8],
    /// Nibbles, low ones first.
    scales: [u8; 8],
}

impl Block for IQ2_S {
    const TY: GgmlType = GgmlType::IQ2_S;
    type Values = [f32; 256];
    // q and signs lie together: four times 16 bytes; so do qh and scales: 16 bytes.
    const PLANES: &[Plane] = &[plane!(Quants: qs..qh), plane!(Scales: qh..), plane!(Supers: d..qs)];
    const GRID: Option<&Grid> = Some(&grids::IQ2_S);

    #[inline(always)]
    fn decode(&self, out: &mut [f32; 256]) {
        let d = f16_to_f32(self.d);
        for (i, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
            let high = usize::from(self.qh[i / 4] >> (2 * (i % 4)) & 3);
            let scale = d * (0.5 + nibble(&self.scales, i / 2)) * 0.25;
            signed(scale, &GRID_IQ2_S[usize::from(self.qs[i]) | high << 8], u32::from(self.signs[i]), out);
        }
    }

    fn set_scales(&mut self, scale: f32, rng: &mut Random) {
        self.d = rng.f16(0.02 * scale);
    }
}

/// `x = (d * (scale + 1/2) / 2) * ±GRID_IQ3_XXS[q]`, a scale per 32 values
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct IQ3_XXS {
    /// Scale of the scales, f16.
    d: [u8; 2],
    /// q of 4 values each.
    qs: [u8; 64],
    /// For each 32 values a u32: four times seven signs ([`grids::eight_signs`]), and the scale in its upper 4 bits.
    signs: [[u8; 4]; 8],
}

impl Block for IQ3_XXS {
    const TY: GgmlType = GgmlType::IQ3_XXS;
    type Values = [f32; 256];
    const PLANES: &[Plane] = &[plane!(Quants: qs..signs), plane!(Scales: signs..), plane!(Supers: d..qs)];
    const GRID: Option<&Grid> = Some(&grids::IQ3_XXS);

    #[inline(always)]
    fn decode(&self, out: &mut [f32; 256]) {
        let d = f16_to_f32(self.d);
        for (i, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
            let rest = u32::from_le_bytes(self.signs[i / 8]);
            let scale = d * (0.5 + (rest >> 28) as f32) * 0.5;
            let signs = grids::eight_signs(rest >> (7 * (i / 2 % 4)));
            signed(scale, &GRID_IQ3_XXS[usize::from(self.qs[i])], signs >> (4 * (i % 2)), out);
        }
    }

    fn set_scales(&mut self, scale: f32, rng: &mut Random) {
        self.d = rng.f16(0.01 * scale);
    }
}

/// `x = (d * (2 scale + 1)) * ±GRID_IQ3_S[q]`, a scale per 32 values
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct IQ3_S {
    /// Scale of the scales, f16.
    d: [u8; 2],
    /// Bits 0 to 7 of the q of 4 values each.
    qs: [u8; 64],
    /// Bit 8 of q: q i in bit i % 8 of byte i / 8.
    qh: [u8; 8],
    /// Signs of 8 values each.
    signs: [u8; 32],
    /// Nibbles, low ones first.
    scales: [u8; 4],
}

impl Block for IQ3_S {
    const TY: GgmlType = GgmlType::IQ3_S;
    type Values = [f32; 256];
    // Bits 8 of q and signs lie together: ten words.
    const PLANES: &[Plane] =
        &[plane!(Quants: qs..qh), plane!(Highs: qh..scales), plane!(Scales: scales..), plane!(Supers: d..qs)];
    const GRID: Option<&Grid> = Some(&grids::IQ3_S);

    #[inline(always)]
    fn decode(&self, out: &mut [f32; 256]) {
        let d = f16_to_f32(self.d);
        for (i, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
            let high = usize::from(self.qh[i / 8] >> (i % 8) & 1);
            let scale = d * (1.0 + 2.0 * nibble(&self.scales, i / 8));
            let signs = u32::from(self.signs[i / 2]) >> (4 * (i % 2));
            signed(scale, &GRID_IQ3_S[usize::from(self.qs[i]) | high << 8], signs, out);
        }
    }

    fn set_scales(&mut self, scale: f32, rng: &mut Random) {
        self.d = rng.f16(0.01 * scale);
    }
}

static GRID_IQ1_S: [[i8; 8]; 2048] = grids::IQ1_S.expand();

/// `out[i] = scale * (GRID_IQ1_S[q][i] ± 1/8)`, minus if `down`.
#[inline(always)]
fn moved(scale: f32, q: usize, down: bool, out: &mut [f32; 8]) {
    let by = if down { -0.125 } else { 0.125 };
    for i in 0..8 {
        out[i] = scale * (f32::from(GRID_IQ1_S[q][i]) + by);
    }
}

/// `x = (d * (2 scale + 1)) * (GRID_IQ1_S[q] ± 1/8)`, a scale and a sign of 1/8 per 32 values
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct IQ1_S {
    /// Scale of the scales, f16.
    d: [u8; 2],
    /// Bits 0 to 7 of the q of 8 values each.
    qs: [u8; 32],
    /// For each 32 values a u16: bits 8 to 10 of four q, the scale in 3 bits, the sign.
    qh: [[u8; 2]; 8],
}

impl Block for IQ1_S {
    const TY: GgmlType = GgmlType::IQ1_S;
    type Values = [f32; 256];
    const PLANES: &[Plane] = &[plane!(Quants: qs..qh), plane!(Highs: qh..), plane!(Supers: d..qs)];
    const GRID: Option<&Grid> = Some(&grids::IQ1_S);

    #[inline(always)]
    fn decode(&self, out: &mut [f32; 256]) {
        let d = f16_to_f32(self.d);
        for (i, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
            let qh = usize::from(u16::from_le_bytes(self.qh[i / 4]));
            let scale = d * (2 * (qh >> 12 & 7) + 1) as f32;
            let high = qh >> (3 * (i % 4)) & 7;
            moved(scale, usize::from(self.qs[i]) | high << 8, qh >> 15 != 0, out);
        }
    }

    fn set_scales(&mut self, scale: f32, rng: &mut Random) {
        self.d = rng.f16(0.2 * scale);
    }
}

/// `x = (d * (2 scale + 1)) * (GRID_IQ1_S[q] ± 1/8)`, a scale per 16 values, a sign of 1/8 per 8
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct IQ1_M {
    /// Bits 0 to 7 of the q of 8 values each.
    qs: [u8; 32],
    /// For each 8 values a nibble, low ones first: bits 8 to 10 of q, the sign.
    qh: [u8; 16],
    /// For each 64 values a u16: four scales of 3 bits, and 4 bits of d, the scale of the scales, an f16 whose lowest bits
    /// come first.
    scales: [[u8; 2]; 4],
}

impl Block for IQ1_M {
    const TY: GgmlType = GgmlType::IQ1_M;
    type Values = [f32; 256];
    const PLANES: &[Plane] = &[plane!(Quants: qs..qh), plane!(Highs: qh..scales), plane!(Scales: scales..)];
    const GRID: Option<&Grid> = Some(&grids::IQ1_S);

    #[inline(always)]
    fn decode(&self, out: &mut [f32; 256]) {
        let scales = self.scales.map(u16::from_le_bytes);
        let d = scales[0] >> 12 | scales[1] >> 12 << 4 | scales[2] >> 12 << 8 | scales[3] >> 12 << 12;
        let d = f16_to_f32(d.to_le_bytes());
        for (i, out) in out.as_chunks_mut().0.iter_mut().enumerate() {
            let qh = usize::from(self.qh[i / 2] >> (4 * (i % 2)));
            let scale = d * (2 * (scales[i / 8] >> (3 * (i / 2 % 4)) & 7) + 1) as f32;
            moved(scale, usize::from(self.qs[i]) | (qh & 7) << 8, qh & 8 != 0, out);
        }
    }

    fn set_scales(&mut self, scale: f32, rng: &mut Random) {
        let d = u16::from_le_bytes(rng.f16(0.2 * scale));
        for (i, scales) in self.scales.iter_mut().enumerate() {
            // Bits 4 i to 4 i + 3 of d are bits 12 to 15 of word i.
            scales[1] = scales[1] & 15 | ((d >> (4 * i) & 15) as u8) << 4;
        }
    }
}
