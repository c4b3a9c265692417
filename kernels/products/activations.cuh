// A row of x as two planes of signed bytes and a scale for each unit of 32 elements:
//   x[32 u + i] = d[u] * (256 * high[u, i] + low[u, i]),   d[u] = max_i |x[32 u + i]| / 32512
// so that products with integers are exact integers: dp4a and mma take bytes. An element is off by at most d / 2; of normally
// distributed rows the normalized squared error is 4e-10, of any row at most 2.6e-9: 32 elements off by d / 2, of which one is 32512 d.
//
// RMSNorm's factor of the whole row is left out here and multiplies the results: the planes can be made while its sum is.
#pragma once
#include "formats/decode.cuh"

constexpr float X_MOST = 32512;  // 127 * 256: high is at most 127, and low rounds to nearest

// What belongs to a unit of x.
struct XScale {
    float d;
    float sum;        // of the unit's elements, as the planes have them
    float halves[2];  // the same of elements 0 .. 15 and 16 .. 31
};

// Eight neighbouring elements, of which four neighbouring lanes have a unit.
struct XPiece {
    uint2 high, low;
    XScale scale;

    // Call it with all lanes of the warp. Not finite elements make d infinite or NaN, and with it every sum of the unit NaN.
    __device__ __forceinline__ void make(const float (&v)[8]) {
        u32 most = 0;  // of magnitudes, whose order is that of their bits; NaN is the largest
#pragma unroll
        for (u32 i = 0; i < 8; i++) most = max(most, __float_as_uint(v[i]) & 0x7fffffff);
        most = max(most, __shfl_xor_sync(ALL_LANES, most, 1));
        most = max(most, __shfl_xor_sync(ALL_LANES, most, 2));
        const float largest = __uint_as_float(most);
        scale.d = largest * (1.0f / X_MOST);
        const float inverse = largest < 1e-30f ? 0.0f : X_MOST / largest;

        // In the low bits of 1.5 * 2^23, an element rounded to an integer adds its value: byte 0 is low, and with 128 more, byte 1 is high.
        constexpr float ZERO = 12582912.0f;
        u32 q[8];
        u32 sum = 0;
#pragma unroll
        for (u32 i = 0; i < 8; i++) {
            q[i] = __float_as_uint(fmaf(v[i], inverse, ZERO));
            sum += q[i];
        }
        sum -= 8 * 0x4b400000u;
        const auto gathered = [&](u32 i, u32 add, u32 pick) {
            return __byte_perm(__byte_perm(q[i] + add, q[i + 1] + add, pick), __byte_perm(q[i + 2] + add, q[i + 3] + add, pick), 0x5410);
        };
        low = make_uint2(gathered(0, 0, 0x40), gathered(4, 0, 0x40));
        high = make_uint2(gathered(0, 128, 0x51), gathered(4, 128, 0x51));

        sum += __shfl_xor_sync(ALL_LANES, sum, 1);
        const u32 other = __shfl_xor_sync(ALL_LANES, sum, 2);
        const bool second = threadIdx.x & 2;
        scale.sum = scale.d * float(int(sum + other));
        scale.halves[0] = scale.d * float(int(second ? other : sum));
        scale.halves[1] = scale.d * float(int(second ? sum : other));
    }
};

// Elements 8i .. 8i + 7 of a row of x, times the weights of the norm if it has some; zeros from element n_cols on. Adds their squares,
// before the weights, to `squares`.
__device__ __forceinline__ void x_elements(float (&v)[8], const Input& in, u64 row, u32 i, bool norm, float& squares) {
#pragma unroll
    for (u32 half = 0; half < 2; half++) {
        float4 x = make_float4(0, 0, 0, 0);
        if (8 * i < in.n_cols) {
            x = ((const float4*)(in.x + row * in.n_cols))[2 * i + half];
            if (norm) {
                squares = fmaf(x.w, x.w, fmaf(x.z, x.z, fmaf(x.y, x.y, fmaf(x.x, x.x, squares))));
                const float4 w = ((const float4*)in.norm)[2 * i + half];
                x = make_float4(x.x * w.x, x.y * w.y, x.z * w.z, x.w * w.w);
            }
        }
        v[4 * half] = x.x, v[4 * half + 1] = x.y, v[4 * half + 2] = x.z, v[4 * half + 3] = x.w;
    }
}

// The factor of RMSNorm from the sums of squares of a block's warps.
template <u32 WARPS>
__device__ __forceinline__ float norm_factor(const float* squares, const Input& in) {
    float sum = 0;
#pragma unroll
    for (u32 warp = 0; warp < WARPS; warp++) sum += squares[warp];
    return rsqrtf(sum / in.n_cols + in.eps);
}

// acc + the product of a chunk of weights with the chunk of x, from the sums of the products of their integers: total[h] = 256 *
// sum(word * high) + sum(word * low) of half h. This and the order of the chunks (mat_stream.cuh) is all that decides a result's bits.
template <class T>
__device__ __forceinline__ float add_chunk(const typename T::Raw& r, const int (&total)[T::HALVES], const XScale& x, float acc) {
#pragma unroll
    for (u32 half = 0; half < T::HALVES; half++) {
        const float d = T::scale(r, half), sum = T::HALVES == 2 ? x.halves[half] : x.sum;
        if constexpr (T::MIN) {
            acc = fmaf(d, float(total[half]) * x.d, acc);
            acc = fmaf(T::min(r, half), sum, acc);
        } else if constexpr (T::OFFSET > 0) {
            acc = fmaf(d, fmaf(float(total[half]), x.d, -float(T::OFFSET) * sum), acc);
        } else {
            acc = fmaf(d * x.d, float(total[half]), acc);
        }
    }
    return acc;
}
