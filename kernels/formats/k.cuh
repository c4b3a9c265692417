// Weight types (types.cuh): blocks of 256 whose scales are integers, themselves scaled.
#pragma once
#include "formats/blocks.cuh"
#include "formats/decode.cuh"

// Scale in the low byte and min in the high byte of unit u of eight, of a block of a file: f16 d, f16 dmin and eight 6-bit pairs,
// packed as in GGML: pairs 0 to 3 in the low six bits of bytes 4 .. 7 (scales) and 8 .. 11 (mins); the low four bits of pairs 4 to
// 7 in the nibbles of bytes 12 .. 15, their high two on top of pairs 0 to 3.
__device__ __forceinline__ u32 k_scale(const u8* block, u32 u) {
    const u32 s = block[4 + u % 4], m = block[8 + u % 4], rest = block[12 + u % 4];
    const u32 scale = u < 4 ? s & 63 : (rest & 15) | ((s >> 2) & 0x30);
    const u32 min   = u < 4 ? m & 63 : (rest >> 4) | ((m >> 2) & 0x30);
    return scale | min << 8;
}

// Two integers of a byte each as floats. In the low bits of the half 2^10, a byte adds its value to it: the difference is exact.
__device__ __forceinline__ float2 two_bytes(u32 v) {
    const u32 halves = __byte_perm(v, 0x64, 0x4140);
    const u32 zero = 0x64006400;
    const __half2 bytes = __hsub2(*(const __half2*)&halves, *(const __half2*)&zero);
    return two_halves(*(const u32*)&bytes);
}

// Blocks of 256: f16 d, f16 dmin, 12 bytes of scales; bit 4 (if FIFTH), element 32 u + i in bit u of byte i; nibbles, elements
// 64 j + i and 64 j + 32 + i in byte 32 j + i
template <bool FIFTH>
__device__ __forceinline__ void repack_k(const RepackParams& p, u64 unit) {
    const u32 u = u32(unit % GROUP);
    const u8* block = p.blocks + unit / GROUP * (FIFTH ? 176 : 144);
    if (u == 0) ((u32*)p.supers)[unit / GROUP] = u32_at(block);
    ((u16*)p.scales)[unit] = u16(k_scale(block, u));
    block += 16;
    if (FIFTH) {
        p.high[unit] = pack_bits([&](u32 i) { return u32(block[i] >> u & 1); });
        block += 32;
    }
    const u8* bytes = block + 32 * (u / 2);
    p.quants[unit] = pack_nibbles([&](u32 i) { return u32(bytes[i] >> (4 * (u % 2)) & 15); });
}

struct Q2_K : Quantized<Q2_K> {
    static constexpr u32 ROWS_BUFFERS = 1;
    static constexpr u32 HALVES = 2;
    static constexpr bool MIN = true;
    struct Raw { uint2 q; u16 scales; u32 dm; };
    static __device__ __forceinline__ void share(Raw& r, const Raw& first) { r.dm = first.dm; }
    template <class A, class L = WholeChunk>
    static __device__ __forceinline__ Raw load(const Planes& w, A at, L lane = {}) {
        return {load_once((const uint2*)w.quants + at.unit()), load_weight((const u16*)w.scales + at.unit()),
                at.of_block((const u32*)w.supers)};
    }
    static __device__ __forceinline__ u32 word(const Raw& r, u32 g) { return pairs(r.q, g); }
    static __device__ __forceinline__ float2 scales(const Raw& r, u32 half) {
        const float2 dm = two_halves(r.dm);
        const u32 s = r.scales >> (8 * half);
        return make_float2(dm.x * float(s & 15), -dm.y * float(s >> 4 & 15));
    }
    // Blocks of 256: 16 bytes of a scale and a min each, pairs of bits (pairs_of), f16 d, f16 dmin
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) {
        const u32 u = u32(unit % GROUP);
        const u8* block = p.blocks + unit / GROUP * 84;
        if (u == 0) ((u32*)p.supers)[unit / GROUP] = u32_at(block + 80);
        ((u16*)p.scales)[unit] = u16_at(block + 2 * u);
        ((uint2*)p.quants)[unit] = pairs_of(block + 16, u);
    }
};

struct Q3_K : Quantized<Q3_K> {
    static constexpr u32 ROWS_BUFFERS = 1, ROWS_BLOCKS = 1;
    static constexpr u32 HALVES = 2, OFFSET = 4;
    static constexpr u32 BUFFERS = 2;
    struct Raw { uint2 q; u32 high; u16 low4; u16 high2; u16 d; u32 unit; };
    static __device__ __forceinline__ void share(Raw& r, const Raw& first) { r.d = first.d; }
    static __device__ __forceinline__ void set_place(Raw& r, u32 place) { r.unit = place % 8; }
    template <class A, class L = WholeChunk>
    static __device__ __forceinline__ Raw load(const Planes& w, A at, L lane = {}) {
        const u8* scales = (const u8*)w.scales + at.block().value() * 12;
        const u32 unit = at.in_block();
        return {load_once((const uint2*)w.quants + at.unit()), load_weight(w.high + at.unit()), load_weight(scales + unit),
                load_weight(scales + 8 + unit / 2), at.of_block(w.supers), unit};
    }
    static __device__ __forceinline__ u32 word(const Raw& r, u32 g) { return pairs(r.q, g) | bits_to(r.high, g, 2); }
    static __device__ __forceinline__ float scale(const Raw& r, u32 half) {
        const u32 high2 = nibble_of(r.high2, r.unit);
        const u32 scale = half == 0 ? (r.low4 & 15) | (high2 & 3) << 4 : r.low4 >> 4 | (high2 & 12) << 2;
        return half_bits(r.d) * float(int(scale) - 32);
    }
    // Blocks of 256: bit 2, element 32 u + i in bit u of byte i; pairs of bits (pairs_of); 12 bytes of scales, of scale i bits 0 to 3
    // in the low (i < 8) or high half of byte i % 8, bits 4 and 5 in bits 2 (i / 4) and up of byte 8 + i % 4; f16 d
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) {
        const u32 u = u32(unit % GROUP);
        const u8* block = p.blocks + unit / GROUP * 110;
        const u8* scales = block + 96;
        const auto low = [&](u32 i) { return scales[i % 8] >> (4 * (i / 8)) & 15; };
        const auto high = [&](u32 i) { return scales[8 + i % 4] >> (2 * (i / 4)) & 3; };
        u8* to = (u8*)p.scales + unit / GROUP * 12;
        if (u == 0) p.supers[unit / GROUP] = u16_at(block + 108);
        to[u] = u8(low(2 * u) | low(2 * u + 1) << 4);
        if (u < 4) to[8 + u] = u8(high(4 * u) | high(4 * u + 1) << 2 | high(4 * u + 2) << 4 | high(4 * u + 3) << 6);
        p.high[unit] = pack_bits([&](u32 i) { return u32(block[i] >> u & 1); });
        ((uint2*)p.quants)[unit] = pairs_of(block + 32, u);
    }
};

