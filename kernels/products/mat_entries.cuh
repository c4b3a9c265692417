// The entries of one op's Job for all weight types:
//   <op>_<type>_stream       mat_stream.cuh, one row of x; of quantized types
//   <op>_<type>_rows         mat_rows.cuh, 2 to 8 rows of x; of quantized types
//   <op>_<type>_t<TOKENS>    mat_vec.cuh, exact products of up to TOKENS rows of x per block
//   <op>_<type>_tiled        mat_tiled.cuh
// If an op reads matrices of two types, <type> is <first>_<second>, and Job::SECOND is the segment of the second. Such an op has no
// _tiled entry: beside the work of many rows, the launches that fusion saves cost little (unmeasured).
#pragma once
#include "products/mat_rows.cuh"
#include "products/mat_stream.cuh"
#include "products/mat_tiled.cuh"
#include "products/mat_vec.cuh"

static_assert(VEC_TOKENS == 4, "entries are named _t4");

template <class T, class T2, class J, u32 TOKENS>
__device__ __forceinline__ void mat_vec_entry(const typename J::Params& p) {
    __shared__ VecShared<TOKENS> shared;
    const Segment s = J::segment(p, blockIdx.y, VEC_PAIRS);
    if (SameType<T, T2>::YES || s.id != J::SECOND) mat_vec<T, J, TOKENS>(p, s, shared);
    else mat_vec<T2, J, TOKENS>(p, s, shared);
}

template <class T, class T2, class J>
__device__ __forceinline__ void mat_stream_entry(const typename J::Params& p) {
    __shared__ __align__(16) StreamShared shared;
    const u32 pairs = J::n_pairs(p);
    if constexpr (SameType<T, T2>::YES) {
        // The hardware gives blocks b and b + gridDim.x / 2 to one SM where all fit at once (unmeasured): neighbours in the division, so that
        // SMs have as many pairs as others up to one.
        const u32 half = gridDim.x / 2, b = blockIdx.x, block = gridDim.x % 2 || half == 0 ? b : b % half * 2 + b / half;
        mat_stream<T, J, false>(p, 0, pairs, block, gridDim.x, shared);
    } else {
        const u32 first = pairs - J::second_pairs(p), blocks = p.input.first_blocks;
        if (blockIdx.x < blocks) mat_stream<T, J, true>(p, 0, first, blockIdx.x, blocks, shared);
        else mat_stream<T2, J, true>(p, first, pairs, blockIdx.x - blocks, gridDim.x - blocks, shared);
    }
}

template <class T, class T2, class J>
__device__ __forceinline__ void mat_rows_entry(const typename J::Params& p) {
    __shared__ __align__(16) RowsShared shared;
    const u32 tiles = J::n_tiles(p, ROWS_PAIRS);
    if constexpr (SameType<T, T2>::YES) {
        mat_rows<T, J>(p, 0, tiles, blockIdx.x, gridDim.x, shared);
    } else {
        const u32 first = tiles - (J::second_pairs(p) + ROWS_PAIRS - 1) / ROWS_PAIRS, blocks = p.input.first_blocks;
        if (blockIdx.x < blocks) mat_rows<T, J>(p, 0, first, blockIdx.x, blocks, shared);
        else mat_rows<T2, J>(p, first, tiles, blockIdx.x - blocks, gridDim.x - blocks, shared);
    }
}

template <class T, class J>
__device__ __forceinline__ void mat_tiled_entry(const typename J::Params& p) {
    __shared__ __align__(16) TiledShared shared;
    mat_tiled<T, J>(p, J::segment(p, blockIdx.y, TILED_PAIRS), shared);
}

// For 1 to 8 rows of x.
#define MAT_VEC_ENTRIES(entry, T, T2, J)                                                                                   \
    extern "C" __global__ void __launch_bounds__(VEC_THREADS, 2)                                                            \
    entry##_t1(const __grid_constant__ J::Params p) { mat_vec_entry<T, T2, J, 1>(p); }                                     \
    extern "C" __global__ void __launch_bounds__(VEC_THREADS, 2)                                                            \
    entry##_t4(const __grid_constant__ J::Params p) { mat_vec_entry<T, T2, J, VEC_TOKENS>(p); }

// Blocks per SM that registers must allow. In a job of several segments, two types or one of many registers would spill.
template <class T, class T2, class J>
struct RowsBlocks {
    static constexpr bool FEW_REGISTERS = J::SECOND == NO_SEGMENT || SameType<T, T2>::YES && T::ROWS_BUFFERS > 1;
    static constexpr u32 AT_LEAST = FEW_REGISTERS ? T::ROWS_BLOCKS : 1;
};

#define MAT_DECODE_ENTRIES(entry, T, T2, J)                                                                                \
    extern "C" __global__ void __launch_bounds__(STREAM_THREADS, STREAM_BLOCKS)                                             \
    entry##_stream(const __grid_constant__ J::Params p) { mat_stream_entry<T, T2, J>(p); }                                 \
    extern "C" __global__ void __launch_bounds__(STREAM_THREADS, RowsBlocks<T, T2, J>::AT_LEAST)                            \
    entry##_rows(const __grid_constant__ J::Params p) { mat_rows_entry<T, T2, J>(p); }

#define MAT_ENTRIES(entry, T, J)                                                                                           \
    MAT_VEC_ENTRIES(entry, T, T, J)                                                                                        \
    extern "C" __global__ void __launch_bounds__(TILED_THREADS)                                                            \
    entry##_tiled(const __grid_constant__ J::Params p) { mat_tiled_entry<T, J>(p); }
