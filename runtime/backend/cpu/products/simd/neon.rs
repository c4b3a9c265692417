//! NEON with the dot product instructions: 8 rows in two registers.

use super::{Line, Simd, Work, piece};
use std::arch::aarch64::*;
use std::arch::{asm, is_aarch64_feature_detected};

/// The proof that the processor has the instructions.
#[derive(Clone, Copy, Debug)]
pub struct NeonDot(());

impl NeonDot {
    /// None if the processor lacks one of the instructions.
    pub fn detect() -> Option<NeonDot> {
        let found = is_aarch64_feature_detected!("neon") && is_aarch64_feature_detected!("dotprod");
        found.then_some(NeonDot(()))
    }
}

#[target_feature(enable = "neon,dotprod")]
fn compiled<W: Work>(simd: NeonDot, work: W) {
    work.run(simd);
}

/// `sum + w . x`, with the four bytes of lane `LANE` of `x` for every row. The intrinsic is not stable yet.
#[inline(always)]
fn dot<const LANE: usize>(_: NeonDot, mut sum: int32x4_t, w: uint8x16_t, x: int8x16_t) -> int32x4_t {
    // SAFETY: the level exists, so the processor has the instruction; it touches only the registers that are named.
    unsafe {
        asm!("sdot {s:v}.4s, {w:v}.16b, {x:v}.4b[{lane}]", s = inout(vreg) sum, w = in(vreg) w, x = in(vreg) x,
            lane = const LANE, options(pure, nomem, nostack, preserves_flags));
    }
    sum
}

/// Four f16 as f32. The intrinsic is not stable yet.
#[inline(always)]
fn four_halves(_: NeonDot, v: uint16x4_t) -> float32x4_t {
    let out;
    // SAFETY: the level exists, so the processor has the instruction; it touches only the registers that are named.
    unsafe {
        asm!("fcvtl {out:v}.4s, {v:v}.4h", out = out(vreg) out, v = in(vreg) v,
            options(pure, nomem, nostack, preserves_flags));
    }
    out
}

impl Simd for NeonDot {
    const ROWS: usize = 8;
    const SIGNED: bool = true;
    type Bytes = [uint8x16_t; 2];
    type Ints = [int32x4_t; 2];
    type Floats = [float32x4_t; 2];

    fn run<W: Work>(self, work: W) {
        // SAFETY: `self` exists, so the processor has the instructions.
        unsafe { compiled(self, work) }
    }

    #[inline(always)]
    fn prefetch(self, from: *const u8, ahead: usize) {
        let from = from.wrapping_add(ahead);
        // SAFETY: a prefetch may be of any address: it never fails, and changes no memory.
        unsafe { asm!("prfm pldl1keep, [{from}]", from = in(reg) from, options(nostack, preserves_flags, readonly)) }
    }

    #[inline(always)]
    fn bytes(self, line: &Line, part: usize) -> [uint8x16_t; 2] {
        // SAFETY: `self` exists, so the processor has the instructions; the array has all the bytes that are read or written.
        unsafe {
            let v = piece::<u8, 32>(&line.0, part).as_ptr();
            [vld1q_u8(v), vld1q_u8(v.add(16))]
        }
    }

    #[inline(always)]
    fn and(self, v: [uint8x16_t; 2], mask: u8) -> [uint8x16_t; 2] {
        // SAFETY: `self` exists, so the processor has the instructions.
        unsafe { [vandq_u8(v[0], vdupq_n_u8(mask)), vandq_u8(v[1], vdupq_n_u8(mask))] }
    }

    #[inline(always)]
    fn xor(self, v: [uint8x16_t; 2], mask: u8) -> [uint8x16_t; 2] {
        // SAFETY: `self` exists, so the processor has the instructions.
        unsafe { [veorq_u8(v[0], vdupq_n_u8(mask)), veorq_u8(v[1], vdupq_n_u8(mask))] }
    }

    #[inline(always)]
    fn or(self, a: [uint8x16_t; 2], b: [uint8x16_t; 2]) -> [uint8x16_t; 2] {
        // SAFETY: `self` exists, so the processor has the instructions.
        unsafe { [vorrq_u8(a[0], b[0]), vorrq_u8(a[1], b[1])] }
    }

    #[inline(always)]
    fn right(self, v: [uint8x16_t; 2], n: u32) -> [uint8x16_t; 2] {
        // SAFETY: `self` exists, so the processor has the instructions.
        unsafe {
            let by = vdupq_n_s8(-(n as i8));
            [vshlq_u8(v[0], by), vshlq_u8(v[1], by)]
        }
    }

    #[inline(always)]
    fn left(self, v: [uint8x16_t; 2], n: u32) -> [uint8x16_t; 2] {
        // SAFETY: `self` exists, so the processor has the instructions.
        unsafe {
            let by = vdupq_n_s8(n as i8);
            [vshlq_u8(v[0], by), vshlq_u8(v[1], by)]
        }
    }

    #[inline(always)]
    fn look_up(self, table: &[u8; 16], v: [uint8x16_t; 2]) -> [uint8x16_t; 2] {
        // SAFETY: `self` exists, so the processor has the instructions; the array has all the bytes that are read or written.
        unsafe {
            let table = vld1q_u8(table.as_ptr());
            [vqtbl1q_u8(table, v[0]), vqtbl1q_u8(table, v[1])]
        }
    }

