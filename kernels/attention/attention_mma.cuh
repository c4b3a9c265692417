// Attention of few tokens on tensor cores: slots divided among blocks as attention_part.cuh says, for caches of f16 and q8_0
//
// Grid     x: kv heads * ceil(group / MMA_COLUMNS); y: tokens; z: parts
// Layout   cache: kv.cuh; head_dim = D, up to 128: more would spill registers; attention_tile.cuh
// Traffic  reads each key and value once per MMA_COLUMNS query heads, those of several rows together if the rows have the same parts; from
//          global memory into the registers that mma takes
//
// A warp takes 16 slots at a time. Queries and weights are each a sum of two halves, hi + lo, so that products are as exact as floats:
//
//   scores (columns hi, columns lo; 8 slots) += q (16, 16) keys^T (16, 8)      hi and lo are 8 rows each of one product
//   acc (16 elements, 8 columns)             += values^T (16, 16) weights (16, 8)     once with hi, once with lo
//
// A column is a query head of a row; none affects the others. The scores of a lane are the weights that it must hold for the second
// product. Queries may have any size, as long as their products with keys are floats.
//
// What it costs by the simulator's counters: tests/it/decode_attention.rs. Registers and spills: ptx/resources.md.
#pragma once
#include "attention/attention_tile.cuh"

constexpr u32 MMA_COLUMNS = 8;  // of a product
constexpr u32 MMA_ROUND = SPLIT_WARPS * TILE_SLOTS;

static_assert(SPLIT_SLOTS % MMA_ROUND == 0, "the smallest part gives every warp its slots");

// Where an element of a column lies in shared memory: lanes that write 8 elements of 8 columns are in different banks.
template <class Tile, u32 D> __device__ __forceinline__ u32 mma_word(u32 column, u32 d) {
    return column * D + Tile::padding(column / 2) + d;
}

// Queries of a column in the rows that mma takes: hi in [0] and [2], lo in [1] and [3]. They are divided by a power of two, which is
// returned, so that the largest lies in 1 .. 16 whatever its size.
template <class Tile, u32 D>
__device__ __forceinline__ float load_queries(u32 (&q)[D / 16][4], const float* from, u32 c) {
    float4 x[D / 16];
    float most = 0;
#pragma unroll
    for (u32 i = 0; i < D / 16; i++) {
        x[i] = *(const float4*)(from + Tile::query_element(i, c));
        most = fmaxf(most, fmaxf(fmaxf(fabsf(x[i].x), fabsf(x[i].y)), fmaxf(fabsf(x[i].z), fabsf(x[i].w))));
    }
    most = fmaxf(most, __shfl_xor_sync(ALL_LANES, most, 1));
    most = fmaxf(most, __shfl_xor_sync(ALL_LANES, most, 2));
    // The exponent, rounded down to a multiple of 4: then the inverse of the largest is no denormal number.
    const u32 power = __float_as_uint(most) & 0x7e000000;
    const float inverse = __uint_as_float(0x7f000000 - power);
#pragma unroll
    for (u32 i = 0; i < D / 16; i++) {
        split_pair(x[i].x * inverse, x[i].y * inverse, q[i][0], q[i][1]);
        split_pair(x[i].z * inverse, x[i].w * inverse, q[i][2], q[i][3]);
    }
    return __uint_as_float(power);
}

