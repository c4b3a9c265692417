// From a tensor's blocks as they lie in the file to planes (types.cuh), once at load.
//
// Grid     x: units of the matrix, one per thread
// Layout   blocks of an even size aligned to 2 bytes; planes 16-byte aligned
// Traffic  reads the blocks once, writes the planes once
#include "formats/repack_bits.cuh"
#include "formats/repack_grid.cuh"
#include "formats/repack_k.cuh"
#include "formats/repack_table.cuh"

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
            p.high[unit] = pack_bits([&](u32 i) { return high >> i & 1; });
            block += 4;
        }
        p.quants[unit] = bytes16_at(block);
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
template <> struct Blocks<Q2_K> : TwoBits {};
template <> struct Blocks<Q3_K> : ThreeBits {};
template <> struct Blocks<Q4_K> : KBits<false> {};
template <> struct Blocks<Q5_K> : KBits<true> {};
template <> struct Blocks<Q6_K> : SixBits {};
template <> struct Blocks<IQ4_NL>  : Codes {};
template <> struct Blocks<IQ4_XS>  : ScaledCodes {};
template <> struct Blocks<MXFP4>   : ExponentCodes {};
template <> struct Blocks<NVFP4>   : QuarterCodes {};
template <> struct Blocks<TQ1_0>   : Ternary1 {};
template <> struct Blocks<TQ2_0>   : Ternary2 {};
template <> struct Blocks<IQ2_XXS> : Entries<66, Nothing> {};
template <> struct Blocks<IQ2_XS>  : Entries<74, ScaleBytes> {};
template <> struct Blocks<IQ2_S>   : EntriesApart {};
template <> struct Blocks<IQ3_XXS> : Entries<98, SignWords> {};
template <> struct Blocks<IQ3_S>   : Entries<110, HighSignsScales> {};
template <> struct Blocks<IQ1_S>   : Eighths {};
template <> struct Blocks<IQ1_M>   : EighthsMixed {};

#define ENTRY(name, T)                                                            \
    extern "C" __global__ void __launch_bounds__(REPACK_THREADS)                  \
    repack_##name(const __grid_constant__ RepackParams p) {                       \
        wait_for_inputs();                                                        \
        const u64 unit = u64(blockIdx.x) * REPACK_THREADS + threadIdx.x;          \
        if (unit < p.n_rows * p.units) Blocks<T>::repack(p, unit);                \
    }
WEIGHT_TYPES(ENTRY)
