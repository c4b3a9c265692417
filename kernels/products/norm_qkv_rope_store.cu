// First half of attention, with h = RMSNorm(x):  q = q h and k = k h rotated, v = v h;
//   out[t, :] = q,   keys[:, slot[t], :] = k,   values[:, slot[t], :] = v
//
// Grid     mat_stream.cuh, mat_rows.cuh, mat_vec.cuh (t1, t4), mat_tiled.cuh (tiled, on the rows that stage.cu has normalized); pairs
//          of neighbouring rows, which rotate together: those of q first, then of k, then of v, in whole blocks or tiles
// Layout   out: (n_tokens, n_q_rows) contiguous; cache: (heads, slots, head_dim); head_dim and rope_dim even. If it is q8_0, keys and
//          values are left for kv_store
// Traffic  q, k, v and x as the products' headers say; writes rotated queries, keys and values once
#include "attention/kv.cuh"
#include "products/mat_entries.cuh"
#include "shared/rotate.cuh"

struct NormQkvRopeStoreParams {
    Input        input;  // (n_tokens, n_cols), before the norm
    Planes       q;      // (q_row + n_q_rows or more, n_cols)
    Planes       k;      // (k_row + n_kv_rows or more, n_cols)
    Planes       v;      // (v_row + n_kv_rows or more, n_cols)
    float*       out;    // (n_tokens, n_q_rows): rotated queries
    KvCache      kv;     // receives rotated keys, and values; kv.n_heads * kv.head_dim = n_kv_rows
    const float* table;  // (positions, rope_dim): cosine and sine of each pair's angle
    const Step*  step;   // 1
    u32 n_q_rows;        // a multiple of head_dim
    u32 n_kv_rows;
    u32 rope_dim;        // rotated elements of each head: even, up to head_dim
    u32 q_row;           // first row of q in use
    u32 k_row;           // first row of k in use
    u32 v_row;           // first row of v in use
    float* keys;         // (n_tokens, n_kv_rows): rotated keys, where the cache is q8_0: a scale over 32 of them is not made of pairs
    float* values;       // (n_tokens, n_kv_rows): the same of values
};

struct NormQkvRopeStore : NormedJob {
    using Params = NormQkvRopeStoreParams;
    static constexpr u32 Q = 0, K = 1, V = 2, SECOND = V;

    static __device__ __forceinline__ u32 n_pairs(const Params& p) { return p.n_q_rows / 2 + p.n_kv_rows; }
    static __device__ __forceinline__ u32 n_tiles(const Params& p, u32 pairs) {
        return (p.n_q_rows / 2 + pairs - 1) / pairs + 2 * ((p.n_kv_rows / 2 + pairs - 1) / pairs);
    }
    static __device__ __forceinline__ u32 second_pairs(const Params& p) { return p.n_kv_rows / 2; }

    static __device__ __forceinline__ Segment segment(const Params& p, u32 block, u32 pairs) {
        const u32 q_blocks = (p.n_q_rows / 2 + pairs - 1) / pairs, kv_blocks = (p.n_kv_rows / 2 + pairs - 1) / pairs;
        if (block < q_blocks) return neighbours(p.q, p.q_row, p.n_q_rows, block * pairs, Q);
        block -= q_blocks;
        if (block < kv_blocks) return neighbours(p.k, p.k_row, p.n_kv_rows, block * pairs, K);
        return neighbours(p.v, p.v_row, p.n_kv_rows, (block - kv_blocks) * pairs, V);
    }

    static __device__ __forceinline__ void finish(const Params& p, u64&, u32 segment, u32 token, u32 pair, float a, float b) {
        const StepRow& row = step_row(p.step, token);
        const u32 i = 2 * pair, in_head = i % p.kv.head_dim;
        float2 v = make_float2(a, b);
        if (segment != V && in_head < p.rope_dim) v = rotated(v, p.table, row.position, p.rope_dim, in_head);
        if (segment == Q) *(float2*)(p.out + u64(token) * p.n_q_rows + i) = v;
        else if (p.kv.format == KV_Q8_0) *(float2*)((segment == K ? p.keys : p.values) + u64(token) * p.n_kv_rows + i) = v;
        else store_pair(p.kv, segment == K ? p.kv.keys : p.kv.values, row.slot, i, v);
    }
};

#define ENTRY(name, T) MAT_ENTRIES(norm_qkv_rope_store_##name, T, NormQkvRopeStore)
FUSED_TYPES(ENTRY)

#define DECODE_ENTRY(name, T) MAT_DECODE_ENTRIES(norm_qkv_rope_store_##name, T, T, NormQkvRopeStore)
QUANTIZED_TYPES(DECODE_ENTRY)
// A file is named after the type of most of its matrices; V has more bits in some or all layers. The pairs of types that
// llama.cpp's quantizer makes for models with fewer heads of K and V than of Q: Q2_K_*; Q3_K_M (Q4_K or Q5_K) and Q3_K_L; Q4_K_S and 70B; Q4_K_M; Q5_K_M; IQ4_*.
#define MIXED(name, T, T2)                                                    \
    MAT_VEC_ENTRIES(norm_qkv_rope_store_##name, T, T2, NormQkvRopeStore)      \
    MAT_DECODE_ENTRIES(norm_qkv_rope_store_##name, T, T2, NormQkvRopeStore)
MIXED(q2_k_q4_k, Q2_K, Q4_K)
MIXED(q3_k_q4_k, Q3_K, Q4_K)
MIXED(q3_k_q5_k, Q3_K, Q5_K)
MIXED(q4_k_q5_k, Q4_K, Q5_K)
MIXED(q4_k_q6_k, Q4_K, Q6_K)
MIXED(q5_k_q6_k, Q5_K, Q6_K)
MIXED(iq4_nl_q5_k, IQ4_NL, Q5_K)
MIXED(iq4_xs_q5_k, IQ4_XS, Q5_K)
