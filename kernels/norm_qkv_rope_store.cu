// First half of attention, with h = RMSNorm(x):  q = q h and k = k h rotated, v = v h;
//   out[t, :] = q,   keys[:, slot[t], :] = k,   values[:, slot[t], :] = v
//
// Grid     mat_vec.cuh (t1, t4), mat_tiled.cuh (tiled, on the rows that stage.cu has normalized); pairs of neighbouring
//          rows, which rotate together: blocks of q first, then of k, then of v, each rounded up
// Layout   out: (n_tokens, n_q_rows) contiguous; cache: (heads, slots, head_dim); head_dim and rope_dim even
#include "mat_entries.cuh"
#include "rotate.cuh"

struct NormQkvRopeStore {
    using Params = NormQkvRopeStoreParams;
    static constexpr bool NORM = true;
    static constexpr u32 Q = 0, K = 1, V = 2, SECOND = V;

    static __device__ __forceinline__ Segment segment(const Params& p, u32 block, u32 pairs) {
        const u32 q_blocks = (p.n_q_rows / 2 + pairs - 1) / pairs, kv_blocks = (p.n_kv_rows / 2 + pairs - 1) / pairs;
        if (block < q_blocks) return neighbours(p.q, p.q_row, p.n_q_rows, block * pairs, Q);
        block -= q_blocks;
        if (block < kv_blocks) return neighbours(p.k, p.k_row, p.n_kv_rows, block * pairs, K);
        return neighbours(p.v, p.v_row, p.n_kv_rows, (block - kv_blocks) * pairs, V);
    }

    static __device__ __forceinline__ void finish(const Params& p, u32 segment, u32 token, u32 pair, float a, float b) {
        const StepRow& row = step_row(p.step, token);
        const u32 i = 2 * pair, in_head = i % p.kv.head_dim;
        float2 v = make_float2(a, b);
        if (segment != V && in_head < p.rope_dim) v = rotated(v, p.table, row.position, p.rope_dim, in_head);
        if (segment == Q) *(float2*)(p.out + u64(token) * p.n_q_rows + i) = v;
        else store_kv(p.kv, segment == K ? p.kv.keys : p.kv.values, row.slot, i, v);
    }
};

#define ENTRY(name, T) MAT_ENTRIES(norm_qkv_rope_store_##name, T, T, NormQkvRopeStore)
WEIGHT_TYPES(ENTRY)
// Files named Q4_K_M and Q5_K_M keep V in more bits in half of the layers.
MAT_ENTRIES(norm_qkv_rope_store_q4_k_q6_k, Q4_K, Q6_K, NormQkvRopeStore)
MAT_ENTRIES(norm_qkv_rope_store_q5_k_q6_k, Q5_K, Q6_K, NormQkvRopeStore)
