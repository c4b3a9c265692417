// The entries of one op's Job for all weight types:
//   <op>_<type>_t<TOKENS>   mat_vec.cuh, up to TOKENS rows of x per block
//   <op>_<type>_tiled       mat_tiled.cuh
// If an op reads matrices of two types, <type> is <first>_<second>, and Job::SECOND is the segment of the second. Such an op has no
// _tiled entry: beside the work of many rows, the launches that fusion saves cost little (unmeasured).
#pragma once
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

#define MAT_ENTRIES(entry, T, J)                                                                                           \
    MAT_VEC_ENTRIES(entry, T, T, J)                                                                                        \
    extern "C" __global__ void __launch_bounds__(TILED_THREADS)                                                            \
    entry##_tiled(const __grid_constant__ J::Params p) { mat_tiled_entry<T, J>(p); }
