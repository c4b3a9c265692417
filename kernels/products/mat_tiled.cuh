// Matrix products of many rows of x with pairs of rows of w (mat_job.cuh) on tensor cores, sums in floats
//
// Grid     x: TILED_TOKENS rows of x; y: TILED_PAIRS pairs of rows of w. 2 x 2 warps of 32 rows of x by 64 rows of w.
//          Blocks that read the same rows of w are neighbours in time
// Layout   x as staged by stage.cu; w in planes
// Traffic  reads w once from DRAM, once more from L2 per further TILED_TOKENS rows of x; staged x once per TILED_PAIRS pairs;
//          writes out once
//
// Each step multiplies 64 halves of a staged row. They are copied to shared memory TILED_STAGES - 1 steps ahead. The weights of
// a step are loaded into registers one step ahead, and decoded into shared memory when the step begins.
//
// How the weights of a type become operands of mma:
//   WeightsF16     quantized types and F16: w rounded to f16, x staged as f16; 64 columns a step
//   WeightsBf16    BF16: w exact, x staged as hi + lo; 32 columns a step: hi w + lo w
//   WeightsBf16x2  F32: w = hi + lo in bf16 as well; 32 columns a step: hi hi + lo hi + hi lo, off by less than 2^-16 of a product
#pragma once
#include <cuda_bf16.h>
#include "products/mat_job.cuh"
#include "shared/mma.cuh"

constexpr u32 TILED_STAGES = 3;               // tiles of x in shared memory: one is read while two arrive; unmeasured
constexpr u32 TILED_STRIDE = STAGE_COLS + 8;  // halves; 16 bytes of padding put 8 rows into different banks
constexpr u32 SLICE = 16;                     // columns of one mma

static_assert(TILED_THREADS == 4 * WARP && TILED_TOKENS == 64 && TILED_PAIRS == 64, "2 x 2 warps of 32 x 64 results");

struct WeightsF16 {
    static constexpr u32 COLS = 64, PRODUCTS = 4;
    // The slices of a staged row and of a decoded row that product i multiplies.
    static __device__ __forceinline__ constexpr u32 a(u32 i) { return i; }
    static __device__ __forceinline__ constexpr u32 b(u32 i) { return i; }
    static __device__ __forceinline__ void mma(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) { mma_f16(c, a, b0, b1); }
    // Stores four elements of a decoded row.
    static __device__ __forceinline__ void store(u16* at, float4 v) {
        const __half2 a = __floats2half2_rn(v.x, v.y), b = __floats2half2_rn(v.z, v.w);
        *(uint2*)at = make_uint2(*(const u32*)&a, *(const u32*)&b);
    }
};

struct WeightsBf16 {
    static constexpr u32 COLS = 32, PRODUCTS = 4;
    static __device__ __forceinline__ constexpr u32 a(u32 i) { return i; }
    static __device__ __forceinline__ constexpr u32 b(u32 i) { return i % 2; }
    static __device__ __forceinline__ void mma(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) { mma_bf16(c, a, b0, b1); }
    static __device__ __forceinline__ void store(u16* at, float4 v) {
        const __nv_bfloat162 a = __floats2bfloat162_rn(v.x, v.y), b = __floats2bfloat162_rn(v.z, v.w);
        *(uint2*)at = make_uint2(*(const u32*)&a, *(const u32*)&b);
    }
};

struct WeightsBf16x2 {
    static constexpr u32 COLS = 32, PRODUCTS = 6;
    static __device__ __forceinline__ constexpr u32 a(u32 i) { return i < 4 ? i : i - 4; }
    static __device__ __forceinline__ constexpr u32 b(u32 i) { return i < 4 ? i % 2 : i - 2; }
    static __device__ __forceinline__ void mma(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) { mma_bf16(c, a, b0, b1); }
    static __device__ __forceinline__ void store(u16* at, float4 v) {
        const __nv_bfloat162 a = __floats2bfloat162_rn(v.x, v.y), b = __floats2bfloat162_rn(v.z, v.w);
        *(uint2*)at = make_uint2(*(const u32*)&a, *(const u32*)&b);
        const float4 rest = make_float4(v.x - __low2float(a), v.y - __high2float(a), v.z - __low2float(b), v.w - __high2float(b));
        WeightsBf16::store(at + COLS, rest);
    }
};

template <class T> struct WeightOperand { using Form = WeightsF16; };
template <> struct WeightOperand<BF16> { using Form = WeightsBf16; };
template <> struct WeightOperand<F32>  { using Form = WeightsBf16x2; };

constexpr u32 RESULTS_STRIDE = 2 * TILED_PAIRS + 8;  // floats; with 8 of padding, the float2s of 4 rows lie in different banks

union TiledShared {
    struct {
        u16 x[TILED_STAGES][TILED_TOKENS][TILED_STRIDE];
        u16 w[2 * TILED_PAIRS][TILED_STRIDE];
    } tiles;
    float results[TILED_TOKENS][RESULTS_STRIDE];  // after the last step, in the place of x and w
};

// The chunks of one step that a thread decodes.
template <class T>
struct TiledChunks {
    using Form = typename WeightOperand<T>::Form;
    static constexpr u32 ROW = Form::COLS / T::CHUNK;  // chunks of a row in a step
    static constexpr u32 EACH = 2 * TILED_PAIRS * ROW / TILED_THREADS;
    static_assert(Form::COLS % T::CHUNK == 0 && EACH * TILED_THREADS == 2 * TILED_PAIRS * ROW, "each thread decodes the same number of whole chunks");
    typename T::Raw raw[EACH];

