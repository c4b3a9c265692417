// Attention of few tokens: the slots of a row divided among blocks as attention_part.cuh says
//
// Grid     x: kv heads * ceil(group / HEADS); y: tokens; z: parts
// Layout   head_dim even, up to 256; cache: kv.cuh
// Traffic  reads each key and value once per HEADS query heads; partial results once each way, none if a row has one part
//
// A key takes 1, 2, 4, .. 32 lanes, 8 elements each: a warp reads several slots at once, whole and in order. The lanes of one key
// are a stream. It keeps its own maximum, sum and weighted values (online softmax; Milakov and Gimelshein, 2018) and merges at the end.
#pragma once
#include "attention/attention_part.cuh"

// Slots per stream and round: 8 loads of 16 bytes in flight per lane with an f16 cache, 4 where heads need the registers; unmeasured.
__host__ __device__ constexpr u32 at_once(u32 heads) { return heads < 8 ? 4 : 2; }

static_assert(MAX_HEAD_DIM <= WARP * PIECE, "a warp holds a whole key");

// Where element d of a head lies in a row of shared memory: the lower and the upper half of each piece apart, so that lanes which
// write a piece each, and lanes which read an element each, are in different banks.
constexpr u32 UPPER = MAX_HEAD_DIM / 2 + WARP / 2;
constexpr u32 HEAD_WORDS = 2 * UPPER;
__device__ __forceinline__ u32 word_of(u32 d) { return d / 4 % 2 * UPPER + d / PIECE * 4 + d % 4; }

template <class C, u32 HEADS>
__device__ __forceinline__ void attention_split(const AttentionParams& p) {
    constexpr u32 AT_ONCE = at_once(HEADS);
    __shared__ __align__(16) float warp_acc[SPLIT_WARPS][HEAD_WORDS];
    __shared__ float2 warp_weight[SPLIT_WARPS];  // largest score, sum of weights

    Part part;
    if (!find_part(p, HEADS, 1, part)) return wait_for_inputs();
    const u32 start = part.start, end = part.end, heads = part.heads;

    const u32 D = p.kv.head_dim, stride = slot_elements(p.kv), lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    u32 lanes = 1;  // per slot
    while (lanes * PIECE < D) lanes *= 2;
    const u32 dim = lane % lanes * PIECE;
    const bool used = dim < D;
    const u32 streams = SPLIT_THREADS / lanes, stream = threadIdx.x / lanes;

    const u64 head_start = u64(part.kv_head) * p.kv.n_slots * stride + (used ? dim : 0);
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
    load_and_wait(p, part, start + streams * AT_ONCE, [&] { load(start); });

    float q[HEADS][PIECE], acc[HEADS][PIECE] = {}, most[HEADS], sum[HEADS];
#pragma unroll
    for (u32 h = 0; h < HEADS; h++) {
        most[h] = LOWEST, sum[h] = 0;
        const float* from = p.q + part.head(p, 0, min(h, heads - 1)) * D + dim;
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
        const u64 head = part.head(p, 0, h);
        for (u32 d = threadIdx.x; d < D; d += SPLIT_THREADS) {
            float v = 0;
#pragma unroll 1
            for (u32 w = 0; w < SPLIT_WARPS; w++) v += warp_acc[w][word_of(d)] * exp2f(warp_weight[w].x - now);
            if (part.count == 1) p.out[head * D + d] = v / total;
            else p.partial[(head * p.n_splits + part.index) * D + d] = v;
        }
        if (threadIdx.x == 0 && part.count > 1) p.weights[head * p.n_splits + part.index] = make_float2(now, total);
        __syncthreads();  // warp_acc, warp_weight: read by all, before the next head overwrites them
    }
    finish_part<MAX_HEAD_DIM>(p, part);
}
