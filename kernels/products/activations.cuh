// A row of x as two planes of signed bytes and a scale for each unit of 32 elements:
//   x[32 u + i] = d[u] * (256 * high[u, i] + low[u, i]),   d[u] = max_i |x[32 u + i]| / 32512
// so that products with integers are exact integers: dp4a and mma take bytes. An element is off by at most d / 2; of normally
// distributed rows the normalized squared error is 4e-10, of any row at most 2.6e-9: 32 elements off by d / 2, of which one is 32512 d.
//
// RMSNorm's factor of the whole row is left out here and multiplies the results: the planes can be made while its sum is.
#pragma once
#include "formats/decode.cuh"

constexpr float X_MOST = 32512;  // 127 * 256: high is at most 127, and low rounds to nearest

// What belongs to a unit of x: four numbers.
struct XScale {
    float d;
    float sum;        // of the unit's elements, as the planes have them
    float halves[2];  // the same of elements 0 .. 15 and 16 .. 31
};

// A lane's eight elements of a unit, which four neighbouring lanes have: words first_word(lane) and 2 further, of four elements each.
// So the loads of four lanes fill sectors of 32 bytes, and the lanes of a pair have the same half of the unit.
__device__ __forceinline__ u32 first_word(u32 lane) { return lane % 2 + lane % 4 / 2 * 4; }

struct XPiece {
    u32 high[2], low[2];
    float kept;  // one of the numbers of XScale, in its order

    // Call it with all lanes of the warp; if !used, elements count as zeros. Not finite elements make d infinite or NaN, and with it the
    // unit's products.
    __device__ __forceinline__ void make(const float (&v)[8], bool used) {
        u32 most = 0;  // of magnitudes, whose order is that of their bits; NaN is the largest
#pragma unroll
        for (u32 i = 0; i < 8; i++) most = max(most, magnitude(v[i]));
        most = max(most, __shfl_xor_sync(ALL_LANES, most, 1));
        most = max(most, __shfl_xor_sync(ALL_LANES, most, 2));
        const float largest = __uint_as_float(max(most, __float_as_uint(1e-30f)));
        d = largest * (1.0f / X_MOST);
        const float inverse = used ? __fdividef(X_MOST, largest) : 0.0f;

        // In the low bits of 1.5 * 2^23, an element rounded to an integer adds its value: byte 0 is low, and with 128 more, byte 1 is high.
        u32 q[8];
        u32 total = 0;
#pragma unroll
        for (u32 i = 0; i < 8; i++) {
            q[i] = rounded(v[i], inverse);
            total += q[i];
        }
        total -= 8 * ROUNDED_ZERO;
        const auto gathered = [&](u32 i, u32 add, u32 pick) {
            return __byte_perm(__byte_perm(q[i] + add, q[i + 1] + add, pick), __byte_perm(q[i + 2] + add, q[i + 3] + add, pick), 0x5410);
        };
        low[0] = gathered(0, 0, 0x40), low[1] = gathered(4, 0, 0x40);
        high[0] = gathered(0, 128, 0x51), high[1] = gathered(4, 128, 0x51);

        total += __shfl_xor_sync(ALL_LANES, total, 1);
        const u32 other = __shfl_xor_sync(ALL_LANES, total, 2);
        // Of the unit's four lanes, the first keeps d, the second the sum of all elements, the others those of the halves.
        const u32 part = threadIdx.x % 4;
        const float sum = d * float(int(part == 1 ? total + other : part == 2 ? other : total));
        kept = part == 0 ? d : sum;
    }

private:
    static constexpr u32 ROUNDED_ZERO = 0x4b400000;  // 1.5 * 2^23

    static __device__ __forceinline__ u32 magnitude(float v) {
        u32 bits;
        asm("and.b32 %0, %1, 0x7fffffff;" : "=r"(bits) : "f"(v));
        return bits;
    }
    // v * inverse as an integer, on top of ROUNDED_ZERO.
    static __device__ __forceinline__ u32 rounded(float v, float inverse) {
        u32 bits;
        asm("fma.rn.f32 %0, %1, %2, 0f4b400000;" : "=r"(bits) : "f"(v), "f"(inverse));
        return bits;
    }
    float d;
};

// The eight elements of unit `unit` of a row of x that this lane has, times the weights of the norm if there is one. Adds the squares of
// the elements before the weights to `squares`.
__device__ __forceinline__ void x_elements(float (&v)[8], const Input& in, u64 row, u32 unit, bool norm, bool used, float& squares) {
    const u32 at = unit * 8 + first_word(threadIdx.x);
    const float4* x = (const float4*)(in.x + row * in.n_cols) + at;
    const float4* w = (const float4*)in.norm + at;
    float sum = squares;
#pragma unroll
    for (u32 half = 0; half < 2; half++) {
        float4 e = x[2 * half];
        if (norm) {
            sum = fmaf(e.w, e.w, fmaf(e.z, e.z, fmaf(e.y, e.y, fmaf(e.x, e.x, sum))));
            const float4 f = w[2 * half];
            e = make_float4(e.x * f.x, e.y * f.y, e.z * f.z, e.w * f.w);
        }
        v[4 * half] = e.x, v[4 * half + 1] = e.y, v[4 * half + 2] = e.z, v[4 * half + 3] = e.w;
    }
    if (norm && used) squares = sum;
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
        const float sum = T::HALVES == 2 ? x.halves[half] : x.sum;
        if constexpr (T::MIN) {
            const float2 scales = T::scales(r, half);
            acc = fmaf(scales.x, float(total[half]) * x.d, acc);
            acc = fmaf(scales.y, sum, acc);
        } else if constexpr (T::OFFSET > 0) {
            acc = fmaf(T::scale(r, half), fmaf(float(total[half]), x.d, -float(T::OFFSET) * sum), acc);
        } else {
            acc = fmaf(T::scale(r, half) * x.d, float(total[half]), acc);
        }
    }
    return acc;
}
