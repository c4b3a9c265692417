// Rows whose logits are wanted:  out[i, :] = x[output[i], :]
//
// Grid     x: float4 columns, one per thread; y: outputs
// Layout   rows contiguous, n_cols % 4 == 0
// Traffic  reads and writes each row once
#include "shared/common.cuh"

struct GatherParams {
    float*       out;   // (n_outputs, n_cols)
    const float* x;     // (n_tokens, n_cols)
    const Step*  step;  // 1
    u32 n_cols;         // a multiple of 4
    u32 reserved;
};

extern "C" __global__ void __launch_bounds__(COPY_THREADS)
gather(const __grid_constant__ GatherParams p) {
    wait_for_inputs();
    const u32 row = blockIdx.y;
    const u32 i = blockIdx.x * COPY_THREADS + threadIdx.x;
    if (row >= p.step->n_outputs || i >= p.n_cols / 4) return;

    const u64 from = step_row(p.step, row).output;
    ((float4*)p.out)[u64(row) * (p.n_cols / 4) + i] = ((const float4*)p.x)[from * (p.n_cols / 4) + i];
}
