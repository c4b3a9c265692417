// Kernels of the tests, as a compiler writes them. `kernels.ptx` and `kernels90.ptx` are made from this file with
// NVRTC 12.4 (--gpu-architecture=compute_80 and compute_90, --std=c++17).
#include <cuda_fp16.h>
#include <cuda_bf16.h>
typedef unsigned int u32;
typedef unsigned long long u64;

struct RmsNormParams { float* out; const float* x; const float* w; const u32* n_tokens; u32 n_embd; float eps; };

template <u32 THREADS>
__device__ float block_sum(float v, float* scratch) {
    for (u32 lane = 16; lane > 0; lane /= 2) v += __shfl_xor_sync(~0u, v, lane);
    if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = v;
    __syncthreads();
    v = 0;
    for (u32 warp = 0; warp < THREADS / 32; warp++) v += scratch[warp];
    __syncthreads();
    return v;
}

extern "C" __global__ void __launch_bounds__(256) rms_norm(const __grid_constant__ RmsNormParams p) {
    __shared__ float scratch[8];
    const u32 token = blockIdx.x;
    if (token >= *p.n_tokens) return;
    const size_t row = size_t(token) * p.n_embd;
    const float4* x = (const float4*)(p.x + row);
    const float4* w = (const float4*)p.w;
    float4* out = (float4*)(p.out + row);
    float sum = 0;
    for (u32 i = threadIdx.x; i < p.n_embd / 4; i += 256) {
        const float4 v = x[i];
        sum += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
    }
    const float scale = rsqrtf(block_sum<256>(sum, scratch) / p.n_embd + p.eps);
    for (u32 i = threadIdx.x; i < p.n_embd / 4; i += 256) {
        const float4 v = x[i], s = w[i];
        out[i] = make_float4(v.x * scale * s.x, v.y * scale * s.y, v.z * scale * s.z, v.w * scale * s.w);
    }
}

// out[r] = sum over blocks b of 32 of d[r][b] * dx[b] * sum_i (q4(r, b, i) - 8) * qx[b][i]; one warp per row.
struct MatVecParams { float* out; const uint4* q; const __half* d; const uint4* qx; const float* dx; u32 rows; u32 blocks; };

extern "C" __global__ void __launch_bounds__(128) mat_vec_q4(const __grid_constant__ MatVecParams p) {
    const u32 row = blockIdx.x * 4 + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (row >= p.rows) return;
    float acc = 0;
    for (u32 b = lane; b < p.blocks; b += 32) {
        const uint4 q = __ldg(p.q + size_t(row) * p.blocks + b);
        const uint4 lo = p.qx[2 * b], hi = p.qx[2 * b + 1];
        const u32 qs[4] = {q.x, q.y, q.z, q.w}, l[4] = {lo.x, lo.y, lo.z, lo.w}, h[4] = {hi.x, hi.y, hi.z, hi.w};
        int dot = 0, sum = 0;
        for (int i = 0; i < 4; i++) {
            dot = __dp4a((int)(qs[i] & 0x0f0f0f0f), (int)l[i], dot);
            dot = __dp4a((int)(qs[i] >> 4 & 0x0f0f0f0f), (int)h[i], dot);
            sum = __dp4a(0x01010101, (int)l[i], sum);
            sum = __dp4a(0x01010101, (int)h[i], sum);
        }
        acc += __half2float(p.d[size_t(row) * p.blocks + b]) * p.dx[b] * float(dot - 8 * sum);
    }
    for (int i = 16; i > 0; i /= 2) acc += __shfl_xor_sync(~0u, acc, i);
    if (lane == 0) p.out[row] = acc;
}

__device__ __forceinline__ u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }

