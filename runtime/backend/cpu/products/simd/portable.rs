//! Plain loops, which the compiler vectorizes for the least processor of the architecture.

use super::{Line, Simd, Work};

/// The level that every processor has.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

impl Simd for Portable {
    const ROWS: usize = 16;
    const SIGNED: bool = false;
    type Bytes = [u8; 64];
    type Ints = [i32; 16];
    type Floats = [f32; 16];

    fn run<W: Work>(self, work: W) {
        work.run(self);
    }

    #[inline(always)]
    fn prefetch(self, _: *const u8, _: usize) {}

    #[inline(always)]
    fn bytes(self, line: &Line, _: usize) -> [u8; 64] {
        line.0
    }

    #[inline(always)]
    fn and(self, v: [u8; 64], mask: u8) -> [u8; 64] {
        v.map(|v| v & mask)
    }

    #[inline(always)]
    fn xor(self, v: [u8; 64], mask: u8) -> [u8; 64] {
        v.map(|v| v ^ mask)
    }

    #[inline(always)]
    fn or(self, mut a: [u8; 64], b: [u8; 64]) -> [u8; 64] {
        for i in 0..64 {
            a[i] |= b[i];
        }
        a
    }

    #[inline(always)]
    fn right(self, v: [u8; 64], n: u32) -> [u8; 64] {
        v.map(|v| v >> n)
    }

    #[inline(always)]
    fn left(self, v: [u8; 64], n: u32) -> [u8; 64] {
        v.map(|v| v << n)
    }

    #[inline(always)]
    fn look_up(self, table: &[u8; 16], v: [u8; 64]) -> [u8; 64] {
        v.map(|v| table[usize::from(v & 15)])
    }

    #[inline(always)]
    fn int(self, v: i32) -> [i32; 16] {
        [v; 16]
    }

    #[inline(always)]
    fn dot16(self, mut sum: [i32; 16], w: [[u8; 64]; 4], x: &[i8; 16], _: u8) -> [i32; 16] {
        for (w, x) in w.iter().zip(x.as_chunks::<4>().0) {
            for (sum, w) in sum.iter_mut().zip(w.as_chunks::<4>().0) {
                for i in 0..4 {
                    *sum += i32::from(w[i]) * i32::from(x[i]);
                }
            }
        }
        sum
    }

    #[inline(always)]
    fn to_floats(self, v: [i32; 16]) -> [f32; 16] {
        v.map(|v| v as f32)
    }

    #[inline(always)]
    fn float(self, v: f32) -> [f32; 16] {
        [v; 16]
    }

    #[inline(always)]
    fn mul(self, mut a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        for i in 0..16 {
            a[i] *= b[i];
        }
        a
    }

    #[inline(always)]
    fn fma(self, a: [f32; 16], b: [f32; 16], mut c: [f32; 16]) -> [f32; 16] {
        for i in 0..16 {
            c[i] = a[i].mul_add(b[i], c[i]);
        }
        c
    }

    #[inline(always)]
    fn floats(self, v: &[u8; 64], _: usize) -> [f32; 16] {
        bytemuck::pod_read_unaligned(v)
    }

    #[inline(always)]
    fn store(self, v: [f32; 16], out: &mut [f32; 16], _: usize) {
        *out = v;
    }

    #[inline(always)]
    fn halves(self, v: &[u8; 32], _: usize) -> [f32; 16] {
        let halves: &[[u8; 2]; 16] = bytemuck::cast_ref(v);
        halves.map(|v| half::f16::from_le_bytes(v).to_f32())
    }

    #[inline(always)]
    fn upper_halves(self, v: &[u8; 32], _: usize) -> [f32; 16] {
        let halves: &[[u8; 2]; 16] = bytemuck::cast_ref(v);
        halves.map(|v| f32::from_bits(u32::from(u16::from_le_bytes(v)) << 16))
    }

    #[inline(always)]
    fn signed(self, v: &[u8; 16], _: usize) -> [f32; 16] {
        v.map(|v| f32::from(v.cast_signed()))
    }

    #[inline(always)]
    fn bits_at<const N: u32>(self, v: &[u8; 16], _: usize) -> [f32; 16] {
        v.map(|v| f32::from_bits(u32::from(v) << N))
    }
}
