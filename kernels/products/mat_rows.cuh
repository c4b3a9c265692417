// Matrix products of 2 to 8 rows of x with pairs of rows of w (mat_job.cuh) on tensor cores, with the integers and in the order of
// mat_stream.cuh: each row has the bits that it has alone
//
// Grid     STREAM_BLOCKS per SM, or fewer if there are fewer tiles. A tile is ROWS_PAIRS pairs of rows of w; blocks take tiles in turn
// Layout   w in planes (types.cuh), whole chunks; x as staged by stage_i8x2; n_cols % 32 == 0
// Traffic  reads w once from DRAM; staged x once per tile, from L2 or L1 but for the first time
//
// Of the 32 chunks of a step, warp v has chunks 4v .. 4v + 3, and sums of its own for each of the four:
//
//     warp              0                 1                 7
//     row a of pair 0   | 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | ... | 28 | 29 | 30 | 31 |   chunks; each: mma (16 rows of w, CHUNK) x (CHUNK, 8 rows of x),
//     ...                                                                              high and low plane
//     row b of pair 7
//
// Sums of neighbouring chunks are added within the warp, those of warps through shared memory.
#pragma once
#include "products/mat_job.cuh"
#include "products/staged_unit.cuh"
#include "shared/mma.cuh"

constexpr u32 ROWS_WARPS = STREAM_THREADS / WARP;
constexpr u32 CLASSES = WARP / ROWS_WARPS;  // chunks of a step that a warp has

static_assert(ROWS_TOKENS == 8 && ROWS_PAIRS == 8 && CLASSES == 4, "one mma per plane and chunk; two levels of sums within a warp");

struct RowsShared {
    float2 sums[ROWS_WARPS][ROWS_PAIRS][ROWS_TOKENS];  // (a, b) of a part
};

template <class T>
struct RowsBuffer {
    typename T::Raw raw[CLASSES][2];  // of rows a and b of pair lane / 4: word lane % 4 of 16 bytes of quants
};

// Adds the products of a chunk of the pair's two rows with that of 8 rows of x: sum[0], sum[1]: row a with rows 2(lane % 4) and + 1
// of x; sum[2], sum[3]: row b.
template <class T>
__device__ __forceinline__ void add_tile(float (&sum)[4], const typename T::Raw (&raw)[2], const StagedUnit& x, u32 half) {
    const u32 lane = threadIdx.x % WARP, j = lane % 4;
    const uint4 words = ((const uint4*)x.words)[lane];  // high, high + 16, low, low + 16
    const float4 scales = ((const float4*)x.scales)[j];
    XScale scale[2] = {{scales.x, scales.y}, {scales.z, scales.w}};
    int total[4][T::HALVES];
    if constexpr (T::CHUNK == 32 && T::HALVES == 1) {
        int c[4] = {};
        const u32 a0 = T::word(raw[0], j), a1 = T::word(raw[1], j), a2 = T::word(raw[0], 4 + j), a3 = T::word(raw[1], 4 + j);
        mma_s8(c, a0, a1, a2, a3, words.x, words.y);
#pragma unroll
        for (u32 i = 0; i < 4; i++) c[i] *= 256;
        mma_s8(c, a0, a1, a2, a3, words.z, words.w);
#pragma unroll
        for (u32 i = 0; i < 4; i++) total[i][0] = c[i];
    } else {
        // Of a chunk of 16 elements, the unit's half is `half`; of one of 32, its halves are apart.
#pragma unroll
        for (u32 h = 0; h < T::HALVES; h++) {
            int c[4] = {};
            const bool second = T::HALVES == 2 ? h == 1 : half == 1;
            const u32 g = T::HALVES == 2 ? 4 * h + j : j;
            const u32 a0 = T::word(raw[0], g), a1 = T::word(raw[1], g);
            mma_s8(c, a0, a1, second ? words.y : words.x);
#pragma unroll
            for (u32 i = 0; i < 4; i++) c[i] *= 256;
            mma_s8(c, a0, a1, second ? words.w : words.z);
#pragma unroll
            for (u32 i = 0; i < 4; i++) total[i][h] = c[i];
        }
        if (T::HALVES == 2) {
            const float4 halves = ((const float4*)x.halves)[j];
            scale[0].halves[0] = halves.x, scale[0].halves[1] = halves.y, scale[1].halves[0] = halves.z, scale[1].halves[1] = halves.w;
        }
    }
#pragma unroll
    for (u32 i = 0; i < 4; i++) sum[i] = add_chunk<T>(raw[i / 2], total[i], scale[i % 2], sum[i]);
}

