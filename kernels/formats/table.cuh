// Weight types (types.cuh): values from a table of 16, and ternary ones.
#pragma once
#include "formats/blocks.cuh"
#include "formats/decode.cuh"

// The values of IQ4_NL and IQ4_XS.
__device__ __forceinline__ u32 iq4_values(uint4 q, u32 g) {
    return looked_up(codes(q, g), signed_bytes(-127, -104, -83, -65), signed_bytes(-49, -35, -22, -10),
                     signed_bytes(1, 13, 25, 38), signed_bytes(53, 69, 89, 113));
}

// The values of MXFP4 and NVFP4: 4-bit floats (E2M1), doubled; scales are halved.
__device__ __forceinline__ u32 fp4_values(uint4 q, u32 g) {
    return looked_up(codes(q, g), signed_bytes(0, 1, 2, 3), signed_bytes(4, 6, 8, 12), signed_bytes(0, -1, -2, -3),
                     signed_bytes(-4, -6, -8, -12));
}

// The codes of a unit of 32: element i in the low half of byte i, 16 + i in its high half.
__device__ __forceinline__ uint4 codes_of(const u8* bytes) {
    return pack_codes([&](u32 i) { return u32(bytes[i % 16] >> (4 * (i / 16)) & 15); });
}

struct IQ4_NL : Quantized<IQ4_NL> {
    static constexpr bool SIGNED = true;
    struct Raw { uint4 q; u16 d; };
    template <class A, class L = WholeChunk>
    static __device__ __forceinline__ Raw load(const Planes& w, A at, L lane = {}) {
        return {lane.quants(w.quants + at.unit()), load_weight((const u16*)w.scales + at.unit())};
    }
    static __device__ __forceinline__ u32 word(const Raw& r, u32 g) { return iq4_values(r.q, g); }
    static __device__ __forceinline__ float scale(const Raw& r, u32) { return half_bits(r.d); }
    // f16 d; codes (codes_of)
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) {
        const u8* block = p.blocks + unit * 18;
        ((u16*)p.scales)[unit] = u16_at(block);
        p.quants[unit] = codes_of(block + 2);
    }
};

struct IQ4_XS : Quantized<IQ4_XS> {
    static constexpr u32 ROWS_BUFFERS = 1;
    static constexpr u32 BUFFERS = 2;
    static constexpr bool SIGNED = true;
    struct Raw { uint4 q; uint2 head; u32 unit; };
    static __device__ __forceinline__ void share(Raw& r, const Raw& first) { r.head = first.head; }
    static __device__ __forceinline__ void set_place(Raw& r, u32 place) { r.unit = place % 8; }
    template <class A, class L = WholeChunk>
    static __device__ __forceinline__ Raw load(const Planes& w, A at, L lane = {}) {
        return {lane.quants(w.quants + at.unit()), at.of_block((const uint2*)w.scales), at.in_block()};
    }
    // head: f16 d and eight pairs of bits, eight nibbles
    static __device__ __forceinline__ u32 word(const Raw& r, u32 g) { return iq4_values(r.q, g); }
    static __device__ __forceinline__ float scale(const Raw& r, u32) {
        const u32 scale = (r.head.y >> (4 * r.unit) & 15) | (r.head.x >> (16 + 2 * r.unit) & 3) << 4;
        return half_bits(r.head.x) * float(int(scale) - 32);
    }
    // Blocks of 256: f16 d and 6 bytes of scales; codes of eight units (codes_of)
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) {
        const u8* block = p.blocks + unit / GROUP * 136;
        if (unit % GROUP == 0) ((uint2*)p.scales)[unit / GROUP] = bytes8_at(block);
        p.quants[unit] = codes_of(block + 8 + unit % GROUP * 16);
    }
};

struct MXFP4 : Quantized<MXFP4> {
    static constexpr bool SIGNED = true;
    struct Raw { uint4 q; u16 e; };
    template <class A, class L = WholeChunk>
    static __device__ __forceinline__ Raw load(const Planes& w, A at, L lane = {}) {
        return {lane.quants(w.quants + at.unit()), load_weight((const u8*)w.scales + at.unit())};
    }
    // 2^(e - 127) / 2. The two smallest are subnormal.
    static __device__ __forceinline__ u32 word(const Raw& r, u32 g) { return fp4_values(r.q, g); }
    static __device__ __forceinline__ float scale(const Raw& r, u32) { return __uint_as_float(r.e < 2 ? 0x00200000 << r.e : u32(r.e - 1) << 23); }
    // u8 exponent; codes (codes_of)
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) {
        const u8* block = p.blocks + unit * 17;
        ((u8*)p.scales)[unit] = block[0];
        p.quants[unit] = codes_of(block + 1);
    }
};

struct NVFP4 : Quantized<NVFP4> {
    static constexpr bool SIGNED = true;
    static constexpr u32 HALVES = 2;
    struct Raw { uint4 q; u16 d; };
    template <class A, class L = WholeChunk>
    static __device__ __forceinline__ Raw load(const Planes& w, A at, L lane = {}) {
        return {lane.quants(w.quants + at.unit()), load_weight((const u16*)w.scales + at.unit())};
    }
    // Scales are unsigned E4M3. Their bits in the place of an f16's give 2^-8 of the scale: half of it is 2^7 times that. NaN is taken as 0.
    static __device__ __forceinline__ u32 word(const Raw& r, u32 g) { return fp4_values(r.q, g); }
    static __device__ __forceinline__ float scale(const Raw& r, u32 half) {
        const u32 d = r.d >> (8 * half) & 255;
        return d == 127 ? 0.0f : half_bits((d & 127) << 7) * 128.0f;
    }
    // Blocks of 64: u8 scales of 16 elements each; codes, element 16 k + i in the low half of byte 8 k + i (i < 8), 16 k + 8 + i in its
    // high half
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) {
        const u8* block = p.blocks + unit / 2 * 36 + unit % 2 * 2;
        ((u16*)p.scales)[unit] = u16_at(block);
        const u8* bytes = p.blocks + unit / 2 * 36 + 4 + unit % 2 * 16;
        p.quants[unit] = pack_codes([&](u32 i) { return u32(bytes[i / 16 * 8 + i % 8] >> (i / 8 % 2 * 4) & 15); });
    }
};

