// Weight types (types.cuh): floats, and blocks of 32 with a scale.
#pragma once
#include "formats/decode.cuh"

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
        return scaled(bytes_less(nibbles(r.q, g) | bits_to(r.high, g, 4), 16), half_bits(r.d));
    }
};

struct Q5_1 {
    static constexpr u32 CHUNK = 32, STEPS = 1;
    struct Raw { uint4 q; u32 high; u32 dm; };
    static __device__ __forceinline__ Raw load(const Planes& w, u64 chunk) {
        return {load_once(w.quants + chunk), load_weight(w.high + chunk), load_weight((const u32*)w.scales + chunk)};
    }
    static __device__ __forceinline__ float4 decode(const Raw& r, u32 g) {
        return scaled(bytes_less(nibbles(r.q, g) | bits_to(r.high, g, 4), 0), half_bits(r.dm), half_bits(r.dm >> 16));
    }
};
