// Numbers that both the kernels and the host's grid sizes are made of. runtime/backend/cuda/params.rs reads this file: one
// `constexpr u32 NAME = decimal;` a line. Reasons are arithmetic; all numbers are unmeasured on a GPU.
#pragma once

constexpr u32 WARP = 32;              // lanes of a warp: the hardware's

constexpr u32 ROW_THREADS = 256;      // rms_norm, stage: a float4 each covers 1024 elements, 4 rounds at 4096
constexpr u32 COPY_THREADS = 128;     // embed, gather, add, add_bias, swi_glu, rope, kv_store: a float4, a pair or a chunk each

constexpr u32 STREAM_THREADS = 256;   // mat_stream, mat_rows: two blocks of at most 128 registers a thread fill an SM
constexpr u32 STREAM_BLOCKS = 2;      // mat_stream, mat_rows: blocks per SM
constexpr u32 X_UNITS = 512;          // mat_stream: units of x that fit shared memory, 16384 columns; 45056 of 49152 bytes
constexpr u32 STAGED_UNIT = 640;      // mat_rows: bytes of a unit of ROWS_TOKENS staged rows
constexpr u32 ROWS_TOKENS = 8;        // mat_rows: rows of x, the columns of one mma
constexpr u32 ROWS_PAIRS = 8;         // mat_rows: pairs of rows of w per block, the 16 rows of one mma

constexpr u32 VEC_WARPS = 8;          // mat_vec: a pair of rows each, so that 16 rows share the staging of x
constexpr u32 VEC_PAIRS = 8;          // mat_vec: pairs of rows per block = VEC_WARPS
constexpr u32 VEC_TOKENS = 4;         // mat_vec: rows of x per block of the _t4 entries; 8 sums a lane

constexpr u32 TILED_TOKENS = 64;      // mat_tiled: rows of x per block
constexpr u32 TILED_PAIRS = 64;       // mat_tiled: pairs of rows of w per block; 64 accumulators a thread
constexpr u32 TILED_THREADS = 128;    // mat_tiled: 2 x 2 warps of 32 x 64 results
constexpr u32 STAGE_COLS = 64;        // mat_tiled: halves of a staged row per step, 128 bytes: one cache line

constexpr u32 SPLIT_THREADS = 128;    // attention_split: 4 warps, 8 to 128 slots at a time
constexpr u32 SPLIT_SLOTS = 64;       // attention_split: the fewest slots worth a block of their own
constexpr u32 FLASH_ROWS = 64;        // attention_flash: (token, head of a group) rows per block, 16 per warp
constexpr u32 FLASH_SLOTS = 64;       // attention_flash: slots per tile, K and V 17 KiB each at head_dim 128
constexpr u32 FLASH_THREADS = 128;

constexpr u32 OUTPUTS_OF_TOKENS = 2;  // of_outputs of struct Input: the rows of tokens whose outputs are wanted

constexpr u32 KV_F32 = 0;             // formats of struct KvCache: kv.cuh
constexpr u32 KV_F16 = 1;
constexpr u32 KV_Q8_0 = 2;

constexpr u32 ARGMAX_PART = 8192;     // argmax: elements of a row per block; 16 blocks at a vocabulary of 128256
constexpr u32 ARGMAX_THREADS = 256;
constexpr u32 TOP_K_PART = 4096;      // top_k: keys that one block selects from, 32 KiB of shared memory
constexpr u32 TOP_K_MOST = 64;        // top_k: the largest k
constexpr u32 TOP_K_THREADS = 256;

constexpr u32 REPACK_THREADS = 256;   // repack: a unit each
