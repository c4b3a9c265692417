// KV append:  keys[h, slot[t], :] = k[t, h, :], values[h, slot[t], :] = v[t, h, :]
//
// Grid     x: pairs of elements of a row, one per thread; y: tokens; z: 0 keys, 1 values
// Layout   k, v: (n_tokens, heads, head_dim); cache: (heads, slots, head_dim) f16 or f32; head_dim even
// Traffic  reads and writes each row once
#include "rotate.cuh"

extern "C" __global__ void __launch_bounds__(COPY_THREADS)
kv_store(const __grid_constant__ KvStoreParams p) {
    wait_for_inputs();
    const u32 row = blockIdx.y;
    const u32 i = 2 * (blockIdx.x * COPY_THREADS + threadIdx.x);
    const u32 n = p.kv.n_heads * p.kv.head_dim;
    if (row >= p.step->n_tokens || i >= n) return;

    const float* from = blockIdx.z == 0 ? p.k : p.v;
    void*        to   = blockIdx.z == 0 ? p.kv.keys : p.kv.values;
    store_kv(p.kv, to, step_row(p.step, row).slot, i, *(const float2*)(from + u64(row) * n + i));
}
