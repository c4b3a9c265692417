// The rows of x as operands of tensor cores (mat_tiled.cuh), normalized first if norm is given:
//   y[t, i] = x[t, i]   or   x[t, i] / sqrt(mean_j(x[t, j]^2) + eps) * norm[i]
//
//   stage_f16     staged[t, s, i] = f16(y[t, 64 s + i] / row_scale[t]),  i < 64. row_scale is the power of two that brings
//                 the largest element to 2^14 .. 2^15: no element overflows, and none within 2^-28 of it loses digits.
//   stage_bf16x2  y = hi + lo to 16 bits:  staged[t, s, i] = hi[t, 32 s + i],  staged[t, s, 32 + i] = lo[t, 32 s + i],
//                 i < 32; row_scale[t] = 1. For weights with the range of floats.
//   stage_i8x2    for mat_rows: as two planes of bytes (activations.cuh). row_scale[t] is the norm's factor, or 1
//
// Grid     one block per row; stage_i8x2: ROWS_TOKENS blocks, those without a row write scales of zero
// Layout   steps of 64 halves, columns past n_cols zero; n_cols % 4 == 0. stage_i8x2: struct StagedUnit of each unit, up to a multiple of 8 units;
//          n_cols % 32 == 0
// Traffic  reads x once from DRAM, writes half of its bytes (stage_f16) or the same number (stage_bf16x2, stage_i8x2)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include "products/staged_unit.cuh"

struct StageParams {
    u16*         staged;     // (rows, steps, 64), or see stage_i8x2
    float*       row_scale;  // (rows)
    const float* x;          // (rows, n_cols)
    const float* norm;       // (n_cols), or null: no RMSNorm
    const Step*  step;       // 1
    u32   n_cols;            // a multiple of 4
    float eps;               // added to the mean square
    u32   of_outputs;        // of struct Input
    u32   reserved;
};

constexpr u32 TOP = 14;  // exponent of a row's largest element

// Largest value of the block, in every thread. scratch: one float per warp.
__device__ __forceinline__ float block_largest(float v, float* scratch) {
    for (u32 lane = WARP / 2; lane > 0; lane /= 2) v = fmaxf(v, __shfl_xor_sync(ALL_LANES, v, lane));
    if (threadIdx.x % WARP == 0) scratch[threadIdx.x / WARP] = v;
    __syncthreads();  // scratch: written by each warp's lane 0, read by all
    for (u32 warp = 0; warp < ROW_THREADS / WARP; warp++) v = fmaxf(v, scratch[warp]);
    return v;
}

// A row of y, four elements at a time.
struct Row {
    const float4* x;
    const float4* norm;
    float scale;
    u32 n;  // float4s

    __device__ __forceinline__ float4 operator[](u32 i) const {
        if (i >= n) return make_float4(0, 0, 0, 0);
        return norm ? normalized(x[i], scale, norm[i]) : x[i];
    }
};

__device__ __forceinline__ Row row_of(const StageParams& p, u32 row, float* scratch) {
    const float4* x = (const float4*)(p.x + u64(row) * p.n_cols);
    const float scale = p.norm ? rms_scale<ROW_THREADS>(x, p.n_cols, p.eps, scratch) : 1.0f;
    return {x, (const float4*)p.norm, scale, p.n_cols / 4};
}

__device__ __forceinline__ uint2 halves(float4 v, float s) {
    const __half2 a = __floats2half2_rn(v.x * s, v.y * s), b = __floats2half2_rn(v.z * s, v.w * s);
    return make_uint2(*(const u32*)&a, *(const u32*)&b);
}

