// KV append:  keys[h, slot[t], :] = k[t, h, :], values[h, slot[t], :] = v[t, h, :]
//
// Grid     x: pairs of elements of a row, one per thread; y: tokens; z: 0 keys, 1 values
// Layout   k, v: (n_tokens, heads, head_dim); cache: kv_types.cuh; head_dim even, in q8_0 a multiple of 32
// Traffic  reads and writes each row once
#include "attention/kv_types.cuh"
#include "shared/rotate.cuh"

// Stores elements i and i + 1 of a slot as 8-bit quants: 16 lanes have a block. All lanes of the warp come here, also those
// past the end (!valid), which are whole blocks. Bit for bit what the CPU backend stores.
__device__ __forceinline__ void store_q8_0(const KvCache& kv, void* rows, u32 slot, u32 i, float2 v, bool valid) {
    float most = fmaxf(fabsf(v.x), fabsf(v.y));
#pragma unroll
    for (u32 lane = KV_BLOCK / 4; lane > 0; lane /= 2) most = fmaxf(most, __shfl_xor_sync(ALL_LANES, most, lane));
    const float d = most / 127.0f;
    const u16 scale = __half_as_ushort(__float2half_rn(d));
    const float inverse = scale == 0 ? 0.0f : 1.0f / d;
    if (!valid) return;
    const u64 at = (u64(i / kv.head_dim) * kv.n_slots + slot) * kv.head_dim + i % kv.head_dim;
    const u32 x = int(roundf(v.x * inverse)), y = int(roundf(v.y * inverse));
    *(u16*)((u8*)rows + at) = (x & 0xff) | y << 8;
    if (at % KV_BLOCK == 0) q8_0_scales(kv, rows)[at / KV_BLOCK] = scale;
}

extern "C" __global__ void __launch_bounds__(COPY_THREADS)
kv_store(const __grid_constant__ KvStoreParams p) {
    wait_for_inputs();
    const u32 row = blockIdx.y;
    const u32 i = 2 * (blockIdx.x * COPY_THREADS + threadIdx.x);
    const u32 n = p.kv.n_heads * p.kv.head_dim;
    if (row >= p.step->n_tokens) return;

    const float* from = blockIdx.z == 0 ? p.k : p.v;
    void*        to   = blockIdx.z == 0 ? p.kv.keys : p.kv.values;
    const u32    slot = step_row(p.step, row).slot;
    const float2 v = i < n ? *(const float2*)(from + u64(row) * n + i) : make_float2(0, 0);
    if (p.kv.format == KV_Q8_0) store_q8_0(p.kv, to, slot, i, v, i < n);
    else if (i < n) store_kv(p.kv, to, slot, i, v);
}
