// Weight types: one struct per type, one row each in WEIGHT_TYPES. Kernels are templates over them.
//
// A matrix lies in planes (struct Planes). The quants plane is read in chunks of 16 bytes, CHUNK elements each; a unit of
// 32 elements has 32 / CHUNK chunks, and chunk c of row r is quants[(r * units) * (32 / CHUNK) + c].
//
//   type   CHUNK  quants of a unit        high of a unit      scales                       supers
//   F32        4  8 x 16 bytes: floats
//   F16        8  4 x 16 bytes: halves
//   BF16       8  4 x 16 bytes: upper halves of floats
//   Q8_0      16  2 x 16 bytes: i8                            unit: f16 d
//   Q4_0      32  16 bytes: nibbles                           unit: f16 d
//   Q4_1      32  16 bytes: nibbles                           unit: f16 d, f16 m
//   Q5_0      32  16 bytes: nibbles       u32: bit 4          unit: f16 d
//   Q5_1      32  16 bytes: nibbles       u32: bit 4          unit: f16 d, f16 m
//   Q4_K      32  16 bytes: nibbles                           8 units: the block's first 16 bytes
//   Q5_K      32  16 bytes: nibbles       u32: bit 4          8 units: the block's first 16 bytes
//   Q6_K      32  16 bytes: nibbles       2 u32: bits 4, 5    8 units: 16 i8                8 units: f16 d
//
// Nibbles: elements i and 16 + i in the low and high half of byte i, so that a word & 0x0f0f0f0f is four consecutive ones.
// Bit 4 of element 4w + j is bit 8j + w; bits 4 and 5 of element 4w + j are bits 8j + 2(w % 4) and up of word w / 4: a shift
// and a mask put them beside the nibbles. Planes have the bytes per block that runtime/quant/pack.rs gives them; only the order of
// bits in the planes of bits 4 and 5, and of the K types' nibbles, is the kernels' own.
#pragma once
#include <cuda_fp16.h>
#include "common.cuh"

__device__ __forceinline__ float half_bits(u32 v) { return __half2float(__ushort_as_half(u16(v))); }

// The bytes of v, less bias. A byte below the exponent of 2^23 is that float's last byte: the difference is exact.
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

// Their bit 4: bits g of the bytes of `high`, moved there by a rotation.
__device__ __forceinline__ u32 fifth_bits(u32 high, u32 g) { return __funnelshift_l(high, high, 4 - g) & 0x10101010; }

// Scale and min (times d and dmin) of unit u of eight; head: f16 d, f16 dmin and eight 6-bit pairs, packed as in GGML:
// pairs 0 to 3 in the low six bits of bytes 4 .. 7 (scales) and 8 .. 11 (mins); the low four bits of pairs 4 to 7 in the
// nibbles of bytes 12 .. 15, their high two on top of pairs 0 to 3.
__device__ __forceinline__ float2 k_scale(uint4 head, u32 u) {
    const u32 shift = 8 * (u % 4);
    const u32 s = head.y >> shift, m = head.z >> shift, rest = head.w >> shift;
    const u32 scale = u < 4 ? s & 63 : (rest & 15) | ((s >> 2) & 0x30);
    const u32 min   = u < 4 ? m & 63 : ((rest >> 4) & 15) | ((m >> 2) & 0x30);
    return make_float2(half_bits(head.x) * scale, half_bits(head.x >> 16) * min);
}

// Groups of four elements, of a chunk of `chunk` elements, that a kernel writes out one by one; the rest is a loop.
__host__ __device__ constexpr u32 unrolled(u32 chunk) { return chunk / 4 < 4 ? chunk / 4 : 4; }

// Each type:
//   CHUNK   elements of 16 bytes of quants
//   STEPS   chunks of a row that a lane of mat_vec holds at a time
//   Raw     what is loaded for a chunk; all zero bytes decode to zeros
//   load    chunk `chunk`, counted from the start of the planes
//   decode  elements 4g .. 4g + 3 of a chunk, as quant::decode gives them, up to the rounding of one multiply-add. g % 4 is
//           known where it is called; g / 4 may be a loop's counter

struct F32 {
    static constexpr u32 CHUNK = 4, STEPS = 4;
    struct Raw { uint4 q; };
    static __device__ __forceinline__ Raw load(const Planes& w, u64 chunk) { return {load_once(w.quants + chunk)}; }
    static __device__ __forceinline__ float4 decode(const Raw& r, u32) {
        return make_float4(__uint_as_float(r.q.x), __uint_as_float(r.q.y), __uint_as_float(r.q.z), __uint_as_float(r.q.w));
    }
};

struct F16 {
    static constexpr u32 CHUNK = 8, STEPS = 4;
    struct Raw { uint4 q; };
    static __device__ __forceinline__ Raw load(const Planes& w, u64 chunk) { return {load_once(w.quants + chunk)}; }
    static __device__ __forceinline__ float4 decode(const Raw& r, u32 g) {
        const u32 a = word(r.q, 2 * g), b = word(r.q, 2 * g + 1);
        return make_float4(half_bits(a), half_bits(a >> 16), half_bits(b), half_bits(b >> 16));
    }
};

struct BF16 {
    static constexpr u32 CHUNK = 8, STEPS = 4;
    struct Raw { uint4 q; };
    static __device__ __forceinline__ Raw load(const Planes& w, u64 chunk) { return {load_once(w.quants + chunk)}; }
    static __device__ __forceinline__ float4 decode(const Raw& r, u32 g) {
        const u32 a = word(r.q, 2 * g), b = word(r.q, 2 * g + 1);
        return make_float4(__uint_as_float(a << 16), __uint_as_float(a & 0xffff0000),
                           __uint_as_float(b << 16), __uint_as_float(b & 0xffff0000));
    }
};