struct Q4_K : Quantized<Q4_K> {
    static constexpr bool MIN = true;
    struct Raw { uint4 q; u16 scales; u32 dm; };
    static __device__ __forceinline__ void share(Raw& r, const Raw& first) { r.dm = first.dm; }
    template <class A, class L = WholeChunk>
    static __device__ __forceinline__ Raw load(const Planes& w, A at, L lane = {}) {
        return {lane.quants(w.quants + at.unit()), load_weight((const u16*)w.scales + at.unit()), at.of_block((const u32*)w.supers)};
    }
    static __device__ __forceinline__ u32 word(const Raw& r, u32 g) { return nibbles(r.q, g); }
    static __device__ __forceinline__ float2 scales(const Raw& r, u32) {
        const float2 dm = two_halves(r.dm), bytes = two_bytes(r.scales);
        return make_float2(dm.x * bytes.x, -dm.y * bytes.y);
    }
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) { repack_k<false>(p, unit); }
};

struct Q5_K : Quantized<Q5_K> {
    static constexpr u32 BUFFERS = 2;
    static constexpr u32 ROWS_BUFFERS = 1;
    static constexpr bool MIN = true;
    struct Raw { uint4 q; u32 high; u16 scales; u32 dm; };
    static __device__ __forceinline__ void share(Raw& r, const Raw& first) { r.dm = first.dm; }
    template <class A, class L = WholeChunk>
    static __device__ __forceinline__ Raw load(const Planes& w, A at, L lane = {}) {
        return {lane.quants(w.quants + at.unit()), load_weight(w.high + at.unit()),
                load_weight((const u16*)w.scales + at.unit()), at.of_block((const u32*)w.supers)};
    }
    static __device__ __forceinline__ u32 word(const Raw& r, u32 g) { return nibbles(r.q, g) | bits_to(r.high, g, 4); }
    static __device__ __forceinline__ float2 scales(const Raw& r, u32) {
        const float2 dm = two_halves(r.dm), bytes = two_bytes(r.scales);
        return make_float2(dm.x * bytes.x, -dm.y * bytes.y);
    }
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) { repack_k<true>(p, unit); }
};

struct Q6_K : Quantized<Q6_K> {
    static constexpr u32 ROWS_BUFFERS = 1;
    static constexpr u32 HALVES = 2, OFFSET = 32, BUFFERS = 2;
    struct Raw { uint4 q; uint2 high; u16 scales; u16 d; };
    static __device__ __forceinline__ void share(Raw& r, const Raw& first) { r.d = first.d; }
    template <class A, class L = WholeChunk>
    static __device__ __forceinline__ Raw load(const Planes& w, A at, L lane = {}) {
        return {lane.quants(w.quants + at.unit()), load_weight((const uint2*)w.high + at.unit()),
                load_weight((const u16*)w.scales + at.unit()), at.of_block(w.supers)};
    }
    static __device__ __forceinline__ u32 word(const Raw& r, u32 g) {
        const u32 high = g < 4 ? r.high.x : r.high.y;
        return nibbles(r.q, g) | (__funnelshift_l(high, high, 4 - 2 * (g % 4)) & 0x30303030);
    }
    static __device__ __forceinline__ float scale(const Raw& r, u32 half) { return half_bits(r.d) * float((signed char)(r.scales >> (8 * half))); }
    // Blocks of 256: nibbles, elements 128 h + i and 128 h + 64 + i in byte 64 h + i; bits 4 and 5, element 128 h + 32 j + i in
    // bits 2 j and up of byte 128 + 32 h + i; i8[16]; f16 d
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) {
        const u32 u = u32(unit % GROUP), h = u / 4, j = u % 4;
        const u8* block = p.blocks + unit / GROUP * 210;
        if (u == 0) p.supers[unit / GROUP] = u16_at(block + 208);
        ((u16*)p.scales)[unit] = u16_at(block + 192 + 2 * u);
        const u8* low = block + 64 * h + 32 * (j % 2);
        const u8* high = block + 128 + 32 * h;
        p.quants[unit] = pack_nibbles([&](u32 i) { return u32(low[i] >> (4 * (j / 2)) & 15); });
        ((uint2*)p.high)[unit] = pack_pairs([&](u32 i) { return u32(high[i] >> (2 * j) & 3); });
    }
};
