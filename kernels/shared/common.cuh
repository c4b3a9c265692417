// What every kernel needs: waiting for the kernels before, rows of a step, sums and loads.
#pragma once
#include "shared/params.h"
#include "shared/plan.h"
#include "shared/tuning.h"

constexpr u32 ALL_LANES = 0xffffffff;

static_assert(sizeof(Step) == sizeof(StepRow), "rows of a step follow its head as if it were one");

// Dependent launch (sm_90 on): lets the next kernel's blocks start, then waits until the kernels before have finished and
// their writes are visible. Every block of every kernel comes here before it reads or writes anything but weights, so that
// a kernel's end implies the end of all before it.
__device__ __forceinline__ void wait_for_inputs() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Rows in use of a buffer with a row per token or per output.
__device__ __forceinline__ u32 rows_in_use(const Step* step, u32 of_outputs) {
    return of_outputs ? step->n_outputs : step->n_tokens;
}

__device__ __forceinline__ const StepRow& step_row(const Step* step, u32 i) {
    return ((const StepRow*)(step + 1))[i];
}

// The row of a product's input for row i of its results.
__device__ __forceinline__ u32 row_of_input(const Step* step, u32 of_outputs, u32 i) {
    return of_outputs == OUTPUTS_OF_TOKENS ? step_row(step, i).output : i;
}

// What lane `LANE ^ own` has. As an instruction of its own: the intrinsic takes three registers for constants.
template <u32 LANE>
__device__ __forceinline__ float lane_xor(float v) {
    float other;
    asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 31, -1;" : "=f"(other) : "f"(v), "n"(LANE));
    return other;
}
template <u32 LANE>
__device__ __forceinline__ u32 lane_xor(u32 v) {
    u32 other;
    asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 31, -1;" : "=r"(other) : "r"(v), "n"(LANE));
    return other;
}

// Sum of v over the warp, in every lane.
__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
    for (u32 lane = WARP / 2; lane > 0; lane /= 2) v += __shfl_xor_sync(ALL_LANES, v, lane);
    return v;
}

// Sum of v over the block, in every thread. scratch: one float per warp.
template <u32 THREADS>
__device__ __forceinline__ float block_sum(float v, float* scratch) {
    v = warp_sum(v);
    if (threadIdx.x % WARP == 0) scratch[threadIdx.x / WARP] = v;
    __syncthreads();  // scratch: written by each warp's lane 0, read by all
    v = 0;
    for (u32 warp = 0; warp < THREADS / WARP; warp++) v += scratch[warp];
    __syncthreads();  // scratch: read by all, before the caller writes it again
    return v;
}

__device__ __forceinline__ float sum_of_squares(float4 v) {
    return v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
}

// 1 / sqrt(mean_j(x[j]^2) + eps) of a row of n elements, in every thread.
template <u32 THREADS>
__device__ __forceinline__ float rms_scale(const float4* x, u32 n, float eps, float* scratch) {
    float sum = 0;
#pragma unroll 1
    for (u32 i = threadIdx.x; i < n / 4; i += THREADS) sum += sum_of_squares(x[i]);
    return rsqrtf(block_sum<THREADS>(sum, scratch) / n + eps);
}

// x * scale * w
__device__ __forceinline__ float4 normalized(float4 x, float scale, float4 w) {
    return make_float4(x.x * scale * w.x, x.y * scale * w.y, x.z * scale * w.z, x.w * scale * w.w);
}

// gate / (1 + exp(-gate)) * up
__device__ __forceinline__ float swi_glu_of(float gate, float up) {
    return gate / (1.0f + expf(-gate)) * up;
}

// Element `base` + FURTHER of a plane, and its address: the constant becomes the offset of the load.
template <u32 FURTHER>
struct Index {
    u64 base;
    __device__ __forceinline__ u64 value() const { return base + FURTHER; }
};
template <class T, u32 FURTHER>
struct Address {
    const T* base;
};
template <class T, u32 FURTHER>
__device__ __forceinline__ Address<T, FURTHER> operator+(const T* plane, Index<FURTHER> i) { return {plane + i.base}; }

// Loads of weights, which are read once and never change: they bypass L1, and volatile keeps them above wait_for_inputs.
template <u32 FURTHER = 0>
__device__ __forceinline__ uint4 load_once(const uint4* at) {
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4+%5];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(at), "n"(FURTHER * sizeof(uint4)));
    return v;
}
template <u32 FURTHER = 0>
__device__ __forceinline__ uint2 load_once(const uint2* at) {
    uint2 v;
    asm volatile("ld.global.nc.L1::no_allocate.v2.u32 {%0, %1}, [%2+%3];"
                 : "=r"(v.x), "=r"(v.y) : "l"(at), "n"(FURTHER * sizeof(uint2)));
    return v;
}
template <u32 FURTHER = 0>
__device__ __forceinline__ u32 load_once(const u32* at) {
    u32 v;
    asm volatile("ld.global.nc.L1::no_allocate.u32 %0, [%1+%2];" : "=r"(v) : "l"(at), "n"(FURTHER * sizeof(u32)));
    return v;
}
// The same for planes where neighbouring lanes read the same or adjacent bytes: through L1.
template <u32 FURTHER = 0>
__device__ __forceinline__ uint4 load_weight(const uint4* at) {
    uint4 v;
    asm volatile("ld.global.nc.v4.u32 {%0, %1, %2, %3}, [%4+%5];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(at), "n"(FURTHER * sizeof(uint4)));
    return v;
}
template <u32 FURTHER = 0>
__device__ __forceinline__ uint2 load_weight(const uint2* at) {
    uint2 v;
    asm volatile("ld.global.nc.v2.u32 {%0, %1}, [%2+%3];" : "=r"(v.x), "=r"(v.y) : "l"(at), "n"(FURTHER * sizeof(uint2)));
    return v;
}
template <u32 FURTHER = 0>
__device__ __forceinline__ u32 load_weight(const u32* at) {
    u32 v;
    asm volatile("ld.global.nc.u32 %0, [%1+%2];" : "=r"(v) : "l"(at), "n"(FURTHER * sizeof(u32)));
    return v;
}
template <u32 FURTHER = 0>
__device__ __forceinline__ u16 load_weight(const u16* at) {
    u16 v;
    asm volatile("ld.global.nc.u16 %0, [%1+%2];" : "=h"(v) : "l"(at), "n"(FURTHER * sizeof(u16)));
    return v;
}
template <u32 FURTHER = 0>
__device__ __forceinline__ u16 load_weight(const u8* at) {
    u16 v;
    asm volatile("ld.global.nc.u8 %0, [%1+%2];" : "=h"(v) : "l"(at), "n"(FURTHER));
    return v;
}
template <class T, u32 FURTHER>
__device__ __forceinline__ auto load_once(Address<T, FURTHER> at) { return load_once<FURTHER>(at.base); }
template <class T, u32 FURTHER>
__device__ __forceinline__ auto load_weight(Address<T, FURTHER> at) { return load_weight<FURTHER>(at.base); }
