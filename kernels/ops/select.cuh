// Choosing the largest elements of a row: floats and their indices as keys whose integer order is the order wanted.
#pragma once
#include "shared/common.cuh"

// Larger values give larger keys, and lower indices among equals. NaN gives the smallest key of its index, below every
// number. No key is 0.
__device__ __forceinline__ u64 key_of(float v, u32 index) {
    const u32 bits = __float_as_uint(v + 0.0f);  // -0 becomes +0
    const u32 rising = v != v ? 0 : bits & 0x80000000 ? ~bits : bits | 0x80000000;
    return u64(rising) << 32 | ~index;
}

__device__ __forceinline__ u32 key_index(u64 key) { return ~u32(key); }

__device__ __forceinline__ float key_value(u64 key) {
    const u32 rising = u32(key >> 32);
    if (rising == 0) return __uint_as_float(0x7fc00000);
    return __uint_as_float(rising & 0x80000000 ? rising & 0x7fffffff : ~rising);
}

// key_of, but NaN and infinity win, with NOT_FINITE as their index.
__device__ __forceinline__ u64 choice_key(float v, u32 index) {
    return v < __int_as_float(0x7f800000) ? key_of(v, index) : ~u64(0) << 32 | ~NOT_FINITE;
}

// What argmax gives for a row whose largest choice_key is `key`.
__device__ __forceinline__ u32 choice_of(u64 key) {
    constexpr u32 MINUS_INFINITY = 0x007fffff;  // upper half of the key of -infinity
    return u32(key >> 32) > MINUS_INFINITY ? key_index(key) : NOT_FINITE;
}

// The largest of the keys of lanes with the same remainder by LANES, in each of them.
template <u32 LANES>
__device__ __forceinline__ u64 largest(u64 key) {
#pragma unroll
    for (u32 lane = WARP / 2; lane >= LANES; lane /= 2) key = max(key, __shfl_xor_sync(ALL_LANES, key, lane));
    return key;
}

// The largest key of the block, in every thread. scratch: one u64 per warp.
template <u32 THREADS>
__device__ __forceinline__ u64 block_max(u64 v, u64* scratch) {
    v = largest<1>(v);
    if (threadIdx.x % WARP == 0) scratch[threadIdx.x / WARP] = v;
    __syncthreads();  // scratch: written by each warp's lane 0, read by all
    v = 0;
    for (u32 warp = 0; warp < THREADS / WARP; warp++) v = max(v, scratch[warp]);
    __syncthreads();  // scratch: read by all, before the caller writes it again
    return v;
}
