// Attention of few tokens: the slots of a row divided among blocks (flash-decoding), then combined
//
// Grid     attention_split: x: kv heads * ceil(group / HEADS); y: splits; z: tokens.  attention_combine: x: query heads; y: tokens
// Layout   head_dim a multiple of 8, up to 256; cache: (heads, slots, head_dim)
// Traffic  reads each key and value once per HEADS query heads; partial results once each way
//
// A key takes 1, 2, 4, .. 32 lanes, 8 elements each: a warp reads several slots at once, whole and in order. The lanes of one key
// are a stream. It keeps its own maximum, sum and weighted values (online softmax; Milakov and Gimelshein, 2018) and merges at the end.
#pragma once
#include "attention/kv.cuh"
#include "attention/softmax.cuh"

// Slots per stream and round: 8 loads of 16 bytes in flight per lane with an f16 cache, 4 where heads need the registers; unmeasured.
__host__ __device__ constexpr u32 at_once(u32 heads) { return heads < 8 ? 4 : 2; }
constexpr u32 SPLIT_WARPS = SPLIT_THREADS / WARP;

static_assert(MAX_HEAD_DIM <= WARP * PIECE, "a warp holds a whole key");

// Slots of a part of a row. The last part that has slots may have fewer; the parts after it are empty.
__device__ __forceinline__ u32 slots_per_split(const AttentionParams& p, u32 kv_len) {
    return max((kv_len + p.n_splits - 1) / p.n_splits, SPLIT_SLOTS);
}

