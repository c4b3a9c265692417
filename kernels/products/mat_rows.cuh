// Matrix products of 2 to 8 rows of x with pairs of rows of w (mat_job.cuh) on tensor cores, with the integers and in the order of
// mat_stream.cuh: each row has the bits that it has alone
//
// Grid     STREAM_BLOCKS per SM, or fewer if there are fewer tiles. A tile is ROWS_PAIRS pairs of rows of w; blocks take tiles in turn
// Layout   w in planes (types.cuh), whole chunks; x as staged by stage_i8x2; n_cols % 32 == 0
// Traffic  reads w once from DRAM; staged x once per tile, from L2 or L1 but for the first time; weights of T::ROWS_BUFFERS steps are under
//          way or in use, the first before the kernel waits for its inputs
//
// Of the 32 chunks of a step, warp v has chunks 4v .. 4v + 3, and sums of its own for each of the four:
//
//     warp              0                 1                 7
//     row a of pair 0   | 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | ... | 28 | 29 | 30 | 31 |   chunks; each: mma (16 rows of w, CHUNK) x (CHUNK, 8 columns)
//     ...
//     row b of pair 7
//
// The columns are the high and the low planes of four rows of x; with more rows there is a second mma. Sums of neighbouring chunks are added
// within the warp, those of warps through shared memory.
#pragma once
#include "ops/select.cuh"
#include "products/mat_job.cuh"
#include "products/staged_unit.cuh"
#include "shared/mma.cuh"

constexpr u32 ROWS_WARPS = STREAM_THREADS / WARP;
constexpr u32 CLASSES = WARP / ROWS_WARPS;  // chunks of a step that a warp has

static_assert(ROWS_TOKENS == 8 && ROWS_PAIRS == 8 && CLASSES == 4, "rows and columns of mma; two levels of sums within a warp");

// Results of rows 0 to 3 and of rows 4 to 7 of x: lane l has those of pair l / 4 and row l % 4 or 4 + l % 4.
struct RowsShared {
    float2 sums[ROWS_WARPS][2][WARP];  // (a, b) of a part
    // Of the thread that takes these results; in registers, they would be in the way while weights are multiplied.
    float2 total[2][WARP];  // of the parts so far
    u64 best[2][WARP];      // of a head
};

template <class T>
struct RowsBuffer {
    typename T::Raw raw[CLASSES][2];  // of rows a and b of pair lane / 4: word lane % 4 of 16 bytes of quants
};

// A lane's part of units of x, from one of them on.
struct UnitsOfX {
    const u8* words;   // elements 4 (lane % 4) .. + 3, and 16 further, of the plane lane / 4 % 2 of row lane / 8
    const u8* scales;  // of row lane % 4
    __device__ __forceinline__ UnitsOfX at(u32 unit) const { return {words + unit * STAGED_UNIT, scales + unit * STAGED_UNIT}; }
};

// Where it lies in a unit.
struct LaneOfX {
    u32 words, scales;
    __device__ __forceinline__ LaneOfX() {
        const u32 lane = threadIdx.x % WARP, j = lane % 4;
        words = lane / 8 * sizeof(StagedUnit::words[0]) + 16 * j + lane / 4 % 2 * 8;
        scales = sizeof(StagedUnit::words) + 8 * j;
        // Registers from here on: the compiler would add the parts of the sums anew for every unit.
        asm volatile("" : "+r"(words), "+r"(scales));
    }
    __device__ __forceinline__ UnitsOfX of(const u16* staged, u32 unit) const {
        return {(const u8*)staged + (unit * STAGED_UNIT + words), (const u8*)staged + (unit * STAGED_UNIT + scales)};
    }
};

// What a lane has of a unit of four rows of x: operands b of mma, of which column 2t is the high plane of row t and column 2t + 1 the low one,
// and the scales of row lane % 4, of which its results are.
struct UnitOfX {
    uint2 words;
    XScale scale;
    __device__ __forceinline__ UnitOfX(const UnitsOfX& x, u32 first_row, bool halves) {
        words = *(const uint2*)(x.words + first_row * sizeof(StagedUnit::words[0]));
        const u8* scales = x.scales + first_row * sizeof(StagedUnit::scales[0]);
        const float2 s = *(const float2*)scales;
        scale.d = s.x, scale.sum = s.y;
        if (!halves) return;
        const float2 h = *(const float2*)(scales + sizeof(StagedUnit::scales));
        scale.halves[0] = h.x, scale.halves[1] = h.y;
    }
};

// A chunk as ChunkWord loads it. Its words are the same; this says so where the compiler has lost it.
template <class R>
__device__ __forceinline__ auto of_one_word(R raw, int) -> decltype(raw.q.w, R(raw)) {
    raw.q.y = raw.q.z = raw.q.w = raw.q.x;
    return raw;
}
template <class R>
__device__ __forceinline__ R of_one_word(R raw, long) { return raw; }  // of types with less than 16 bytes of quants

