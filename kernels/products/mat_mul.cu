// Matrix product:  out[t, r] = sum_c w[first_row + r, c] * x[t, c],  r < n_rows
//
// Grid     mat_stream.cuh, mat_rows.cuh, mat_vec.cuh (t1, t4), mat_tiled.cuh (tiled); pairs of neighbouring rows
// Layout   out: (rows, n_rows) contiguous, n_rows of any parity
// Traffic  w and x as the products' headers say; writes out once
#include "products/mat_entries.cuh"

struct MatMulParams {
    Input       input;  // (rows, n_cols)
    Planes      w;      // (first_row + n_rows or more, n_cols)
    float*      out;    // (rows, n_rows)
    const Step* step;   // 1
    u32 n_rows;
    u32 first_row;      // of w: out is a slice of the product with the whole matrix
};

struct MatMul {
    using Params = MatMulParams;
    static constexpr bool NORM = false;
    static constexpr u32 SECOND = NO_SEGMENT;

    static __device__ __forceinline__ u32 n_pairs(const Params& p) { return (p.n_rows + 1) / 2; }
    static __device__ __forceinline__ u32 n_tiles(const Params& p, u32 pairs) { return (n_pairs(p) + pairs - 1) / pairs; }

    static __device__ __forceinline__ Segment segment(const Params& p, u32 block, u32 pairs) {
        return neighbours(p.w, p.first_row, p.n_rows, block * pairs, 0);
    }

    static __device__ __forceinline__ void finish(const Params& p, u32, u32 token, u32 pair, float a, float b) {
        float* out = p.out + u64(token) * p.n_rows + 2 * pair;
        out[0] = a;
        if (2 * pair + 1 < p.n_rows) out[1] = b;
    }
};

#define ENTRY(name, T) MAT_ENTRIES(mat_mul_##name, T, MatMul)
WEIGHT_TYPES(ENTRY)

#define DECODE_ENTRY(name, T) MAT_DECODE_ENTRIES(mat_mul_##name, T, T, MatMul)
QUANTIZED_TYPES(DECODE_ENTRY)
