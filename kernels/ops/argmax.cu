// Argmax:  out[i] = argmax_j x[i, j], the lowest index among equals; NOT_FINITE if an element is NaN or infinity, or all are -infinity
//
// Two kernels: argmax_parts finds the best of each part of a row, argmax the best of the parts.
// Grid     argmax_parts: x: parts of ARGMAX_PART elements; y: outputs.  argmax: x: outputs
// Layout   rows contiguous
// Traffic  reads x once
#include "ops/select.cuh"

struct ArgmaxParams {
    u32*         out;    // (n_outputs): token ids
    const float* x;      // (n_outputs, n_cols)
    u64*         parts;  // (n_outputs, n_parts): the best key of each part, select.cuh
    const Step*  step;   // 1
    u32 n_cols;
    u32 n_parts;         // parts of a row
};

extern "C" __global__ void __launch_bounds__(ARGMAX_THREADS)
argmax_parts(const __grid_constant__ ArgmaxParams p) {
    __shared__ u64 scratch[ARGMAX_THREADS / WARP];
    wait_for_inputs();
    const u32 row = blockIdx.y;
    if (row >= p.step->n_outputs) return;

    const float* x = p.x + u64(row) * p.n_cols;
    const u32 start = blockIdx.x * ARGMAX_PART;
    const u32 end = min(start + ARGMAX_PART, p.n_cols);
    u64 best = 0;
    for (u32 i = start + threadIdx.x; i < end; i += ARGMAX_THREADS) best = max(best, choice_key(x[i], i));
    best = block_max<ARGMAX_THREADS>(best, scratch);
    if (threadIdx.x == 0) p.parts[u64(row) * p.n_parts + blockIdx.x] = best;
}

extern "C" __global__ void __launch_bounds__(WARP)
argmax(const __grid_constant__ ArgmaxParams p) {
    wait_for_inputs();
    const u32 row = blockIdx.x;
    if (row >= p.step->n_outputs) return;

    u64 best = 0;
    for (u32 i = threadIdx.x; i < p.n_parts; i += WARP) best = max(best, p.parts[u64(row) * p.n_parts + i]);
    best = largest<1>(best);
    if (threadIdx.x == 0) p.out[row] = choice_of(best);
}
