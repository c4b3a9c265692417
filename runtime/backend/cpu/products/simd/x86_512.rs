//! AVX-512 with VNNI: 16 rows in one register.

use super::{Line, Simd, Work, word};
use std::arch::x86_64::*;

/// The proof that the processor has the instructions.
#[derive(Clone, Copy, Debug)]
pub struct Avx512Vnni(());

impl Avx512Vnni {
    /// None if the processor lacks one of the instructions.
    pub fn detect() -> Option<Avx512Vnni> {
        let found = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        found.then_some(Avx512Vnni(()))
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx2,fma,f16c")]
fn compiled<W: Work>(simd: Avx512Vnni, work: W) {
    work.run(simd);
}

impl Simd for Avx512Vnni {
    const ROWS: usize = 16;
    const SIGNED: bool = false;
    type Bytes = __m512i;
    type Ints = __m512i;
    type Floats = __m512;

    fn run<W: Work>(self, work: W) {
        // SAFETY: `self` exists, so the processor has the instructions.
        unsafe { compiled(self, work) }
    }

    #[inline(always)]
    fn prefetch(self, from: *const u8, ahead: usize) {
        // SAFETY: a prefetch may be of any address: it never fails, and changes no memory.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(ahead).cast()) }
    }

    #[inline(always)]
    fn bytes(self, line: &Line, _: usize) -> __m512i {
        // SAFETY: `self` exists, so the processor has the instruction; a line has 64 bytes on a multiple of 64.
        unsafe { _mm512_load_si512(line.0.as_ptr().cast()) }
    }

    #[inline(always)]
    fn and(self, v: __m512i, mask: u8) -> __m512i {
        // SAFETY: `self` exists, so the processor has the instruction.
        unsafe { _mm512_and_si512(v, _mm512_set1_epi8(mask.cast_signed())) }
    }

    #[inline(always)]
    fn xor(self, v: __m512i, mask: u8) -> __m512i {
        // SAFETY: `self` exists, so the processor has the instruction.
        unsafe { _mm512_xor_si512(v, _mm512_set1_epi8(mask.cast_signed())) }
    }

    #[inline(always)]
    fn or(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` exists, so the processor has the instruction.
        unsafe { _mm512_or_si512(a, b) }
    }

    #[inline(always)]
    fn right(self, v: __m512i, n: u32) -> __m512i {
        // SAFETY: `self` exists, so the processor has the instruction.
        unsafe { _mm512_srl_epi16(v, _mm_cvtsi32_si128(n.cast_signed())) }
    }

    #[inline(always)]
    fn left(self, v: __m512i, n: u32) -> __m512i {
        // SAFETY: `self` exists, so the processor has the instruction.
        unsafe { _mm512_sll_epi16(v, _mm_cvtsi32_si128(n.cast_signed())) }
    }

    #[inline(always)]
    fn look_up(self, table: &[u8; 16], v: __m512i) -> __m512i {
        // SAFETY: `self` exists, so the processor has the instruction; the array has all the bytes that it reads.
        unsafe { _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast())), v) }
    }

    #[inline(always)]
    fn int(self, v: i32) -> __m512i {
        // SAFETY: `self` exists, so the processor has the instruction.
        unsafe { _mm512_set1_epi32(v) }
    }

    #[inline(always)]
    fn dot16(self, mut sum: __m512i, w: [__m512i; 4], x: &[i8; 16], _: u8) -> __m512i {
        for quad in 0..4 {
            // SAFETY: `self` exists, so the processor has the instructions.
            sum = unsafe { _mm512_dpbusd_epi32(sum, w[quad], _mm512_set1_epi32(word(x, quad))) };
        }
        sum
    }

    #[inline(always)]
    fn to_floats(self, v: __m512i) -> __m512 {
        // SAFETY: `self` exists, so the processor has the instruction.
        unsafe { _mm512_cvtepi32_ps(v) }
    }

    #[inline(always)]
    fn float(self, v: f32) -> __m512 {
        // SAFETY: `self` exists, so the processor has the instruction.
        unsafe { _mm512_set1_ps(v) }
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` exists, so the processor has the instruction.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: `self` exists, so the processor has the instruction.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn floats(self, v: &[u8; 64], _: usize) -> __m512 {
        // SAFETY: `self` exists, so the processor has the instruction; the array has all the bytes that it reads.
        unsafe { _mm512_loadu_ps(v.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store(self, v: __m512, out: &mut [f32; 16], _: usize) {
        // SAFETY: `self` exists, so the processor has the instruction; the array has all the bytes that it writes.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), v) }
    }

    #[inline(always)]
    fn halves(self, v: &[u8; 32], _: usize) -> __m512 {
        // SAFETY: `self` exists, so the processor has the instruction; the array has all the bytes that it reads.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(v.as_ptr().cast())) }
    }

    #[inline(always)]
    fn upper_halves(self, v: &[u8; 32], _: usize) -> __m512 {
        // SAFETY: `self` exists, so the processor has the instruction; the array has all the bytes that it reads.
        unsafe {
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(v.as_ptr().cast()))))
        }
    }

    #[inline(always)]
    fn signed(self, v: &[u8; 16], _: usize) -> __m512 {
        // SAFETY: `self` exists, so the processor has the instruction; the array has all the bytes that it reads.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(v.as_ptr().cast()))) }
    }

    #[inline(always)]
    fn bits_at<const N: u32>(self, v: &[u8; 16], _: usize) -> __m512 {
        // SAFETY: `self` exists, so the processor has the instruction; the array has all the bytes that it reads.
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<N>(_mm512_cvtepu8_epi32(_mm_loadu_si128(v.as_ptr().cast())))) }
    }
}
