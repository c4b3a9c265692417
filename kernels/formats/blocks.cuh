// Reading blocks of a file and packing bits: what repack() of the weight types is made of.
#pragma once
#include "shared/common.cuh"

struct RepackParams {
    uint4*    quants;  // planes, as in Planes
    u32*      high;
    void*     scales;
    u16*      supers;
    const u8* blocks;  // (n_rows, n_cols) in blocks as in the file; aligned to 2 bytes
    u64       n_rows;
    u32 n_cols;        // a whole number of blocks
    u32 units;         // ceil(n_cols / 32)
};

constexpr u32 GROUP = 8;  // units of a block of 256

__device__ __forceinline__ u32 u16_at(const u8* p) { return *(const u16*)p; }
__device__ __forceinline__ u32 u32_at(const u8* p) { return u16_at(p) | u16_at(p + 2) << 16; }
__device__ __forceinline__ uint2 bytes8_at(const u8* p) { return make_uint2(u32_at(p), u32_at(p + 4)); }
__device__ __forceinline__ uint4 bytes16_at(const u8* p) {
    return make_uint4(u32_at(p), u32_at(p + 4), u32_at(p + 8), u32_at(p + 12));
}

__device__ __forceinline__ uint4 as_uint4(const u32 (&w)[4]) { return make_uint4(w[0], w[1], w[2], w[3]); }

// 16 bytes of nibbles from 32 elements q(i) of 4 bits.
template <class Q>
__device__ __forceinline__ uint4 pack_nibbles(Q q) {
    u32 words[4];
#pragma unroll
    for (u32 w = 0; w < 4; w++) {
        words[w] = 0;
#pragma unroll
        for (u32 j = 0; j < 4; j++) words[w] |= (q(4 * w + j) | q(16 + 4 * w + j) << 4) << (8 * j);
    }
    return as_uint4(words);
}

// Single bits from 32 elements bit(i) of 1 bit.
template <class Q>
__device__ __forceinline__ u32 pack_bits(Q bit) {
    u32 high = 0;
#pragma unroll
    for (u32 i = 0; i < 32; i++) high |= bit(i) << (8 * (i % 4) + i / 4);
    return high;
}

// Pairs of bits from 32 elements bits(i) of 2 bits.
template <class Q>
__device__ __forceinline__ uint2 pack_pairs(Q bits) {
    u32 words[2] = {0, 0};
#pragma unroll
    for (u32 i = 0; i < 32; i++) words[i / 16] |= bits(i) << (8 * (i % 4) + 2 * (i / 4 % 4));
    return make_uint2(words[0], words[1]);
}

// Codes from 32 elements q(i) of 4 bits.
template <class Q>
__device__ __forceinline__ uint4 pack_codes(Q q) {
    u32 words[4];
#pragma unroll
    for (u32 w = 0; w < 4; w++) {
        words[w] = 0;
#pragma unroll
        for (u32 n = 0; n < 8; n++) words[w] |= q(n / 4 * 16 + 4 * w + n % 4) << (4 * n);
    }
    return as_uint4(words);
}

// Pairs of bits of unit u of a block, element 128 h + 32 j + i in bits 2 j and up of byte 32 h + i.
__device__ __forceinline__ uint2 pairs_of(const u8* bytes, u32 u) {
    bytes += 32 * (u / 4);
    return pack_pairs([&](u32 i) { return u32(bytes[i] >> (2 * (u % 4)) & 3); });
}
