// A grid-wide barrier of cooperative groups: in every round, x[i] becomes x[neighbour] + 1.
// grid_sync.ptx: NVRTC 12.4, --gpu-architecture=compute_80 --std=c++17
#include <cooperative_groups.h>

extern "C" __global__ void grid_sync(float* x, int n, int rounds) {
    auto grid = cooperative_groups::this_grid();
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    for (int k = 0; k < rounds; k++) {
        const float v = x[(i + 33) % n];
        grid.sync();
        x[i] = v + 1;
        grid.sync();
    }
}
