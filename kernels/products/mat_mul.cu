// Matrix product:  out[t, r] = sum_c w[first_row + r, c] * y[t, c],  r < n_rows
// With a residual, residual[t, r] is added. y are the rows of x, or for the head of a model the normalized rows of x whose logits are wanted:
//   y[t, :] = RMSNorm(x[rows[t].output, :]);   with chosen as well:  chosen[t] = argmax_r out[t, r], as argmax.cu has it
//
// Grid     mat_stream.cuh, mat_rows.cuh, mat_vec.cuh (t1, t4), mat_tiled.cuh (tiled); pairs of neighbouring rows
// Layout   out, residual: (rows, n_rows) contiguous, n_rows of any parity; out may be residual
// Traffic  w and x as the products' headers say; reads residual once, writes out once
#include "ops/select.cuh"
#include "products/mat_entries.cuh"

struct MatMulParams {
    Input        input;     // (rows, n_cols)
    Planes       w;         // (first_row + n_rows or more, n_cols)
    const float* residual;  // (rows, n_rows); null: nothing is added
    float*       out;       // (rows, n_rows); may be residual
    u32*         chosen;    // (rows): token ids; null: not wanted
    u64*         best;      // (rows): the largest key so far, 0 before and after the launch
    u32*         arrived;   // (rows): parts of the grid that have handed in their largest key, 0 before and after the launch
    const Step*  step;      // 1
    u32 n_rows;
    u32 first_row;          // of w: out is a slice of the product with the whole matrix
};

struct MatMul {
    using Params = MatMulParams;
    static constexpr bool HEAD = true;
    static constexpr u32 SECOND = NO_SEGMENT;

    static __device__ __forceinline__ bool norm(const Params& p) { return p.input.norm != nullptr; }

    static __device__ __forceinline__ u32 n_pairs(const Params& p) { return (p.n_rows + 1) / 2; }
    static __device__ __forceinline__ u32 n_tiles(const Params& p, u32 pairs) { return (n_pairs(p) + pairs - 1) / pairs; }

    static __device__ __forceinline__ Segment segment(const Params& p, u32 block, u32 pairs) {
        return neighbours(p.w, p.first_row, p.n_rows, block * pairs, 0);
    }

    static __device__ __forceinline__ void finish(const Params& p, u64& best, u32, u32 token, u32 pair, float a, float b) {
        const u64 at = u64(token) * p.n_rows + 2 * pair;
        const bool two = 2 * pair + 1 < p.n_rows;
        if (p.residual) {
            a += p.residual[at];
            if (two) b += p.residual[at + 1];
        }
        p.out[at] = a;
        if (two) p.out[at + 1] = b;
        if (!p.chosen) return;
        best = max(best, choice_key(a, 2 * pair));
        if (two) best = max(best, choice_key(b, 2 * pair + 1));
    }

    // Hands in the largest key of a part of the grid, which has `parts` for this row. The last one writes the choice.
    static __device__ __forceinline__ void choose(const Params& p, u64 best, u32 token, u32 parts) {
        atomicMax(p.best + token, best);
        __threadfence();  // the key comes before the count
        if (atomicAdd(p.arrived + token, 1) < parts - 1) return;
        __threadfence();  // the count comes before the keys of others are read
        p.chosen[token] = choice_of(atomicExch(p.best + token, 0));
        p.arrived[token] = 0;
    }
};

#define ENTRY(name, T) MAT_ENTRIES(mat_mul_##name, T, MatMul)
WEIGHT_TYPES(ENTRY)

#define DECODE_ENTRY(name, T) MAT_DECODE_ENTRIES(mat_mul_##name, T, T, MatMul)
QUANTIZED_TYPES(DECODE_ENTRY)