template <class T, class J>
__device__ __forceinline__ void mat_rows(const typename J::Params& p, u32 first_tile, u32 last_tile, u32 block, u32 blocks, RowsShared& shared) {
    const u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const u32 parts = p.input.parts;
    const u32 chunks = p.input.n_cols / T::CHUNK, steps = (chunks + WARP - 1) / WARP;
    const u32 part_steps = (steps + parts - 1) / parts;
    constexpr bool AHEAD = T::ROWS_AHEAD && J::SECOND == NO_SEGMENT;  // a job of several segments has fewer registers to spare
    const ChunkWord part_of_chunk = {lane % 4};

    u32 load_tile = first_tile + block, load_step = 0;
    Segment s = J::segment(p, min(load_tile, last_tile - 1), ROWS_PAIRS);
    u64 row[2] = {s.chunk<T>(s.first + lane / 4, 0), s.chunk<T>(s.first + lane / 4, 1)};
    RowsBuffer<T> now, next;
    const auto fetch = [&](RowsBuffer<T>& to) {
#pragma unroll
        for (u32 i = 0; i < CLASSES; i++) {
            const u32 place = CLASSES * warp + i, chunk = load_step * WARP + place;
            const u32 at = within(chunk, chunks, place);
            to.raw[i][0] = T::load(s.a, At(row[0] + at, 0, place), part_of_chunk);
            to.raw[i][1] = T::load(s.b, At(row[1] + at, 0, place), part_of_chunk);
        }
        if (++load_step < steps) return;
        load_step = 0;
        load_tile += blocks;
        if (load_tile >= last_tile) return;
        s = J::segment(p, load_tile, ROWS_PAIRS);
        row[0] = s.chunk<T>(s.first + lane / 4, 0), row[1] = s.chunk<T>(s.first + lane / 4, 1);
    };
#pragma unroll
    for (u32 i = 0; i < 2 * CLASSES; i++) {
        T::set_place(now.raw[i / 2][i % 2], CLASSES * warp + i / 2);
        T::set_place(next.raw[i / 2][i % 2], CLASSES * warp + i / 2);
    }
    if (load_tile < last_tile) fetch(now);
    wait_for_inputs();
    const u32 n_tokens = rows_in_use(p.step, p.input.of_outputs);
    if (n_tokens == 0) return;

    const StagedUnit* x = (const StagedUnit*)p.input.staged;
    for (u32 tile = first_tile + block; tile < last_tile; tile += blocks) {
        float2 total = make_float2(0, 0);  // of thread t: row t % ROWS_TOKENS of x, pair t / ROWS_TOKENS
        for (u32 part = 0; part < parts; part++) {
            float sum[CLASSES][4] = {};
            const u32 end = min((part + 1) * part_steps, steps);
            for (u32 step = part * part_steps; step < end; step++) {
                const bool more = load_tile < last_tile;
                if (AHEAD && more) fetch(next);
#pragma unroll
                for (u32 i = 0; i < CLASSES; i++) {
                    const u32 chunk = step * WARP + CLASSES * warp + i;
                    if (chunk < chunks) add_tile<T>(sum[i], now.raw[i], x[chunk * T::CHUNK / 32], chunk % 2);
                }
                if (!more) continue;
                if (AHEAD) now = next;
                else fetch(now);
            }
            float v[4];
#pragma unroll
            for (u32 i = 0; i < 4; i++) v[i] = (sum[0][i] + sum[1][i]) + (sum[2][i] + sum[3][i]);
            *(float4*)&shared.sums[warp][lane / 4][lane % 4 * 2] = make_float4(v[0], v[2], v[1], v[3]);
            __syncthreads();  // sums: written by all, read by the threads that have results
            if (threadIdx.x < ROWS_PAIRS * ROWS_TOKENS) {
                float2 w[ROWS_WARPS];
#pragma unroll
                for (u32 i = 0; i < ROWS_WARPS; i++) w[i] = (&shared.sums[i][0][0])[threadIdx.x];
                const auto of_warps = [](const float (&w)[ROWS_WARPS]) {
                    return ((w[0] + w[1]) + (w[2] + w[3])) + ((w[4] + w[5]) + (w[6] + w[7]));
                };
                float a[ROWS_WARPS], b[ROWS_WARPS];
#pragma unroll
                for (u32 i = 0; i < ROWS_WARPS; i++) a[i] = w[i].x, b[i] = w[i].y;
                const float2 sum_of_part = make_float2(of_warps(a), of_warps(b));
                total.x = part == 0 ? sum_of_part.x : total.x + sum_of_part.x;
                total.y = part == 0 ? sum_of_part.y : total.y + sum_of_part.y;
            }
            __syncthreads();  // sums: read, before the next part overwrites them
        }
        const Segment of = J::segment(p, tile, ROWS_PAIRS);
        const u32 pair = of.first + threadIdx.x / ROWS_TOKENS, token = threadIdx.x % ROWS_TOKENS;
        if (threadIdx.x < ROWS_PAIRS * ROWS_TOKENS && token < n_tokens && pair < of.n_pairs) {
            const float scale = J::NORM ? p.input.row_scale[token] : 1.0f;
            J::finish(p, of.id, token, pair, total.x * scale, total.y * scale);
        }
    }
}
