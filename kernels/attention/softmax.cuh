// What the two attention loops share: their parameters, and how the softmax is taken. Scores count in base-2 logarithms, and each
// row keeps the largest so far (online softmax; Milakov and Gimelshein, 2018).
#pragma once
#include "shared/common.cuh"

struct AttentionParams {
    float*       out;      // (n_tokens, n_heads, head_dim)
    const float* q;        // (n_tokens, n_heads, head_dim)
    KvCache      kv;       // one layer
    float*       partial;  // (n_tokens, n_heads, n_splits, head_dim): sums not yet divided
    float2*      weights;  // (n_tokens, n_heads, n_splits): largest score (in base-2 logarithms), sum of weights
    u32*         arrived;  // (n_tokens, blocks): parts that are written, 0 before and after the launch
    const Step*  step;     // 1
    u32   n_heads;         // query heads, a multiple of kv.n_heads
    u32   n_splits;        // parts that each row's slots are divided into, at most
    float scale;           // of the scores
    u32   reserved;
};

constexpr float LOG2_E = 1.4426950408889634f;
constexpr float LOWEST = -3.0e38f;  // maximum of no scores: below every score, and unlike with -infinity, LOWEST - LOWEST is 0