template <class Tile, u32 D>
__device__ __forceinline__ void attention_mma(const AttentionParams& p) {
    __shared__ __align__(16) float warp_acc[SPLIT_WARPS][MMA_COLUMNS * D + Tile::padding(MMA_COLUMNS / 2)];
    __shared__ float2 warp_weight[SPLIT_WARPS][MMA_COLUMNS];  // largest score, sum of weights

    Part part;
    if (!find_part(p, MMA_COLUMNS, MMA_COLUMNS / (p.n_heads / p.kv.n_heads), part)) return wait_for_inputs();

    const u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, r = lane / 4, c = lane % 4;
    const u32 begin = part.start + warp * TILE_SLOTS;
    Tile tile(p.kv, part.kv_head, part.end);
    load_and_wait(p, part, part.start + MMA_ROUND, [&] { tile.load_keys(begin, r, c), tile.load_values(begin, r, c); });

    // Of column r, the last one in place of those that are not there: its slots, the queries, the largest score, and this lane's part of
    // the sum of weights. acc: of columns 2c and 2c + 1.
    const u32 column = min(r, part.rows * part.heads - 1), in_block = column / part.heads;
    const StepRow& row = part.row(p, in_block);
    const u32 end = row.kv_start + row.kv_len;
    u32 q[D / 16][4];
    const float* from = p.q + part.head(p, in_block, column % part.heads) * D;
    const float scale = load_queries<Tile, D>(q, from, c) * (p.scale * LOG2_E);
    float acc[D / 16][4] = {}, most = LOWEST, sum = 0;
#pragma unroll 1
    for (u32 first = begin; first < part.end; first += MMA_ROUND) {  // the same rounds for all lanes of a warp
        float score[4];  // of slots 2c, 2c + 1, 2c + 8, 2c + 9
        tile.scores(q, score);
        if (first + MMA_ROUND < part.end) tile.load_keys(first + MMA_ROUND, r, c);

        float now = most;
#pragma unroll
        for (u32 s = 0; s < 4; s++) {
            const bool seen = first + 2 * c + s % 2 + s / 2 * 8 < end;
            score[s] = seen ? score[s] * scale : -__int_as_float(0x7f800000);
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
        tile.add(acc, score);
        if (first + MMA_ROUND < part.end) tile.load_values(first + MMA_ROUND, r, c);
    }

    sum += __shfl_xor_sync(ALL_LANES, sum, 1);
    sum += __shfl_xor_sync(ALL_LANES, sum, 2);
    if (c == 0) warp_weight[warp][r] = make_float2(most, sum * Tile::UNIT);
#pragma unroll
    for (u32 i = 0; i < D / 16; i++) {
        const u32 d = Tile::value_element(i, r);
        *(float2*)&warp_acc[warp][mma_word<Tile, D>(2 * c, d)] = make_float2(acc[i][0], acc[i][2]);
        *(float2*)&warp_acc[warp][mma_word<Tile, D>(2 * c + 1, d)] = make_float2(acc[i][1], acc[i][3]);
    }
    __syncthreads();  // warp_acc, warp_weight: written by each warp, read by all

#pragma unroll 1
    for (u32 i = warp; i < part.rows * part.heads; i += SPLIT_WARPS) {  // a warp a column
        const StepRow& row = part.row(p, i / part.heads);
        const bool only = row.kv_len <= part.slots;
        if (part.start >= row.kv_start + row.kv_len) continue;  // the part has slots of longer rows alone
        const u64 head = part.head(p, i / part.heads, i % part.heads);
        float now = LOWEST, total = 0, weight[SPLIT_WARPS];
#pragma unroll
        for (u32 w = 0; w < SPLIT_WARPS; w++) now = fmaxf(now, warp_weight[w][i].x);
#pragma unroll
        for (u32 w = 0; w < SPLIT_WARPS; w++) {
            weight[w] = exp2f(warp_weight[w][i].x - now);
            total += warp_weight[w][i].y * weight[w];
        }
#pragma unroll
        for (u32 d = 2 * lane; d < D; d += 2 * WARP) {
            float2 v = make_float2(0, 0);
#pragma unroll
            for (u32 w = 0; w < SPLIT_WARPS; w++) {
                const float2 x = *(const float2*)&warp_acc[w][mma_word<Tile, D>(i, d)];
                v.x += x.x * weight[w], v.y += x.y * weight[w];
            }
            if (only) *(float2*)(p.out + head * D + d) = make_float2(v.x / total, v.y / total);
            else *(float2*)(p.partial + (head * p.n_splits + part.index) * D + d) = v;
        }
        if (lane == 0 && !only) p.weights[head * p.n_splits + part.index] = make_float2(now, total);
    }
    finish_part<D>(p, part);
}
