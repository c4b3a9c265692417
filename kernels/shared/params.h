// What the host passes to the kernels: one struct per op, by value. runtime/backend/cuda/params.rs mirrors every struct, field
// by field; tests/ptx.rs reads this file and compares names, types and offsets, so keep one field a line.
//
// Shapes are row-major, the last index contiguous. Every pointer is 16-byte aligned.
#pragma once

typedef unsigned char      u8;
typedef unsigned short     u16;
typedef unsigned int       u32;
typedef unsigned long long u64;

// One row of a step: one token. runtime/plan/step.rs defines it.
struct StepRow {
    u32 token;      // token id, or NEXT_TOKEN
    u32 position;   // row of the rotation table
    u32 slot;       // KV slot that receives the token's key and value
    u32 kv_start;   // first slot that the token attends to
    u32 kv_len;     // slots that the token attends to, 1 or more
    u32 output;     // row i of an output buffer comes from token row rows[i].output
    u32 reserved[2];
};

// The head of a step in device memory, followed by its rows (n_tokens). Kernels read here whatever varies from step to
// step, so that a captured graph never changes.
struct Step {
    u32 n_tokens;   // rows in use of buffers with a row per token
    u32 n_outputs;  // rows in use of buffers with a row per output
    u32 reserved[6];
};

// A matrix repacked into planes, (rows, units or blocks of eight units) each, with per type what types.cuh says. Planes that a
// type does not have are null.
struct Planes {
    const uint4* quants;  // elements, or their low bits
    const u32*   high;    // further bits of the elements
    const void*  scales;
    const u16*   supers;  // f16 scale of the scales
    u32 units;            // 32-element units per row; rows of floats are padded with zeros to whole units
    u32 reserved;
};

