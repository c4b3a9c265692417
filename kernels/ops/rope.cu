// Rotary embedding in place:  with (c, s) = table[position[t], 2i .. 2i + 2] for pair i < rope_dim / 2 of a head, its elements
//   a, b = 2i, 2i + 1   or, if halves, i, i + rope_dim / 2:
//   x[t, h, a], x[t, h, b] = x[a] * c - x[b] * s, x[a] * s + x[b] * c
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
    u32 halves;          // 0: elements 2i and 2i + 1 of a head are a pair; 1: i and i + rope_dim / 2
};

extern "C" __global__ void __launch_bounds__(COPY_THREADS)
rope(const __grid_constant__ RopeParams p) {
    wait_for_inputs();
    const u32 row = blockIdx.y;
    const u32 pair = blockIdx.x * COPY_THREADS + threadIdx.x;
    const u32 pairs = p.rope_dim / 2;  // per head
    if (row >= p.step->n_tokens || pair >= p.n_heads * pairs) return;

    const u32 head = pair / pairs, i = pair % pairs;
    float* x = p.x + (u64(row) * p.n_heads + head) * p.head_dim;
    float* a = x + (p.halves ? i : 2 * i);
    float* b = a + (p.halves ? pairs : 1);
    const float2 v = rotated(make_float2(*a, *b), p.table, step_row(p.step, row).position, p.rope_dim, 2 * i);
    *a = v.x;
    *b = v.y;
}
