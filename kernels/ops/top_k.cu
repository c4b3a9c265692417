// The k largest of each row, falling, lower indices first among equals; NaN last:
//   ids[i, :] = the first k of the indices j sorted by x[i, j],  values[i, :] = x[i, ids[i, :]]
//
// Two kernels: top_k_parts selects k keys of each part of a row, top_k selects from the parts' keys.
// Grid     top_k_parts: x: parts of TOP_K_PART elements; y: outputs.  top_k: x: outputs
// Layout   rows contiguous; 1 <= k <= TOP_K_MOST, k <= n_cols, n_parts * k <= TOP_K_PART
// Traffic  reads x once; k rounds over shared memory
#include "ops/select.cuh"

struct TopKParams {
    float*       values;  // (n_outputs, k), falling
    u32*         ids;     // (n_outputs, k)
    const float* x;       // (n_outputs, n_cols)
    u64*         parts;   // (n_outputs, n_parts, k): the best keys of each part, select.cuh
    const Step*  step;    // 1
    u32 n_cols;           // k or more
    u32 n_parts;          // parts of a row: ceil(n_cols / TOP_K_PART), n_parts * k up to TOP_K_PART
    u32 k;                // 1 to TOP_K_MOST
    u32 reserved;
};

// Writes the k largest of n keys, falling (0 where there are fewer): each round takes the largest that is left.
__device__ __forceinline__ void select(u64* keys, u32 n, u32 k, u64* scratch, u64* chosen) {
    for (u32 round = 0; round < k; round++) {
        u64 best = 0;
        for (u32 i = threadIdx.x; i < n; i += TOP_K_THREADS) best = max(best, keys[i]);
        best = block_max<TOP_K_THREADS>(best, scratch);
        if (threadIdx.x == 0) chosen[round] = best;
        for (u32 i = threadIdx.x; i < n; i += TOP_K_THREADS) {
            if (keys[i] == best) keys[i] = 0;  // its own elements only: no barrier between rounds
        }
    }
}

extern "C" __global__ void __launch_bounds__(TOP_K_THREADS)
top_k_parts(const __grid_constant__ TopKParams p) {
    __shared__ u64 keys[TOP_K_PART];
    __shared__ u64 scratch[TOP_K_THREADS / WARP];
    wait_for_inputs();
    const u32 row = blockIdx.y;
    if (row >= p.step->n_outputs) return;

    const u32 start = blockIdx.x * TOP_K_PART;
    const u32 n = min(p.n_cols - start, TOP_K_PART);
    const float* x = p.x + u64(row) * p.n_cols + start;
    for (u32 i = threadIdx.x; i < n; i += TOP_K_THREADS) keys[i] = key_of(x[i], start + i);
    select(keys, n, p.k, scratch, p.parts + (u64(row) * p.n_parts + blockIdx.x) * p.k);
}

extern "C" __global__ void __launch_bounds__(TOP_K_THREADS)
top_k(const __grid_constant__ TopKParams p) {
    __shared__ u64 keys[TOP_K_PART];
    __shared__ u64 chosen[TOP_K_MOST];
    __shared__ u64 scratch[TOP_K_THREADS / WARP];
    wait_for_inputs();
    const u32 row = blockIdx.x;
    if (row >= p.step->n_outputs) return;

    const u32 n = p.n_parts * p.k;
    for (u32 i = threadIdx.x; i < n; i += TOP_K_THREADS) keys[i] = p.parts[u64(row) * n + i];
    select(keys, n, p.k, scratch, chosen);
    __syncthreads();  // chosen: written by thread 0, read by all
    for (u32 i = threadIdx.x; i < p.k; i += TOP_K_THREADS) {
        p.values[u64(row) * p.k + i] = key_value(chosen[i]);
        p.ids[u64(row) * p.k + i] = key_index(chosen[i]);
    }
}