    #[inline(always)]
    fn int(self, v: i32) -> [int32x4_t; 2] {
        // SAFETY: `self` exists, so the processor has the instructions.
        unsafe { [vdupq_n_s32(v); 2] }
    }

    #[inline(always)]
    fn dot16(self, mut sum: [int32x4_t; 2], w: [[uint8x16_t; 2]; 4], x: &[i8; 16], _: u8) -> [int32x4_t; 2] {
        // SAFETY: `self` exists, so the processor has the instructions; the array has 16 bytes.
        let x = unsafe { vld1q_s8(x.as_ptr()) };
        for i in 0..2 {
            sum[i] = dot::<0>(self, sum[i], w[0][i], x);
            sum[i] = dot::<1>(self, sum[i], w[1][i], x);
            sum[i] = dot::<2>(self, sum[i], w[2][i], x);
            sum[i] = dot::<3>(self, sum[i], w[3][i], x);
        }
        sum
    }

    #[inline(always)]
    fn to_floats(self, v: [int32x4_t; 2]) -> [float32x4_t; 2] {
        // SAFETY: `self` exists, so the processor has the instructions.
        unsafe { [vcvtq_f32_s32(v[0]), vcvtq_f32_s32(v[1])] }
    }

    #[inline(always)]
    fn float(self, v: f32) -> [float32x4_t; 2] {
        // SAFETY: `self` exists, so the processor has the instructions.
        unsafe { [vdupq_n_f32(v); 2] }
    }

    #[inline(always)]
    fn mul(self, a: [float32x4_t; 2], b: [float32x4_t; 2]) -> [float32x4_t; 2] {
        // SAFETY: `self` exists, so the processor has the instructions.
        unsafe { [vmulq_f32(a[0], b[0]), vmulq_f32(a[1], b[1])] }
    }

    #[inline(always)]
    fn fma(self, a: [float32x4_t; 2], b: [float32x4_t; 2], c: [float32x4_t; 2]) -> [float32x4_t; 2] {
        // SAFETY: `self` exists, so the processor has the instructions.
        unsafe { [vfmaq_f32(c[0], a[0], b[0]), vfmaq_f32(c[1], a[1], b[1])] }
    }

    #[inline(always)]
    fn floats(self, v: &[u8; 64], part: usize) -> [float32x4_t; 2] {
        // SAFETY: `self` exists, so the processor has the instructions; the array has all the bytes that are read or written.
        unsafe {
            let v = piece::<u8, 32>(v, part).as_ptr();
            [vreinterpretq_f32_u8(vld1q_u8(v)), vreinterpretq_f32_u8(vld1q_u8(v.add(16)))]
        }
    }

    #[inline(always)]
    fn store(self, v: [float32x4_t; 2], out: &mut [f32; 16], part: usize) {
        // SAFETY: `self` exists, so the processor has the instructions; the array has all the bytes that are read or written.
        unsafe {
            let out = out.as_chunks_mut::<8>().0[part].as_mut_ptr();
            vst1q_f32(out, v[0]);
            vst1q_f32(out.add(4), v[1]);
        }
    }

    #[inline(always)]
    fn halves(self, v: &[u8; 32], part: usize) -> [float32x4_t; 2] {
        // SAFETY: `self` exists, so the processor has the instructions; the array has 16 bytes.
        let v = unsafe { vreinterpretq_u16_u8(vld1q_u8(piece::<u8, 16>(v, part).as_ptr())) };
        // SAFETY: as above.
        let (low, high) = unsafe { (vget_low_u16(v), vget_high_u16(v)) };
        [four_halves(self, low), four_halves(self, high)]
    }

    #[inline(always)]
    fn upper_halves(self, v: &[u8; 32], part: usize) -> [float32x4_t; 2] {
        // SAFETY: `self` exists, so the processor has the instructions; the array has all the bytes that are read or written.
        unsafe {
            let v = vreinterpretq_u16_u8(vld1q_u8(piece::<u8, 16>(v, part).as_ptr()));
            [
                vreinterpretq_f32_u32(vshll_n_u16::<16>(vget_low_u16(v))),
                vreinterpretq_f32_u32(vshll_n_u16::<16>(vget_high_u16(v))),
            ]
        }
    }

    #[inline(always)]
    fn signed(self, v: &[u8; 16], part: usize) -> [float32x4_t; 2] {
        // SAFETY: `self` exists, so the processor has the instructions; the array has all the bytes that are read or written.
        unsafe {
            let v = vmovl_s8(vreinterpret_s8_u8(vld1_u8(piece::<u8, 8>(v, part).as_ptr())));
            [vcvtq_f32_s32(vmovl_s16(vget_low_s16(v))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(v)))]
        }
    }

    #[inline(always)]
    fn bits_at<const N: u32>(self, v: &[u8; 16], part: usize) -> [float32x4_t; 2] {
        // SAFETY: `self` exists, so the processor has the instructions; the array has all the bytes that are read or written.
        unsafe {
            let v = vmovl_u8(vld1_u8(piece::<u8, 8>(v, part).as_ptr()));
            let by = vdupq_n_s32(N.cast_signed());
            [
                vreinterpretq_f32_u32(vshlq_u32(vmovl_u16(vget_low_u16(v)), by)),
                vreinterpretq_f32_u32(vshlq_u32(vmovl_u16(vget_high_u16(v)), by)),
            ]
        }
    }
}
