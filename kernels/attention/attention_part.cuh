// What attention_split.cuh and attention_mma.cuh share: how slots are divided among blocks (flash-decoding), whose results the last of
// them adds up
//
// Grid     x: kv heads * ceil(group / heads of a block); y: tokens; z: parts. Tokens next to each other read the same keys and values, at
//          about the same time.
//
// The parts of a row depend on the row's own slots alone, and so does the order in which they are added: a row has the same bits in a step
// of one row and in a step of several.
#pragma once
#include "attention/kv.cuh"
#include "attention/softmax.cuh"

constexpr u32 SPLIT_WARPS = SPLIT_THREADS / WARP;
constexpr u32 TILE_SLOTS = 16;  // slots of the smallest piece of a part: what a warp of attention_mma takes at a time

// Slots of a part of a row of kv_len slots: whole tiles, so that no tile has slots of two parts and rows of about the same length have
// the same parts. The last part that has slots may have fewer; the parts after it are empty.
__device__ __forceinline__ u32 slots_per_part(const AttentionParams& p, u32 kv_len) {
    const u32 even = (kv_len + p.n_splits - 1) / p.n_splits;
    return max((even + TILE_SLOTS - 1) / TILE_SLOTS * TILE_SLOTS, SPLIT_SLOTS);
}

// Whether two rows attend to the same slots, but for the last ones, in parts of the same size.
__device__ __forceinline__ bool have_same_parts(const AttentionParams& p, const StepRow& a, const StepRow& b) {
    return a.kv_start == b.kv_start && slots_per_part(p, a.kv_len) == slots_per_part(p, b.kv_len);
}

// What a block computes: a part of one or more rows of the step that have the same parts, for some of the query heads of a KV head.
struct Part {
    u32 token, rows;   // the first row, and the number of rows
    u32 kv_head;
    u32 heads;         // number of query heads
    u64 first_head;    // of the first row's heads, among (n_tokens, n_heads)
    u32 index, count;  // which part; number of parts of the longest row
    u32 slots;         // of a part
    u32 start, end;    // slots of the cache; `end` is that of the longest row

    // Query head `h` of row `row` of the block, among (n_tokens, n_heads).
    __device__ __forceinline__ u64 head(const AttentionParams& p, u32 row, u32 h) const { return first_head + u64(row) * p.n_heads + h; }
    __device__ __forceinline__ const StepRow& row(const AttentionParams& p, u32 i) const { return step_row(p.step, token + i); }
};

// The part of this block, with at most `most_heads` heads, and `most_rows` rows if that is more than 1; false if there is none. Reads
// rows of the step alone, which are there before the kernels before have ended.
__device__ __forceinline__ bool find_part(const AttentionParams& p, u32 most_heads, u32 most_rows, Part& part) {
    const u32 token = blockIdx.y, n_tokens = p.step->n_tokens;
    if (token >= n_tokens) return false;
    const StepRow& row = step_row(p.step, token);
    part.slots = slots_per_part(p, row.kv_len);
    u32 longest = row.kv_len;
    part.token = token, part.rows = 1;
    if (most_rows > 1) {
        // Of each most_rows rows, the block of the first takes those after it that have its parts. The others are alone.
        const u32 first = token / most_rows * most_rows;
        u32 rows = 1;
        while (rows < most_rows && first + rows < n_tokens && have_same_parts(p, step_row(p.step, first), step_row(p.step, first + rows))) {
            rows++;
        }
        if (token == first) part.rows = rows;
        else if (token - first < rows) return false;
        for (u32 i = 1; i < part.rows; i++) longest = max(longest, step_row(p.step, token + i).kv_len);
    }
    part.index = blockIdx.z, part.count = (longest + part.slots - 1) / part.slots;
    if (part.index >= part.count) return false;
    part.start = row.kv_start + part.index * part.slots;
    part.end = min(part.start + part.slots, row.kv_start + longest);

    const u32 group = p.n_heads / p.kv.n_heads, blocks = (group + most_heads - 1) / most_heads;
    const u32 first_of_group = blockIdx.x % blocks * most_heads;
    part.kv_head = blockIdx.x / blocks;
    part.heads = min(group - first_of_group, most_heads);
    part.first_head = u64(token) * p.n_heads + part.kv_head * group + first_of_group;
    return true;
}

