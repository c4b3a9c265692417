// Types of the KV cache: one struct per type. Attention is a template over them.
//
// Elements of one layer's keys (or values): (heads, slots, head_dim), 16-byte aligned.
//
//   f32    floats
//   f16    halves
//   q8_0   i8 quants (heads, slots, head_dim), then an f16 scale of each 32 of them: (heads, slots, head_dim / 32)
#pragma once
#include "shared/mma.cuh"
#include "formats/types.cuh"

constexpr u32 PIECE = 8;     // elements that a lane takes at a time
constexpr u32 KV_BLOCK = 32;  // elements that share a scale
constexpr float LOG2_E = 1.4426950408889634f;
constexpr float NOTHING = -3.0e38f;  // maximum of no scores: below all of them, and its difference with itself is a number

// The scales of keys or values in q8_0, which follow the quants.
__device__ __forceinline__ u16* q8_0_scales(const KvCache& kv, void* rows) {
    return (u16*)((u8*)rows + u64(kv.n_heads) * kv.n_slots * kv.head_dim);
}

__device__ __forceinline__ u32 half_pair(float x, float y) {
    const __half2 v = __floats2half2_rn(x, y);
    return *(const u32*)&v;
}

// Each type:
//   Rows    the rows from one element on: rows(kv, keys or values, first element)
//   Piece   PIECE elements as they lie in the cache: load(rows, element), any element that a piece may begin at, counted from the first
//   decode  their floats, exactly
//   stage   brings a piece to shared memory as halves, zeros if !valid; complete after copy_wait and a barrier
//   AT_ONCE pieces that a thread stages in one round of its loop

struct CachedHalf {
    using Rows = const __half*;
    struct Piece { uint4 v; };
    static constexpr u32 AT_ONCE = 4;  // copies in the background hold no registers
    static __device__ __forceinline__ Rows rows(const KvCache&, void* rows, u64 first) { return (Rows)rows + first; }
    static __device__ __forceinline__ Piece load(Rows rows, u64 at) { return {*(const uint4*)(rows + at)}; }
    static __device__ __forceinline__ void decode(const Piece& p, float (&v)[PIECE]) {
        const u32 words[4] = {p.v.x, p.v.y, p.v.z, p.v.w};
#pragma unroll
        for (u32 i = 0; i < 4; i++) v[2 * i] = half_bits(words[i]), v[2 * i + 1] = half_bits(words[i] >> 16);
    }
    static __device__ __forceinline__ void stage(__half* to, Rows rows, u64 at, bool valid) {
        copy_async(to, rows + at, valid);
    }
};

struct CachedFloat {
    using Rows = const float*;
    struct Piece { float4 a, b; };
    static __device__ __forceinline__ Rows rows(const KvCache&, void* rows, u64 first) { return (Rows)rows + first; }
    static __device__ __forceinline__ Piece load(Rows rows, u64 at) {
        return {*(const float4*)(rows + at), *(const float4*)(rows + at + 4)};
    }
    static __device__ __forceinline__ void decode(const Piece& p, float (&v)[PIECE]) {
        v[0] = p.a.x, v[1] = p.a.y, v[2] = p.a.z, v[3] = p.a.w, v[4] = p.b.x, v[5] = p.b.y, v[6] = p.b.z, v[7] = p.b.w;
    }
};

struct CachedQ8_0 {
    struct Rows { const u8* quants; const u16* scales; };
    struct Piece { uint2 quants; u16 scale; };
    static constexpr u32 AT_ONCE = 2;  // each holds registers until its load arrives
    static __device__ __forceinline__ Rows rows(const KvCache& kv, void* rows, u64 first) {
        return {(const u8*)rows + first, q8_0_scales(kv, rows) + first / KV_BLOCK};
    }
    static __device__ __forceinline__ Piece load(const Rows& rows, u64 at) {
        return {*(const uint2*)(rows.quants + at), rows.scales[at / KV_BLOCK]};
    }
    static __device__ __forceinline__ void decode(const Piece& p, float (&v)[PIECE]) {
        const float d = half_bits(p.scale);
        // Two's complement with the sign flipped is the value plus 128.
        const float4 a = scaled(bytes_less(p.quants.x ^ 0x80808080, 128), d);
        const float4 b = scaled(bytes_less(p.quants.y ^ 0x80808080, 128), d);
        v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w, v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
    }
    // Tensor cores take halves: the products of quants and scale are rounded.
    static __device__ __forceinline__ void stage(__half* to, const Rows& rows, u64 at, bool valid) {
        float v[PIECE] = {};
        if (valid) decode(load(rows, at), v);
        *(uint4*)to = make_uint4(half_pair(v[0], v[1]), half_pair(v[2], v[3]), half_pair(v[4], v[5]), half_pair(v[6], v[7]));
    }
};
