// RMSNorm:  out[t, i] = x[t, i] / sqrt(mean_j(x[t, j]^2) + eps) * w[i]
//
// Grid     one block per row
// Layout   rows contiguous, n_embd % 4 == 0
// Traffic  reads x once from DRAM (its second read hits L1), writes out once
#include "shared/common.cuh"

struct RmsNormParams {
    float*       out;   // (rows, n_embd)
    const float* x;     // (rows, n_embd)
    const float* w;     // (n_embd)
    const Step*  step;  // 1
    u32   n_embd;       // a multiple of 4
    float eps;          // added to the mean square
    u32   of_outputs;   // 0: rows are the step's tokens; 1: its outputs
    u32   reserved;
};

extern "C" __global__ void __launch_bounds__(ROW_THREADS)
rms_norm(const __grid_constant__ RmsNormParams p) {
    __shared__ float scratch[ROW_THREADS / WARP];
    wait_for_inputs();
    const u32 row = blockIdx.x;
    if (row >= rows_in_use(p.step, p.of_outputs)) return;

    const u64 start = u64(row) * p.n_embd;
    const float4* x   = (const float4*)(p.x + start);
    const float4* w   = (const float4*)p.w;
    float4*       out = (float4*)(p.out + start);

    const float scale = rms_scale<ROW_THREADS>(x, p.n_embd, p.eps, scratch);
    for (u32 i = threadIdx.x; i < p.n_embd / 4; i += ROW_THREADS) out[i] = normalized(x[i], scale, w[i]);
}