template <class C, u32 HEADS>
__device__ __forceinline__ void attention_split(const AttentionParams& p) {
    constexpr u32 AT_ONCE = at_once(HEADS);
    __shared__ float warp_acc[SPLIT_WARPS][MAX_HEAD_DIM];
    __shared__ float2 warp_weight[SPLIT_WARPS];  // largest score, sum of weights
    wait_for_inputs();

    const u32 token = blockIdx.z, split = blockIdx.y;
    if (token >= p.step->n_tokens) return;
    const u32 group = p.n_heads / p.kv.n_heads, parts = (group + HEADS - 1) / HEADS;
    const u32 kv_head = blockIdx.x / parts, first_of_group = blockIdx.x % parts * HEADS;
    const u32 first_head = kv_head * group + first_of_group;
    const u32 heads = min(group - first_of_group, HEADS);

    const StepRow& row = step_row(p.step, token);
    const u32 per_split = slots_per_split(p, row.kv_len), start = split * per_split;
    if (start >= row.kv_len) return;
    const u32 end = min(start + per_split, row.kv_len);

    const u32 D = p.kv.head_dim, lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    u32 lanes = 1;  // per slot
    while (lanes * PIECE < D) lanes *= 2;
    const u32 dim = lane % lanes * PIECE;
    const bool used = dim < D;
    const u32 streams = SPLIT_THREADS / lanes, stream = threadIdx.x / lanes;

    float q[HEADS][PIECE], acc[HEADS][PIECE] = {}, most[HEADS], sum[HEADS];
#pragma unroll
    for (u32 h = 0; h < HEADS; h++) {
        most[h] = LOWEST, sum[h] = 0;
        const float* from = p.q + (u64(token) * p.n_heads + first_head + min(h, heads - 1)) * D + dim;
#pragma unroll
        for (u32 i = 0; i < PIECE; i++) q[h][i] = used ? from[i] * (p.scale * LOG2_E) : 0.0f;
    }

    const u64 head_start = (u64(kv_head) * p.kv.n_slots + row.kv_start) * D + (used ? dim : 0);
    const typename C::Rows keys = C::rows(p.kv, p.kv.keys, head_start), values = C::rows(p.kv, p.kv.values, head_start);

#pragma unroll 1
    for (u32 first = start; first < end; first += streams * AT_ONCE) {  // the same rounds for all threads: lanes shuffle below
        typename C::Piece key[AT_ONCE], value[AT_ONCE];
#pragma unroll
        for (u32 u = 0; u < AT_ONCE; u++) {
            const u64 at = u64(min(first + u * streams + stream, end - 1)) * D;
            key[u] = C::load(keys, at);
            value[u] = C::load(values, at);
        }
        float score[HEADS][AT_ONCE];
#pragma unroll
        for (u32 u = 0; u < AT_ONCE; u++) {
            float k[PIECE];
            C::decode(key[u], k);
#pragma unroll
            for (u32 h = 0; h < HEADS; h++) {
                float s = 0;
#pragma unroll
                for (u32 i = 0; i < PIECE; i++) s = fmaf(q[h][i], k[i], s);
                score[h][u] = s;
            }
        }
#pragma unroll 1
        for (u32 other = lanes / 2; other > 0; other /= 2) {
#pragma unroll
            for (u32 h = 0; h < HEADS; h++)
#pragma unroll
                for (u32 u = 0; u < AT_ONCE; u++) score[h][u] += __shfl_xor_sync(ALL_LANES, score[h][u], other);
        }
#pragma unroll
        for (u32 h = 0; h < HEADS; h++) {
            float now = most[h];
#pragma unroll
            for (u32 u = 0; u < AT_ONCE; u++) {
                if (first + u * streams + stream >= end) score[h][u] = LOWEST;
                now = fmaxf(now, score[h][u]);
            }
            const float shrink = exp2f(most[h] - now);
            most[h] = now;
            sum[h] *= shrink;
#pragma unroll
            for (u32 i = 0; i < PIECE; i++) acc[h][i] *= shrink;
#pragma unroll
            for (u32 u = 0; u < AT_ONCE; u++) {
                const bool valid = first + u * streams + stream < end;
                score[h][u] = valid ? exp2f(score[h][u] - now) : 0.0f;
                sum[h] += score[h][u];
            }
        }
#pragma unroll
        for (u32 u = 0; u < AT_ONCE; u++) {
            float v[PIECE];
            C::decode(value[u], v);
#pragma unroll
            for (u32 h = 0; h < HEADS; h++)
#pragma unroll
                for (u32 i = 0; i < PIECE; i++) acc[h][i] = fmaf(score[h][u], v[i], acc[h][i]);
        }
    }

    // Streams of a warp, then warps of the block, one head at a time.
#pragma unroll
    for (u32 h = 0; h < HEADS; h++) {
        if (h >= heads) break;  // all threads of the block or none
#pragma unroll 1
        for (u32 other = lanes; other < WARP; other *= 2) {
            const float most_there = __shfl_xor_sync(ALL_LANES, most[h], other);
            const float now = fmaxf(most[h], most_there);
            const float here = exp2f(most[h] - now), there = exp2f(most_there - now);
            most[h] = now;
            sum[h] = sum[h] * here + __shfl_xor_sync(ALL_LANES, sum[h], other) * there;
#pragma unroll
            for (u32 i = 0; i < PIECE; i++)
                acc[h][i] = acc[h][i] * here + __shfl_xor_sync(ALL_LANES, acc[h][i], other) * there;
        }
        if (lane < lanes && used) {
#pragma unroll
            for (u32 i = 0; i < PIECE; i++) warp_acc[warp][dim + i] = acc[h][i];
        }
        if (lane == 0) warp_weight[warp] = make_float2(most[h], sum[h]);
        __syncthreads();  // warp_acc, warp_weight: written by each warp, read by all

        float now = LOWEST, total = 0;
#pragma unroll 1
        for (u32 w = 0; w < SPLIT_WARPS; w++) now = fmaxf(now, warp_weight[w].x);
#pragma unroll 1
        for (u32 w = 0; w < SPLIT_WARPS; w++) total += warp_weight[w].y * exp2f(warp_weight[w].x - now);
        const u64 part = (u64(token) * p.n_heads + first_head + h) * p.n_splits + split;
        for (u32 d = threadIdx.x; d < D; d += SPLIT_THREADS) {
            float v = 0;
#pragma unroll 1
            for (u32 w = 0; w < SPLIT_WARPS; w++) v += warp_acc[w][d] * exp2f(warp_weight[w].x - now);
            p.partial[part * D + d] = v;
        }
        if (threadIdx.x == 0) p.weights[part] = make_float2(now, total);
        __syncthreads();  // warp_acc, warp_weight: read by all, before the next head overwrites them
    }
}

// out = sum_i partial[i] * 2^(most[i] - most) / sum_i total[i] * 2^(most[i] - most), over the parts that have slots
__device__ __forceinline__ void combine_splits(const AttentionParams& p) {
    wait_for_inputs();
    const u32 head = blockIdx.x, token = blockIdx.y;
    if (token >= p.step->n_tokens) return;

    const u32 kv_len = step_row(p.step, token).kv_len, per_split = slots_per_split(p, kv_len);
    const u32 n_parts = (kv_len + per_split - 1) / per_split;
    const u64 at = u64(token) * p.n_heads + head;
    const float2* weights = p.weights + at * p.n_splits;
    float most = LOWEST, total = 0;
    for (u32 i = 0; i < n_parts; i++) most = fmaxf(most, weights[i].x);
    for (u32 i = 0; i < n_parts; i++) total += weights[i].y * exp2f(weights[i].x - most);
    for (u32 d = threadIdx.x; d < p.kv.head_dim; d += SPLIT_THREADS) {
        float v = 0;
        for (u32 i = 0; i < n_parts; i++) v += p.partial[(at * p.n_splits + i) * p.kv.head_dim + d] * exp2f(weights[i].x - most);
        p.out[at * p.kv.head_dim + d] = v / total;
    }
}
