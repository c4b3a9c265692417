// The step of a decode, from the parameters to device memory:  step, rows = head, rows
//
// The rows of a few tokens fit into the parameters of a launch, which reach the GPU with the launch itself: no copy engine takes part.
//
// Grid     one block; a word per thread
// Layout   the head of a step is as large as a row, so that it is rows[0] here
// Traffic  writes the rows once
#include "shared/common.cuh"

struct SetStepParams {
    Step*   step;     // 1, and its rows
    u32     n_rows;   // of rows: those in use and the head
    u32     reserved;
    StepRow rows[9];  // the head, then up to 8 rows
};

constexpr u32 ROW_WORDS = sizeof(StepRow) / sizeof(u32);
static_assert(sizeof(SetStepParams::rows) / sizeof(u32) <= COPY_THREADS, "a word per thread");

extern "C" __global__ void __launch_bounds__(COPY_THREADS)
set_step(const __grid_constant__ SetStepParams p) {
    wait_for_inputs();
    const u32 i = threadIdx.x;
    if (i < p.n_rows * ROW_WORDS) ((u32*)p.step)[i] = ((const u32*)p.rows)[i];
}
