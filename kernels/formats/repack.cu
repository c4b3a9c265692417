// From a tensor's blocks as they lie in the file to planes (types.cuh), once at load.
//
// Grid     x: units of the matrix, one per thread
// Layout   blocks of an even size aligned to 2 bytes; planes 16-byte aligned
// Traffic  reads the blocks once, writes the planes once
#include "formats/types.cuh"

#define ENTRY(name, T)                                                            \
    extern "C" __global__ void __launch_bounds__(REPACK_THREADS)                  \
    repack_##name(const __grid_constant__ RepackParams p) {                       \
        wait_for_inputs();                                                        \
        const u64 unit = u64(blockIdx.x) * REPACK_THREADS + threadIdx.x;          \
        if (unit < p.n_rows * p.units) T::repack(p, unit);                        \
    }
WEIGHT_TYPES(ENTRY)
