// Matrix-vector products of one row of x with pairs of rows of w (mat_job.cuh): x as 16-bit integers (activations.cuh), w as the
// integers that it is made of, sums of their products exact within a chunk, and in floats from chunk to chunk
//
// Grid     STREAM_BLOCKS per SM, or fewer if there are fewer pairs. A block has a run of pairs, as long as the others' up to one; an
//          item is one pair or, of `parts` parts, the columns of one part of it. A block's warps take items in turn
// Layout   w in planes (types.cuh), whole chunks; x contiguous, n_cols % 32 == 0
// Traffic  reads w once from DRAM; x (and the norm's weights) once per block, from L2 for all blocks but the first; weights of 2 x
//          T::LOADED steps per lane are under way while others are multiplied, the first before the kernel waits for its inputs
//
// A step is 32 neighbouring chunks of a row, one per lane:
//
//     step             0                     1
//     row 2i    | lane 0 | lane 1 | ... | lane 0 | lane 1 | ...       sum of lane l: chunks l, 32 + l, 64 + l, ... in this order
//     row 2i+1  | lane 0 | lane 1 | ... | lane 0 | lane 1 | ...
//     x         [ two planes of bytes and the scales of the whole row, in shared memory ]
//
// The lanes' sums are added by neighbours first: ((0 + 1) + (2 + 3)) + ..., then the sums of parts in their order. mat_rows.cuh adds in
// the same order, so that a row has the same results alone and among others.
#pragma once
#include "products/activations.cuh"
#include "products/mat_job.cuh"

constexpr u32 STREAM_WARPS = STREAM_THREADS / WARP;
constexpr u32 ROUNDS = 60;         // rounds of items whose results fit shared memory
constexpr u32 X_PLANE = WARP;      // uint4s from plane to plane

struct StreamShared {
    uint4 x[X_UNITS / WARP * 4 * X_PLANE];  // of each 32 units: high and low plane of elements 0 .. 15, then of 16 .. 31 (types with chunks
                                            // of 16: of 16 units, high and low planes of the 32 halves)
    float scales[4][X_UNITS + 8];           // XScale of a unit, number by number; 32 bytes of padding put the four into different banks
    float2 results[ROUNDS][STREAM_WARPS];   // (a, b) of each item
    float squares[STREAM_WARPS];
};

// Where the 16 bytes of half `half` of a unit lie in the high plane of x; those of the low plane are X_PLANE further.
template <u32 CHUNK>
__device__ __forceinline__ u32 x_place(u32 unit, u32 half) {
    return CHUNK == 32 ? unit / 32 * (4 * X_PLANE) + half * (2 * X_PLANE) + unit % 32
                       : unit / 16 * (2 * X_PLANE) + unit % 16 * 2 + half;
}

// Brings units first .. first + units of a row of x to shared memory, with scales of zero from n_cols on. Adds the squares of the thread's elements to
// `squares` if the row is to be normalized.
template <class T>
__device__ __forceinline__ void stage_x(const Input& in, u32 row, bool norm, u32 first, u32 units, float& squares, StreamShared& shared) {
    constexpr u32 CHUNK = T::CHUNK;
    constexpr u32 AT_ONCE = STREAM_THREADS / 4;  // units
    constexpr u32 FURTHER = AT_ONCE / CHUNK * (CHUNK / 8 * X_PLANE) * 4;  // words from one unit of a thread to the next
    const u32 part = threadIdx.x % 4, unit = threadIdx.x / 4;
    // Lanes whose words lie in the same banks as those of others store them in another order.
    const bool swapped = CHUNK == 32 ? part / 2 : threadIdx.x / 16 % 2;
    XLane lane(in, row, first + unit, swapped);
    u32* words = (u32*)(shared.x + x_place<CHUNK>(unit, part / 2)) + part % 2 + 2 * swapped;
    float* scale = &shared.scales[part][unit];
#pragma unroll 1
    for (u32 at = first + unit; at < first + units; at += AT_ONCE) {
        float v[8];
        lane.load(v, norm, squares);
        XPiece piece;
        piece.template make<T::OFFSET || T::MIN>(v);
        words[0] = piece.high[0];
        words[4 * X_PLANE] = piece.low[0];
        words[int(lane.other)] = piece.high[1];
        words[int(lane.other) + int(4 * X_PLANE)] = piece.low[1];
        *scale = lane.live() ? piece.kept : 0.0f;
        lane.advance(AT_ONCE);
        words += FURTHER, scale += AT_ONCE;
    }
}