// The input of the matrix products. Up to 8 rows are read as floats (x, and norm where the op begins with RMSNorm), more as
// the operands of tensor cores that stage.cu has made of them.
struct Input {
    const float* x;          // (rows, n_cols)
    const float* norm;       // (n_cols): weights of RMSNorm
    const u16*   staged;     // (rows, steps, 64): see stage.cu
    const float* row_scale;  // (rows): what the staged rows are to be multiplied by
    u32   n_cols;            // a multiple of 4
    float eps;               // added to the mean square
    u32   of_outputs;        // 0: rows are the step's tokens; 1: its outputs
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

struct EmbedParams {
    float*      out;    // (n_tokens, n_embd)
    Planes      table;  // (n_vocab, n_embd)
    const Step* step;   // 1
    const u32*  next;   // (n_tokens): the token of rows that say NEXT_TOKEN; what argmax wrote
    u32 n_embd;         // a multiple of 4
    u32 n_vocab;
};

struct GatherParams {
    float*       out;   // (n_outputs, n_cols)
    const float* x;     // (n_tokens, n_cols)
    const Step*  step;  // 1
    u32 n_cols;         // a multiple of 4
    u32 reserved;
};

struct RmsNormParams {
    float*       out;   // (rows, n_embd)
    const float* x;     // (rows, n_embd)
    const float* w;     // (n_embd)
    const Step*  step;  // 1
    u32   n_embd;       // a multiple of 4
    float eps;          // added to the mean square
    u32   of_outputs;   // 0: rows are the step's tokens; 1: its outputs
    u32   reserved;
};

struct MatMulParams {
    Input       input;   // (rows, n_cols)
    Planes      w;     // (first_row + n_rows or more, n_cols)
    float*      out;   // (rows, n_rows)
    const Step* step;  // 1
    u32 n_rows;
    u32 first_row;     // of w: out is a slice of the product with the whole matrix
};

struct MatMulAddParams {
    Input        input;       // (rows, n_cols)
    Planes       w;         // (first_row + n_rows or more, n_cols)
    const float* residual;  // (rows, n_rows)
    float*       out;       // (rows, n_rows); may be residual
    const Step*  step;      // 1
    u32 n_rows;
    u32 first_row;          // of w
};

struct NormGateUpSwiGluParams {
    Input       input;   // (n_tokens, n_cols), before the norm
    Planes      gate;  // (gate_row + n_rows or more, n_cols)
    Planes      up;    // (up_row + n_rows or more, n_cols)
    float*      out;   // (n_tokens, n_rows)
    const Step* step;  // 1
    u32 n_rows;
    u32 gate_row;      // first row of gate in use
    u32 up_row;        // first row of up in use
    u32 reserved;
};

struct NormQkvRopeStoreParams {
    Input        input;    // (n_tokens, n_cols), before the norm
    Planes       q;      // (q_row + n_q_rows or more, n_cols)
    Planes       k;      // (k_row + n_kv_rows or more, n_cols)
    Planes       v;      // (v_row + n_kv_rows or more, n_cols)
    float*       out;    // (n_tokens, n_q_rows): rotated queries
    KvCache      kv;     // receives rotated keys, and values; kv.n_heads * kv.head_dim = n_kv_rows
    const float* table;  // (positions, rope_dim): cosine and sine of each pair's angle
    const Step*  step;   // 1
    u32 n_q_rows;        // a multiple of head_dim
    u32 n_kv_rows;
    u32 rope_dim;        // rotated elements of each head: even, up to head_dim
    u32 q_row;           // first row of q in use
    u32 k_row;           // first row of k in use
    u32 v_row;           // first row of v in use
};

struct StageParams {
    u16*         staged;     // (rows, steps, 64): see stage.cu
    float*       row_scale;  // (rows)
    const float* x;          // (rows, n_cols)
    const float* norm;       // (n_cols), or null: no RMSNorm
    const Step*  step;       // 1
    u32   n_cols;            // a multiple of 4
    float eps;               // added to the mean square
    u32   of_outputs;        // 0: rows are the step's tokens; 1: its outputs
    u32   reserved;
};

struct RopeParams {
    float*       x;      // (n_tokens, n_heads, head_dim), rotated in place
    const float* table;  // (positions, rope_dim): cosine and sine of each pair's angle
    const Step*  step;   // 1
    u32 n_heads;
    u32 head_dim;        // even
    u32 rope_dim;        // even, up to head_dim
    u32 reserved;
};

struct KvStoreParams {
    KvCache      kv;    // one layer
    const float* k;     // (n_tokens, kv.n_heads, kv.head_dim)
    const float* v;     // (n_tokens, kv.n_heads, kv.head_dim)
    const Step*  step;  // 1
};

struct AttentionParams {
    float*       out;      // (n_tokens, n_heads, head_dim)
    const float* q;        // (n_tokens, n_heads, head_dim)
    KvCache      kv;       // one layer
    float*       partial;  // (n_tokens, n_heads, n_splits, head_dim): sums not yet divided
    float2*      weights;  // (n_tokens, n_heads, n_splits): largest score (in base-2 logarithms), sum of weights
    const Step*  step;     // 1
    u32   n_heads;         // query heads, a multiple of kv.n_heads
    u32   n_splits;        // parts that each row's slots are divided into
    float scale;           // of the scores
    u32   reserved;
};

struct SwiGluParams {
    float*       out;   // (rows, n_cols); may be gate or up
    const float* gate;  // (rows, n_cols)
    const float* up;    // (rows, n_cols)
    const Step*  step;  // 1
    u32 n_cols;         // a multiple of 4
    u32 of_outputs;     // 0: rows are the step's tokens; 1: its outputs
};

struct AddParams {
    float*       out;   // (rows, n_cols); may be x or y
    const float* x;     // (rows, n_cols)
    const float* y;     // (rows, n_cols)
    const Step*  step;  // 1
    u32 n_cols;         // a multiple of 4
    u32 of_outputs;     // 0: rows are the step's tokens; 1: its outputs
};

struct AddBiasParams {
    float*       x;     // (rows, n_cols), in place
    const float* b;     // (n_cols)
    const Step*  step;  // 1
    u32 n_cols;         // a multiple of 4
    u32 of_outputs;     // 0: rows are the step's tokens; 1: its outputs
};

struct ArgmaxParams {
    u32*         out;    // (n_outputs): token ids
    const float* x;      // (n_outputs, n_cols)
    u64*         parts;  // (n_outputs, n_parts): the best key of each part, select.cuh
    const Step*  step;   // 1
    u32 n_cols;
    u32 n_parts;         // parts of a row
};

struct TopKParams {
    float*       values;  // (n_outputs, k), falling
    u32*         ids;     // (n_outputs, k)
    const float* x;       // (n_outputs, n_cols)
    u64*         parts;   // (n_outputs, n_parts, k): the best keys of each part, select.cuh
    const Step*  step;    // 1
    u32 n_cols;           // k or more
    u32 n_parts;          // parts of a row: ceil(n_cols / TOP_K_PART), n_parts * k up to TOP_K_PART
    u32 k;                // 1 to TOP_K_MOST
    u32 reserved;
};

struct RepackParams {
    uint4*    quants;  // planes, as in Planes
    u32*      high;
    void*     scales;
    u16*      supers;
    const u8* blocks;  // (n_rows, n_cols) in blocks as in the file; aligned to 2 bytes
    u64 n_rows;
    u32 n_cols;        // a whole number of blocks
    u32 units;         // ceil(n_cols / 32)
};
