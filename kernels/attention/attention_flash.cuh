// Attention of many tokens on tensor cores, the softmax online (FlashAttention-2; Dao, 2023)
//
// Grid     x: kv heads; y: tiles of FLASH_ROWS / group tokens, all query heads of the group: FLASH_ROWS rows, 16 per warp
// Layout   cache of f16 or q8_0: kv.cuh; head_dim = D, a multiple of 16; group up to FLASH_ROWS; scaled queries up to 65504
// Traffic  reads keys and values once per tile of tokens, from the first slot that any of them attends to to the last
//
// Scaled queries and the weights of the softmax are rounded to f16; so are q8_0 keys and values; sums are floats.
#pragma once
#include "attention/kv.cuh"
#include "attention/softmax.cuh"

// One of the two rows that a lane holds parts of: a query head of a token.
struct FlashRow {
    u64 at;          // element of q and out where it begins
    u32 start, end;  // slots that it attends to; 0, 0: not a row of the tile or of the step
};

__device__ __forceinline__ FlashRow flash_row(const AttentionParams& p, u32 r, u32 D) {
    const u32 group = p.n_heads / p.kv.n_heads, tokens = FLASH_ROWS / group;
    const u32 token = blockIdx.y * tokens + r / group;
    if (r / group >= tokens || token >= p.step->n_tokens) return {0, 0, 0};
    const StepRow& row = step_row(p.step, token);
    const u64 head = u64(token) * p.n_heads + blockIdx.x * group + r % group;
    return {head * D, row.kv_start, row.kv_start + row.kv_len};
}

// Copies slots start .. start + FLASH_SLOTS of one head to shared memory; slots from `end` on become zeros.
template <class C, u32 D, u32 STRIDE>
__device__ __forceinline__ void copy_slots(__half (*to)[STRIDE], const typename C::Rows& head, u32 start, u32 end) {
    constexpr u32 PIECES = D / PIECE;
#pragma unroll C::AT_ONCE
    for (u32 i = threadIdx.x; i < FLASH_SLOTS * PIECES; i += FLASH_THREADS) {
        const u32 slot = i / PIECES, piece = i % PIECES * PIECE;
        const bool valid = start + slot < end;
        C::stage(&to[slot][piece], head, u64(valid ? start + slot : start) * D + piece, valid);
    }
    copy_commit();
}