// 256 * high + low in one instruction.
__device__ __forceinline__ int joined(int high, int low) {
    int sum;
    asm("mad.lo.s32 %0, %1, 256, %2;" : "=r"(sum) : "r"(high), "r"(low));
    return sum;
}

// sum += the products of chunk `of` of the pair's two rows with that of row first_row + lane % 4 of x.
template <class T>
__device__ __forceinline__ void add_tile(float2& sum, const RowsBuffer<T>& w, u32 of, const UnitsOfX& units, u32 first_row) {
    const u32 j = threadIdx.x % 4;
    typename T::Raw a = of_one_word(w.raw[of][0], 0), b = of_one_word(w.raw[of][1], 0);
    T::share(a, w.raw[0][0]), T::share(b, w.raw[0][1]);
    const UnitOfX x(units.at(of * T::CHUNK / 32), first_row, T::HALVES == 2);
#pragma unroll
    for (u32 half = 0; half < T::HALVES; half++) {
        int c[4];  // of row a with the high and the low plane, of row b
        if constexpr (T::CHUNK == 32 && T::HALVES == 1) {
            mma_s8(c, T::word(a, j), T::word(b, j), T::word(a, 4 + j), T::word(b, 4 + j), x.words.x, x.words.y);
        } else {
            // Of a chunk of 16 elements, the unit's half is that of its place.
            const u32 g = T::HALVES == 2 ? 4 * half + j : j, of_unit = T::HALVES == 2 ? half : of % 2;
            mma_s8(c, T::word(a, g), T::word(b, g), of_unit == 0 ? x.words.x : x.words.y);
        }
        sum.x = add_half<T>(a, joined(c[0], c[1]), x.scale, half, sum.x);
        sum.y = add_half<T>(b, joined(c[2], c[3]), x.scale, half, sum.y);
    }
}

// How a block goes through its tiles: part by part of their rows, and round by round of a part. A round is a step for each buffer.
struct RowsPlan {
    u32 last_tile, blocks;  // past the last tile; blocks that take tiles in turn
    u32 chunks, parts;      // of a row
    u32 part_steps;         // steps of a part
};

// The first `left` of the chunks that load_chunks loads. The others become the first: they meet scales of zero.
template <class T, u32 AHEAD, u32 I = 0>
__device__ __forceinline__ void load_some(typename T::Raw (&to)[CLASSES][2], const Segment& s, u64 a, u64 b, u32 place, ChunkWord word, u32 left) {
    if (I == 0 || I < left) {
        to[I][0] = T::load(s.a, At<AHEAD + I, (I > 0)>(a, place + I), word);
        to[I][1] = T::load(s.b, At<AHEAD + I, (I > 0)>(b, place + I), word);
    } else {
        to[I][0] = to[0][0], to[I][1] = to[0][1];
    }
    if constexpr (I + 1 < CLASSES) load_some<T, AHEAD, I + 1>(to, s, a, b, place, word, left);
}

// The loads of a block's weights.
template <class T, class J, u32 BUFFERS>
struct RowsLoads {
    u32 tile, part, step;  // of the round; the step counts from the part's first
    Segment s;
    // The warp's first chunk of the round, counted from the row's first and from the start of the planes, and how many of the part follow.
    u32 chunk, left;
    u64 a, b;

    __device__ __forceinline__ void seek(const typename J::Params& p) {
        s = J::segment(p, tile, ROWS_PAIRS);
        const u32 pair = s.first + threadIdx.x % WARP / 4;
        a = s.chunk<T>(pair, 0), b = s.chunk<T>(pair, 1);
        chunk = 0;
    }
    __device__ __forceinline__ void begin(const RowsPlan& plan) {
        const u32 before = chunk;
        chunk = (part * plan.part_steps + step) * WARP + threadIdx.x / WARP * CLASSES;
        left = chunk < plan.chunks && tile < plan.last_tile ? min(plan.chunks - chunk, (plan.part_steps - step) * WARP) : 0;
        a += chunk - before, b += chunk - before;
    }
    // The chunks of buffer BUFFER.
    template <u32 BUFFER>
    __device__ __forceinline__ void fetch(RowsBuffer<T>& to) const {
        constexpr u32 AHEAD = BUFFER * WARP;
        const u32 place = threadIdx.x / WARP * CLASSES;
        const ChunkWord word = {threadIdx.x % 4};
        if (left >= AHEAD + CLASSES) load_chunks<T, 1, AHEAD>(to.raw, s, a, b, place, word);
        else if (left > AHEAD) load_some<T, AHEAD>(to.raw, s, a, b, place, word, left - AHEAD);
    }
    __device__ __forceinline__ void end(const typename J::Params& p, const RowsPlan& plan) {
        step += BUFFERS;
        if (step < plan.part_steps) return;
        step = 0;
        if (++part < plan.parts) return;
        part = 0;
        tile += plan.blocks;
        if (tile < plan.last_tile) seek(p);
    }
};

