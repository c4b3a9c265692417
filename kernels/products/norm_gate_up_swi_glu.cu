// First half of the feed-forward network, with h = RMSNorm(x):
//   out[t, r] = g / (1 + exp(-g)) * u,   g = sum_c gate[gate_row + r, c] * h[t, c],   u = sum_c up[up_row + r, c] * h[t, c]
//
// Grid     mat_stream.cuh, mat_rows.cuh, mat_vec.cuh (t1, t4), mat_tiled.cuh (tiled, on the rows that stage.cu has normalized); a pair is a row of gate
//          and the same row of up
// Layout   out: (n_tokens, n_rows) contiguous
// Traffic  gate, up and x as the products' headers say; writes out once, gate's and up's products never
#include "products/mat_entries.cuh"

struct NormGateUpSwiGluParams {
    Input       input;  // (n_tokens, n_cols), before the norm
    Planes      gate;   // (gate_row + n_rows or more, n_cols)
    Planes      up;     // (up_row + n_rows or more, n_cols)
    float*      out;    // (n_tokens, n_rows)
    const Step* step;   // 1
    u32 n_rows;
    u32 gate_row;       // first row of gate in use
    u32 up_row;         // first row of up in use
    u32 reserved;
};

struct NormGateUpSwiGlu : NormedJob {
    using Params = NormGateUpSwiGluParams;
    static constexpr u32 SECOND = NO_SEGMENT;

    static __device__ __forceinline__ u32 n_pairs(const Params& p) { return p.n_rows; }
    static __device__ __forceinline__ u32 n_tiles(const Params& p, u32 pairs) { return (n_pairs(p) + pairs - 1) / pairs; }

    static __device__ __forceinline__ Segment segment(const Params& p, u32 block, u32 pairs) {
        return {p.gate, p.up, p.gate_row, p.up_row, u64(p.up_row) + p.n_rows - 1, 1, p.n_rows, block * pairs, 0};
    }

    static __device__ __forceinline__ void finish(const Params& p, u64&, u32, u32 token, u32 pair, float a, float b) {
        p.out[u64(token) * p.n_rows + pair] = swi_glu_of(a, b);
    }
};

#define ENTRY(name, T) MAT_ENTRIES(norm_gate_up_swi_glu_##name, T, NormGateUpSwiGlu)
FUSED_TYPES(ENTRY)

#define DECODE_ENTRY(name, T) MAT_DECODE_ENTRIES(norm_gate_up_swi_glu_##name, T, T, NormGateUpSwiGlu)
QUANTIZED_TYPES(DECODE_ENTRY)
