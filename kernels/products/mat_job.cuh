// What the matrix product loops (mat_stream.cuh, mat_rows.cuh, mat_vec.cuh, mat_tiled.cuh) have in common: pairs of rows.
//
// Both compute   (a, b)[t, i] = (sum_c w_a[row_a(i), c] * x[t, c],  sum_c w_b[row_b(i), c] * x[t, c])
// and hand each pair of results to the op's finish(): the neighbours that a rotation turns, a gate and its up, or simply two
// rows. An op is a Job:
//
//   Params                                 its struct of parameters, with fields `input` and `step`
//   HEAD                                   may be the head of a model: rows of x may be gathered (x_row), results chosen from (choose)
//   norm(p)                                whether the rows of x are to be normalized (stage.cu does it for mat_tiled and mat_rows)
//   n_pairs(p)                             pairs in all
//   n_tiles(p, pairs)                      blocks that they take, at `pairs` a block
//   segment(p, block, pairs)               the pairs of block `block`, at `pairs` a block; at one a block, those of the segments follow
//                                          each other without a gap
//   finish(p, best, segment, token, i, a, b)  takes the results of pair i of the segment; of a head, `best` becomes the largest key of those
//                                          that the thread has taken
//   choose(p, best, token, parts)          of a head that chooses (p.chosen): takes the largest key of one of `parts` of the grid
//   SECOND                                 the segment whose matrix may be of another type, the last, or NO_SEGMENT
//   second_pairs(p)                        pairs of that segment, if there is one
#pragma once
#include "formats/types.cuh"

// A run of pairs that one op computes from the same matrices; blocks do not straddle segments.
struct Segment {
    Planes a, b;   // the matrices of the first and second row of each pair
    u64 row_a;     // the rows of pair 0
    u64 row_b;
    u64 last_b;    // the last row of b in use
    u32 stride;    // rows from one pair to the next
    u32 n_pairs;
    u32 first;     // the block's first pair
    u32 id;

    // The matrix of the first (half 0) or second row of a pair; field by field, which stays in registers.
    __device__ __forceinline__ Planes matrix(u32 half) const {
        return {half == 0 ? a.quants : b.quants, half == 0 ? a.high : b.high, half == 0 ? a.scales : b.scales,
                half == 0 ? a.supers : b.supers, a.units, 0};
    }

    // First chunk of the row of pair i in `a` (half 0) or `b` (half 1). Indices past the end are
    // clamped to the last pair and the last row.
    template <class T>
    __device__ __forceinline__ u64 chunk(u32 i, u32 half) const {
        i = min(i, n_pairs - 1);
        const u64 row = half == 0 ? row_a + u64(i) * stride : min(row_b + u64(i) * stride, last_b);
        return row * a.units * (32 / T::CHUNK);
    }
};

// `n_rows` rows of one matrix from `first_row` on, neighbours paired; if n_rows is odd, the last has no partner.
__device__ __forceinline__ Segment neighbours(const Planes& w, u32 first_row, u32 n_rows, u32 first, u32 id) {
    const u64 row = first_row;
    return {w, w, row, row + 1, row + n_rows - 1, 2, (n_rows + 1) / 2, first, id};
}

// Chunk `chunk` of a row of `chunks`, or past its end one of the last eight with the same place in its block, where rows are blocks of 8.
__device__ __forceinline__ u32 within(u32 chunk, u32 chunks, u32 place) {
    return chunk < chunks ? chunk : min(chunks - 8 + place % 8, chunks - 1);
}

// The chunks of load_chunks from number I on.
template <class T, u32 EACH, u32 AHEAD, u32 I, u32 N, class L>
__device__ __forceinline__ void load_from(typename T::Raw (&to)[N][2], const Segment& s, u64 a, u64 b, u32 place, L lane) {
    if constexpr (I < N) {
        using Place = At<AHEAD + I * EACH, EACH == 1 && (I > 0)>;
        to[I][0] = T::load(s.a, Place(a, place + I * EACH), lane);
        to[I][1] = T::load(s.b, Place(b, place + I * EACH), lane);
        load_from<T, EACH, AHEAD, I + 1>(to, s, a, b, place, lane);
    }
}

// Chunks a, a + EACH, .. of the first row of a pair, and b, b + EACH, .. of the second, all of them AHEAD further; those that follow each
// other share their block.
// `place`, `lane`: see At, WholeChunk.
template <class T, u32 EACH, u32 AHEAD = 0, u32 N, class L>
__device__ __forceinline__ void load_chunks(typename T::Raw (&to)[N][2], const Segment& s, u64 a, u64 b, u32 place, L lane) {
    load_from<T, EACH, AHEAD, 0>(to, s, a, b, place, lane);
}

constexpr u32 NO_SEGMENT = 0xffffffff;

// Ops that begin with a norm and are no heads.
struct NormedJob {
    static constexpr bool HEAD = false;
    template <class P>
    static __device__ __forceinline__ bool norm(const P&) { return true; }
};

// The row of x for row `token` of the results.
template <class J>
__device__ __forceinline__ u32 x_row(const typename J::Params& p, u32 token) {
    return J::HEAD ? row_of_input(p.step, p.input.of_outputs, token) : token;
}

template <class A, class B> struct SameType { static constexpr bool YES = false; };
template <class A> struct SameType<A, A> { static constexpr bool YES = true; };