// Adds the products of a step, of which the warp has chunks, with rows 0 to 3 of x, and if there are more, with rows 4 to 7.
template <class T>
__device__ __forceinline__ void add_step(float2 (&sum)[2][CLASSES], const RowsBuffer<T>& w, const UnitsOfX& x, bool more) {
    if (more) {
#pragma unroll
        for (u32 c = 0; c < CLASSES; c++) add_tile(sum[0][c], w, c, x, 0), add_tile(sum[1][c], w, c, x, 4);
    } else {
#pragma unroll
        for (u32 c = 0; c < CLASSES; c++) add_tile(sum[0][c], w, c, x, 0);
    }
}

template <class T, class J>
__device__ __forceinline__ void mat_rows(const typename J::Params& p, u32 first_tile, u32 last_tile, u32 block, u32 blocks, RowsShared& shared) {
    constexpr u32 BUFFERS = J::SECOND == NO_SEGMENT ? T::ROWS_BUFFERS : 1;  // a job of several segments has fewer registers to spare
    static_assert(BUFFERS == 1 || BUFFERS == 2, "each is written out");
    RowsPlan plan = {last_tile, blocks, p.input.n_cols / T::CHUNK, p.input.parts};
    plan.part_steps = ((plan.chunks + WARP - 1) / WARP + plan.parts - 1) / plan.parts;

    RowsLoads<T, J, BUFFERS> loads;
    loads.tile = min(first_tile + block, last_tile - 1), loads.part = loads.step = 0;
    loads.seek(p);
    loads.tile = first_tile + block;
    RowsBuffer<T> buffers[BUFFERS];  // each by its name: registers
#pragma unroll
    for (u32 i = 0; i < BUFFERS * 2 * CLASSES; i++)
        T::set_place(buffers[i / (2 * CLASSES)].raw[i / 2 % CLASSES][i % 2], threadIdx.x / WARP * CLASSES + i / 2 % CLASSES);
    loads.begin(plan);
    loads.template fetch<0>(buffers[0]);
    if constexpr (BUFFERS == 2) loads.template fetch<1>(buffers[1]);
    wait_for_inputs();
    const auto n_tokens = [&]() { return rows_in_use(p.step, p.input.of_outputs); };  // read where it is used: a register less
    if (n_tokens() == 0) return;
    const bool more = n_tokens() > 4;  // than four rows of x
    const LaneOfX lane_of_x;
    const u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const bool takes = warp <= more;  // results: of this pair of the tile and this row of x
    const u32 pair = lane / 4, token = 4 * warp + lane % 4;

    if (J::HEAD && takes) shared.best[warp][lane] = 0;
    while (loads.tile < last_tile) {
        for (u32 part = 0; part < plan.parts; part++) {
            float2 sum[2][CLASSES] = {};
            do {
                const UnitsOfX x = lane_of_x.of(p.input.staged, loads.chunk * T::CHUNK / 32);
                const u32 left = loads.left;
                loads.end(p, plan);
                loads.begin(plan);
                if (left > 0) add_step(sum, buffers[0], x, more);
                loads.template fetch<0>(buffers[0]);
                if constexpr (BUFFERS == 2) {
                    if (left > WARP) add_step(sum, buffers[1], x.at(T::CHUNK), more);
                    loads.template fetch<1>(buffers[1]);
                }
            } while (loads.step > 0);  // the next round is of the same part
            const auto of_classes = [](const float2 (&s)[CLASSES]) {
                return make_float2((s[0].x + s[1].x) + (s[2].x + s[3].x), (s[0].y + s[1].y) + (s[2].y + s[3].y));
            };
            shared.sums[warp][0][lane] = of_classes(sum[0]);
            if (more) shared.sums[warp][1][lane] = of_classes(sum[1]);
            __syncthreads();  // sums: written by all, read by the threads that take results
            if (takes) {
                float2 w[ROWS_WARPS];
#pragma unroll
                for (u32 i = 0; i < ROWS_WARPS; i++) w[i] = shared.sums[i][warp][lane];
#pragma unroll
                for (u32 n = 1; n < ROWS_WARPS; n *= 2) {
#pragma unroll
                    for (u32 i = 0; i < ROWS_WARPS; i += 2 * n) w[i].x += w[i + n].x, w[i].y += w[i + n].y;
                }
                float2& total = shared.total[warp][lane];
                total = part == 0 ? w[0] : make_float2(total.x + w[0].x, total.y + w[0].y);
            }
            __syncthreads();  // sums: read, before the next part's overwrite them
        }
        if (!takes || token >= n_tokens()) continue;
        const Segment of = J::segment(p, loads.tile - blocks, ROWS_PAIRS);  // the next round is of the next tile
        if (of.first + pair >= of.n_pairs) continue;
        const float2 total = shared.total[warp][lane];
        const float scale = p.input.row_scale[token];
        J::finish(p, shared.best[warp][lane], of.id, token, of.first + pair, total.x * scale, total.y * scale);
    }
    if constexpr (J::HEAD) {
        if (!p.chosen || !takes) return;
        const u64 best = largest<4>(shared.best[warp][lane]);
        if (pair == 0 && token < n_tokens()) J::choose(p, best, token, gridDim.x);
    }
}
