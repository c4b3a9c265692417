// Weight types (types.cuh): values from a table of 16, and ternary ones.
#pragma once
#include "formats/decode.cuh"

// The values of IQ4_NL and IQ4_XS.
__device__ __forceinline__ float4 iq4_values(uint4 q, u32 g, float d) {
    const u32 bytes = looked_up(codes(q, g), biased(-127, -104, -83, -65), biased(-49, -35, -22, -10),
                                biased(1, 13, 25, 38), biased(53, 69, 89, 113));
    return scaled(bytes_less(bytes, 128), d);
}

// The values of MXFP4 and NVFP4: 4-bit floats (E2M1), doubled; scales are halved.
__device__ __forceinline__ float4 fp4_values(uint4 q, u32 g, float d) {
    const u32 bytes = looked_up(codes(q, g), biased(0, 1, 2, 3), biased(4, 6, 8, 12), biased(0, -1, -2, -3), biased(-4, -6, -8, -12));
    return scaled(bytes_less(bytes, 128), d);
}

struct IQ4_NL {
    static constexpr u32 CHUNK = 32, STEPS = 1;
    struct Raw { uint4 q; u16 d; };
    static __device__ __forceinline__ Raw load(const Planes& w, u64 chunk) {
        return {load_once(w.quants + chunk), load_weight((const u16*)w.scales + chunk)};
    }
    static __device__ __forceinline__ float4 decode(const Raw& r, u32 g) { return iq4_values(r.q, g, half_bits(r.d)); }
};

struct IQ4_XS {
    static constexpr u32 CHUNK = 32, STEPS = 1;
    struct Raw { uint4 q; uint2 head; u32 unit; };
    static __device__ __forceinline__ Raw load(const Planes& w, u64 chunk) {
        return {load_once(w.quants + chunk), load_weight((const uint2*)w.scales + chunk / 8), u32(chunk % 8)};
    }
    // head: f16 d and eight pairs of bits, eight nibbles
    static __device__ __forceinline__ float4 decode(const Raw& r, u32 g) {
        const u32 scale = (r.head.y >> (4 * r.unit) & 15) | (r.head.x >> (16 + 2 * r.unit) & 3) << 4;
        return iq4_values(r.q, g, half_bits(r.head.x) * float(int(scale) - 32));
    }
};

struct MXFP4 {
    static constexpr u32 CHUNK = 32, STEPS = 1;
    struct Raw { uint4 q; u16 e; };
    static __device__ __forceinline__ Raw load(const Planes& w, u64 chunk) {
        return {load_once(w.quants + chunk), load_weight((const u8*)w.scales + chunk)};
    }
    // Half of 2^(e - 127), of which the smallest two are subnormal.
    static __device__ __forceinline__ float4 decode(const Raw& r, u32 g) {
        const u32 bits = r.e < 2 ? 0x00200000 << r.e : u32(r.e - 1) << 23;
        return fp4_values(r.q, g, __uint_as_float(bits));
    }
};

struct NVFP4 {
    static constexpr u32 CHUNK = 32, STEPS = 1;
    struct Raw { uint4 q; u16 d; };
    static __device__ __forceinline__ Raw load(const Planes& w, u64 chunk) {
        return {load_once(w.quants + chunk), load_weight((const u16*)w.scales + chunk)};
    }
    // Scales are E4M3 without sign, an f16 of another bias: half of one is 2^7 times that f16. 0x7f means NaN, taken as 0.
    static __device__ __forceinline__ float4 decode(const Raw& r, u32 g) {
        const u32 d = (g < 4 ? r.d : r.d >> 8) & 255;
        return fp4_values(r.q, g, d == 127 ? 0.0f : half_bits((d & 127) << 7) * 128.0f);
    }
};

struct TQ2_0 {
    static constexpr u32 CHUNK = 32, STEPS = 1;
    struct Raw { uint2 q; u16 d; };
    static __device__ __forceinline__ Raw load(const Planes& w, u64 chunk) {
        return {load_once((const uint2*)w.quants + chunk), load_weight(w.supers + chunk / 8)};
    }
    static __device__ __forceinline__ float4 decode(const Raw& r, u32 g) {
        return scaled(bytes_less(pairs(r.q, g), 1), half_bits(r.d));
    }
};

// 256 elements are 13 words: 12 of quants, one of high. Group G of four of the block's 64 is digit G % 5 of the bytes of word
// G / 5; a byte is the fraction 0.(digits) to base 3, times 256, rounded up.
struct TQ1_0 {
    static constexpr u32 CHUNK = 32, STEPS = 1;
    struct Raw { u32 a, b, c; u16 d; u32 unit; };
    static __device__ __forceinline__ Raw load(const Planes& w, u64 chunk) {
        const u32 unit = u32(chunk % 8), first = unit * 8 / 5;
        const u32* q = (const u32*)w.quants + chunk / 8 * 12;
        return {load_weight(q + first), load_weight(first < 11 ? q + first + 1 : w.high + chunk / 8),
                load_weight(q + min(first + 2, 11u)), load_weight(w.supers + chunk / 8), unit};
    }
    static __device__ __forceinline__ float4 decode(const Raw& r, u32 g) {
        const u32 i = r.unit * 8 % 5 + g, digit = i % 5;
        const u32 v = i < 5 ? r.a : i < 10 ? r.b : r.c;
        const u32 power = digit < 4 ? byte_of(0x1b090301, digit) : 81;
        const u32 even = ((v & 0x00ff00ff) * power & 0x00ff00ff) * 3 >> 8 & 0x00030003;
        const u32 odd = ((v >> 8 & 0x00ff00ff) * power & 0x00ff00ff) * 3 >> 8 & 0x00030003;
        return scaled(bytes_less(even | odd << 8, 1), half_bits(r.d));
    }
};
