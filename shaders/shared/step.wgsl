// What varies from step to step (runtime/plan/step.rs): one row per token, 32 bytes each, after a header of 32 bytes.
struct StepRow {
    token: u32,     // token id
    position: u32,  // row of the rotation table
    slot: u32,      // KV slot that receives the token's key and value
    kv_start: u32,  // first slot that the token attends to
    kv_len: u32,    // slots that the token attends to, 1 or more
    output: u32,    // row i of an output buffer comes from token row rows[i].output
    reserved0: u32,
    reserved1: u32,
}

struct Step {
    n_tokens: u32,   // rows in use of buffers with a row per token
    n_outputs: u32,  // rows in use of buffers with a row per output
    reserved: array<u32, 6>,
    rows: array<StepRow>,  // (n_tokens)
}

@group(0) @binding(0) var<storage, read> step: Step;
