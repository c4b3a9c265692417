// Attention of few tokens on tensor cores: as attention_split.cuh divides it, for caches of halves
//
// Grid     x: kv heads * ceil(group / MMA_HEADS); y: splits; z: tokens
// Layout   cache: kv.cuh; head_dim = D, a multiple of 16 up to 128, of which 64 leaves 0, 16 or 32; more would spill registers
// Traffic  reads each key and value once per MMA_HEADS query heads, from global memory into the registers that mma takes
//
// A warp takes 16 slots at a time. Queries and weights are each a sum of two halves, hi + lo, so that products are as exact as floats:
//
//   scores (heads hi, heads lo; 8 slots) += q (16, 16) keys^T (16, 8)      hi and lo are 8 rows each of one product
//   acc (16 elements, 8 heads)           += values^T (16, 16) weights (16, 8)     once with hi, once with lo
//
// The scores of a lane are the weights that it must hold for the second product. Sums over elements of a head have no order, and which
// element is which row of a product is free: a lane takes elements of a key or value that lie side by side, up to 16 bytes.
//
// Counted on the simulator for one token of 32 heads, 8 KV heads, head_dim 128, on 132 multiprocessors; attention_split in brackets:
//
//   slots     lane-instructions per byte of keys and values    bytes asked / bytes of DRAM    bytes in flight, mean of a warp
//   4096      2.50 (9.54)                                      1.26 (1.50)                    2501 (1872)
//   32768     1.07 (7.50)                                      1.04 (1.08)                    5732 (2325)
//   131072    0.91 (7.11)                                      1.01 (1.02)                    6175 (2420)
// No bank conflicts. Registers and spills: ptx/resources.md.
#pragma once
#include "attention/attention_split.cuh"

constexpr u32 MMA_HEADS = 8;   // columns of a product
constexpr u32 MMA_SLOTS = 16;  // that a warp takes at a time
constexpr u32 MMA_ROUND = SPLIT_WARPS * MMA_SLOTS;

static_assert(SPLIT_SLOTS % MMA_ROUND == 0, "the smallest part gives every warp its slots");

// Words that a lane takes of a key (4 lanes a key, 32 elements) and of a value (8 lanes a value, 64 elements), from word `i` on: fewer
// at the end of a head.
template <u32 D> __host__ __device__ constexpr u32 key_words(u32 i) { return D / 8 - i < 4 ? D / 8 - i : 4; }
template <u32 D> __host__ __device__ constexpr u32 value_words(u32 i) { return D / 16 - i < 4 ? D / 16 - i : 4; }

// Element of a head that is the first of the pair in word i of lane l of those that share a key or value.
template <u32 D> __device__ __forceinline__ u32 key_element(u32 i, u32 l) {
    return i / 4 * 32 + l * 2 * key_words<D>(i / 4 * 4) + i % 4 * 2;
}
template <u32 D> __device__ __forceinline__ u32 value_element(u32 i, u32 l) {
    return i / 4 * 64 + l * 2 * value_words<D>(i / 4 * 4) + i % 4 * 2;
}

// 4, 2 or 1 words from an address aligned to as many.
__device__ __forceinline__ void load_words(u32* to, const __half* from, u32 words) {
    if (words == 4) {
        const uint4 v = *(const uint4*)from;
        to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
    } else if (words == 2) {
        const uint2 v = *(const uint2*)from;
        to[0] = v.x, to[1] = v.y;
    } else {
        to[0] = *(const u32*)from;
    }
}

// x and y as pairs of halves whose sum they are, but for 2^-22 of them.
__device__ __forceinline__ void split_pair(float x, float y, u32& hi, u32& lo) {
    hi = half_pair(x, y);
    lo = half_pair(x - half_bits(hi), y - half_bits(hi >> 16));
}

// Where a pair of elements of a head lies in shared memory: lanes that write 8 elements of 8 heads are in different banks.
template <u32 D> __device__ __forceinline__ u32 mma_word(u32 head, u32 d) { return head / 2 * (2 * D + 2) + head % 2 * D + d; }

