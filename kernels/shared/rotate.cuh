// One pair of a rotary embedding, and one pair of a KV cache's row.
#pragma once
#include <cuda_fp16.h>
#include "shared/common.cuh"

// Elements i and i + 1 (i even) of a head, turned by their angle at `position`. table: (positions, rope_dim).
__device__ __forceinline__ float2 rotated(float2 x, const float* table, u32 position, u32 rope_dim, u32 i) {
    const float2 angle = *(const float2*)(table + u64(position) * rope_dim + i);  // cosine, sine
    return make_float2(x.x * angle.x - x.y * angle.y, x.x * angle.y + x.y * angle.x);
}

// Stores elements i and i + 1 (i even) of the (n_heads * head_dim) keys or values of a slot, as f16 or f32.
__device__ __forceinline__ void store_kv(const KvCache& kv, void* rows, u32 slot, u32 i, float2 v) {
    const u32 head = i / kv.head_dim;
    const u64 at = (u64(head) * kv.n_slots + slot) * kv.head_dim + i % kv.head_dim;
    if (kv.format == KV_F16) *(__half2*)((__half*)rows + at) = __floats2half2_rn(v.x, v.y);
    else *(float2*)((float*)rows + at) = v;
}
