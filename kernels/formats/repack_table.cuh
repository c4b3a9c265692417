// Blocks of codes and ternary digits to planes (repack.cu).
#pragma once
#include "formats/repack_k.cuh"

// The codes of a unit of 32: element i in the low half of byte i, 16 + i in its high half.
__device__ __forceinline__ uint4 codes_of(const u8* bytes) {
    return pack_codes([&](u32 i) { return u32(bytes[i % 16] >> (4 * (i / 16)) & 15); });
}

// f16 d; codes (codes_of)
struct Codes {
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) {
        const u8* block = p.blocks + unit * 18;
        ((u16*)p.scales)[unit] = u16_at(block);
        p.quants[unit] = codes_of(block + 2);
    }
};

// Blocks of 256: f16 d and 6 bytes of scales; codes of eight units (codes_of)
struct ScaledCodes {
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) {
        const u8* block = p.blocks + unit / GROUP * 136;
        if (unit % GROUP == 0) ((uint2*)p.scales)[unit / GROUP] = bytes8_at(block);
        p.quants[unit] = codes_of(block + 8 + unit % GROUP * 16);
    }
};

// u8 exponent; codes (codes_of)
struct ExponentCodes {
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) {
        const u8* block = p.blocks + unit * 17;
        ((u8*)p.scales)[unit] = block[0];
        p.quants[unit] = codes_of(block + 1);
    }
};

// Blocks of 64: u8 scales of 16 elements each; codes, element 16 k + i in the low half of byte 8 k + i (i < 8), 16 k + 8 + i in its
// high half
struct QuarterCodes {
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) {
        const u8* block = p.blocks + unit / 2 * 36 + unit % 2 * 2;
        ((u16*)p.scales)[unit] = u16_at(block);
        const u8* bytes = p.blocks + unit / 2 * 36 + 4 + unit % 2 * 16;
        p.quants[unit] = pack_codes([&](u32 i) { return u32(bytes[i / 16 * 8 + i % 8] >> (i / 8 % 2 * 4) & 15); });
    }
};

// Blocks of 256: pairs of bits (pairs_of), f16 d
struct Ternary2 {
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) {
        const u8* block = p.blocks + unit / GROUP * 66;
        if (unit % GROUP == 0) p.supers[unit / GROUP] = u16_at(block + 64);
        ((uint2*)p.quants)[unit] = pairs_of(block, u32(unit % GROUP));
    }
};

// Blocks of 256: bytes of digits to base 3 (types_table.cuh), element 32 k + i digit k of byte i (i < 32, k < 5), 160 + 16 k + i
// digit k of byte 32 + i (i < 16), 240 + 4 k + i digit k of byte 48 + i (i < 4, k < 4); f16 d
struct Ternary1 {
    static __device__ __forceinline__ u32 element(const u8* block, u32 e) {
        const u32 n = e < 160 ? 32 : e < 240 ? 16 : 4, first = e < 160 ? 0 : e < 240 ? 160 : 240;
        const u32 digit = (e - first) / n, byte = block[(e < 160 ? 0 : e < 240 ? 32 : 48) + (e - first) % n];
        const u32 power = digit < 4 ? byte_of(0x1b090301, digit) : 81;
        return (byte * power & 255) * 3 >> 8;
    }
    // Byte j of word w: element 20 w + 4 k + j is digit k.
    static __device__ __forceinline__ u32 word(const u8* block, u32 w) {
        u32 word = 0;
#pragma unroll 1
        for (u32 j = 0; j < 4; j++) {
            u32 digits = 0;
#pragma unroll 1
            for (u32 k = 0; k < 5; k++) {
                const u32 e = 20 * w + 4 * k + j;
                digits = digits * 3 + (e < 256 ? element(block, e) : 0);
            }
            word |= (digits * 256 + 242) / 243 << (8 * j);
        }
        return word;
    }
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) {
        const u32 u = u32(unit % GROUP);
        const u8* block = p.blocks + unit / GROUP * 54;
        u32* quants = (u32*)p.quants + unit / GROUP * 12;
        if (u == 0) p.supers[unit / GROUP] = u16_at(block + 52);
        quants[u] = word(block, u);
        if (u < 4) quants[8 + u] = word(block, 8 + u);
        if (u == 4) p.high[unit / GROUP] = word(block, 12);
    }
};
