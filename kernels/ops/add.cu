// Sum:  out = x + y
//
// Grid     x: float4 columns, one per thread; y: rows
// Layout   rows contiguous, n_cols % 4 == 0; out may be x or y
// Traffic  reads each input once, writes out once
#include "shared/common.cuh"

struct AddParams {
    float*       out;   // (rows, n_cols); may be x or y
    const float* x;     // (rows, n_cols)
    const float* y;     // (rows, n_cols)
    const Step*  step;  // 1
    u32 n_cols;         // a multiple of 4
    u32 of_outputs;     // 0: rows are the step's tokens; 1: its outputs
};

extern "C" __global__ void __launch_bounds__(COPY_THREADS)
add(const __grid_constant__ AddParams p) {
    wait_for_inputs();
    const u32 i = blockIdx.x * COPY_THREADS + threadIdx.x;
    if (blockIdx.y >= rows_in_use(p.step, p.of_outputs) || i >= p.n_cols / 4) return;

    const u64 at = u64(blockIdx.y) * (p.n_cols / 4) + i;
    const float4 x = ((const float4*)p.x)[at], y = ((const float4*)p.y)[at];
    ((float4*)p.out)[at] = make_float4(x.x + y.x, x.y + y.y, x.z + y.z, x.w + y.w);
}
