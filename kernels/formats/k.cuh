// Weight types (types.cuh): blocks of 256 whose scales are integers, themselves scaled.
#pragma once
#include "formats/blocks.cuh"
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

// Blocks of 256: f16 d, f16 dmin, 12 bytes of scales; bit 4 (if FIFTH), element 32 u + i in bit u of byte i; nibbles, elements
// 64 j + i and 64 j + 32 + i in byte 32 j + i
template <bool FIFTH>
__device__ __forceinline__ void repack_k(const RepackParams& p, u64 unit) {
    const u32 u = u32(unit % GROUP);
    const u8* block = p.blocks + unit / GROUP * (FIFTH ? 176 : 144);
    if (u == 0) ((uint4*)p.scales)[unit / GROUP] = bytes16_at(block);
    block += 16;
    if (FIFTH) {
        p.high[unit] = pack_bits([&](u32 i) { return u32(block[i] >> u & 1); });
        block += 32;
    }
    const u8* bytes = block + 32 * (u / 2);
    p.quants[unit] = pack_nibbles([&](u32 i) { return u32(bytes[i] >> (4 * (u % 2)) & 15); });
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
    // Blocks of 256: 16 bytes of a scale and a min each, pairs of bits (pairs_of), f16 d, f16 dmin
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) {
        const u32 u = u32(unit % GROUP);
        const u8* block = p.blocks + unit / GROUP * 84;
        if (u == 0) ((u32*)p.supers)[unit / GROUP] = u32_at(block + 80);
        ((u16*)p.scales)[unit] = u16_at(block + 2 * u);
        ((uint2*)p.quants)[unit] = pairs_of(block + 16, u);
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
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) { repack_k<false>(p, unit); }
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
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) { repack_k<true>(p, unit); }
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
