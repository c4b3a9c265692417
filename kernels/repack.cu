// From a tensor's blocks as they lie in the file to planes (types.cuh), once at load.
//
// Grid     x: units of the matrix, one per thread
// Layout   blocks aligned to 2 bytes; planes 16-byte aligned
// Traffic  reads the blocks once, writes the planes once
#include "types.cuh"

constexpr u32 GROUP = 8;  // units of a block of the K types

__device__ __forceinline__ u32 u16_at(const u8* p) { return *(const u16*)p; }
__device__ __forceinline__ u32 u32_at(const u8* p) { return u16_at(p) | u16_at(p + 2) << 16; }
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

// The plane of bit 4 from 32 elements bit(i) of 1 bit.
template <class Q>
__device__ __forceinline__ u32 pack_fifth(Q bit) {
    u32 high = 0;
#pragma unroll
    for (u32 i = 0; i < 32; i++) high |= bit(i) << (8 * (i % 4) + i / 4);
    return high;
}

// Half `h` of the plane of bits 4 and 5 from 32 elements bits(i) of 2 bits.
template <class Q>
__device__ __forceinline__ u32 pack_sixth(Q bits, u32 h) {
    u32 high = 0;
#pragma unroll
    for (u32 i = 0; i < 16; i++) high |= bits(16 * h + i) << (8 * (i % 4) + 2 * (i / 4));
    return high;
}

// Elements of `BYTES` bytes each, copied; the last unit of a row is filled up with zeros.
template <u32 BYTES>
struct Floats {
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) {
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
};

// f16 d; i8[32]
struct EightBits {
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) {
        const u8* block = p.blocks + unit * 34;
        ((u16*)p.scales)[unit] = u16_at(block);
        p.quants[2 * unit] = bytes16_at(block + 2);
        p.quants[2 * unit + 1] = bytes16_at(block + 18);
    }
};

// f16 d; f16 m (if MIN); bit 4 of the elements as u32 (if FIFTH), element i in bit i; nibbles
template <bool MIN, bool FIFTH>
struct FourBits {
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) {
        const u8* block = p.blocks + unit * (18 + 2 * MIN + 4 * FIFTH);
        if (MIN) ((u32*)p.scales)[unit] = u32_at(block);
        else ((u16*)p.scales)[unit] = u16_at(block);
        block += 2 + 2 * MIN;
        if (FIFTH) {
            const u32 high = u32_at(block);
            p.high[unit] = pack_fifth([&](u32 i) { return high >> i & 1; });
            block += 4;
        }
        p.quants[unit] = bytes16_at(block);
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
            p.high[unit] = pack_fifth([&](u32 i) { return u32(block[i] >> u & 1); });
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
        const auto sixth = [&](u32 i) { return u32(high[i] >> (2 * j) & 3); };
        p.quants[unit] = pack_nibbles([&](u32 i) { return u32(low[i] >> (4 * (j / 2)) & 15); });
        ((uint2*)p.high)[unit] = make_uint2(pack_sixth(sixth, 0), pack_sixth(sixth, 1));
    }
};

template <class Type> struct Blocks;
template <> struct Blocks<F32>  : Floats<4> {};
template <> struct Blocks<F16>  : Floats<2> {};
template <> struct Blocks<BF16> : Floats<2> {};
template <> struct Blocks<Q8_0> : EightBits {};
template <> struct Blocks<Q4_0> : FourBits<false, false> {};
template <> struct Blocks<Q4_1> : FourBits<true, false> {};
template <> struct Blocks<Q5_0> : FourBits<false, true> {};
template <> struct Blocks<Q5_1> : FourBits<true, true> {};
template <> struct Blocks<Q4_K> : KBits<false> {};
template <> struct Blocks<Q5_K> : KBits<true> {};
template <> struct Blocks<Q6_K> : SixBits {};

#define ENTRY(name, T)                                                            \
    extern "C" __global__ void __launch_bounds__(REPACK_THREADS)                  \
    repack_##name(const __grid_constant__ RepackParams p) {                       \
        wait_for_inputs();                                                        \
        const u64 unit = u64(blockIdx.x) * REPACK_THREADS + threadIdx.x;          \
        if (unit < p.n_rows * p.units) Blocks<T>::repack(p, unit);                \
    }
WEIGHT_TYPES(ENTRY)
