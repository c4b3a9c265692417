// RMSNorm:  out[t, g, i] = x[t, g, i] / sqrt(mean_j(x[t, g, j]^2) + eps) * w[i]
//
// Grid     one block per group of a row
// Layout   rows contiguous, groups of a row contiguous, n % 4 == 0
// Traffic  reads x once from DRAM (its second read hits L1), writes out once
#include "shared/common.cuh"

struct RmsNormParams {
    float*       out;   // (rows, groups, n); may be x
    const float* x;     // (rows, groups, n)
    const float* w;     // (n)
    const Step*  step;  // 1
    u32   n;            // elements of a group, a multiple of 4
    u32   groups;       // of a row
    float eps;          // added to the mean square
    u32   of_outputs;   // 0: rows are the step's tokens; 1: its outputs
};

extern "C" __global__ void __launch_bounds__(ROW_THREADS)
rms_norm(const __grid_constant__ RmsNormParams p) {
    __shared__ float scratch[ROW_THREADS / WARP];
    wait_for_inputs();
    const u32 group = blockIdx.x;  // of all rows
    if (group >= rows_in_use(p.step, p.of_outputs) * p.groups) return;

    const u64 start = u64(group) * p.n;
    const float4* x   = (const float4*)(p.x + start);
    const float4* w   = (const float4*)p.w;
    float4*       out = (float4*)(p.out + start);

    const float scale = rms_scale<ROW_THREADS>(x, p.n, p.eps, scratch);
    for (u32 i = threadIdx.x; i < p.n / 4; i += ROW_THREADS) out[i] = normalized(x[i], scale, w[i]);
}
