// Keys and values of TILE_SLOTS slots of an f16 or q8_0 cache in the registers of a warp, as the products of attention_mma.cuh take them
//
// Sums over elements of a head have no order, and which element is which row of a product is free: a lane takes elements of a key or value
// that lie side by side, up to 16 bytes. Lane 4r + c holds parts of the keys of slots r and r + 8 (4 lanes a key), and of the values of
// slots 2c, 2c + 1, 2c + 8 and 2c + 9 (8 lanes a value).
//
//   load_keys, load_values   from slot `first` on; the slot before `end` stands for those past it
//   scores                   of slots 2c, 2c + 1, 2c + 8, 2c + 9 and head r: q . key, q of all heads as query_element says
//   add                      acc += values * weights of these slots and head r, times UNIT
//   query_element(i, c)      element of a head that is the first of the 4 that lane c has in q[i]
//   value_element(i, r)      element of a head that acc[i][0] and acc[i][1] are of, in lane 4r + c; [2] and [3] are of the next
//   padding(c)               words of shared memory before columns 2c and 2c + 1 of acc that put what lanes write into different banks
#pragma once
#include "attention/attention_part.cuh"

// 4, 2 or 1 words from an address aligned to as many.
__device__ __forceinline__ void load_words(u32* to, const void* from, u32 words) {
    if (words == 4) {
        const uint4 v = *(const uint4*)from;
        to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
    } else if (words == 2) {
        const uint2 v = *(const uint2*)from;
        to[0] = v.x, to[1] = v.y;
    } else {
        to[0] = *(const u32*)from;
    }
}

// x and y as pairs of halves whose sum they are, but for 2^-22 of them.
__device__ __forceinline__ void split_pair(float x, float y, u32& hi, u32& lo) {
    hi = half_pair(x, y);
    lo = half_pair(x - half_bits(hi), y - half_bits(hi >> 16));
}

// Two bytes of `v`, chosen by `bytes`, less 128 as halves, exactly: in the low byte of the half 1024 a byte adds its value to it.
__device__ __forceinline__ u32 halves_of(u32 v, u32 bytes) {
    u32 halves;
    asm("sub.rn.f16x2 %0, %1, %2;" : "=r"(halves) : "r"(__byte_perm(v, 0x64646464, bytes)), "r"(0x64806480));
    return halves;
}
constexpr u32 BYTES_01 = 0x4140, BYTES_23 = 0x4342;

template <u32 D>
struct TileF16 {
    static constexpr float UNIT = 1;
    static constexpr u32 KEY = D / 8, VALUE = D / 16;  // words that a lane takes of a key, of a value
    static_assert(D % 16 == 0 && D % 64 != 48, "heads are whole fragments of 4, 2 or 1 words a lane");
    const __half *keys, *values;  // of slot 0 of the head
    u32 end, key[2][KEY], value[4][VALUE];

    __device__ __forceinline__ TileF16(const KvCache& kv, u32 head, u32 end) : end(end) {
        const u64 first = u64(head) * kv.n_slots * D;
        keys = (const __half*)kv.keys + first, values = (const __half*)kv.values + first;
    }

    // Words that lie side by side from word i on: fewer at the end of a head.
    static __host__ __device__ constexpr u32 key_words(u32 i) { return KEY - i < 4 ? KEY - i : 4; }
    static __host__ __device__ constexpr u32 value_words(u32 i) { return VALUE - i < 4 ? VALUE - i : 4; }
    static __host__ __device__ constexpr u32 padding(u32 pair) { return 2 * pair; }
    static __device__ __forceinline__ u32 query_element(u32 i, u32 c) {
        return i / 2 * 32 + c * 2 * key_words(i / 2 * 4) + i % 2 * 4;
    }
    static __device__ __forceinline__ u32 value_element(u32 i, u32 r) {
        return i / 4 * 64 + r * 2 * value_words(i / 4 * 4) + i % 4 * 2;
    }