struct Q8_0 {
    static constexpr u32 CHUNK = 16, STEPS = 2;
    struct Raw { uint4 q; u16 d; };
    static __device__ __forceinline__ Raw load(const Planes& w, u64 chunk) {
        return {load_once(w.quants + chunk), load_weight((const u16*)w.scales + chunk / 2)};
    }
    static __device__ __forceinline__ float4 decode(const Raw& r, u32 g) {
        return scaled(bytes_less(word(r.q, g) ^ 0x80808080, 128), half_bits(r.d));
    }
};

struct Q4_0 {
    static constexpr u32 CHUNK = 32, STEPS = 1;
    struct Raw { uint4 q; u16 d; };
    static __device__ __forceinline__ Raw load(const Planes& w, u64 chunk) {
        return {load_once(w.quants + chunk), load_weight((const u16*)w.scales + chunk)};
    }
    static __device__ __forceinline__ float4 decode(const Raw& r, u32 g) {
        return scaled(bytes_less(nibbles(r.q, g), 8), half_bits(r.d));
    }
};

struct Q4_1 {
    static constexpr u32 CHUNK = 32, STEPS = 1;
    struct Raw { uint4 q; u32 dm; };
    static __device__ __forceinline__ Raw load(const Planes& w, u64 chunk) {
        return {load_once(w.quants + chunk), load_weight((const u32*)w.scales + chunk)};
    }
    static __device__ __forceinline__ float4 decode(const Raw& r, u32 g) {
        return scaled(bytes_less(nibbles(r.q, g), 0), half_bits(r.dm), half_bits(r.dm >> 16));
    }
};

struct Q5_0 {
    static constexpr u32 CHUNK = 32, STEPS = 1;
    struct Raw { uint4 q; u32 high; u16 d; };
    static __device__ __forceinline__ Raw load(const Planes& w, u64 chunk) {
        return {load_once(w.quants + chunk), load_weight(w.high + chunk), load_weight((const u16*)w.scales + chunk)};
    }
    static __device__ __forceinline__ float4 decode(const Raw& r, u32 g) {
        return scaled(bytes_less(nibbles(r.q, g) | fifth_bits(r.high, g), 16), half_bits(r.d));
    }
};

struct Q5_1 {
    static constexpr u32 CHUNK = 32, STEPS = 1;
    struct Raw { uint4 q; u32 high; u32 dm; };
    static __device__ __forceinline__ Raw load(const Planes& w, u64 chunk) {
        return {load_once(w.quants + chunk), load_weight(w.high + chunk), load_weight((const u32*)w.scales + chunk)};
    }
    static __device__ __forceinline__ float4 decode(const Raw& r, u32 g) {
        return scaled(bytes_less(nibbles(r.q, g) | fifth_bits(r.high, g), 0), half_bits(r.dm), half_bits(r.dm >> 16));
    }
};

struct Q4_K {
    static constexpr u32 CHUNK = 32, STEPS = 1;
    struct Raw { uint4 q; uint4 head; u32 unit; };
    static __device__ __forceinline__ Raw load(const Planes& w, u64 chunk) {
        return {load_once(w.quants + chunk), load_weight((const uint4*)w.scales + chunk / 8), u32(chunk % 8)};
    }
    static __device__ __forceinline__ float4 decode(const Raw& r, u32 g) {
        const float2 s = k_scale(r.head, r.unit);
        return scaled(bytes_less(nibbles(r.q, g), 0), s.x, -s.y);
    }
};

struct Q5_K {
    static constexpr u32 CHUNK = 32, STEPS = 1;
    struct Raw { uint4 q; u32 high; uint4 head; u32 unit; };
    static __device__ __forceinline__ Raw load(const Planes& w, u64 chunk) {
        return {load_once(w.quants + chunk), load_weight(w.high + chunk),
                load_weight((const uint4*)w.scales + chunk / 8), u32(chunk % 8)};
    }
    static __device__ __forceinline__ float4 decode(const Raw& r, u32 g) {
        const float2 s = k_scale(r.head, r.unit);
        return scaled(bytes_less(nibbles(r.q, g) | fifth_bits(r.high, g), 0), s.x, -s.y);
    }
};

struct Q6_K {
    static constexpr u32 CHUNK = 32, STEPS = 1;
    struct Raw { uint4 q; uint2 high; u16 scales; u16 d; };
    static __device__ __forceinline__ Raw load(const Planes& w, u64 chunk) {
        return {load_once(w.quants + chunk), load_weight((const uint2*)w.high + chunk),
                load_weight((const u16*)w.scales + chunk), load_weight(w.supers + chunk / 8)};
    }
    static __device__ __forceinline__ float4 decode(const Raw& r, u32 g) {
        const u32 high = ((g < 4 ? r.high.x : r.high.y) >> (2 * (g % 4)) & 0x03030303) << 4;
        const int scale = (signed char)(g < 4 ? r.scales : r.scales >> 8);
        return scaled(bytes_less(nibbles(r.q, g) | high, 32), half_bits(r.d) * float(scale));
    }
};

// One row per type: X(name in entries, struct).
#define WEIGHT_TYPES(X)                                                                             \
    X(f32, F32) X(f16, F16) X(bf16, BF16) X(q4_0, Q4_0) X(q4_1, Q4_1) X(q5_0, Q5_0) X(q5_1, Q5_1)   \
    X(q8_0, Q8_0) X(q4_k, Q4_K) X(q5_k, Q5_K) X(q6_k, Q6_K)
