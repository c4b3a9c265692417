// Embedding:  out[t, :] = table[token[t], :], the token from the step or from what argmax wrote
//
// Grid     x: chunks of a row, one per thread; y: tokens
// Layout   table in planes (types.cuh); rows of out contiguous, n_embd % 4 == 0
// Traffic  reads one row of the table per token, writes out once
// A token that the vocabulary does not have gives a row of zeros.
#include "formats/types.cuh"

struct EmbedParams {
    float*      out;    // (n_tokens, n_embd)
    Planes      table;  // (n_vocab, n_embd)
    const Step* step;   // 1
    const u32*  next;   // (n_tokens): the token of rows that say NEXT_TOKEN; what argmax wrote
    u32 n_embd;         // a multiple of 4
    u32 n_vocab;
};

template <class T>
__device__ __forceinline__ void embed(const EmbedParams& p) {
    wait_for_inputs();
    const u32 row = blockIdx.y;
    if (row >= p.step->n_tokens) return;

    const u32 chunks = p.table.units * (32 / T::CHUNK);
    const u32 chunk = blockIdx.x * COPY_THREADS + threadIdx.x;
    if (chunk >= chunks) return;

    u32 token = step_row(p.step, row).token;
    if (token == NEXT_TOKEN) token = p.next[row];
    typename T::Raw raw = {};
    if (token < p.n_vocab) raw = T::load(p.table, At(u64(token) * chunks + chunk));

    float4* out = (float4*)(p.out + u64(row) * p.n_embd);
#pragma unroll 1
    for (u32 g = 0; g < T::CHUNK / 4; g++) {
        const u32 i = chunk * (T::CHUNK / 4) + g;
        if (i < p.n_embd / 4) out[i] = T::decode(raw, g);
    }
}

#define ENTRY(name, T)                                             \
    extern "C" __global__ void __launch_bounds__(COPY_THREADS)     \
    embed_##name(const __grid_constant__ EmbedParams p) { embed<T>(p); }
WEIGHT_TYPES(ENTRY)
