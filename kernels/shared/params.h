// What the parameters of several kernels are made of. The struct of an operation, `<Op>Params`, is passed by value and lies in the
// operation's own file. runtime/backend/cuda/params.rs mirrors the structs of this file, runtime/backend/cuda/ops every `<Op>Params`;
// tests/it/ptx.rs compares names, types and offsets, so keep one field a line.
//
// Shapes are row-major, the last index contiguous. Every pointer is 16-byte aligned.
#pragma once

typedef unsigned char      u8;
typedef unsigned short     u16;
typedef unsigned int       u32;
typedef unsigned long long u64;

// One row of a step: one token. runtime/plan/step.rs defines it.
struct StepRow {
    u32 token;     // token id, or NEXT_TOKEN
    u32 position;  // row of the rotation table
    u32 slot;      // KV slot that receives the token's key and value
    u32 kv_start;  // first slot that the token attends to
    u32 kv_len;    // slots that the token attends to, 1 or more
    u32 output;    // row i of an output buffer comes from token row rows[i].output
    u32 reserved[2];
};

// The head of a step in device memory, followed by its rows (n_tokens). Kernels read from here all that varies from step
// to step, so that a captured graph never changes.
struct Step {
    u32 n_tokens;   // rows in use of buffers with a row per token
    u32 n_outputs;  // rows in use of buffers with a row per output
    u32 reserved[6];
};

// A matrix repacked into planes, (rows, units or blocks of eight units) each. types.cuh says what the planes of each type hold;
// those that a type does not have are null.
struct Planes {
    const uint4* quants;  // elements, or their low bits
    const u32*   high;    // further bits of the elements
    const void*  scales;
    const u16*   supers;  // f16 scale of the scales
    u32 units;            // 32-element units per row; rows of floats are padded with zeros to whole units
    u32 reserved;
};

// The input of the matrix products. One row is read as floats (x, and norm where the op begins with RMSNorm), as are up to 8 where
// products are exact; others as the operands of tensor cores that stage.cu has made of them.
struct Input {
    const float* x;          // (rows, n_cols)
    const float* norm;       // (n_cols): weights of RMSNorm
    const u16*   staged;     // see stage.cu
    const float* row_scale;  // (rows): factors of the results of the staged rows
    u32   n_cols;            // a multiple of 4
    float eps;               // added to the mean square
    u32   of_outputs;        // 0: rows are the step's tokens; 1: its outputs; OUTPUTS_OF_TOKENS: those of its tokens that have outputs
    u32   parts;             // mat_stream, mat_rows: parts of the columns that are summed apart: 1, 2, 4 or 8
    u32   first_blocks;      // mat_stream, of two types: blocks of the grid that have the rows of the first
    u32   reserved;
};

// Keys and values of one layer.
struct KvCache {
    void* keys;    // (n_heads, n_slots, head_dim): kv.cuh
    void* values;  // (n_heads, n_slots, head_dim)
    u32 n_heads;   // KV heads
    u32 n_slots;
    u32 head_dim;  // even; attention wants a multiple of 8, up to 256
    u32 format;    // KV_F32, KV_F16 or KV_Q8_0
};
