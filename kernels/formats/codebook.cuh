// Weight types (types.cuh): groups of 8 or 4 values from a codebook (grids.cuh), with signs and scales. The codes of an entry are what
// __byte_perm takes to choose four values from a table of eight.
#pragma once
#include "formats/blocks.cuh"
#include "formats/decode.cuh"
#include "formats/grids.cuh"

// The signs of eight values from the seven of the file: the number of minuses is even.
__device__ __forceinline__ u32 eight_signs(u32 seven) {
    seven &= 127;
    return seven | __popc(seven) << 7;
}

// Four of the eight values of an entry of an IQ2 codebook, those of half g % 2; signs of all eight.
__device__ __forceinline__ u32 iq2_values(u32 entry, u32 g, u32 signs) {
    return negated(__byte_perm(8 | 25 << 8 | 43 << 16, 0, entry >> (16 * (g % 2))), signs >> (4 * (g % 2)));
}

// The start of a block of 256: f16 d; 8 bytes for each unit. Returns the rest of the block.
template <u32 BYTES>
__device__ __forceinline__ const u8* repack_entries(const RepackParams& p, u64 unit) {
    const u32 u = u32(unit % GROUP);
    const u8* block = p.blocks + unit / GROUP * BYTES;
    if (u == 0) p.supers[unit / GROUP] = u16_at(block);
    ((uint2*)p.quants)[unit] = bytes8_at(block + 2 + 8 * u);
    return block + 66;
}

// Below, g counts the groups of four elements of a unit, and g / 2 its octets.

struct IQ2_XXS : Quantized<IQ2_XXS> {
    static constexpr u32 ROWS_BUFFERS = 1;
    static constexpr bool SIGNED = true;
    struct Raw { uint2 q; u16 d; };  // q: four entries; four times seven signs, 4 bits of scale
    static __device__ __forceinline__ void share(Raw& r, const Raw& first) { r.d = first.d; }
    template <class A, class L = WholeChunk>
    static __device__ __forceinline__ Raw load(const Planes& w, A at, L lane = {}) {
        return {load_once((const uint2*)w.quants + at.unit()), at.of_block(w.supers)};
    }
    static __device__ __forceinline__ u32 word(const Raw& r, u32 g) { return iq2_values(grid_iq2_xxs(byte_of(r.q.x, g / 2)), g, eight_signs(r.q.y >> (7 * (g / 2)))); }
    static __device__ __forceinline__ float scale(const Raw& r, u32) { return half_bits(r.d) * (0.5f + float(r.q.y >> 28)) * 0.25f; }
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) { repack_entries<66>(p, unit); }
};

struct IQ2_XS : Quantized<IQ2_XS> {
    static constexpr u32 ROWS_BUFFERS = 1;
    static constexpr bool SIGNED = true;
    static constexpr u32 HALVES = 2;
    struct Raw { uint2 q; u16 scales; u16 d; };  // q: four times 9 bits of entry, seven signs
    static __device__ __forceinline__ void share(Raw& r, const Raw& first) { r.d = first.d; }
    template <class A, class L = WholeChunk>
    static __device__ __forceinline__ Raw load(const Planes& w, A at, L lane = {}) {
        return {load_once((const uint2*)w.quants + at.unit()), load_weight((const u8*)w.scales + at.unit()),
                at.of_block(w.supers)};
    }
    static __device__ __forceinline__ u32 word(const Raw& r, u32 g) {
        const u32 q = (g < 4 ? r.q.x : r.q.y) >> (16 * (g / 2 % 2));
        return iq2_values(grid_iq2_xs(q & 511), g, eight_signs(q >> 9 & 127));
    }
    static __device__ __forceinline__ float scale(const Raw& r, u32 half) { return half_bits(r.d) * (0.5f + float(nibble_of(r.scales, half))) * 0.25f; }
    // Then for each unit a byte of two scales.
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) {
        const u8* rest = repack_entries<74>(p, unit);
        ((u8*)p.scales)[unit] = rest[unit % GROUP];
    }
};

