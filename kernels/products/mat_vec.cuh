// Matrix-vector products of 1 to TOKENS rows of x with pairs of rows of w (mat_job.cuh), all in floats
//
// Grid     x: TOKENS rows of x; y: VEC_PAIRS pairs of rows of w, a warp each. Blocks that read the same rows of w are
//          neighbours in time: all but the first find them in L2
// Layout   w in planes, a chunk of 16 bytes or less (types.cuh) per lane and load; rows of x contiguous, n_cols % 4 == 0
// Traffic  reads w once from DRAM, once more from L2 per further TOKENS rows of x; x once per block, from L2 for all blocks but the first
//
// x passes through shared memory in tiles: a tile has the columns of w that the lanes of a warp hold at a time. The weights of
// the next tile are loaded before those of this tile are used, and the first before the kernel waits for its inputs.
#pragma once
#include "products/mat_job.cuh"

constexpr u32 VEC_THREADS = VEC_WARPS * WARP;
static_assert(VEC_PAIRS == VEC_WARPS, "a warp has a pair of rows");

// Place of column c in a row of the tile: 4 floats of padding after every 32 let lanes that are 8, 16 or 32 columns apart read
// float4s without bank conflicts.
__host__ __device__ constexpr u32 padded(u32 c) { return c + c / 32 * 4; }

template <class T>
struct VecTile {
    static constexpr u32 COLS = WARP * T::STEPS * T::CHUNK;
    typename T::Raw raw[2][T::STEPS];

    // The warp's chunks of tile `tile` of a pair of rows that begin at chunks `row`; past the end of the row, zeros.
    __device__ __forceinline__ void load(const Segment& s, const u64 (&row)[2], u32 tile) {
        const u32 chunks = s.a.units * (32 / T::CHUNK);
#pragma unroll
        for (u32 step = 0; step < T::STEPS; step++) {
            const u32 chunk = (tile * T::STEPS + step) * WARP + threadIdx.x % WARP;
            raw[0][step] = raw[1][step] = {};
            if (chunk < chunks) {
                raw[0][step] = T::load(s.a, At(row[0] + chunk));
                raw[1][step] = T::load(s.b, At(row[1] + chunk));
            }
        }
    }
};

__device__ __forceinline__ float dot(float4 a, float4 b, float sum) {
    return fmaf(a.w, b.w, fmaf(a.z, b.z, fmaf(a.y, b.y, fmaf(a.x, b.x, sum))));
}

template <u32 TOKENS>
struct VecShared {
    float4 x[TOKENS * padded(1024) / 4];  // (TOKENS, padded(COLS)); no type's tile is wider
    float scratch[VEC_WARPS];
    float scale[TOKENS];  // of the norm
    u64 best[VEC_WARPS][TOKENS];
};

template <class T, class J, u32 TOKENS>
__device__ __forceinline__ void mat_vec(const typename J::Params& p, const Segment& s, VecShared<TOKENS>& shared) {
    using Tile = VecTile<T>;
    constexpr u32 COLS = Tile::COLS, STRIDE = padded(COLS) / 4;
    static_assert(COLS <= 1024, "a tile of x fits its shared memory");
    const u32 lane = threadIdx.x % WARP;
    const u32 pair = s.first + threadIdx.x / WARP;
    const u64 row[2] = {s.chunk<T>(pair, 0), s.chunk<T>(pair, 1)};

    Tile now, next;
    now.load(s, row, 0);
    wait_for_inputs();

    const u32 n_tokens = rows_in_use(p.step, p.input.of_outputs);
    const u32 first_token = blockIdx.x * TOKENS;
    if (first_token >= n_tokens) return;
    const u32 tokens = min(n_tokens - first_token, TOKENS);
    const u32 n = p.input.n_cols / 4;
    const auto x_of = [&](u32 t) { return (const float4*)p.input.x + u64(x_row<J>(p, first_token + t)) * n; };
    const float4* first = x_of(0);
    const bool normed = J::norm(p);
    const float4* norm = (const float4*)p.input.norm;

    if (normed) {
#pragma unroll 1
        for (u32 t = 0; t < tokens; t++) {
            const float scale = rms_scale<VEC_THREADS>(TOKENS == 1 ? first : x_of(t), p.input.n_cols, p.input.eps, shared.scratch);
            if (threadIdx.x == 0) shared.scale[t] = scale;
        }
        __syncthreads();  // scale: written by thread 0, read by all
    }

    float sum[2][TOKENS] = {};
    const u32 tiles = (p.input.n_cols + COLS - 1) / COLS;
    for (u32 tile = 0; tile < tiles; tile++) {
        next.load(s, row, tile + 1);  // zeros past the end
#pragma unroll 1
        for (u32 i = threadIdx.x; i < TOKENS * (COLS / 4); i += VEC_THREADS) {
            const u32 t = i / (COLS / 4), c = i % (COLS / 4), col = tile * (COLS / 4) + c;
            float4 v = make_float4(0, 0, 0, 0);
            if (t < tokens && col < n) {
                v = (TOKENS == 1 ? first : x_of(t))[col];
                if (normed) v = normalized(v, shared.scale[t], norm[col]);
            }
            shared.x[t * STRIDE + padded(4 * c) / 4] = v;
        }
        __syncthreads();  // x: written by all, read by all

#pragma unroll
        for (u32 step = 0; step < T::STEPS; step++) {
            const float4* tile_x = shared.x + padded((step * WARP + lane) * T::CHUNK) / 4;
#pragma unroll 1
            for (u32 part = 0; part < T::CHUNK / 4; part += unrolled(T::CHUNK)) {
#pragma unroll
                for (u32 g = part; g < part + unrolled(T::CHUNK); g++) {
                    const float4 a = T::decode(now.raw[0][step], g), b = T::decode(now.raw[1][step], g);
#pragma unroll
                    for (u32 t = 0; t < TOKENS; t++) {
                        const float4 v = tile_x[t * STRIDE + g];
                        sum[0][t] = dot(a, v, sum[0][t]);
                        sum[1][t] = dot(b, v, sum[1][t]);
                    }
                }
            }
        }
        now = next;
        __syncthreads();  // x: read by all, before the next tile overwrites it
    }

    float a = 0, b = 0;  // lane t takes the results of token t
#pragma unroll
    for (u32 t = 0; t < TOKENS; t++) {
        const float sum_a = warp_sum(sum[0][t]), sum_b = warp_sum(sum[1][t]);
        if (lane == t) a = sum_a, b = sum_b;
    }
    u64 best = 0;
    if (lane < tokens && pair < s.n_pairs) J::finish(p, best, s.id, first_token + lane, pair, a, b);
    if constexpr (J::HEAD) {
        if (!p.chosen) return;
        if (lane < TOKENS) shared.best[threadIdx.x / WARP][lane] = best;
        __syncthreads();  // best: written by a lane per row of each warp, read by a thread per row
        if (threadIdx.x >= tokens) return;
        for (u32 warp = 0; warp < VEC_WARPS; warp++) best = max(best, shared.best[warp][threadIdx.x]);
        J::choose(p, best, first_token + threadIdx.x, gridDim.y);
    }
}
