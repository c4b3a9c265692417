// Blocks of codebook entries, 256 elements each, to planes (repack.cu). Entries, signs and scales as types_grid.cuh reads them.
#pragma once
#include "formats/repack_bits.cuh"

// f16 d; 8 bytes of each unit; then what `Rest` takes
template <u32 BYTES, class Rest>
struct Entries {
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) {
        const u32 u = u32(unit % GROUP);
        const u8* block = p.blocks + unit / GROUP * BYTES;
        if (u == 0) p.supers[unit / GROUP] = u16_at(block);
        ((uint2*)p.quants)[unit] = bytes8_at(block + 2 + 8 * u);
        Rest::repack(p, block + 66, unit, u);
    }
};

struct Nothing {
    static __device__ __forceinline__ void repack(const RepackParams&, const u8*, u64, u32) {}
};

// A byte of two scales of each unit
struct ScaleBytes {
    static __device__ __forceinline__ void repack(const RepackParams& p, const u8* rest, u64 unit, u32 u) {
        ((u8*)p.scales)[unit] = rest[u];
    }
};

// A word of signs and scale of each unit
struct SignWords {
    static __device__ __forceinline__ void repack(const RepackParams& p, const u8* rest, u64 unit, u32 u) {
        ((u32*)p.scales)[unit] = u32_at(rest + 4 * u);
    }
};

// Of each unit a byte of bit 8 of the entries; of each a word of signs; of each a nibble of scale
struct HighSignsScales {
    static __device__ __forceinline__ void repack(const RepackParams& p, const u8* rest, u64 unit, u32 u) {
        u32* high = p.high + unit / GROUP * 10;
        ((u8*)(high + 8))[u] = rest[u];
        high[u] = u32_at(rest + 8 + 4 * u);
        if (u < 4) ((u8*)p.scales)[unit / GROUP * 4 + u] = rest[40 + u];
    }
};

// f16 d; of each unit 4 bytes of entries; of each 4 bytes of signs; of each a byte of bits 8 and 9 of the entries; of each two scales
struct EntriesApart {
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) {
        const u32 u = u32(unit % GROUP);
        const u8* block = p.blocks + unit / GROUP * 82;
        if (u == 0) p.supers[unit / GROUP] = u16_at(block);
        ((uint2*)p.quants)[unit] = make_uint2(u32_at(block + 2 + 4 * u), u32_at(block + 34 + 4 * u));
        ((u16*)p.scales)[unit] = u16(block[66 + u] | block[74 + u] << 8);
    }
};

// f16 d; of each unit 4 bytes of entries; of each 16 bits more
struct Eighths {
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) {
        const u32 u = u32(unit % GROUP);
        const u8* block = p.blocks + unit / GROUP * 50;
        if (u == 0) p.supers[unit / GROUP] = u16_at(block);
        ((u32*)p.quants)[unit] = u32_at(block + 2 + 4 * u);
        ((u16*)p.high)[unit] = u16_at(block + 34 + 2 * u);
    }
};

// Of each unit 4 bytes of entries; of each 16 bits more; four u16 of four scales of 3 bits each and 4 bits of f16 d, lowest first
struct EighthsMixed {
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) {
        const u32 u = u32(unit % GROUP);
        const u8* block = p.blocks + unit / GROUP * 56;
        if (u == 0) {
            u64 head = 0;
#pragma unroll
            for (u32 i = 0; i < 4; i++) {
                const u64 v = u16_at(block + 48 + 2 * i);
                head |= (v >> 12) << (4 * i) | (v & 0xfff) << (16 + 12 * i);
            }
            ((uint2*)p.scales)[unit / GROUP] = make_uint2(u32(head), u32(head >> 32));
        }
        ((u32*)p.quants)[unit] = u32_at(block + 4 * u);
        ((u16*)p.high)[unit] = u16_at(block + 32 + 2 * u);
    }
};
