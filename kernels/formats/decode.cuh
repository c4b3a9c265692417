// Bits to floats: what the decoders of weight types (types.cuh) are made of.
#pragma once
#include <cuda_fp16.h>
#include "shared/common.cuh"

__device__ __forceinline__ float half_bits(u32 v) { return __half2float(__ushort_as_half(u16(v))); }

// The bytes of v minus bias. In the lowest byte of the float 2^23, a byte adds its value to it: the difference is exact.
__device__ __forceinline__ float4 bytes_less(u32 v, float bias) {
    constexpr u32 TWO_23 = 0x4b000000;
    const float zero = 8388608.0f + bias;
    return make_float4(__uint_as_float(__byte_perm(v, TWO_23, 0x7650)) - zero,
                       __uint_as_float(__byte_perm(v, TWO_23, 0x7651)) - zero,
                       __uint_as_float(__byte_perm(v, TWO_23, 0x7652)) - zero,
                       __uint_as_float(__byte_perm(v, TWO_23, 0x7653)) - zero);
}

__device__ __forceinline__ float4 scaled(float4 q, float d) { return make_float4(q.x * d, q.y * d, q.z * d, q.w * d); }

__device__ __forceinline__ float4 scaled(float4 q, float d, float m) {
    return make_float4(fmaf(q.x, d, m), fmaf(q.y, d, m), fmaf(q.z, d, m), fmaf(q.w, d, m));
}

__device__ __forceinline__ u32 word(uint4 v, u32 i) { return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w; }

// Elements 4g .. 4g + 3 of 16 bytes of nibbles, one per byte.
__device__ __forceinline__ u32 nibbles(uint4 q, u32 g) { return (word(q, g % 4) >> (g / 4 * 4)) & 0x0f0f0f0f; }

// Bit g of each byte of `high`, moved to bit `at` of its byte by a rotation.
__device__ __forceinline__ u32 bits_to(u32 high, u32 g, u32 at) {
    return __funnelshift_l(high, high, at - g) & (0x01010101 << at);
}

// Elements 4g .. 4g + 3 of 8 bytes of pairs of bits, one per byte.
__device__ __forceinline__ u32 pairs(uint2 q, u32 g) { return ((g < 4 ? q.x : q.y) >> (2 * (g % 4))) & 0x03030303; }

// Byte i of v in the low bits; i < 4.
__device__ __forceinline__ u32 byte_of(u32 v, u32 i) { return v >> (8 * i) & 255; }

// The low nibble for an even unit, the high one for an odd unit.
__device__ __forceinline__ u32 nibble_of(u32 byte, u32 unit) { return byte >> (4 * (unit % 2)) & 15; }

// Four values plus 128 as bytes, a lowest.
__host__ __device__ constexpr u32 biased(int a, int b, int c, int d) {
    return u32(a + 128) | u32(b + 128) << 8 | u32(c + 128) << 16 | u32(d + 128) << 24;
}

// Byte j is entry c of a table of 16 bytes (t0 lowest), c being nibble j of `codes`; j < 4. __byte_perm chooses from 8 bytes: the
// low three bits of c choose an entry of each half, its high bit one of the two.
__device__ __forceinline__ u32 looked_up(u32 codes, u32 t0, u32 t1, u32 t2, u32 t3) {
    const u32 low = codes & 0x7777;
    return __byte_perm(__byte_perm(t0, t1, low), __byte_perm(t2, t3, low), (codes & 0x8888) >> 1 | 0x3210);
}

// Codes of elements 4g .. 4g + 3 of 16 bytes of them, for looked_up.
__device__ __forceinline__ u32 codes(uint4 q, u32 g) { return word(q, g % 4) >> (g / 4 * 16); }

// v, element j negated where bit j of `signs` is set.
__device__ __forceinline__ float4 negated(float4 v, u32 signs) {
    return make_float4(__uint_as_float(__float_as_uint(v.x) ^ signs << 31),
                       __uint_as_float(__float_as_uint(v.y) ^ (signs << 30 & 0x80000000)),
                       __uint_as_float(__float_as_uint(v.z) ^ (signs << 29 & 0x80000000)),
                       __uint_as_float(__float_as_uint(v.w) ^ (signs << 28 & 0x80000000)));
}
