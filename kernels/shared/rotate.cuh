// One pair of a rotary embedding.
#pragma once
#include "shared/common.cuh"

// Elements i and i + 1 (i even) of a head, turned by their angle at `position`. table: (positions, rope_dim).
__device__ __forceinline__ float2 rotated(float2 x, const float* table, u32 position, u32 rope_dim, u32 i) {
    const float2 angle = *(const float2*)(table + u64(position) * rope_dim + i);  // cosine, sine
    return make_float2(x.x * angle.x - x.y * angle.y, x.x * angle.y + x.y * angle.x);
}
