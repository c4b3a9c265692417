// Matrix product and residual:  out[t, r] = residual[t, r] + sum_c w[first_row + r, c] * x[t, c],  r < n_rows
//
// Grid     mat_stream.cuh, mat_rows.cuh, mat_vec.cuh (t1, t4), mat_tiled.cuh (tiled); pairs of neighbouring rows
// Layout   out, residual: (rows, n_rows) contiguous, n_rows of any parity; out may be residual
// Traffic  w and x as the products' headers say; reads residual once, writes out once
#include "products/mat_entries.cuh"

struct MatMulAddParams {
    Input        input;     // (rows, n_cols)
    Planes       w;         // (first_row + n_rows or more, n_cols)
    const float* residual;  // (rows, n_rows)
    float*       out;       // (rows, n_rows); may be residual
    const Step*  step;      // 1
    u32 n_rows;
    u32 first_row;          // of w
};

struct MatMulAdd {
    using Params = MatMulAddParams;
    static constexpr bool NORM = false;
    static constexpr u32 SECOND = NO_SEGMENT;

    static __device__ __forceinline__ u32 n_pairs(const Params& p) { return (p.n_rows + 1) / 2; }
    static __device__ __forceinline__ u32 n_tiles(const Params& p, u32 pairs) { return (n_pairs(p) + pairs - 1) / pairs; }

    static __device__ __forceinline__ Segment segment(const Params& p, u32 block, u32 pairs) {
        return neighbours(p.w, p.first_row, p.n_rows, block * pairs, 0);
    }

    static __device__ __forceinline__ void finish(const Params& p, u32, u32 token, u32 pair, float a, float b) {
        const u64 at = u64(token) * p.n_rows + 2 * pair;
        p.out[at] = p.residual[at] + a;
        if (2 * pair + 1 < p.n_rows) p.out[at + 1] = p.residual[at + 1] + b;
    }
};

#define ENTRY(name, T) MAT_ENTRIES(mat_mul_add_##name, T, MatMulAdd)
FUSED_TYPES(ENTRY)

#define DECODE_ENTRY(name, T) MAT_DECODE_ENTRIES(mat_mul_add_##name, T, T, MatMulAdd)
QUANTIZED_TYPES(DECODE_ENTRY)