    __device__ __forceinline__ void load_keys(u32 first, u32 r, u32 c) {
#pragma unroll
        for (u32 n = 0; n < 2; n++) {
            const __half* from = keys + u64(min(first + r + 8 * n, end - 1)) * D;
#pragma unroll
            for (u32 i = 0; i < KEY; i += 4) load_words(&key[n][i], from + query_element(i / 2, c), key_words(i));
        }
    }
    __device__ __forceinline__ void load_values(u32 first, u32 r, u32 c) {
#pragma unroll
        for (u32 s = 0; s < 4; s++) {
            const __half* from = values + u64(min(first + 2 * c + s % 2 + s / 2 * 8, end - 1)) * D;
#pragma unroll
            for (u32 i = 0; i < VALUE; i += 4) load_words(&value[s][i], from + value_element(i, r), value_words(i));
        }
    }

    __device__ __forceinline__ void scores(const u32 (&q)[D / 16][4], float (&score)[4]) const {
#pragma unroll
        for (u32 n = 0; n < 2; n++) {
            float s[4] = {};
#pragma unroll
            for (u32 i = 0; i < D / 16; i++) mma_f16(s, q[i], key[n][2 * i], key[n][2 * i + 1]);
            score[2 * n] = s[0] + s[2], score[2 * n + 1] = s[1] + s[3];
        }
    }
    __device__ __forceinline__ void add(float (&acc)[D / 16][4], const float (&weight)[4]) const {
        u32 hi[2], lo[2];
        split_pair(weight[0], weight[1], hi[0], lo[0]);
        split_pair(weight[2], weight[3], hi[1], lo[1]);
#pragma unroll
        for (u32 i = 0; i < VALUE; i++) {
            const u32 v[4] = {__byte_perm(value[0][i], value[1][i], 0x5410), __byte_perm(value[0][i], value[1][i], 0x7632),
                              __byte_perm(value[2][i], value[3][i], 0x5410), __byte_perm(value[2][i], value[3][i], 0x7632)};
            mma_f16(acc[i], v, hi[0], hi[1]);
            mma_f16(acc[i], v, lo[0], lo[1]);
        }
    }
};

// Products take quants; the scale of a block of 32 is multiplied into the sums over a key's block, and into the weights of a value's.
template <u32 D>
struct TileQ8_0 {
    // Keeps weights times scales in the middle of a half's range: right for values up to 511 * 127 = 64897, NaN above.
    static constexpr float UNIT = 128;
    static constexpr u32 BLOCKS = D / KV_BLOCK;
    static_assert(D % KV_BLOCK == 0, "heads are whole blocks");
    const u8 *keys, *values;  // quants of slot 0 of the head
    const u16 *key_scales, *value_scales;
    u32 end, key[2][2 * BLOCKS], value[4][BLOCKS];         // 8 quants of each block, 4 of each block
    u32 key_scale[4][(BLOCKS + 1) / 2], value_scale[4][(BLOCKS + 1) / 2];  // of slots 2c, 2c + 1, 2c + 8, 2c + 9: two halves a word

    __device__ __forceinline__ TileQ8_0(const KvCache& kv, u32 head, u32 end) : end(end) {
        const u64 first = u64(head) * kv.n_slots * D;
        keys = (const u8*)kv.keys + first, values = (const u8*)kv.values + first;
        key_scales = q8_0_scales(kv, kv.keys) + first / KV_BLOCK, value_scales = q8_0_scales(kv, kv.values) + first / KV_BLOCK;
    }

    static __host__ __device__ constexpr u32 padding(u32 pair) { return pair % 2 * 2 + pair / 2 * 16; }
    static __device__ __forceinline__ u32 query_element(u32 i, u32 c) { return i / 2 * 32 + c * 8 + i % 2 * 4; }
    static __device__ __forceinline__ u32 value_element(u32 i, u32 r) { return i / 2 * 32 + r * 4 + i % 2 * 2; }

