// Weight types (types.cuh): floats, and blocks of 32 with a scale.
#pragma once
#include "formats/blocks.cuh"
#include "formats/decode.cuh"

// Elements of `BYTES` bytes each, copied; the last unit of a row is padded with zeros.
template <u32 BYTES>
__device__ __forceinline__ void repack_floats(const RepackParams& p, u64 unit) {
    const u64 row = unit / p.units;
    const u32 col = u32(unit % p.units) * 32;
    const u8* from = p.blocks + (row * p.n_cols + col) * BYTES;
    const u32 bytes = min(p.n_cols - col, 32u) * BYTES;
#pragma unroll
    for (u32 c = 0; c < 2 * BYTES; c++) {
        u32 words[4];
#pragma unroll
        for (u32 w = 0; w < 4; w++) {
            const u32 at = 16 * c + 4 * w;
            words[w] = at + 2 < bytes ? u32_at(from + at) : at < bytes ? u16_at(from + at) : 0;
        }
        p.quants[unit * (2 * BYTES) + c] = as_uint4(words);
    }
}

// f16 d; f16 m (if MIN); bit 4 of the elements as u32 (if FIFTH), element i in bit i; nibbles
template <bool MIN, bool FIFTH>
__device__ __forceinline__ void repack_four_bits(const RepackParams& p, u64 unit) {
    const u8* block = p.blocks + unit * (18 + 2 * MIN + 4 * FIFTH);
    if (MIN) ((u32*)p.scales)[unit] = u32_at(block);
    else ((u16*)p.scales)[unit] = u16_at(block);
    block += 2 + 2 * MIN;
    if (FIFTH) {
        const u32 high = u32_at(block);
        p.high[unit] = pack_bits([&](u32 i) { return high >> i & 1; });
        block += 4;
    }
    p.quants[unit] = bytes16_at(block);
}

struct F32 {
    static constexpr u32 CHUNK = 4, STEPS = 4;
    struct Raw { uint4 q; };
    template <class A, class L = WholeChunk>
    static __device__ __forceinline__ Raw load(const Planes& w, A at, L lane = {}) { return {lane.quants(w.quants + at.unit())}; }
    static __device__ __forceinline__ float4 decode(const Raw& r, u32) {
        return make_float4(__uint_as_float(r.q.x), __uint_as_float(r.q.y), __uint_as_float(r.q.z), __uint_as_float(r.q.w));
    }
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) { repack_floats<4>(p, unit); }
};

struct F16 {
    static constexpr u32 CHUNK = 8, STEPS = 4;
    struct Raw { uint4 q; };
    template <class A, class L = WholeChunk>
    static __device__ __forceinline__ Raw load(const Planes& w, A at, L lane = {}) { return {lane.quants(w.quants + at.unit())}; }
    static __device__ __forceinline__ float4 decode(const Raw& r, u32 g) {
        const u32 a = word(r.q, 2 * g), b = word(r.q, 2 * g + 1);
        return make_float4(half_bits(a), half_bits(a >> 16), half_bits(b), half_bits(b >> 16));
    }
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) { repack_floats<2>(p, unit); }
};

struct BF16 {
    static constexpr u32 CHUNK = 8, STEPS = 4;
    struct Raw { uint4 q; };
    template <class A, class L = WholeChunk>
    static __device__ __forceinline__ Raw load(const Planes& w, A at, L lane = {}) { return {lane.quants(w.quants + at.unit())}; }
    static __device__ __forceinline__ float4 decode(const Raw& r, u32 g) {
        const u32 a = word(r.q, 2 * g), b = word(r.q, 2 * g + 1);
        return make_float4(__uint_as_float(a << 16), __uint_as_float(a & 0xffff0000),
                           __uint_as_float(b << 16), __uint_as_float(b & 0xffff0000));
    }
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) { repack_floats<2>(p, unit); }
};