template <class C, u32 D>
__device__ __forceinline__ void attention_flash(const AttentionParams& p) {
    static_assert(D % 16 == 0 && D % PIECE == 0, "heads are whole fragments");
    static_assert(FLASH_ROWS == FLASH_THREADS / WARP * 16, "16 rows per warp");
    static_assert(FLASH_SLOTS % 16 == 0, "slots are whole fragments");
    constexpr u32 STRIDE = D + 8;  // 16 bytes of padding put 8 rows into different banks
    constexpr u32 TILES = FLASH_SLOTS / 8;
    __shared__ __align__(16) __half k[FLASH_SLOTS][STRIDE];
    __shared__ __align__(16) __half v[FLASH_SLOTS][STRIDE];
    __shared__ uint2 range[FLASH_THREADS / WARP];  // first slot, last + 1
    wait_for_inputs();
    if (blockIdx.y * (FLASH_ROWS / (p.n_heads / p.kv.n_heads)) >= p.step->n_tokens) return;

    const u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, col = lane % 4 * 2;
    const FlashRow rows[2] = {flash_row(p, warp * 16 + lane / 4, D), flash_row(p, warp * 16 + lane / 4 + 8, D)};

    u32 start = 0xffffffff, end = 0;
#pragma unroll
    for (u32 i = 0; i < 2; i++) {
        if (rows[i].end > 0) start = min(start, rows[i].start), end = max(end, rows[i].end);
    }
    for (u32 other = WARP / 2; other > 0; other /= 2) {
        start = min(start, __shfl_xor_sync(ALL_LANES, start, other));
        end = max(end, __shfl_xor_sync(ALL_LANES, end, other));
    }
    if (lane == 0) range[warp] = make_uint2(start, end);
    __syncthreads();  // range: written by each warp's lane 0, read by all
    for (u32 w = 0; w < FLASH_THREADS / WARP; w++) start = min(start, range[w].x), end = max(end, range[w].y);

    // Fragments of the scaled queries.
    u32 q[D / 16][4];
    const float scale = p.scale * LOG2_E;
#pragma unroll
    for (u32 d = 0; d < D / 16; d++) {
#pragma unroll
        for (u32 i = 0; i < 4; i++) {
            const FlashRow& row = rows[i % 2];
            const float2 x = row.end > 0 ? *(const float2*)(p.q + row.at + 16 * d + i / 2 * 8 + col) : make_float2(0, 0);
            q[d][i] = half_pair(x.x * scale, x.y * scale);
        }
    }

    const u64 head_start = u64(blockIdx.x) * p.kv.n_slots * D;
    const typename C::Rows keys = C::rows(p.kv, p.kv.keys, head_start), values = C::rows(p.kv, p.kv.values, head_start);
    float acc[D / 8][4] = {}, most[2] = {LOWEST, LOWEST}, sum[2] = {};

    copy_slots<C, D, STRIDE>(k, keys, start, end);
#pragma unroll 1
    for (u32 tile = start; tile < end; tile += FLASH_SLOTS) {
        copy_slots<C, D, STRIDE>(v, values, tile, end);
        copy_wait<1>();
        __syncthreads();  // k: copied by all, read by all

        float score[TILES][4] = {};
#pragma unroll
        for (u32 d = 0; d < D / 16; d++) {
#pragma unroll
            for (u32 n = 0; n < TILES; n += 2) {
                u32 b[4];
                load_matrices(b, &k[8 * n + lane % 8 + lane / 16 * 8][16 * d + lane / 8 % 2 * 8]);
                mma_f16(score[n], q[d], b[0], b[1]);
                mma_f16(score[n + 1], q[d], b[2], b[3]);
            }
        }
        __syncthreads();  // k: read by all, before the next tile overwrites it
        if (tile + FLASH_SLOTS < end) copy_slots<C, D, STRIDE>(k, keys, tile + FLASH_SLOTS, end);
        else copy_commit();  // an empty group in its place: copy_wait<1> below waits for v

        // Softmax: element i of a fragment belongs to row i / 2, slot tile + 8n + col + i % 2. A row lies in 4 lanes.
        float now[2] = {most[0], most[1]};
#pragma unroll
        for (u32 n = 0; n < TILES; n++) {
#pragma unroll
            for (u32 i = 0; i < 4; i++) {
                const u32 slot = tile + 8 * n + col + i % 2;
                const bool seen = slot >= rows[i / 2].start && slot < rows[i / 2].end;
                score[n][i] = seen ? score[n][i] : -__int_as_float(0x7f800000);
                now[i / 2] = fmaxf(now[i / 2], score[n][i]);
            }
        }
#pragma unroll
        for (u32 r = 0; r < 2; r++) {
            now[r] = fmaxf(now[r], __shfl_xor_sync(ALL_LANES, now[r], 1));
            now[r] = fmaxf(now[r], __shfl_xor_sync(ALL_LANES, now[r], 2));
            const float shrink = exp2f(most[r] - now[r]);
            most[r] = now[r];
            sum[r] *= shrink;
#pragma unroll
            for (u32 d = 0; d < D / 8; d++) acc[d][2 * r] *= shrink, acc[d][2 * r + 1] *= shrink;
        }
#pragma unroll
        for (u32 n = 0; n < TILES; n++) {
#pragma unroll
            for (u32 i = 0; i < 4; i++) {
                score[n][i] = exp2f(score[n][i] - most[i / 2]);  // 0 for slots not seen
                sum[i / 2] += score[n][i];
            }
        }

        copy_wait<1>();
        __syncthreads();  // v: copied by all, read by all
#pragma unroll
        for (u32 n = 0; n < TILES; n += 2) {
            const u32 weights[4] = {half_pair(score[n][0], score[n][1]), half_pair(score[n][2], score[n][3]),
                                    half_pair(score[n + 1][0], score[n + 1][1]), half_pair(score[n + 1][2], score[n + 1][3])};
#pragma unroll
            for (u32 d = 0; d < D / 8; d += 2) {
                u32 b[4];
                load_matrices_transposed(b, &v[8 * n + lane % 16][8 * d + lane / 16 * 8]);
                mma_f16(acc[d], weights, b[0], b[1]);
                mma_f16(acc[d + 1], weights, b[2], b[3]);
            }
        }
        __syncthreads();  // v: read by all, before the next tile overwrites it
    }

#pragma unroll
    for (u32 r = 0; r < 2; r++) {
        sum[r] += __shfl_xor_sync(ALL_LANES, sum[r], 1);
        sum[r] += __shfl_xor_sync(ALL_LANES, sum[r], 2);
        if (rows[r].end == 0) continue;
        const float scale_out = 1.0f / sum[r];
#pragma unroll
        for (u32 d = 0; d < D / 8; d++) {
            *(float2*)(p.out + rows[r].at + 8 * d + col) = make_float2(acc[d][2 * r] * scale_out, acc[d][2 * r + 1] * scale_out);
        }
    }
}
