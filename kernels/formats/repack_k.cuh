// Blocks of the K types to planes (repack.cu).
#pragma once
#include "formats/repack_bits.cuh"

// Pairs of bits of unit u of a block, element 128 h + 32 j + i in bits 2 j and up of byte 32 h + i.
__device__ __forceinline__ uint2 pairs_of(const u8* bytes, u32 u) {
    bytes += 32 * (u / 4);
    return pack_pairs([&](u32 i) { return u32(bytes[i] >> (2 * (u % 4)) & 3); });
}

// Blocks of 256: 16 bytes of a scale and a min each, pairs of bits (pairs_of), f16 d, f16 dmin
struct TwoBits {
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) {
        const u32 u = u32(unit % GROUP);
        const u8* block = p.blocks + unit / GROUP * 84;
        if (u == 0) ((u32*)p.supers)[unit / GROUP] = u32_at(block + 80);
        ((u16*)p.scales)[unit] = u16_at(block + 2 * u);
        ((uint2*)p.quants)[unit] = pairs_of(block + 16, u);
    }
};

// Blocks of 256: bit 2, element 32 u + i in bit u of byte i; pairs of bits (pairs_of); 12 bytes of scales, of scale i bits 0 to 3
// in the low (i < 8) or high half of byte i % 8, bits 4 and 5 in bits 2 (i / 4) and up of byte 8 + i % 4; f16 d
struct ThreeBits {
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

// Blocks of 256: f16 d, f16 dmin, 12 bytes of scales; bit 4 (if FIFTH), element 32 u + i in bit u of byte i; nibbles, elements
// 64 j + i and 64 j + 32 + i in byte 32 j + i
template <bool FIFTH>
struct KBits {
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) {
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
};

// Blocks of 256: nibbles, elements 128 h + i and 128 h + 64 + i in byte 64 h + i; bits 4 and 5, element 128 h + 32 j + i in
// bits 2 j and up of byte 128 + 32 h + i; i8[16]; f16 d
struct SixBits {
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
