// Attention of few tokens: the slots of a row divided among blocks (flash-decoding), whose parts the last of them adds up
//
// Grid     x: kv heads * ceil(group / HEADS); y: splits; z: tokens
// Layout   head_dim even, up to 256; cache: kv.cuh
// Traffic  reads each key and value once per HEADS query heads; partial results once each way, none if a row has one part
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

// Where element d of a head lies in a row of shared memory: the lower and the upper half of each piece apart, so that lanes which
// write a piece each, and lanes which read an element each, are in different banks.
constexpr u32 UPPER = MAX_HEAD_DIM / 2 + WARP / 2;
constexpr u32 HEAD_WORDS = 2 * UPPER;
__device__ __forceinline__ u32 word_of(u32 d) { return d / 4 % 2 * UPPER + d / PIECE * 4 + d % 4; }

// Whether no token of the step writes one of these slots: then an earlier step wrote them. Steps of many tokens count as writing them.
__device__ __forceinline__ bool are_old(const Step* step, u32 first, u32 end) {
    if (step->n_tokens > 8) return false;
    bool old = true;
    for (u32 i = 0; i < step->n_tokens; i++) {
        const u32 slot = step_row(step, i).slot;
        old = old && (slot < first || slot >= end);
    }
    return old;
}

// Counts a block that has written its part of a row, and tells whether it is the last of `n_parts`. All threads of the block call it.
__device__ __forceinline__ bool is_last_part(u32* arrived, u32 n_parts) {
    __shared__ bool last;
    __syncthreads();  // what any thread of the block has written comes before the count
    if (threadIdx.x == 0) {
        __threadfence();  // for all of the grid
        last = atomicAdd(arrived, 1) == n_parts - 1;
        if (last) *arrived = 0;  // for the next launch
        __threadfence();  // the count comes before what others have written is read
    }
    __syncthreads();  // last: written by thread 0, read by all
    return last;
}

// out = sum_i partial[i] * 2^(most[i] - most) / sum_i total[i] * 2^(most[i] - most), over the parts of each of some heads: a warp a head
__device__ __forceinline__ void combine_parts(const AttentionParams& p, u64 first, u32 heads, u32 n_parts) {
    const u32 D = p.kv.head_dim, lane = threadIdx.x % WARP;
    for (u32 h = threadIdx.x / WARP; h < heads; h += SPLIT_WARPS) {
        const u64 at = (first + h) * p.n_splits;
        float most = LOWEST, total = 0, v[MAX_HEAD_DIM / WARP] = {};
        for (u32 i = lane; i < n_parts; i += WARP) most = fmaxf(most, p.weights[at + i].x);
#pragma unroll
        for (u32 other = WARP / 2; other > 0; other /= 2) most = fmaxf(most, __shfl_xor_sync(ALL_LANES, most, other));
        for (u32 i = lane; i < n_parts; i += WARP) total += p.weights[at + i].y * exp2f(p.weights[at + i].x - most);
        total = warp_sum(total);
#pragma unroll 2
        for (u32 i = 0; i < n_parts; i++) {
            const float weight = exp2f(p.weights[at + i].x - most);
#pragma unroll
            for (u32 j = 0; j < MAX_HEAD_DIM / WARP; j++) {
                const u32 d = j * WARP + lane;
                if (d < D) v[j] = fmaf(p.partial[(at + i) * D + d], weight, v[j]);
            }
        }
#pragma unroll
        for (u32 j = 0; j < MAX_HEAD_DIM / WARP; j++) {
            const u32 d = j * WARP + lane;
            if (d < D) p.out[(first + h) * D + d] = v[j] / total;
        }
    }
}