// Adds the squares of the thread's elements of the whole row, in the order of stage_x.
__device__ __forceinline__ void add_squares(const Input& in, u32 row, float& squares) {
    constexpr u32 AT_ONCE = STREAM_THREADS / 4;
    XLane lane(in, row, threadIdx.x / 4, false);
#pragma unroll 1
    for (; lane.live(); lane.advance(AT_ONCE)) {
        float v[8];
        lane.load(v, true, squares);
    }
}

// Stores the sums of squares of a block's warps.
__device__ __forceinline__ void store_squares(float squares, float (&to)[STREAM_WARPS]) {
    squares = warp_sum(squares);
    if (threadIdx.x % WARP == 0) to[threadIdx.x / WARP] = squares;
}

// The chunk of x that a lane multiplies.
template <class T>
struct XChunk {
    static constexpr u32 WORDS = T::CHUNK / 4;
    u32 high[WORDS], low[WORDS];
    XScale scale;

    // Of step `step` + `further` in shared memory.
    __device__ __forceinline__ XChunk(const StreamShared& shared, u32 lane, u32 step, u32 further) {
        constexpr u32 UNITS = T::CHUNK;  // of a step
        const uint4* at = shared.x + step * (T::CHUNK / 8 * X_PLANE) + lane + further * (T::CHUNK / 8 * X_PLANE);
#pragma unroll
        for (u32 half = 0; half < T::CHUNK / 16; half++) {
            const uint4 h = at[half * (2 * X_PLANE)], l = at[half * (2 * X_PLANE) + X_PLANE];
#pragma unroll
            for (u32 i = 0; i < 4; i++) high[4 * half + i] = word(h, i), low[4 * half + i] = word(l, i);
        }
        const u32 unit = step * UNITS + lane * UNITS / WARP;
        scale.d = (shared.scales[0] + unit)[further * UNITS];
        scale.sum = (shared.scales[1] + unit)[further * UNITS];
        scale.halves[0] = (shared.scales[2] + unit)[further * UNITS];
        scale.halves[1] = (shared.scales[3] + unit)[further * UNITS];
    }
};

// acc + the product of a chunk of w with one of x.
template <class T>
__device__ __forceinline__ float add_product(const typename T::Raw& raw, const XChunk<T>& x, float acc) {
    constexpr u32 EACH = XChunk<T>::WORDS / T::HALVES;
#pragma unroll
    for (u32 half = 0; half < T::HALVES; half++) {
        int sum = 0, w[EACH];
#pragma unroll
        for (u32 i = 0; i < EACH; i++) {
            w[i] = int(T::word(raw, half * EACH + i));
            sum = __dp4a(w[i], int(x.high[half * EACH + i]), sum);
        }
        sum *= 256;
#pragma unroll
        for (u32 i = 0; i < EACH; i++) sum = __dp4a(w[i], int(x.low[half * EACH + i]), sum);
        acc = add_half<T>(raw, sum, x.scale, half, acc);
    }
    return acc;
}

// What a lane loads at a time, and how many such loads are under way: as the type says, but less where a job of several segments, or
// of two types, needs registers too. The items of such a job have few steps.
template <class T, class J, bool TWO_TYPES>
struct Loads {
    static constexpr u32 STEPS = J::SECOND == NO_SEGMENT ? T::LOADED : 2;
    static constexpr u32 BUFFERS = TWO_TYPES ? 2 : STEPS < T::LOADED ? 3 : T::BUFFERS;
};