    __device__ __forceinline__ void load(const Segment& s, u32 step) {
        const u32 chunks = s.a.units * (32 / T::CHUNK);
#pragma unroll
        for (u32 j = 0; j < EACH; j++) {
            const u32 i = j * TILED_THREADS + threadIdx.x, row = i / ROW, chunk = step * ROW + i % ROW;
            raw[j] = {};
            if (chunk < chunks) {
                raw[j] = T::load(s.matrix(row % 2), At(s.chunk<T>(s.first + row / 2, row % 2) + chunk));
            }
        }
    }

    __device__ __forceinline__ void store(u16 (*w)[TILED_STRIDE]) const {
#pragma unroll
        for (u32 j = 0; j < EACH; j++) {
            const u32 i = j * TILED_THREADS + threadIdx.x;
            u16* at = w[i / ROW] + i % ROW * T::CHUNK;
#pragma unroll 1
            for (u32 part = 0; part < T::CHUNK / 4; part += unrolled(T::CHUNK)) {
#pragma unroll
                for (u32 g = part; g < part + unrolled(T::CHUNK); g++) Form::store(at + 4 * g, T::decode(raw[j], g));
            }
        }
    }
};

template <class T, class J>
__device__ __forceinline__ void mat_tiled(const typename J::Params& p, const Segment& s, TiledShared& shared) {
    using Form = typename WeightOperand<T>::Form;
    const u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const u32 warp_token = warp / 2 * 32, warp_row = warp % 2 * 64;

    TiledChunks<T> chunks;
    chunks.load(s, 0);
    wait_for_inputs();

    const u32 n_tokens = rows_in_use(p.step, p.input.of_outputs);
    const u32 first_token = blockIdx.x * TILED_TOKENS;
    if (first_token >= n_tokens) return;
    const u32 steps = (p.input.n_cols + Form::COLS - 1) / Form::COLS;

    const auto copy_x = [&](u32 step) {
        if (step < steps) {
            constexpr u32 PIECES = STAGE_COLS / 8;  // of 16 bytes
#pragma unroll
            for (u32 j = 0; j < TILED_TOKENS * PIECES / TILED_THREADS; j++) {
                const u32 i = j * TILED_THREADS + threadIdx.x, t = i / PIECES, piece = i % PIECES * 8;
                const u64 row = min(first_token + t, n_tokens - 1);
                const u16* from = p.input.staged + (row * steps + step) * STAGE_COLS + piece;
                copy_async(&shared.tiles.x[step % TILED_STAGES][t][piece], from, first_token + t < n_tokens);
            }
        }
        copy_commit();  // one group per step, empty past the last: copy_wait counts groups
    };
#pragma unroll 1
    for (u32 step = 0; step < TILED_STAGES - 1; step++) copy_x(step);

    float sum[2][8][4] = {};  // (16 rows of x, 8 rows of w) each
    for (u32 step = 0; step < steps; step++) {
        chunks.store(shared.tiles.w);
        if (step + 1 < steps) chunks.load(s, step + 1);
        copy_wait<TILED_STAGES - 2>();
        __syncthreads();  // w and x[step]: written by all, read by all
        copy_x(step + TILED_STAGES - 1);  // over x[step - 1], which is no longer read

        const u16 (*x)[TILED_STRIDE] = shared.tiles.x[step % TILED_STAGES];
#pragma unroll 1
        for (u32 i = 0; i < Form::PRODUCTS; i++) {
            u32 a[2][4];
#pragma unroll
            for (u32 m = 0; m < 2; m++)
                load_matrices(a[m], &x[warp_token + 16 * m + lane % 16][Form::a(i) * SLICE + lane / 16 * 8]);
#pragma unroll
            for (u32 n = 0; n < 8; n += 2) {
                u32 b[4];  // two columns of fragments
                load_matrices(b, &shared.tiles.w[warp_row + 8 * n + lane % 8 + lane / 16 * 8][Form::b(i) * SLICE + lane / 8 % 2 * 8]);
#pragma unroll
                for (u32 m = 0; m < 2; m++) {
                    Form::mma(sum[m][n], a[m], b[0], b[1]);
                    Form::mma(sum[m][n + 1], a[m], b[2], b[3]);
                }
            }
        }
        __syncthreads();  // w: read by all, before the next step's overwrites it
    }

    // Results pass through shared memory: neighbouring threads then finish neighbouring pairs of a token.
#pragma unroll
    for (u32 m = 0; m < 2; m++) {
#pragma unroll
        for (u32 n = 0; n < 8; n++) {
            float* at = &shared.results[warp_token + 16 * m + lane / 4][warp_row + 8 * n + lane % 4 * 2];
            *(float2*)at = make_float2(sum[m][n][0], sum[m][n][1]);
            *(float2*)(at + 8 * RESULTS_STRIDE) = make_float2(sum[m][n][2], sum[m][n][3]);
        }
    }
    __syncthreads();  // results: written by all, read by all
#pragma unroll 1
    for (u32 i = threadIdx.x; i < TILED_TOKENS * TILED_PAIRS; i += TILED_THREADS) {
        const u32 t = i / TILED_PAIRS, pair = i % TILED_PAIRS, token = first_token + t;
        if (token >= n_tokens || s.first + pair >= s.n_pairs) continue;
        const float2 v = *(const float2*)&shared.results[t][2 * pair];
        const float scale = p.input.row_scale[token];
        u64 best = 0;
        J::finish(p, best, s.id, token, s.first + pair, v.x * scale, v.y * scale);
    }
}
