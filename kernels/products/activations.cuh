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

    // Call it with all lanes of the warp. Not finite elements make d infinite or NaN, and with it the unit's products. Without SUMS, only d is
    // right of the scales.
    template <bool SUMS>
    __device__ __forceinline__ void make(const float (&v)[8]) {
        u32 most = 0;  // of magnitudes, whose order is that of their bits; NaN is the largest
#pragma unroll
        for (u32 i = 0; i < 8; i++) most = max(most, magnitude(v[i]));
        most = max(most, lane_xor<1>(most));
        most = max(most, lane_xor<2>(most));
        const float largest = __uint_as_float(max(most, __float_as_uint(1e-30f)));
        d = largest * (1.0f / X_MOST);
        const float inverse = __fdividef(X_MOST, largest);

        // In the low bits of 1.5 * 2^23 + 128, an element rounded to an integer adds its value: byte 1 is high, and byte 0 is low + 128.
        u32 q[8];
#pragma unroll
        for (u32 i = 0; i < 8; i++) q[i] = rounded(v[i], inverse);
#pragma unroll
        for (u32 i = 0; i < 2; i++) {
            const u32 a = __byte_perm(q[4 * i], q[4 * i + 1], 0x5140), b = __byte_perm(q[4 * i + 2], q[4 * i + 3], 0x5140);
            low[i] = __byte_perm(a, b, 0x5410) ^ 0x80808080;
            high[i] = __byte_perm(a, b, 0x7632);
        }
        kept = d;
        if (!SUMS) return;
        constexpr int ONES = 0x01010101;
        const int highs = __dp4a(int(high[0]), ONES, __dp4a(int(high[1]), ONES, 0));
        u32 total = u32(__dp4a(int(low[0]), ONES, __dp4a(int(low[1]), ONES, 256 * highs)));
        total += lane_xor<1>(total);
        const u32 other = lane_xor<2>(total);
        // Of the unit's four lanes, the first keeps d, the second the sum of all elements, the others those of the halves.
        const u32 part = threadIdx.x % 4;
        const float sum = d * float(int(part == 1 ? total + other : part == 2 ? other : total));
        kept = part == 0 ? d : sum;
    }

    __device__ __forceinline__ XPiece() {}

private:
    static __device__ __forceinline__ u32 magnitude(float v) {
        u32 bits;
        asm("and.b32 %0, %1, 0x7fffffff;" : "=r"(bits) : "f"(v));
        return bits;
    }
    // v * inverse as an integer, on top of 1.5 * 2^23 + 128.
    static __device__ __forceinline__ u32 rounded(float v, float inverse) {
        u32 bits;
        asm("fma.rn.f32 %0, %1, %2, 0f4b400080;" : "=r"(bits) : "f"(v), "f"(inverse));
        return bits;
    }
    float d;
};

// Where a lane finds the elements of a row of x that it has, unit by unit.
struct XLane {
    const float4* x;
    const float4* norm;  // the weights of the norm, where the row is to be normalized
    u32 at;              // four of the elements
    u32 last;            // the same of the row's last unit
    u32 other;           // how far from there the other four are: the first, or if `swapped` the last come first

    __device__ __forceinline__ XLane(const Input& in, u64 row, u32 unit, bool swapped) {
        x = (const float4*)(in.x + row * in.n_cols), norm = (const float4*)in.norm;
        const u32 first = first_word(threadIdx.x) + 2 * swapped;
        at = unit * 8 + first;
        last = (in.n_cols / 32 - 1) * 8 + first;
        other = swapped ? u32(-2) : 2;
        // Registers from here on: the compiler would compute them anew for every unit.
        asm volatile("" : "+l"(x), "+r"(at), "+r"(last), "+r"(other));
        __builtin_assume(__isGlobal(x));
    }
    // Goes on by some units.
    __device__ __forceinline__ void advance(u32 units) { at += 8 * units; }

    // Whether the row has this unit.
    __device__ __forceinline__ bool live() const { return at <= last; }

    // The eight elements, times the weights of the norm, and their squares before that; past the row's end, those of its last unit.
    __device__ __forceinline__ void load(float (&v)[8], bool normed, float& squares) const {
        const u32 a = min(at, last), b = a + other;
        float4 e[2] = {x[a], x[b]};
        if (normed) {
            const float4 f[2] = {norm[a], norm[b]};
            if (live()) squares += sum_of_squares(e[0]) + sum_of_squares(e[1]);
#pragma unroll
            for (u32 i = 0; i < 2; i++) e[i] = make_float4(e[i].x * f[i].x, e[i].y * f[i].y, e[i].z * f[i].z, e[i].w * f[i].w);
        }
#pragma unroll
        for (u32 i = 0; i < 2; i++) v[4 * i] = e[i].x, v[4 * i + 1] = e[i].y, v[4 * i + 2] = e[i].z, v[4 * i + 3] = e[i].w;
    }
};

// The factor of RMSNorm from the sums of squares of a block's warps.
template <u32 WARPS>
__device__ __forceinline__ float norm_factor(const float* squares, const Input& in) {
    float sum = 0;
#pragma unroll
    for (u32 warp = 0; warp < WARPS; warp++) sum += squares[warp];
    return rsqrtf(sum / in.n_cols + in.eps);
}

// acc + the product of half `half` of a chunk of weights, of T::HALVES, with x, from the sums of the products of their integers: total = 256 *
// sum(word * high) + sum(word * low). This, the order of halves and that of chunks (mat_stream.cuh) is all that decides a result's bits.
template <class T>
__device__ __forceinline__ float add_half(const typename T::Raw& r, int total, const XScale& x, u32 half, float acc) {
    const float sum = T::HALVES == 2 ? x.halves[half] : x.sum;
    if constexpr (T::MIN) {
        const float2 scales = T::scales(r, half);
        acc = fmaf(scales.x, float(total) * x.d, acc);
        return fmaf(scales.y, sum, acc);
    } else if constexpr (T::OFFSET > 0) {
        return fmaf(T::scale(r, half), fmaf(float(total), x.d, -float(T::OFFSET) * sum), acc);
    } else {
        return fmaf(T::scale(r, half) * x.d, float(total), acc);
    }
}
