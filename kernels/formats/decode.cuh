// Bits to integers and floats: what the decoders of weight types (types.cuh) are made of.
#pragma once
#include <cuda_fp16.h>
#include "shared/common.cuh"

// Which chunk is loaded: `chunk`, counted from the start of the planes, and AHEAD further ones, so few that chunk % 8 + AHEAD % 8 < 8. So
// the addresses of chunks that follow each other differ by constants. `place` is a number with the same remainder by 8 as the chunk's:
// where the caller has one that does not change, it takes no further registers. SHARED: what the block has for all of its chunks is left
// out; the caller has it of a chunk before (T::share).
template <u32 AHEAD = 0, bool SHARED = false>
struct At {
    u64 chunk;
    u32 place;
    __device__ __forceinline__ At(u64 chunk) : chunk(chunk), place(u32(chunk) + AHEAD) {}
    __device__ __forceinline__ At(u64 chunk, u32 place) : chunk(chunk), place(place) {}
    __device__ __forceinline__ Index<AHEAD> unit() const { return {chunk}; }  // of types with chunks of 32 elements
    __device__ __forceinline__ Index<AHEAD / 2> half_of() const { return {chunk / 2}; }
    __device__ __forceinline__ Index<AHEAD / 8> block() const { return {chunk / 8}; }
    __device__ __forceinline__ u32 in_block() const { return place % 8; }
    template <class P>
    __device__ __forceinline__ auto of_block(const P* plane) const {
        if constexpr (SHARED) return decltype(load_weight(plane))();
        else return load_weight(plane + block());
    }
};

// What a lane loads of the 16 bytes of quants of a chunk: all of them, or word j, which then stands for each of the four.
struct WholeChunk {
    template <u32 FURTHER>
    __device__ __forceinline__ uint4 quants(Address<uint4, FURTHER> at) const { return load_once(at); }
};
struct ChunkWord {
    u32 j;
    template <u32 FURTHER>
    __device__ __forceinline__ uint4 quants(Address<uint4, FURTHER> at) const {
        const u32 v = load_weight<4 * FURTHER>((const u32*)at.base + j);
        return make_uint4(v, v, v, v);
    }
};

__device__ __forceinline__ float half_bits(u16 v) {
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(v));
    return f;
}
__device__ __forceinline__ float half_bits(u32 v) { return half_bits(u16(v)); }
// Both halves of v, the low one first.
__device__ __forceinline__ float2 two_halves(u32 v) {
    float2 f;
    asm("{ .reg .b16 low, high; mov.b32 {low, high}, %2; cvt.f32.f16 %0, low; cvt.f32.f16 %1, high; }"
        : "=f"(f.x), "=f"(f.y) : "r"(v));
    return f;
}

// The bytes of v minus bias. In the lowest byte of the float 2^23, a byte adds its value to it: the difference is exact.
__device__ __forceinline__ float4 bytes_less(u32 v, float bias) {
    constexpr u32 TWO_23 = 0x4b000000;
    const float zero = 8388608.0f + bias;
    return make_float4(__uint_as_float(__byte_perm(v, TWO_23, 0x7650)) - zero,
                       __uint_as_float(__byte_perm(v, TWO_23, 0x7651)) - zero,
                       __uint_as_float(__byte_perm(v, TWO_23, 0x7652)) - zero,
                       __uint_as_float(__byte_perm(v, TWO_23, 0x7653)) - zero);
}

__device__ __forceinline__ float4 scaled(float4 q, float d) { return make_float4(q.x * d, q.y * d, q.z * d, q.w * d); }

__device__ __forceinline__ float4 scaled(float4 q, float d, float m) {
    return make_float4(fmaf(q.x, d, m), fmaf(q.y, d, m), fmaf(q.z, d, m), fmaf(q.w, d, m));
}

__device__ __forceinline__ u32 word(uint4 v, u32 i) { return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w; }

// Elements 4g .. 4g + 3 of 16 bytes of nibbles, one per byte.
__device__ __forceinline__ u32 nibbles(uint4 q, u32 g) { return (word(q, g % 4) >> (g / 4 * 4)) & 0x0f0f0f0f; }

// Bit g of each byte of `high`, moved to bit `at` of its byte by a rotation.
__device__ __forceinline__ u32 bits_to(u32 high, u32 g, u32 at) {
    return __funnelshift_l(high, high, at - g) & (0x01010101 << at);
}