struct Q8_0 : Quantized<Q8_0> {
    static constexpr u32 CHUNK = 16, STEPS = 2, LOADED = 4, BUFFERS = 2;
    static constexpr bool SIGNED = true;
    struct Raw { uint4 q; u16 d; };
    template <class A, class L = WholeChunk>
    static __device__ __forceinline__ Raw load(const Planes& w, A at, L lane = {}) {
        return {lane.quants(w.quants + at.unit()), load_weight((const u16*)w.scales + at.half_of())};
    }
    static __device__ __forceinline__ u32 word(const Raw& r, u32 g) { return ::word(r.q, g); }
    static __device__ __forceinline__ float scale(const Raw& r, u32) { return half_bits(r.d); }
    // f16 d; i8[32]
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) {
        const u8* block = p.blocks + unit * 34;
        ((u16*)p.scales)[unit] = u16_at(block);
        p.quants[2 * unit] = bytes16_at(block + 2);
        p.quants[2 * unit + 1] = bytes16_at(block + 18);
    }
};

struct Q4_0 : Quantized<Q4_0> {
    static constexpr u32 OFFSET = 8, LOADED = 4, BUFFERS = 2;
    struct Raw { uint4 q; u16 d; };
    template <class A, class L = WholeChunk>
    static __device__ __forceinline__ Raw load(const Planes& w, A at, L lane = {}) {
        return {lane.quants(w.quants + at.unit()), load_weight((const u16*)w.scales + at.unit())};
    }
    static __device__ __forceinline__ u32 word(const Raw& r, u32 g) { return nibbles(r.q, g); }
    static __device__ __forceinline__ float scale(const Raw& r, u32) { return half_bits(r.d); }
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) { repack_four_bits<false, false>(p, unit); }
};

struct Q4_1 : Quantized<Q4_1> {
    static constexpr bool MIN = true;
    struct Raw { uint4 q; u32 dm; };
    template <class A, class L = WholeChunk>
    static __device__ __forceinline__ Raw load(const Planes& w, A at, L lane = {}) {
        return {lane.quants(w.quants + at.unit()), load_weight((const u32*)w.scales + at.unit())};
    }
    static __device__ __forceinline__ u32 word(const Raw& r, u32 g) { return nibbles(r.q, g); }
    static __device__ __forceinline__ float2 scales(const Raw& r, u32) { return two_halves(r.dm); }
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) { repack_four_bits<true, false>(p, unit); }
};

struct Q5_0 : Quantized<Q5_0> {
    static constexpr u32 ROWS_BUFFERS = 1;
    static constexpr u32 BUFFERS = 2;
    static constexpr u32 OFFSET = 16;
    struct Raw { uint4 q; u32 high; u16 d; };
    template <class A, class L = WholeChunk>
    static __device__ __forceinline__ Raw load(const Planes& w, A at, L lane = {}) {
        return {lane.quants(w.quants + at.unit()), load_weight(w.high + at.unit()), load_weight((const u16*)w.scales + at.unit())};
    }
    static __device__ __forceinline__ u32 word(const Raw& r, u32 g) { return nibbles(r.q, g) | bits_to(r.high, g, 4); }
    static __device__ __forceinline__ float scale(const Raw& r, u32) { return half_bits(r.d); }
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) { repack_four_bits<false, true>(p, unit); }
};

struct Q5_1 : Quantized<Q5_1> {
    static constexpr u32 ROWS_BUFFERS = 1;
    static constexpr u32 BUFFERS = 2;
    static constexpr bool MIN = true;
    struct Raw { uint4 q; u32 high; u32 dm; };
    template <class A, class L = WholeChunk>
    static __device__ __forceinline__ Raw load(const Planes& w, A at, L lane = {}) {
        return {lane.quants(w.quants + at.unit()), load_weight(w.high + at.unit()), load_weight((const u32*)w.scales + at.unit())};
    }
    static __device__ __forceinline__ u32 word(const Raw& r, u32 g) { return nibbles(r.q, g) | bits_to(r.high, g, 4); }
    static __device__ __forceinline__ float2 scales(const Raw& r, u32) { return two_halves(r.dm); }
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) { repack_four_bits<true, true>(p, unit); }
};