template <class C, u32 HEADS>
__device__ __forceinline__ void attention_split(const AttentionParams& p) {
    constexpr u32 AT_ONCE = at_once(HEADS);
    __shared__ __align__(16) float warp_acc[SPLIT_WARPS][HEAD_WORDS];
    __shared__ float2 warp_weight[SPLIT_WARPS];  // largest score, sum of weights

    // A step's rows, and slots that earlier steps wrote, are there before the kernels before have ended.
    const u32 token = blockIdx.z, split = blockIdx.y;
    const bool in_step = token < p.step->n_tokens;
    const u32 group = p.n_heads / p.kv.n_heads, parts = (group + HEADS - 1) / HEADS;
    const u32 kv_head = blockIdx.x / parts, first_of_group = blockIdx.x % parts * HEADS;
    const u32 heads = min(group - first_of_group, HEADS);
    const u64 first_head = u64(token) * p.n_heads + kv_head * group + first_of_group;

    const StepRow& row = step_row(p.step, in_step ? token : 0);
    const u32 per_split = slots_per_split(p, row.kv_len), start = split * per_split;
    if (!in_step || start >= row.kv_len) return wait_for_inputs();
    const u32 end = min(start + per_split, row.kv_len), n_parts = (row.kv_len + per_split - 1) / per_split;

    const u32 D = p.kv.head_dim, stride = slot_elements(p.kv), lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    u32 lanes = 1;  // per slot
    while (lanes * PIECE < D) lanes *= 2;
    const u32 dim = lane % lanes * PIECE;
    const bool used = dim < D;
    const u32 streams = SPLIT_THREADS / lanes, stream = threadIdx.x / lanes;

    const u64 head_start = (u64(kv_head) * p.kv.n_slots + row.kv_start) * stride + (used ? dim : 0);
    const typename C::Rows keys = C::rows(p.kv, p.kv.keys, head_start), values = C::rows(p.kv, p.kv.values, head_start);
    typename C::Piece key[AT_ONCE], value[AT_ONCE];
    auto load = [&](u32 first) {
#pragma unroll
        for (u32 u = 0; u < AT_ONCE; u++) {
            const u64 at = u64(min(first + u * streams + stream, end - 1)) * stride;
            key[u] = C::load(keys, at);
            value[u] = C::load(values, at);
        }
    };
    const bool early = are_old(p.step, row.kv_start + start, row.kv_start + min(start + streams * AT_ONCE, end));
    if (early) load(start);
    wait_for_inputs();
    if (!early) load(start);

    float q[HEADS][PIECE], acc[HEADS][PIECE] = {}, most[HEADS], sum[HEADS];
#pragma unroll
    for (u32 h = 0; h < HEADS; h++) {
        most[h] = LOWEST, sum[h] = 0;
        const float* from = p.q + (first_head + min(h, heads - 1)) * D + dim;
#pragma unroll
        for (u32 i = 0; i < PIECE; i += 2) {
            const float2 x = dim + i < D ? *(const float2*)(from + i) : make_float2(0, 0);
            q[h][i] = x.x * (p.scale * LOG2_E), q[h][i + 1] = x.y * (p.scale * LOG2_E);
        }
    }

#pragma unroll 1
    for (u32 first = start; first < end; first += streams * AT_ONCE) {  // the same rounds for all threads: lanes shuffle below
        if (first > start) load(first);
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
            *(float4*)&warp_acc[warp][word_of(dim)] = make_float4(acc[h][0], acc[h][1], acc[h][2], acc[h][3]);
            *(float4*)&warp_acc[warp][word_of(dim + 4)] = make_float4(acc[h][4], acc[h][5], acc[h][6], acc[h][7]);
        }
        if (lane == 0) warp_weight[warp] = make_float2(most[h], sum[h]);
        __syncthreads();  // warp_acc, warp_weight: written by each warp, read by all

        float now = LOWEST, total = 0;
#pragma unroll 1
        for (u32 w = 0; w < SPLIT_WARPS; w++) now = fmaxf(now, warp_weight[w].x);
#pragma unroll 1
        for (u32 w = 0; w < SPLIT_WARPS; w++) total += warp_weight[w].y * exp2f(warp_weight[w].x - now);
        const u64 part = (first_head + h) * p.n_splits + split;
        for (u32 d = threadIdx.x; d < D; d += SPLIT_THREADS) {
            float v = 0;
#pragma unroll 1
            for (u32 w = 0; w < SPLIT_WARPS; w++) v += warp_acc[w][word_of(d)] * exp2f(warp_weight[w].x - now);
            if (n_parts == 1) p.out[(first_head + h) * D + d] = v / total;
            else p.partial[part * D + d] = v;
        }
        if (threadIdx.x == 0 && n_parts > 1) p.weights[part] = make_float2(now, total);
        __syncthreads();  // warp_acc, warp_weight: read by all, before the next head overwrites them
    }
    if (n_parts > 1 && is_last_part(p.arrived + u64(token) * gridDim.x + blockIdx.x, n_parts)) combine_parts(p, first_head, heads, n_parts);
}