// Waits for the kernels before. Calls load() ahead of that if no token of the step writes the slots of the cache up to `end` that it reads
// from the part's start on: then an earlier step wrote them. Steps of many tokens count as writing them, as do all where four bytes may
// have scales of two slots.
template <class Load>
__device__ __forceinline__ void load_and_wait(const AttentionParams& p, const Part& part, u32 end, Load load) {
    const bool apart = p.kv.format != KV_Q8_0 || p.kv.head_dim % (2 * KV_BLOCK) == 0;
    bool old = apart && p.step->n_tokens <= 8;
    for (u32 i = 0; old && i < p.step->n_tokens; i++) {
        const u32 slot = step_row(p.step, i).slot;
        old = slot < part.start || slot >= min(end, part.end);
    }
    if (old) load();
    wait_for_inputs();
    if (!old) load();
}

// Counts a block that has written its part, and tells whether it is the last of `n_parts`. All threads of the block call it.
__device__ __forceinline__ bool is_last_part(u32* arrived, u32 n_parts) {
    __shared__ bool last;
    __syncthreads();  // what any thread of the block has written comes before the count
    if (threadIdx.x == 0) {
        __threadfence();  // for all of the grid
        last = atomicAdd(arrived, 1) == n_parts - 1;
        if (last) *arrived = 0;  // for the next launch
        __threadfence();  // the count comes before what others have written is read
    }
    __syncthreads();  // last: written by thread 0, read by all
    return last;
}

// out = sum_i partial[i] * 2^(most[i] - most) / sum_i total[i] * 2^(most[i] - most), over the n_parts parts of a head. A warp calls it.
template <u32 MAX_D>
__device__ __forceinline__ void combine_parts(const AttentionParams& p, u64 head, u32 n_parts) {
    const u32 D = p.kv.head_dim, lane = threadIdx.x % WARP;
    const u64 at = head * p.n_splits;
    float most = LOWEST, total = 0, v[(MAX_D + WARP - 1) / WARP] = {};
    for (u32 i = lane; i < n_parts; i += WARP) most = fmaxf(most, p.weights[at + i].x);
#pragma unroll
    for (u32 other = WARP / 2; other > 0; other /= 2) most = fmaxf(most, __shfl_xor_sync(ALL_LANES, most, other));
    for (u32 i = lane; i < n_parts; i += WARP) total += p.weights[at + i].y * exp2f(p.weights[at + i].x - most);
    total = warp_sum(total);
#pragma unroll (MAX_D > 128 ? 2 : 4)
    for (u32 i = 0; i < n_parts; i++) {
        const float weight = exp2f(p.weights[at + i].x - most);
#pragma unroll
        for (u32 j = 0; j < (MAX_D + WARP - 1) / WARP; j++) {
            const u32 d = j * WARP + lane;
            if (d < D) v[j] = fmaf(p.partial[(at + i) * D + d], weight, v[j]);
        }
    }
#pragma unroll
    for (u32 j = 0; j < (MAX_D + WARP - 1) / WARP; j++) {
        const u32 d = j * WARP + lane;
        if (d < D) p.out[head * D + d] = v[j] / total;
    }
}

// The end of every block that has a part: the last of the blocks that share rows and heads adds up what all have stored. A warp a head.
template <u32 MAX_D>
__device__ __forceinline__ void finish_part(const AttentionParams& p, const Part& part) {
    if (part.count == 1 || !is_last_part(p.arrived + u64(part.token) * gridDim.x + blockIdx.x, part.count)) return;
    for (u32 i = threadIdx.x / WARP; i < part.rows * part.heads; i += SPLIT_WARPS) {
        const u32 row = i / part.heads, n_parts = (part.row(p, row).kv_len + part.slots - 1) / part.slots;
        if (n_parts > 1) combine_parts<MAX_D>(p, part.head(p, row, i % part.heads), n_parts);
    }
}