extern "C" __global__ void __launch_bounds__(ROW_THREADS)
stage_f16(const __grid_constant__ StageParams p) {
    __shared__ float scratch[ROW_THREADS / WARP];
    wait_for_inputs();
    const u32 row = blockIdx.x;
    if (row >= rows_in_use(p.step, p.of_outputs)) return;
    const Row y = row_of(p, row, scratch);

    float most = 0;
    for (u32 i = threadIdx.x; i < y.n; i += ROW_THREADS) {
        const float4 v = y[i];
        most = fmaxf(most, fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w))));
    }
    most = block_largest(most, scratch);
    // Biased exponents of the scale, 1 to 255 - TOP, and of its inverse, 254 less: both are normal.
    const int exponent = max(int(__float_as_uint(most) >> 23) - int(TOP), 1);
    const float scale = __uint_as_float(u32(exponent) << 23), inverse = __uint_as_float(u32(254 - exponent) << 23);

    constexpr u32 STEP = STAGE_COLS / 4;  // float4s of a step
    const u32 steps = (y.n + STEP - 1) / STEP;
    uint2* staged = (uint2*)p.staged + u64(row) * steps * STEP;
    for (u32 i = threadIdx.x; i < steps * STEP; i += ROW_THREADS) staged[i] = halves(y[i], inverse);
    if (threadIdx.x == 0) p.row_scale[row] = scale;
}

// hi = bf16(v), lo = bf16(v - hi), two elements each
__device__ __forceinline__ void split(float x, float y, u32& hi, u32& lo) {
    const __nv_bfloat162 h = __floats2bfloat162_rn(x, y);
    const __nv_bfloat162 l = __floats2bfloat162_rn(x - __low2float(h), y - __high2float(h));
    hi = *(const u32*)&h;
    lo = *(const u32*)&l;
}

extern "C" __global__ void __launch_bounds__(ROW_THREADS)
stage_bf16x2(const __grid_constant__ StageParams p) {
    __shared__ float scratch[ROW_THREADS / WARP];
    wait_for_inputs();
    const u32 row = blockIdx.x;
    if (row >= rows_in_use(p.step, p.of_outputs)) return;
    const Row y = row_of(p, row, scratch);

    constexpr u32 STEP = STAGE_COLS / 2 / 4;  // float4s of a step
    const u32 steps = (y.n + STEP - 1) / STEP;
    uint2* staged = (uint2*)p.staged + u64(row) * steps * (2 * STEP);
    for (u32 i = threadIdx.x; i < steps * STEP; i += ROW_THREADS) {
        const float4 v = y[i];
        uint2 hi, lo;
        split(v.x, v.y, hi.x, lo.x);
        split(v.z, v.w, hi.y, lo.y);
        uint2* at = staged + i / STEP * (2 * STEP) + i % STEP;
        at[0] = hi;
        at[STEP] = lo;
    }
    if (threadIdx.x == 0) p.row_scale[row] = 1.0f;
}

extern "C" __global__ void __launch_bounds__(ROW_THREADS)
stage_i8x2(const __grid_constant__ StageParams p) {
    __shared__ float squares[ROW_THREADS / WARP];
    wait_for_inputs();
    const u32 row = blockIdx.x, units = p.n_cols / 32;
    const bool used = row < rows_in_use(p.step, p.of_outputs);
    const Input in = {p.x, p.norm, nullptr, nullptr, p.n_cols, p.eps, 0, 0, 0, 0};

    float sum = 0;
    XLane lane(in, used ? row_of_input(p.step, p.of_outputs, row) : 0, threadIdx.x / 4, false);
    // Up to a multiple of 8 units, past the row's with scales of zero.
    for (u32 i = threadIdx.x; i < (units * 4 + WARP - 1) / WARP * WARP; i += ROW_THREADS) {
        float v[8];
        const u32 unit = i / 4, part = i % 4;
        lane.load(v, p.norm != nullptr, sum);
        XPiece piece;
        piece.make<true>(v);
        StagedUnit& to = ((StagedUnit*)p.staged)[unit];
#pragma unroll
        for (u32 j = 0; j < 2; j++) {
            const u32 word = first_word(part) + 2 * j;
            to.words[row][word % 4][0][word / 4] = piece.high[j];
            to.words[row][word % 4][1][word / 4] = piece.low[j];
        }
        (part < 2 ? (float*)&to.scales[row] : (float*)&to.halves[row])[part % 2] = used && lane.live() ? piece.kept : 0.0f;
        lane.advance(ROW_THREADS / 4);
    }
    sum = warp_sum(sum);
    if (threadIdx.x % WARP == 0) squares[threadIdx.x / WARP] = sum;
    __syncthreads();  // squares: written by each warp's lane 0, read by thread 0
    if (threadIdx.x > 0) return;
    p.row_scale[row] = p.norm && used ? norm_factor<ROW_THREADS / WARP>(squares, in) : 1.0f;
}
