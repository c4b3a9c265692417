// What the matrix product loops (mat_stream.cuh, mat_rows.cuh, mat_vec.cuh, mat_tiled.cuh) have in common: pairs of rows.
//
// Both compute   (a, b)[t, i] = (sum_c w_a[row_a(i), c] * x[t, c],  sum_c w_b[row_b(i), c] * x[t, c])
// and hand each pair of results to the op's finish(): the neighbours that a rotation turns, a gate and its up, or simply two
// rows. An op is a Job:
//
//   Params                                 its struct of parameters, with fields `input` and `step`
//   NORM                                   the rows of x are to be normalized (stage.cu does it for mat_tiled and mat_rows)
//   n_pairs(p)                             pairs in all
//   n_tiles(p, pairs)                      blocks that they take, at `pairs` a block
//   segment(p, block, pairs)               the pairs of block `block`, at `pairs` a block; at one a block, those of the segments follow
//                                          each other without a gap
//   finish(p, segment, token, i, a, b)     takes the results of pair i of the segment
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

constexpr u32 NO_SEGMENT = 0xffffffff;

template <class A, class B> struct SameType { static constexpr bool YES = false; };
template <class A> struct SameType<A, A> { static constexpr bool YES = true; };
