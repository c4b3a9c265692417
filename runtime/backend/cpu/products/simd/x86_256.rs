//! AVX2, with AVX-VNNI if there: 8 rows in one register.

use super::{Line, Simd, Work, piece, word};
use std::arch::x86_64::*;

/// The proof that the processor has the instructions, with AVX-VNNI or without.
#[derive(Clone, Copy, Debug)]
pub struct X86<const VNNI: bool>(());

impl<const VNNI: bool> X86<VNNI> {
    /// None if the processor lacks one of the instructions.
    pub fn detect() -> Option<X86<VNNI>> {
        let found = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
            && (!VNNI || is_x86_feature_detected!("avxvnni"));
        found.then_some(X86(()))
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn compiled<W: Work>(simd: X86<false>, work: W) {
    work.run(simd);
}

#[target_feature(enable = "avxvnni,avx2,fma,f16c")]
fn compiled_vnni<W: Work>(simd: X86<true>, work: W) {
    work.run(simd);
}

/// [`Simd::dot16`] without VNNI.
#[inline(always)]
fn dot16_avx2<const VNNI: bool>(_: X86<VNNI>, sum: __m256i, w: [__m256i; 4], x: &[i8; 16], max: u8) -> __m256i {
    // SAFETY: the level exists, so the processor has the instructions.
    unsafe {
        let ones = _mm256_set1_epi16(1);
        let mut pairs = [_mm256_setzero_si256(); 4]; // sums of two products in 16 bits
        for quad in 0..4 {
            let x = _mm256_set1_epi32(word(x, quad));
            pairs[quad] = match max {
                // |w| is at most 128: two products with |x| <= 127 fit.
                0x80.. => _mm256_maddubs_epi16(_mm256_abs_epi8(w[quad]), _mm256_sign_epi8(x, w[quad])),
                _ => _mm256_maddubs_epi16(w[quad], x),
            };
        }
        let [a, b, c, d] = pairs;
        match max {
            // 8 * 32 * 127 < 2^15
            0..=32 => {
                let all = _mm256_add_epi16(_mm256_add_epi16(a, b), _mm256_add_epi16(c, d));
                _mm256_add_epi32(sum, _mm256_madd_epi16(all, ones))
            }
            // 4 * 64 * 127 < 2^15
            33..=64 => {
                let (ab, cd) = (_mm256_add_epi16(a, b), _mm256_add_epi16(c, d));
                let sum = _mm256_add_epi32(sum, _mm256_madd_epi16(ab, ones));
                _mm256_add_epi32(sum, _mm256_madd_epi16(cd, ones))
            }
            _ => {
                let ab = _mm256_add_epi32(_mm256_madd_epi16(a, ones), _mm256_madd_epi16(b, ones));
                let cd = _mm256_add_epi32(_mm256_madd_epi16(c, ones), _mm256_madd_epi16(d, ones));
                _mm256_add_epi32(sum, _mm256_add_epi32(ab, cd))
            }
        }
    }
}

/// [`Simd::dot16`] with VNNI.
#[inline(always)]
fn dot16_vnni<const VNNI: bool>(_: X86<VNNI>, mut sum: __m256i, w: [__m256i; 4], x: &[i8; 16]) -> __m256i {
    for quad in 0..4 {
        // SAFETY: the level exists and `VNNI` is set, so the processor has the instructions.
        sum = unsafe { _mm256_dpbusd_avx_epi32(sum, w[quad], _mm256_set1_epi32(word(x, quad))) };
    }
    sum
}

impl<const VNNI: bool> Simd for X86<VNNI> {
    const ROWS: usize = 8;
    const SIGNED: bool = !VNNI;
    type Bytes = __m256i;
    type Ints = __m256i;
    type Floats = __m256;

    fn run<W: Work>(self, work: W) {
        // SAFETY: `self` exists, so the processor has the instructions.
        unsafe { if VNNI { compiled_vnni(X86(()), work) } else { compiled(X86(()), work) } }
    }

    #[inline(always)]
    fn prefetch(self, from: *const u8, ahead: usize) {
        // SAFETY: a prefetch may be of any address: it never fails, and changes no memory.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(ahead).cast()) }
    }

    #[inline(always)]
    fn bytes(self, line: &Line, part: usize) -> __m256i {
        // SAFETY: `self` exists, so the processor has the instruction; the array has all the bytes that it reads.
        unsafe { _mm256_loadu_si256(piece::<u8, 32>(&line.0, part).as_ptr().cast()) }
    }

    #[inline(always)]
    fn and(self, v: __m256i, mask: u8) -> __m256i {
        // SAFETY: `self` exists, so the processor has the instruction.
        unsafe { _mm256_and_si256(v, _mm256_set1_epi8(mask.cast_signed())) }
    }

    #[inline(always)]
    fn xor(self, v: __m256i, mask: u8) -> __m256i {
        // SAFETY: `self` exists, so the processor has the instruction.
        unsafe { _mm256_xor_si256(v, _mm256_set1_epi8(mask.cast_signed())) }
    }

    #[inline(always)]
    fn or(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` exists, so the processor has the instruction.
        unsafe { _mm256_or_si256(a, b) }
    }

    #[inline(always)]
    fn right(self, v: __m256i, n: u32) -> __m256i {
        // SAFETY: `self` exists, so the processor has the instruction.
        unsafe { _mm256_srl_epi16(v, _mm_cvtsi32_si128(n.cast_signed())) }
    }

    #[inline(always)]
    fn left(self, v: __m256i, n: u32) -> __m256i {
        // SAFETY: `self` exists, so the processor has the instruction.
        unsafe { _mm256_sll_epi16(v, _mm_cvtsi32_si128(n.cast_signed())) }
    }

    #[inline(always)]
    fn look_up(self, table: &[u8; 16], v: __m256i) -> __m256i {
        // SAFETY: `self` exists, so the processor has the instruction; the array has all the bytes that it reads.
        unsafe { _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast())), v) }
    }

    #[inline(always)]
    fn int(self, v: i32) -> __m256i {
        // SAFETY: `self` exists, so the processor has the instruction.
        unsafe { _mm256_set1_epi32(v) }
    }

    #[inline(always)]
    fn dot16(self, sum: __m256i, w: [__m256i; 4], x: &[i8; 16], max: u8) -> __m256i {
        if VNNI { dot16_vnni(self, sum, w, x) } else { dot16_avx2(self, sum, w, x, max) }
    }

    #[inline(always)]
    fn to_floats(self, v: __m256i) -> __m256 {
        // SAFETY: `self` exists, so the processor has the instruction.
        unsafe { _mm256_cvtepi32_ps(v) }
    }

    #[inline(always)]
    fn float(self, v: f32) -> __m256 {
        // SAFETY: `self` exists, so the processor has the instruction.
        unsafe { _mm256_set1_ps(v) }
    }

    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` exists, so the processor has the instruction.
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    fn fma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: `self` exists, so the processor has the instruction.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn floats(self, v: &[u8; 64], part: usize) -> __m256 {
        // SAFETY: `self` exists, so the processor has the instruction; the array has all the bytes that it reads.
        unsafe { _mm256_loadu_ps(piece::<u8, 32>(v, part).as_ptr().cast()) }
    }

    #[inline(always)]
    fn store(self, v: __m256, out: &mut [f32; 16], part: usize) {
        // SAFETY: `self` exists, so the processor has the instruction; the array has all the bytes that it writes.
        unsafe { _mm256_storeu_ps(out.as_chunks_mut::<8>().0[part].as_mut_ptr(), v) }
    }

    #[inline(always)]
    fn halves(self, v: &[u8; 32], part: usize) -> __m256 {
        // SAFETY: `self` exists, so the processor has the instruction; the array has all the bytes that it reads.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(piece::<u8, 16>(v, part).as_ptr().cast())) }
    }

    #[inline(always)]
    fn upper_halves(self, v: &[u8; 32], part: usize) -> __m256 {
        // SAFETY: `self` exists, so the processor has the instruction; the array has all the bytes that it reads.
        unsafe {
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(
                piece::<u8, 16>(v, part).as_ptr().cast(),
            ))))
        }
    }

    #[inline(always)]
    fn signed(self, v: &[u8; 16], part: usize) -> __m256 {
        // SAFETY: `self` exists, so the processor has the instruction; the array has all the bytes that it reads.
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(piece::<u8, 8>(v, part).as_ptr().cast()))) }
    }

    #[inline(always)]
    fn bits_at<const N: u32>(self, v: &[u8; 16], part: usize) -> __m256 {
        // SAFETY: `self` exists, so the processor has the instruction; the array has all the bytes that it reads.
        unsafe {
            _mm256_castsi256_ps(_mm256_sll_epi32(
                _mm256_cvtepu8_epi32(_mm_loadl_epi64(piece::<u8, 8>(v, part).as_ptr().cast())),
                _mm_cvtsi32_si128(N.cast_signed()),
            ))
        }
    }
}
