// Grouped-query attention:  out[t, h, :] = sum_s p[s] values[g, s, :],  p = softmax_s(scale * q[t, h, :] . keys[g, s, :]),
// over the kv_len[t] slots s from kv_start[t] on, with the KV head g = h / (n_heads / kv heads)
//
// Few tokens: attention_split_<type>_h<HEADS> divides each row's slots into up to n_splits parts, and the last block of a row puts the
// parts together; attention_mma_<type>_d<head_dim> does so on tensor cores, for caches of f16 and q8_0. Many tokens:
// attention_flash_d<head_dim>, on tensor cores, for an f16 cache; attention_flash_q8_0_d<head_dim>.
//
// Grid     attention_part.cuh; attention_flash.cuh
// Layout   out, q: (n_tokens, n_heads, head_dim) contiguous; cache: kv.cuh
// Traffic  keys and values once per HEADS query heads (split), once per 8 (mma), once per FLASH_ROWS / group tokens (flash)
#include "attention/attention_flash.cuh"
#include "attention/attention_mma.cuh"
#include "attention/attention_split.cuh"

// HEADS: how many query heads that share a KV head one block takes; 1, 2, 4 or 8.
#define SPLIT_ENTRY(name, E, HEADS)                                                                    \
    extern "C" __global__ void __launch_bounds__(SPLIT_THREADS, 2)                                     \
    attention_split_##name##_h##HEADS(const __grid_constant__ AttentionParams p) { attention_split<E, HEADS>(p); }
#define SPLIT_ENTRIES(name, E) SPLIT_ENTRY(name, E, 1) SPLIT_ENTRY(name, E, 2) SPLIT_ENTRY(name, E, 4) SPLIT_ENTRY(name, E, 8)
SPLIT_ENTRIES(f16, CachedHalf)
SPLIT_ENTRIES(f32, CachedFloat)
SPLIT_ENTRIES(q8_0, CachedQ8_0)

#define MMA_ENTRY(name, Tile, D)                                                                       \
    extern "C" __global__ void __launch_bounds__(SPLIT_THREADS, 2)                                     \
    attention_mma_##name##_d##D(const __grid_constant__ AttentionParams p) { attention_mma<Tile<D>, D>(p); }
MMA_ENTRY(f16, TileF16, 64) MMA_ENTRY(f16, TileF16, 80) MMA_ENTRY(f16, TileF16, 96) MMA_ENTRY(f16, TileF16, 128)
MMA_ENTRY(q8_0, TileQ8_0, 64) MMA_ENTRY(q8_0, TileQ8_0, 96) MMA_ENTRY(q8_0, TileQ8_0, 128)

#define FLASH_ENTRY(name, E, D)                                                                        \
    extern "C" __global__ void __launch_bounds__(FLASH_THREADS)                                        \
    attention_flash_##name##D(const __grid_constant__ AttentionParams p) { attention_flash<E, D>(p); }
FLASH_ENTRY(d, CachedHalf, 32) FLASH_ENTRY(d, CachedHalf, 64) FLASH_ENTRY(d, CachedHalf, 80)
FLASH_ENTRY(d, CachedHalf, 96) FLASH_ENTRY(d, CachedHalf, 128)
FLASH_ENTRY(q8_0_d, CachedQ8_0, 32) FLASH_ENTRY(q8_0_d, CachedQ8_0, 64)
FLASH_ENTRY(q8_0_d, CachedQ8_0, 96) FLASH_ENTRY(q8_0_d, CachedQ8_0, 128)
