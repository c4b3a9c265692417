// Bias:  x[t, :] += b
//
// Grid     x: float4 columns, one per thread; y: rows
// Layout   rows contiguous, n_cols % 4 == 0
// Traffic  reads x once, b once a row (from L2 but for the first), writes x once
#include "shared/common.cuh"

struct AddBiasParams {
    float*       x;     // (rows, n_cols), in place
    const float* b;     // (n_cols)
    const Step*  step;  // 1
    u32 n_cols;         // a multiple of 4
    u32 of_outputs;     // 0: rows are the step's tokens; 1: its outputs
};

extern "C" __global__ void __launch_bounds__(COPY_THREADS)
add_bias(const __grid_constant__ AddBiasParams p) {
    wait_for_inputs();
    const u32 i = blockIdx.x * COPY_THREADS + threadIdx.x;
    if (blockIdx.y >= rows_in_use(p.step, p.of_outputs) || i >= p.n_cols / 4) return;

    float4* at = (float4*)p.x + u64(blockIdx.y) * (p.n_cols / 4) + i;
    const float4 x = *at, b = ((const float4*)p.b)[i];
    *at = make_float4(x.x + b.x, x.y + b.y, x.z + b.z, x.w + b.w);
}