// C (m, n) = A (m, k) B(n, k)^T in f16 with f32 sums; one warp per 16 x 8 tile, 2 stages of cp.async, k in steps of 16.
extern "C" __global__ void mma_f16(float* c, const __half* a, const __half* b, u32 n, u32 k) {
    __shared__ __align__(16) __half as[2][16][24];
    __shared__ __align__(16) __half bs[2][8][24];
    const u32 lane = threadIdx.x, row0 = blockIdx.y * 16, col0 = blockIdx.x * 8;
    auto fetch = [&](u32 stage, u32 k0) {
        const u32 r = lane / 2, part = lane % 2 * 8;
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(&as[stage][r][part])),
                     "l"(a + size_t(row0 + r) * k + k0 + part));
        if (lane < 16)
            asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(&bs[stage][r][part])),
                         "l"(b + size_t(col0 + r) * k + k0 + part));
        asm volatile("cp.async.commit_group;");
    };
    float d[4] = {};
    fetch(0, 0);
    for (u32 k0 = 0, stage = 0; k0 < k; k0 += 16, stage ^= 1) {
        if (k0 + 16 < k) {
            fetch(stage ^ 1, k0 + 16);
            asm volatile("cp.async.wait_group 1;");
        } else {
            asm volatile("cp.async.wait_group 0;");
        }
        __syncthreads();
        u32 fa[4], fb[2];
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(fa[0]), "=r"(fa[1]), "=r"(fa[2]), "=r"(fa[3])
                     : "r"(shared_address(&as[stage][lane % 16][lane / 16 * 8])));
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                     : "=r"(fb[0]), "=r"(fb[1])
                     : "r"(shared_address(&bs[stage][lane % 8][lane / 8 % 2 * 8])));
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                     : "r"(fa[0]), "r"(fa[1]), "r"(fa[2]), "r"(fa[3]), "r"(fb[0]), "r"(fb[1]));
        __syncthreads();
    }
    for (int i = 0; i < 4; i++) c[size_t(row0 + lane / 4 + 8 * (i / 2)) * n + col0 + lane % 4 * 2 + i % 2] = d[i];
}

__constant__ float table[4] = {1, 2, 4, 8};
__device__ int counter = 7;

__device__ __noinline__ float helper(float a, int* b) {
    *b += 1;
    return sinf(a) + *b;
}

// A bit of everything that a compiler makes of C++.
extern "C" __global__ void misc(float* o, const __half2* h, const __nv_bfloat16* b, int n, float y) {
    extern __shared__ float dyn[];
    int k = n;
    const u32 t = threadIdx.x;
    o += t * 16;
    o[0] = helper(y, &k) + table[n & 3];
    o[1] = powf(y, 3.5f);
    o[2] = cosf(y * 1000000.f);
    o[3] = expf(y);
    o[4] = tanhf(y);
    o[5] = logf(y);
    const float2 f = __half22float2(__hfma2(h[0], h[1], h[2]));
    dyn[t] = f.x + __bfloat162float(b[3]);
    __syncthreads();
    o[6] = dyn[t ^ 1] + f.y;
    float s = 0;
    switch ((n + t) % 7) {
        case 0: s = 1; break;
        case 1: s = n * y; break;
        case 2: s = 3; break;
        case 3: s = 9; break;
        case 4: s = 9 / y; break;
        case 5: s = 10; break;
        default: s = -1;
    }
    o[7] = s;
    int local[8];
    for (int i = 0; i < 8; i++) local[i] = n * i;
    o[8] = local[(int)(t + y) & 7];
    if (t == 0) printf("n %d y %.2f %s\n", n, y, "x");
    o[9] = sqrtf(y) / 3;
    o[10] = __int_as_float(atomicAdd(&counter, 1) >= 7);
    o[11] = __popc(n) + __clz(n) + __ffs(n) + __brev(n) % 17;
    u64 x = u64(n) * 0x123456789abcdefull;
    o[12] = float(x % 1000003);
    double dd = y;
    o[13] = float(dd * dd / 3.0);
    o[14] = float(u32(n * 77777) / 7u % 13u);
    o[15] = float(n / (int(t) + 1) % 5);
}