struct IQ2_S : Quantized<IQ2_S> {
    static constexpr u32 ROWS_BUFFERS = 1;
    static constexpr bool SIGNED = true;
    static constexpr u32 HALVES = 2;
    struct Raw { uint2 q; u16 scales; u16 d; };  // q: low 8 bits of four entries; signs. scales: their bits 8 and 9; two scales
    static __device__ __forceinline__ void share(Raw& r, const Raw& first) { r.d = first.d; }
    template <class A, class L = WholeChunk>
    static __device__ __forceinline__ Raw load(const Planes& w, A at, L lane = {}) {
        return {load_once((const uint2*)w.quants + at.unit()), load_weight((const u16*)w.scales + at.unit()),
                at.of_block(w.supers)};
    }
    static __device__ __forceinline__ u32 word(const Raw& r, u32 g) {
        const u32 i = byte_of(r.q.x, g / 2) | (r.scales >> (g / 2 * 2) & 3) << 8;
        return iq2_values(grid_iq2_s(i), g, byte_of(r.q.y, g / 2));
    }
    static __device__ __forceinline__ float scale(const Raw& r, u32 half) { return half_bits(r.d) * (0.5f + float(r.scales >> (8 + 4 * half) & 15)) * 0.25f; }
    // f16 d; for each unit 4 bytes of entries; for each 4 bytes of signs; for each a byte of bits 8, 9 of the entries; for each two scales
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) {
        const u32 u = u32(unit % GROUP);
        const u8* block = p.blocks + unit / GROUP * 82;
        if (u == 0) p.supers[unit / GROUP] = u16_at(block);
        ((uint2*)p.quants)[unit] = make_uint2(u32_at(block + 2 + 4 * u), u32_at(block + 34 + 4 * u));
        ((u16*)p.scales)[unit] = u16(block[66 + u] | block[74 + u] << 8);
    }
};

struct IQ3_XXS : Quantized<IQ3_XXS> {
    static constexpr u32 ROWS_BUFFERS = 1;
    static constexpr bool SIGNED = true;
    struct Raw { uint2 q; u32 signs; u16 d; };  // q: eight entries. signs: four times seven, 4 bits of scale
    static __device__ __forceinline__ void share(Raw& r, const Raw& first) { r.d = first.d; }
    template <class A, class L = WholeChunk>
    static __device__ __forceinline__ Raw load(const Planes& w, A at, L lane = {}) {
        return {load_once((const uint2*)w.quants + at.unit()), load_weight((const u32*)w.scales + at.unit()),
                at.of_block(w.supers)};
    }
    static __device__ __forceinline__ u32 word(const Raw& r, u32 g) {
        const u32 entry = grid_iq3_xxs(byte_of(g < 4 ? r.q.x : r.q.y, g % 4));
        const u32 values = __byte_perm(4 | 12 << 8 | 20 << 16 | 28 << 24, 36 | 44 << 8 | 52 << 16 | 62 << 24, entry);
        return negated(values, eight_signs(r.signs >> (7 * (g / 2))) >> (4 * (g % 2)));
    }
    static __device__ __forceinline__ float scale(const Raw& r, u32) { return half_bits(r.d) * (0.5f + float(r.signs >> 28)) * 0.5f; }
    // Then for each unit a word of signs and scale.
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) {
        const u8* rest = repack_entries<98>(p, unit);
        ((u32*)p.scales)[unit] = u32_at(rest + 4 * u32(unit % GROUP));
    }
};

struct IQ3_S : Quantized<IQ3_S> {
    static constexpr u32 ROWS_BUFFERS = 1;
    static constexpr bool SIGNED = true;
    static constexpr u32 BUFFERS = 2;
    struct Raw { uint2 q; u32 signs; u16 high; u16 scales; u16 d; u32 unit; };  // q, high: low 8 bits and bit 8 of eight entries
    static __device__ __forceinline__ void share(Raw& r, const Raw& first) { r.d = first.d; }
    static __device__ __forceinline__ void set_place(Raw& r, u32 place) { r.unit = place % 8; }
    template <class A, class L = WholeChunk>
    static __device__ __forceinline__ Raw load(const Planes& w, A at, L lane = {}) {
        const u32 unit = at.in_block();
        const u32* high = w.high + at.block().value() * 10;  // eight words of signs, eight bytes
        return {load_once((const uint2*)w.quants + at.unit()), load_weight(high + unit), load_weight((const u8*)(high + 8) + unit),
                load_weight((const u8*)w.scales + at.unit().value() / 2), at.of_block(w.supers), unit};
    }
    static __device__ __forceinline__ u32 word(const Raw& r, u32 g) {
        const u32 i = byte_of(g < 4 ? r.q.x : r.q.y, g % 4) | (r.high >> g & 1) << 8;
        const u32 values = __byte_perm(1 | 3 << 8 | 5 << 16 | 7 << 24, 9 | 11 << 8 | 13 << 16 | 15 << 24, grid_iq3_s(i));
        return negated(values, r.signs >> (4 * g));
    }
    static __device__ __forceinline__ float scale(const Raw& r, u32) { return half_bits(r.d) * float(1 + 2 * nibble_of(r.scales, r.unit)); }
    // Then for each unit a byte of bit 8 of the entries; for each a word of signs; for each a nibble of scale.
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) {
        const u32 u = u32(unit % GROUP);
        const u8* rest = repack_entries<110>(p, unit);
        u32* high = p.high + unit / GROUP * 10;
        ((u8*)(high + 8))[u] = rest[u];
        high[u] = u32_at(rest + 8 + 4 * u);
        if (u < 4) ((u8*)p.scales)[unit / GROUP * 4 + u] = rest[40 + u];
    }
};

