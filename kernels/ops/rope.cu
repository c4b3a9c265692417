// Rotary embedding in place, pairing neighbours:  with (c, s) = table[position[t], 2i .. 2i + 2],
//   x[t, h, 2i], x[t, h, 2i + 1] = x0 * c - x1 * s, x0 * s + x1 * c   for 2i < rope_dim
//
// Grid     x: rotated pairs of a row, one per thread; y: tokens
// Layout   rows contiguous, head_dim and rope_dim even
// Traffic  reads and writes the rotated part of x once; the table's row comes from cache for all heads but the first
#include "shared/rotate.cuh"

struct RopeParams {
    float*       x;      // (n_tokens, n_heads, head_dim), rotated in place
    const float* table;  // (positions, rope_dim): cosine and sine of each pair's angle
    const Step*  step;   // 1
    u32 n_heads;
    u32 head_dim;        // even
    u32 rope_dim;        // even, up to head_dim
    u32 reserved;
};

extern "C" __global__ void __launch_bounds__(COPY_THREADS)
rope(const __grid_constant__ RopeParams p) {
    wait_for_inputs();
    const u32 row = blockIdx.y;
    const u32 pair = blockIdx.x * COPY_THREADS + threadIdx.x;
    const u32 pairs = p.rope_dim / 2;  // per head
    if (row >= p.step->n_tokens || pair >= p.n_heads * pairs) return;

    const u32 head = pair / pairs, i = pair % pairs;
    float2* x = (float2*)(p.x + (u64(row) * p.n_heads + head) * p.head_dim) + i;
    *x = rotated(*x, p.table, step_row(p.step, row).position, p.rope_dim, 2 * i);
}
