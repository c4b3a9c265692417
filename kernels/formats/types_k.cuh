// Weight types (types.cuh): blocks of 256 whose scales are integers, themselves scaled.
#pragma once
#include "formats/decode.cuh"

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

struct Q2_K {
    static constexpr u32 CHUNK = 32, STEPS = 1;
    struct Raw { uint2 q; u16 scales; u32 dm; };
    static __device__ __forceinline__ Raw load(const Planes& w, u64 chunk) {
        return {load_once((const uint2*)w.quants + chunk), load_weight((const u16*)w.scales + chunk),
                load_weight((const u32*)w.supers + chunk / 8)};
    }
    static __device__ __forceinline__ float4 decode(const Raw& r, u32 g) {
        const u32 s = g < 4 ? r.scales : r.scales >> 8;
        return scaled(bytes_less(pairs(r.q, g), 0), half_bits(r.dm) * float(s & 15), -half_bits(r.dm >> 16) * float(s >> 4 & 15));
    }
};

struct Q3_K {
    static constexpr u32 CHUNK = 32, STEPS = 1;
    struct Raw { uint2 q; u32 high; u16 low4; u16 high2; u16 d; u32 unit; };
    static __device__ __forceinline__ Raw load(const Planes& w, u64 chunk) {
        const u8* scales = (const u8*)w.scales + chunk / 8 * 12;
        const u32 unit = u32(chunk % 8);
        return {load_once((const uint2*)w.quants + chunk), load_weight(w.high + chunk), load_weight(scales + unit),
                load_weight(scales + 8 + unit / 2), load_weight(w.supers + chunk / 8), unit};
    }
    static __device__ __forceinline__ float4 decode(const Raw& r, u32 g) {
        const u32 high2 = nibble_of(r.high2, r.unit);
        const u32 scale = g < 4 ? (r.low4 & 15) | (high2 & 3) << 4 : r.low4 >> 4 | (high2 & 12) << 2;
        const u32 q = pairs(r.q, g) | bits_to(r.high, g, 2);
        return scaled(bytes_less(q, 4), half_bits(r.d) * float(int(scale) - 32));
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
        return scaled(bytes_less(nibbles(r.q, g) | bits_to(r.high, g, 4), 0), s.x, -s.y);
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
