// The KV cache: how each format lies, is read and is written.
//
// Elements of one layer's keys (or values): (heads, slots, slot_elements), 16-byte aligned; those after head_dim are zeros.
//
//   f32    floats
//   f16    halves
//   q8_0   i8 quants (heads, slots, head_dim), then an f16 scale of each 32 of them: (heads, slots, head_dim / 32)
#pragma once
#include "formats/decode.cuh"
#include "shared/mma.cuh"

constexpr u32 PIECE = 8;  // elements that a lane takes at a time

static_assert(KV_BLOCK % PIECE == 0, "the elements of a piece share a scale");
static_assert(WARP % (KV_BLOCK / 2) == 0, "a warp stores whole blocks, two elements a lane");

// Elements from one slot of a head to the next: head_dim, padded to whole pieces.
__device__ __forceinline__ u32 slot_elements(const KvCache& kv) { return (kv.head_dim + PIECE - 1) / PIECE * PIECE; }

// The scales of keys or values in q8_0, which follow the quants.
__device__ __forceinline__ u16* q8_0_scales(const KvCache& kv, void* rows) {
    return (u16*)((u8*)rows + u64(kv.n_heads) * kv.n_slots * kv.head_dim);
}

__device__ __forceinline__ u32 half_pair(float x, float y) {
    const __half2 v = __floats2half2_rn(x, y);
    return *(const u32*)&v;
}

// Reading. Attention is a template over a struct per format:
//   Rows    keys or values from one element on: rows(kv, keys or values, first element)
//   Piece   PIECE elements as they lie in the cache: load(rows, i) reads those from rows' element i on, i a multiple of PIECE
//   decode  a piece as floats, exactly
//   stage   copies a piece to shared memory as halves, zeros if !valid; complete after copy_wait and a barrier
//   AT_ONCE pieces that a thread stages in one round of its loop; unmeasured

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
        // A byte in two's complement with its sign bit flipped is the value plus 128.
        const float4 a = scaled(bytes_less(p.quants.x ^ 0x80808080, 128), d);
        const float4 b = scaled(bytes_less(p.quants.y ^ 0x80808080, 128), d);
        v[0] = a.x, v[1] = a.y, v[2] = a.z, v[3] = a.w, v[4] = b.x, v[5] = b.y, v[6] = b.z, v[7] = b.w;
    }
    // Tensor cores take halves: quants times scale are rounded.
    static __device__ __forceinline__ void stage(__half* to, const Rows& rows, u64 at, bool valid) {
        float v[PIECE] = {};
        if (valid) decode(load(rows, at), v);
        *(uint4*)to = make_uint4(half_pair(v[0], v[1]), half_pair(v[2], v[3]), half_pair(v[4], v[5]), half_pair(v[6], v[7]));
    }
};

// Writing. Where element i of the (n_heads * head_dim) keys or values of a slot lies, in elements.
__device__ __forceinline__ u64 kv_element(const KvCache& kv, u32 slot, u32 i) {
    return (u64(i / kv.head_dim) * kv.n_slots + slot) * slot_elements(kv) + i % kv.head_dim;
}

// Stores elements i and i + 1 (i even) of a slot as f16 or f32. Traps for q8_0: the scale needs all elements of a block.
__device__ __forceinline__ void store_pair(const KvCache& kv, void* rows, u32 slot, u32 i, float2 v) {
    const u64 at = kv_element(kv, slot, i);
    if (kv.format == KV_F16) *(u32*)((__half*)rows + at) = half_pair(v.x, v.y);
    else if (kv.format == KV_F32) *(float2*)((float*)rows + at) = v;
    else asm volatile("trap;");
}

// Stores elements i and i + 1 (i even) of a slot as 8-bit quants: 16 lanes have a block. All lanes of the warp call it; those past
// the end (!valid) are whole blocks and store nothing. Bit for bit what the CPU backend stores.
__device__ __forceinline__ void store_q8_0(const KvCache& kv, void* rows, u32 slot, u32 i, float2 v, bool valid) {
    float most = fmaxf(fabsf(v.x), fabsf(v.y));
#pragma unroll
    for (u32 lane = KV_BLOCK / 4; lane > 0; lane /= 2) most = fmaxf(most, __shfl_xor_sync(ALL_LANES, most, lane));
    const float d = most / 127.0f;
    const u16 scale = __half_as_ushort(__float2half_rn(d));
    const float inverse = scale == 0 ? 0.0f : 1.0f / d;
    if (!valid) return;
    const u64 at = kv_element(kv, slot, i);
    const u32 x = int(roundf(v.x * inverse)), y = int(roundf(v.y * inverse));
    *(u16*)((u8*)rows + at) = (x & 0xff) | y << 8;
    if (at % KV_BLOCK == 0) q8_0_scales(kv, rows)[at / KV_BLOCK] = scale;
}