template <u32 D>
__device__ __forceinline__ void attention_mma(const AttentionParams& p) {
    static_assert(D % 16 == 0 && D <= 128 && D % 64 != 48, "heads are whole fragments of 4, 2 or 1 words a lane");
    constexpr u32 KEY = D / 8, VALUE = D / 16;  // words that a lane takes of a key, of a value
    __shared__ __align__(16) float warp_acc[SPLIT_WARPS][MMA_HEADS / 2 * (2 * D + 2)];
    __shared__ float2 warp_weight[SPLIT_WARPS][MMA_HEADS];  // largest score, sum of weights

    // A step's rows, and slots that earlier steps wrote, are there before the kernels before have ended.
    const u32 token = blockIdx.z, split = blockIdx.y;
    const bool in_step = token < p.step->n_tokens;
    const u32 group = p.n_heads / p.kv.n_heads, parts = (group + MMA_HEADS - 1) / MMA_HEADS;
    const u32 kv_head = blockIdx.x / parts, first_of_group = blockIdx.x % parts * MMA_HEADS;
    const u32 heads = min(group - first_of_group, MMA_HEADS);
    const u64 first_head = u64(token) * p.n_heads + kv_head * group + first_of_group;

    const StepRow& row = step_row(p.step, in_step ? token : 0);
    const u32 per_split = slots_per_split(p, row.kv_len), start = split * per_split;
    if (!in_step || start >= row.kv_len) return wait_for_inputs();
    const u32 end = min(start + per_split, row.kv_len), n_parts = (row.kv_len + per_split - 1) / per_split;

    const u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, r = lane / 4, c = lane % 4;
    const u64 head_start = (u64(kv_head) * p.kv.n_slots + row.kv_start) * D;
    const __half* keys = (const __half*)p.kv.keys + head_start;
    const __half* values = (const __half*)p.kv.values + head_start;

    // Keys of slots r and r + 8; values of slots 2c, 2c + 1, 2c + 8, 2c + 9. The last slot stands for those past the end.
    u32 key[2][KEY], value[4][VALUE];
    auto load_keys = [&](u32 first) {
#pragma unroll
        for (u32 n = 0; n < 2; n++) {
            const __half* from = keys + u64(min(first + r + 8 * n, end - 1)) * D;
#pragma unroll
            for (u32 i = 0; i < KEY; i += 4) load_words(&key[n][i], from + key_element<D>(i, c), key_words<D>(i));
        }
    };
    auto load_values = [&](u32 first) {
#pragma unroll
        for (u32 s = 0; s < 4; s++) {
            const __half* from = values + u64(min(first + 2 * c + s % 2 + s / 2 * 8, end - 1)) * D;
#pragma unroll
            for (u32 i = 0; i < VALUE; i += 4) load_words(&value[s][i], from + value_element<D>(i, r), value_words<D>(i));
        }
    };
    const u32 begin = start + warp * MMA_SLOTS;
    const bool early = are_old(p.step, row.kv_start + start, row.kv_start + min(start + MMA_ROUND, end));
    if (early) load_keys(begin), load_values(begin);
    wait_for_inputs();
    if (!early) load_keys(begin), load_values(begin);

    u32 q[D / 16][4];  // head r: hi in [0] and [2], lo in [1] and [3]
    const float* from = p.q + (first_head + min(r, heads - 1)) * D;
    const float scale = p.scale * LOG2_E;
#pragma unroll
    for (u32 i = 0; i < D / 16; i++) {
        const float4 x = *(const float4*)(from + key_element<D>(2 * i, c));
        split_pair(x.x * scale, x.y * scale, q[i][0], q[i][1]);
        split_pair(x.z * scale, x.w * scale, q[i][2], q[i][3]);
    }

    // Of head r: the largest score, and this lane's part of the sum. acc: of heads 2c and 2c + 1.
    float acc[D / 16][4] = {}, most = LOWEST, sum = 0;
#pragma unroll 1
    for (u32 first = begin; first < end; first += MMA_ROUND) {  // the same rounds for all lanes of a warp
        float score[4];  // of slots 2c, 2c + 1, 2c + 8, 2c + 9
#pragma unroll
        for (u32 n = 0; n < 2; n++) {
            float s[4] = {};
#pragma unroll
            for (u32 i = 0; i < D / 16; i++) mma_f16(s, q[i], key[n][2 * i], key[n][2 * i + 1]);
            score[2 * n] = s[0] + s[2], score[2 * n + 1] = s[1] + s[3];
        }
        if (first + MMA_ROUND < end) load_keys(first + MMA_ROUND);

        float now = most;
#pragma unroll
        for (u32 s = 0; s < 4; s++) {
            if (first + 2 * c + s % 2 + s / 2 * 8 >= end) score[s] = -__int_as_float(0x7f800000);
            now = fmaxf(now, score[s]);
        }
        now = fmaxf(now, __shfl_xor_sync(ALL_LANES, now, 1));
        now = fmaxf(now, __shfl_xor_sync(ALL_LANES, now, 2));
        if (__any_sync(ALL_LANES, now > most)) {
            const float shrink = exp2f(most - now);
            most = now;
            sum *= shrink;
            const float even = __shfl_sync(ALL_LANES, shrink, 8 * c), odd = __shfl_sync(ALL_LANES, shrink, 8 * c + 4);
#pragma unroll
            for (u32 i = 0; i < D / 16; i++) acc[i][0] *= even, acc[i][1] *= odd, acc[i][2] *= even, acc[i][3] *= odd;
        }
#pragma unroll
        for (u32 s = 0; s < 4; s++) {
            score[s] = exp2f(score[s] - most);  // 0 past the end
            sum += score[s];
        }
        u32 hi[2], lo[2];
        split_pair(score[0], score[1], hi[0], lo[0]);
        split_pair(score[2], score[3], hi[1], lo[1]);
#pragma unroll
        for (u32 i = 0; i < VALUE; i++) {
            const u32 v[4] = {__byte_perm(value[0][i], value[1][i], 0x5410), __byte_perm(value[0][i], value[1][i], 0x7632),
                              __byte_perm(value[2][i], value[3][i], 0x5410), __byte_perm(value[2][i], value[3][i], 0x7632)};
            mma_f16(acc[i], v, hi[0], hi[1]);
            mma_f16(acc[i], v, lo[0], lo[1]);
        }
        if (first + MMA_ROUND < end) load_values(first + MMA_ROUND);
    }

    sum += __shfl_xor_sync(ALL_LANES, sum, 1);
    sum += __shfl_xor_sync(ALL_LANES, sum, 2);
    if (c == 0) warp_weight[warp][r] = make_float2(most, sum);
#pragma unroll
    for (u32 i = 0; i < VALUE; i++) {
        const u32 d = value_element<D>(i, r);
        *(float2*)&warp_acc[warp][mma_word<D>(2 * c, d)] = make_float2(acc[i][0], acc[i][2]);
        *(float2*)&warp_acc[warp][mma_word<D>(2 * c + 1, d)] = make_float2(acc[i][1], acc[i][3]);
    }
    __syncthreads();  // warp_acc, warp_weight: written by each warp, read by all

#pragma unroll 1
    for (u32 h = 0; h < heads; h++) {
        float now = LOWEST, total = 0, weight[SPLIT_WARPS];
#pragma unroll
        for (u32 w = 0; w < SPLIT_WARPS; w++) now = fmaxf(now, warp_weight[w][h].x);
#pragma unroll
        for (u32 w = 0; w < SPLIT_WARPS; w++) {
            weight[w] = exp2f(warp_weight[w][h].x - now);
            total += warp_weight[w][h].y * weight[w];
        }
        const u64 part = (first_head + h) * p.n_splits + split;
        for (u32 d = threadIdx.x; d < D; d += SPLIT_THREADS) {
            float v = 0;
#pragma unroll
            for (u32 w = 0; w < SPLIT_WARPS; w++) v += warp_acc[w][mma_word<D>(h, d)] * weight[w];
            if (n_parts == 1) p.out[(first_head + h) * D + d] = v / total;
            else p.partial[part * D + d] = v;
        }
        if (threadIdx.x == 0 && n_parts > 1) p.weights[part] = make_float2(now, total);
    }
    if (n_parts > 1 && is_last_part(p.arrived + u64(token) * gridDim.x + blockIdx.x, n_parts)) combine_parts(p, first_head, heads, n_parts);
}
