// KV append:  keys[h, slot[t], :] = k[t, h, :], values[h, slot[t], :] = v[t, h, :]
//
// Grid     x: pairs of elements of a row, one per thread; y: tokens; z: 0 keys, 1 values
// Layout   k, v: (n_tokens, heads, head_dim); cache: kv.cuh; head_dim even, in q8_0 a multiple of 32
// Traffic  reads and writes each row once
#include "attention/kv.cuh"

struct KvStoreParams {
    KvCache      kv;    // one layer
    const float* k;     // (n_tokens, kv.n_heads, kv.head_dim)
    const float* v;     // (n_tokens, kv.n_heads, kv.head_dim)
    const Step*  step;  // 1
};

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
    else if (i < n) store_pair(p.kv, to, slot, i, v);
}