// 8 (v + 1/8), or 8 (v - 1/8) if `down`, for four of the eight values v = -1, 0 or 1 of entry i: those of half g % 2. These are
// integers from -9 to 9; scales are eighths.
__device__ __forceinline__ u32 iq1_values(u32 i, u32 g, u32 down) {
    const u32 table = down ? signed_bytes(-9, -1, 7, 0) : signed_bytes(-7, 1, 9, 0);
    return __byte_perm(table, 0, grid_iq1_s(i) >> (16 * (g % 2)));
}

struct IQ1_S : Quantized<IQ1_S> {
    static constexpr u32 ROWS_BUFFERS = 1;
    static constexpr bool SIGNED = true;
    struct Raw { u32 q; u16 high; u16 d; };  // high: bits 8 to 10 of four entries, 3 bits of scale, down
    static __device__ __forceinline__ void share(Raw& r, const Raw& first) { r.d = first.d; }
    template <class A, class L = WholeChunk>
    static __device__ __forceinline__ Raw load(const Planes& w, A at, L lane = {}) {
        return {load_once((const u32*)w.quants + at.unit()), load_weight((const u16*)w.high + at.unit()),
                at.of_block(w.supers)};
    }
    static __device__ __forceinline__ u32 word(const Raw& r, u32 g) { return iq1_values(byte_of(r.q, g / 2) | (r.high >> (g / 2 * 3) & 7) << 8, g, r.high >> 15); }
    static __device__ __forceinline__ float scale(const Raw& r, u32) { return half_bits(r.d) * float(2 * (r.high >> 12 & 7) + 1) * 0.125f; }
    // f16 d; for each unit 4 bytes of entries; for each 16 bits more
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) {
        const u32 u = u32(unit % GROUP);
        const u8* block = p.blocks + unit / GROUP * 50;
        if (u == 0) p.supers[unit / GROUP] = u16_at(block);
        ((u32*)p.quants)[unit] = u32_at(block + 2 + 4 * u);
        ((u16*)p.high)[unit] = u16_at(block + 34 + 2 * u);
    }
};

struct IQ1_M : Quantized<IQ1_M> {
    static constexpr u32 ROWS_BUFFERS = 1, ROWS_BLOCKS = 1;
    static constexpr bool SIGNED = true;
    static constexpr u32 HALVES = 2;
    // high: four times bits 8 to 10 of an entry, down. head: f16 d, 16 times 3 bits of scale
    struct Raw { u32 q; u16 high; uint2 head; u32 unit; };
    static __device__ __forceinline__ void share(Raw& r, const Raw& first) { r.head = first.head; }
    static __device__ __forceinline__ void set_place(Raw& r, u32 place) { r.unit = place % 8; }
    template <class A, class L = WholeChunk>
    static __device__ __forceinline__ Raw load(const Planes& w, A at, L lane = {}) {
        return {load_once((const u32*)w.quants + at.unit()), load_weight((const u16*)w.high + at.unit()),
                at.of_block((const uint2*)w.scales), at.in_block()};
    }
    static __device__ __forceinline__ u32 word(const Raw& r, u32 g) {
        const u32 high = r.high >> (g / 2 * 4);
        return iq1_values(byte_of(r.q, g / 2) | (high & 7) << 8, g, high & 8);
    }
    static __device__ __forceinline__ float scale(const Raw& r, u32 half) {
        const u64 head = u64(r.head.y) << 32 | r.head.x;
        const u32 scale = u32(head >> (16 + 6 * r.unit + 3 * half)) & 7;
        return half_bits(r.head.x) * float(2 * scale + 1) * 0.125f;
    }
    // For each unit 4 bytes of entries; for each 16 bits more; four u16, each of four scales of 3 bits and 4 bits of f16 d, lowest first
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) {
        const u32 u = u32(unit % GROUP);
        const u8* block = p.blocks + unit / GROUP * 56;
        if (u == 0) {
            u64 head = 0;
#pragma unroll
            for (u32 i = 0; i < 4; i++) {
                const u64 v = u16_at(block + 48 + 2 * i);
                head |= (v >> 12) << (4 * i) | (v & 0xfff) << (16 + 12 * i);
            }
            ((uint2*)p.scales)[unit / GROUP] = make_uint2(u32(head), u32(head >> 32));
        }
        ((u32*)p.quants)[unit] = u32_at(block + 4 * u);
        ((u16*)p.high)[unit] = u16_at(block + 32 + 2 * u);
    }
};
