// SwiGLU:  out = gate / (1 + exp(-gate)) * up
//
// Grid     x: float4 columns, one per thread; y: rows
// Layout   rows contiguous, n_cols % 4 == 0; out may be gate or up
// Traffic  reads each input once, writes out once
#include "shared/common.cuh"

struct SwiGluParams {
    float*       out;   // (rows, n_cols); may be gate or up
    const float* gate;  // (rows, n_cols)
    const float* up;    // (rows, n_cols)
    const Step*  step;  // 1
    u32 n_cols;         // a multiple of 4
    u32 of_outputs;     // 0: rows are the step's tokens; 1: its outputs
};

extern "C" __global__ void __launch_bounds__(COPY_THREADS)
swi_glu(const __grid_constant__ SwiGluParams p) {
    wait_for_inputs();
    const u32 i = blockIdx.x * COPY_THREADS + threadIdx.x;
    if (blockIdx.y >= rows_in_use(p.step, p.of_outputs) || i >= p.n_cols / 4) return;

    const u64 at = u64(blockIdx.y) * (p.n_cols / 4) + i;
    const float4 g = ((const float4*)p.gate)[at], u = ((const float4*)p.up)[at];
    ((float4*)p.out)[at] =
        make_float4(swi_glu_of(g.x, u.x), swi_glu_of(g.y, u.y), swi_glu_of(g.z, u.z), swi_glu_of(g.w, u.w));
}