struct TQ2_0 : Quantized<TQ2_0> {
    static constexpr u32 OFFSET = 1;
    struct Raw { uint2 q; u16 d; };
    static __device__ __forceinline__ void share(Raw& r, const Raw& first) { r.d = first.d; }
    template <class A, class L = WholeChunk>
    static __device__ __forceinline__ Raw load(const Planes& w, A at, L lane = {}) {
        return {load_once((const uint2*)w.quants + at.unit()), at.of_block(w.supers)};
    }
    static __device__ __forceinline__ u32 word(const Raw& r, u32 g) { return pairs(r.q, g); }
    static __device__ __forceinline__ float scale(const Raw& r, u32) { return half_bits(r.d); }
    // Blocks of 256: pairs of bits (pairs_of), f16 d
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) {
        const u8* block = p.blocks + unit / GROUP * 66;
        if (unit % GROUP == 0) p.supers[unit / GROUP] = u16_at(block + 64);
        ((uint2*)p.quants)[unit] = pairs_of(block, u32(unit % GROUP));
    }
};

// 256 elements take 13 words: 12 in quants, one in high. Of the 64 groups of four elements, group G is digit G % 5 of the four
// bytes of word G / 5. A byte is the fraction 0.(its five digits) in base 3, times 256, rounded up.
struct TQ1_0 : Quantized<TQ1_0> {
    static constexpr u32 ROWS_BUFFERS = 1;
    static constexpr u32 OFFSET = 1;
    struct Raw { u32 a, b, c; u16 d; u32 unit; };
    static __device__ __forceinline__ void share(Raw& r, const Raw& first) { r.d = first.d; }
    static __device__ __forceinline__ void set_place(Raw& r, u32 place) { r.unit = place % 8; }
    template <class A, class L = WholeChunk>
    static __device__ __forceinline__ Raw load(const Planes& w, A at, L lane = {}) {
        const u32 unit = at.in_block(), first = unit * 8 / 5;
        const u32* q = (const u32*)w.quants + at.block().value() * 12;
        return {load_weight(q + first), load_weight(first < 11 ? q + first + 1 : w.high + at.block().value()),
                load_weight(q + min(first + 2, 11u)), at.of_block(w.supers), unit};
    }
    static __device__ __forceinline__ u32 word(const Raw& r, u32 g) {
        const u32 i = r.unit * 8 % 5 + g, digit = i % 5;
        const u32 v = i < 5 ? r.a : i < 10 ? r.b : r.c;
        const u32 power = digit < 4 ? byte_of(0x1b090301, digit) : 81;
        const u32 even = ((v & 0x00ff00ff) * power & 0x00ff00ff) * 3 >> 8 & 0x00030003;
        const u32 odd = ((v >> 8 & 0x00ff00ff) * power & 0x00ff00ff) * 3 >> 8 & 0x00030003;
        return even | odd << 8;
    }
    static __device__ __forceinline__ float scale(const Raw& r, u32) { return half_bits(r.d); }
    // Digit e of a block of 256. It has bytes of digits to base 3: element 32 k + i is digit k of byte i (i < 32, k < 5), 160 + 16 k + i
    // digit k of byte 32 + i (i < 16), 240 + 4 k + i digit k of byte 48 + i (i < 4, k < 4); f16 d at byte 52.
    static __device__ __forceinline__ u32 element(const u8* block, u32 e) {
        const u32 n = e < 160 ? 32 : e < 240 ? 16 : 4, first = e < 160 ? 0 : e < 240 ? 160 : 240;
        const u32 digit = (e - first) / n, byte = block[(e < 160 ? 0 : e < 240 ? 32 : 48) + (e - first) % n];
        const u32 power = digit < 4 ? byte_of(0x1b090301, digit) : 81;
        return (byte * power & 255) * 3 >> 8;
    }
    // Byte j of word w: element 20 w + 4 k + j is digit k.
    static __device__ __forceinline__ u32 packed_word(const u8* block, u32 w) {
        u32 word = 0;
#pragma unroll 1
        for (u32 j = 0; j < 4; j++) {
            u32 digits = 0;
#pragma unroll 1
            for (u32 k = 0; k < 5; k++) {
                const u32 e = 20 * w + 4 * k + j;
                digits = digits * 3 + (e < 256 ? element(block, e) : 0);
            }
            word |= (digits * 256 + 242) / 243 << (8 * j);
        }
        return word;
    }
    static __device__ __forceinline__ void repack(const RepackParams& p, u64 unit) {
        const u32 u = u32(unit % GROUP);
        const u8* block = p.blocks + unit / GROUP * 54;
        u32* quants = (u32*)p.quants + unit / GROUP * 12;
        if (u == 0) p.supers[unit / GROUP] = u16_at(block + 52);
        quants[u] = packed_word(block, u);
        if (u < 4) quants[8 + u] = packed_word(block, 8 + u);
        if (u == 4) p.high[unit / GROUP] = packed_word(block, 12);
    }
};