// Chunks of some steps of each of two rows.
template <class T, u32 STEPS>
struct Buffer {
    typename T::Raw raw[STEPS][2];
};

// A warp's way through its items.
struct Items {
    u32 pair, end;          // of the item, and past the block's last
    u32 step, first, last;  // the first step of what comes next, of the item, and past the item's last
    u32 stride;             // pairs from one item of the warp to the next
    u32 length;             // steps of an item, its last buffer filled up

    __device__ __forceinline__ bool live() const { return pair < end; }
    // Goes on by some steps. Returns whether the item has ended.
    __device__ __forceinline__ bool advance(u32 steps) {
        step += steps;
        if (step < first + length) return false;
        step = first;
        pair += stride;
        return true;
    }
};

// Sums of a and b over the warp, neighbours first: that of a in even lanes, that of b in odd ones.
__device__ __forceinline__ float sum_of_two(float a, float b) {
    const bool odd = threadIdx.x % 2;
    float v = (odd ? b : a) + lane_xor<1>(odd ? a : b);
    v += lane_xor<2>(v);
    v += lane_xor<4>(v);
    v += lane_xor<8>(v);
    return v + lane_xor<16>(v);
}

// The pairs first_pair .. last_pair of the job, divided among `blocks` blocks, of which this is number `block`.
template <class T, class J, bool TWO_TYPES>
__device__ __forceinline__ void mat_stream(const typename J::Params& p, u32 first_pair, u32 last_pair, u32 block, u32 blocks,
                                           StreamShared& shared) {
    constexpr u32 STEPS = Loads<T, J, TWO_TYPES>::STEPS, BUFFERS = Loads<T, J, TWO_TYPES>::BUFFERS;
    const u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const u32 parts = p.input.parts, n_pairs = last_pair - first_pair;
    const u32 begin = first_pair + u32(u64(n_pairs) * block / blocks), end = first_pair + u32(u64(n_pairs) * (block + 1) / blocks);
    const u32 chunks = p.input.n_cols / T::CHUNK, steps = (chunks + WARP - 1) / WARP;
    const u32 part_steps = (steps + parts - 1) / parts;
    const u32 units = steps * T::CHUNK;  // of x, filled up to whole steps
    const bool whole = units <= X_UNITS;
    // A row that does not fit passes through shared memory in pieces of all buffers; parts is 1.
    constexpr u32 PIECE = BUFFERS * STEPS;
    const u32 filled = whole ? STEPS : PIECE;

    Items load;
    load.pair = begin + warp / parts;
    load.end = end;
    load.first = load.step = warp % parts * part_steps;
    load.last = min(load.first + part_steps, steps);
    load.stride = STREAM_WARPS / parts;
    load.length = (part_steps + filled - 1) / filled * filled;
    const u32 full = min(load.last, chunks / WARP);  // past the last step in which all lanes have a chunk
    Items now = load;

    Segment s = J::segment(p, min(load.pair, last_pair - 1), 1);
    u64 row[2] = {s.chunk<T>(s.first, 0), s.chunk<T>(s.first, 1)};
    // Where all rows are of one segment, those of the next item are found by adding.
    const u64 next_rows = u64(load.stride * s.stride) * chunks, last_row = s.last_b * chunks;
    Buffer<T, STEPS> buffers[BUFFERS];  // each by its name once loops are unrolled: registers

    const auto fetch = [&](Buffer<T, STEPS>& to) {
        if (load.live()) {
            const u32 chunk = load.step * WARP + lane;
            if (load.step + STEPS <= full) {
                load_chunks<T, WARP>(to.raw, s, row[0] + chunk, row[1] + chunk, lane, WholeChunk());
            } else {
                // Lanes past the row's end take another chunk of it, which meets scales of zero.
#pragma unroll
                for (u32 i = 0; i < STEPS; i++) {
                    if (load.step + i < load.last) {
                        const u32 at = within(chunk + i * WARP, chunks, lane);
                        to.raw[i][0] = T::load(s.a, At(row[0] + at, lane));
                        to.raw[i][1] = T::load(s.b, At(row[1] + at, lane));
                    }
                }
            }
        }
        if (!load.advance(STEPS)) return;
        if constexpr (J::SECOND == NO_SEGMENT) {
            asm volatile("");  // so that it stays a branch: the compiler would compute these sums for every buffer, and select
            row[0] += next_rows;
            row[1] = min(row[1] + next_rows, last_row);
        } else if (load.live()) {
            s = J::segment(p, load.pair, 1);
            row[0] = s.chunk<T>(s.first, 0), row[1] = s.chunk<T>(s.first, 1);
        }
    };
#pragma unroll
    for (u32 i = 0; i < BUFFERS; i++) {
#pragma unroll
        for (u32 j = 0; j < 2 * STEPS; j++) T::set_place(buffers[i].raw[j / 2][j % 2], lane);
        fetch(buffers[i]);
    }
    wait_for_inputs();
    if (rows_in_use(p.step, p.input.of_outputs) == 0) return;

    const bool norm = J::norm(p);
    const u32 row_of_x = x_row<J>(p, 0);
    float squares = 0;
    if (whole) stage_x<T>(p.input, row_of_x, norm, 0, units, squares, shared);
    else if (norm) add_squares(p.input, row_of_x, squares);
    if (norm) store_squares(squares, shared.squares);
    if (whole) __syncthreads();  // x, squares: written by all, read by all; squares without x before the first piece's barrier

    u64 best = 0;
    float a = 0, b = 0;
    u32 rounds = 0, base = begin;  // rounds of results in shared memory, and the pair of the first
    const auto multiply = [&](const Buffer<T, STEPS>& w) {
        if (now.live()) {
            const u32 step = whole ? now.step : now.step % PIECE;
            const int left = int(now.last - now.step);  // negative in a buffer past the item's last step
#pragma unroll
            for (u32 i = 0; i < STEPS; i++) {
                if (int(i) < left) {
                    const XChunk<T> x(shared, lane, step, i);
                    a = add_product<T>(w.raw[i][0], x, a);
                    b = add_product<T>(w.raw[i][1], x, b);
                }
            }
        }
        if (now.advance(STEPS)) {
            const float sum = sum_of_two(a, b);
            if (lane < 2) ((float*)shared.results[rounds])[2 * warp + lane] = sum;
            a = b = 0;
            rounds++;
        }
    };
    // All warps of a block go through the same number of rounds.
    while (base < end) {
        if (!whole) {
            __syncthreads();  // x: read by all, before the next piece overwrites it
            stage_x<T>(p.input, row_of_x, norm, now.step * T::CHUNK, PIECE * T::CHUNK, squares, shared);
            __syncthreads();  // x: written by all, read by all
        }
#pragma unroll
        for (u32 i = 0; i < BUFFERS; i++) {
            multiply(buffers[i]);
            fetch(buffers[i]);
        }
        const u32 done = rounds * (STREAM_WARPS / parts);  // pairs
        if (base + done < end && rounds + BUFFERS <= ROUNDS) continue;
        __syncthreads();  // results: written by lanes 0 and 1 of each warp, read by all
        const float scale = norm ? norm_factor<STREAM_WARPS>(shared.squares, p.input) : 1.0f;
        for (u32 i = threadIdx.x; i < min(done, end - base); i += STREAM_THREADS) {
            const float2* result = &shared.results[0][0] + i * parts;
            float2 sum = result[0];
            for (u32 part = 1; part < parts; part++) sum.x += result[part].x, sum.y += result[part].y;
            const Segment of = J::segment(p, base + i, 1);
            J::finish(p, best, of.id, 0, of.first, sum.x * scale, sum.y * scale);
        }
        base += done;
        rounds = 0;
        if (base < end) __syncthreads();  // results: read by all, before the next rounds' overwrite them
    }
    if constexpr (J::HEAD) {
        if (!p.chosen) return;
        best = largest<1>(best);
        if (lane == 0) J::choose(p, best, 0, gridDim.x * STREAM_WARPS);
    }
}