// Elements 4g .. 4g + 3 of 8 bytes of pairs of bits, one per byte.
__device__ __forceinline__ u32 pairs(uint2 q, u32 g) { return ((g < 4 ? q.x : q.y) >> (2 * (g % 4))) & 0x03030303; }

// Byte i of v in the low bits; i < 4.
__device__ __forceinline__ u32 byte_of(u32 v, u32 i) { return v >> (8 * i) & 255; }

// The low nibble for an even unit, the high one for an odd unit.
__device__ __forceinline__ u32 nibble_of(u32 byte, u32 unit) { return byte >> (4 * (unit % 2)) & 15; }

// Four signed values as bytes, a lowest.
__host__ __device__ constexpr u32 signed_bytes(int a, int b, int c, int d) {
    return u32(a & 255) | u32(b & 255) << 8 | u32(c & 255) << 16 | u32(d & 255) << 24;
}

// Byte j is entry c of a table of 16 bytes (t0 lowest), c being nibble j of `codes`; j < 4. __byte_perm chooses from 8 bytes: the
// low three bits of c choose an entry of each half, its high bit one of the two.
__device__ __forceinline__ u32 looked_up(u32 codes, u32 t0, u32 t1, u32 t2, u32 t3) {
    const u32 low = codes & 0x7777;
    return __byte_perm(__byte_perm(t0, t1, low), __byte_perm(t2, t3, low), (codes & 0x8888) >> 1 | 0x3210);
}

// Codes of elements 4g .. 4g + 3 of 16 bytes of them, for looked_up.
__device__ __forceinline__ u32 codes(uint4 q, u32 g) { return word(q, g % 4) >> (g / 4 * 16); }

// The bytes of v, 1 to 127 each, as signed ones: byte j negated where bit j of `signs` is set; j < 4.
__device__ __forceinline__ u32 negated(u32 v, u32 signs) {
    const u32 ones = (signs & 15) * 0x00204081 & 0x01010101;  // bit j in byte j
    return (v ^ ones * 255) + ones;
}

// What all quantized types share. T has
//   LOADED   chunks of a row that a lane of mat_stream loads at a time; fewer where a chunk takes more registers
//   BUFFERS  such loads that are under way; at least 64 KiB per SM in all (products/mat_stream.cuh). Both are unmeasured
//   ROWS_BUFFERS  steps that a lane of mat_rows holds: 2 where registers allow
//   ROWS_BLOCKS   blocks of mat_rows per SM: 1 where half of the registers would not do
//   HALVES   1, or 2: elements 0 .. 15 and 16 .. 31 of a chunk have scales of their own
//   SIGNED   whether word() gives signed bytes
//   OFFSET   what is subtracted from each element of word(); 0 if signed
//   MIN      whether there are minima, and scales() in place of scale()
//   word     elements 4g .. 4g + 3 of a chunk as bytes from -127 to 127
//   scale    of half `half`
//   scales   scale and minimum of half `half`
// Elements are scale * (word - OFFSET) + minimum.
template <class T>
struct Quantized {
    static constexpr u32 CHUNK = 32, STEPS = 1;
    static constexpr u32 LOADED = 2, BUFFERS = 3;
    static constexpr u32 HALVES = 1, OFFSET = 0;
    static constexpr u32 ROWS_BUFFERS = 2, ROWS_BLOCKS = STREAM_BLOCKS;
    static constexpr bool SIGNED = false, MIN = false;
    // Types whose Raw has the chunk's place in its block write it here too, for chunks that are not loaded yet: it never changes.
    template <class R>
    static __device__ __forceinline__ void set_place(R&, u32) {}
    // Types whose Raw has something of the whole block take it here from another chunk of the block.
    template <class R>
    static __device__ __forceinline__ void share(R&, const R&) {}
    // What the exact products and the tensor cores' tiles take: four elements as floats.
    template <class R>
    static __device__ __forceinline__ float4 decode(const R& r, u32 g) {
        const u32 half = T::HALVES == 2 ? g / 4 : 0, w = T::word(r, g);
        const float4 q = bytes_less(T::SIGNED ? w ^ 0x80808080 : w, T::SIGNED ? 128 : T::OFFSET);
        if constexpr (T::MIN) {
            const float2 scales = T::scales(r, half);
            return scaled(q, scales.x, scales.y);
        } else return scaled(q, T::scale(r, half));
    }
};