    __device__ __forceinline__ u32 slot_of(u32 first, u32 c, u32 s) const { return min(first + 2 * c + s % 2 + s / 2 * 8, end - 1); }
    static __device__ __forceinline__ void load_scales(u32 (&to)[(BLOCKS + 1) / 2], const u16* from) {
        if constexpr (BLOCKS % 2 == 0) {
            load_words(to, from, BLOCKS / 2);
        } else {
#pragma unroll
            for (u32 i = 0; i < BLOCKS; i += 2) to[i / 2] = from[i] | (i + 1 < BLOCKS ? u32(from[i + 1]) << 16 : 0);
        }
    }
    static __device__ __forceinline__ float scale(const u32 (&of)[(BLOCKS + 1) / 2], u32 b) { return half_bits(of[b / 2] >> b % 2 * 16); }

    __device__ __forceinline__ void load_keys(u32 first, u32 r, u32 c) {
#pragma unroll
        for (u32 n = 0; n < 2; n++) {
            const u8* from = keys + u64(min(first + r + 8 * n, end - 1)) * D + 8 * c;
#pragma unroll
            for (u32 b = 0; b < BLOCKS; b++) load_words(&key[n][2 * b], from + KV_BLOCK * b, 2);
        }
#pragma unroll
        for (u32 s = 0; s < 4; s++) load_scales(key_scale[s], key_scales + u64(slot_of(first, c, s)) * BLOCKS);
    }
    __device__ __forceinline__ void load_values(u32 first, u32 r, u32 c) {
#pragma unroll
        for (u32 s = 0; s < 4; s++) {
            const u64 slot = slot_of(first, c, s);
#pragma unroll
            for (u32 b = 0; b < BLOCKS; b++) load_words(&value[s][b], values + slot * D + KV_BLOCK * b + 4 * r, 1);
            load_scales(value_scale[s], value_scales + slot * BLOCKS);
        }
    }

    __device__ __forceinline__ void scores(const u32 (&q)[D / 16][4], float (&score)[4]) const {
#pragma unroll
        for (u32 n = 0; n < 2; n++) {
            score[2 * n] = 0, score[2 * n + 1] = 0;
#pragma unroll
            for (u32 b = 0; b < BLOCKS; b++) {
                float s[4] = {};
#pragma unroll
                for (u32 i = 0; i < 2; i++) {
                    const u32 quants = key[n][2 * b + i] ^ 0x80808080;  // plus 128
                    mma_f16(s, q[2 * b + i], halves_of(quants, BYTES_01), halves_of(quants, BYTES_23));
                }
                score[2 * n] = fmaf(s[0] + s[2], scale(key_scale[2 * n], b), score[2 * n]);
                score[2 * n + 1] = fmaf(s[1] + s[3], scale(key_scale[2 * n + 1], b), score[2 * n + 1]);
            }
        }
    }
    __device__ __forceinline__ void add(float (&acc)[D / 16][4], const float (&weight)[4]) const {
        float scaled[4];
#pragma unroll
        for (u32 s = 0; s < 4; s++) scaled[s] = weight[s] * UNIT;
#pragma unroll
        for (u32 b = 0; b < BLOCKS; b++) {
            u32 hi[2], lo[2];
            split_pair(scaled[0] * scale(value_scale[0], b), scaled[1] * scale(value_scale[1], b), hi[0], lo[0]);
            split_pair(scaled[2] * scale(value_scale[2], b), scaled[3] * scale(value_scale[3], b), hi[1], lo[1]);
#pragma unroll
            for (u32 i = 0; i < 2; i++) {
                // Bytes 2i and 2i + 1 of two slots, in turn.
                const u32 which = i == 0 ? 0x5140 : 0x7362;
                const u32 near = __byte_perm(value[0][b], value[1][b], which) ^ 0x80808080;
                const u32 far = __byte_perm(value[2][b], value[3][b], which) ^ 0x80808080;
                const u32 v[4] = {halves_of(near, BYTES_01), halves_of(near, BYTES_23), halves_of(far, BYTES_01), halves_of(far, BYTES_23)};
                mma_f16(acc[2 * b + i], v, hi[0], hi[1]);
                mma_f16(acc[2 * b + i], v, lo[0], lo[1]);
            }
        }
    }
};
