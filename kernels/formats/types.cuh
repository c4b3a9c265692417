// Weight types: one struct per type, one row each in the tables at the end. Kernels are templates over them. A struct decodes
// its type and brings blocks of a file into planes, side by side in the file of its family: plain.cuh, k.cuh, table.cuh or
// codebook.cuh.
//
// A matrix lies in planes (struct Planes). A unit of 32 elements is read in chunks of CHUNK elements: 16 bytes of quants, or all
// quants of a unit where they are fewer. Chunk c of row r is number r * units * (32 / CHUNK) + c of the plane. What the planes hold of each
// unit, or of each block of eight units:
//
//   type      CHUNK  quants                       high                        scales                          supers
//   F32           4  8 x 16 bytes: floats
//   F16           8  4 x 16 bytes: halves
//   BF16          8  4 x 16 bytes: upper halves
//   Q8_0         16  2 x 16 bytes: i8                                         f16 d
//   Q4_0         32  16 bytes: nibbles                                        f16 d
//   Q4_1         32  16 bytes: nibbles                                        f16 d, f16 m
//   Q5_0         32  16 bytes: nibbles            u32: bit 4                  f16 d
//   Q5_1         32  16 bytes: nibbles            u32: bit 4                  f16 d, f16 m
//   Q2_K         32  8 bytes: pairs                                           2 bytes: scale, min             block: f16 d, f16 dmin
//   Q3_K         32  8 bytes: pairs               u32: bit 2                  block: 8 bytes of two low       block: f16 d
//                                                                             nibbles, 8 nibbles of two high pairs
//   Q4_K         32  16 bytes: nibbles                                        2 bytes: scale, min             block: f16 d, f16 dmin
//   Q5_K         32  16 bytes: nibbles            u32: bit 4                  2 bytes: scale, min             block: f16 d, f16 dmin
//   Q6_K         32  16 bytes: nibbles            2 u32: bits 4, 5            2 i8                            block: f16 d
//   IQ4_NL       32  16 bytes: codes                                          f16 d
//   IQ4_XS       32  16 bytes: codes                                          block: its first 8 bytes
//   MXFP4        32  16 bytes: codes                                          u8: exponent
//   NVFP4        32  16 bytes: codes                                          2 bytes: E4M3
//   TQ1_0        32  block: 12 words of digits    block: 1 word of digits                                     block: f16 d
//   TQ2_0        32  8 bytes: pairs                                                                           block: f16 d
//   IQ2_XXS      32  4 entries, u32: signs, scale                                                             block: f16 d
//   IQ2_XS       32  4 u16: entry, signs                                      u8: two nibbles                 block: f16 d
//   IQ2_S        32  4 entries, 4 bytes: signs                                u8: bits 8, 9; u8: two nibbles  block: f16 d
//   IQ3_XXS      32  8 entries                                                u32: signs, scale               block: f16 d
//   IQ3_S        32  8 entries                    block: 8 u32: signs;        nibble                          block: f16 d
//                                                 8 u8: bit 8
//   IQ1_S        32  4 entries                    u16: bits 8-10, scale, down                                 block: f16 d
//   IQ1_M        32  4 entries                    u16: bits 8-10, down        block: f16 d, 16 scales of 3 bits
//
// Nibbles: elements i and 16 + i in the low and high half of byte i, so that a word & 0x0f0f0f0f is four consecutive ones.
// Pairs of bits: element 4w + j in bits 8j + 2(w % 4) and up of word w / 4; single bits: that of element 4w + j is bit 8j + w. A
// shift and a mask put four consecutive ones into four bytes. Codes: elements 4w + j in nibble 4 (w / 4) + j of word w % 4, as
// __byte_perm takes them. Planes have the bytes per block that runtime/quant/pack.rs gives them (Q4_K and Q5_K: 4 more, scales and mins
// are bytes here and 6 bits there); the order of bits in them is the kernels' own (repack).
#pragma once
#include "formats/codebook.cuh"
#include "formats/k.cuh"
#include "formats/plain.cuh"
#include "formats/table.cuh"

// Each type has:
//   CHUNK   elements of a chunk
//   STEPS   chunks of a row that a lane of mat_vec holds at a time
//   Raw     what is loaded for a chunk; all zero bytes decode to zeros
//   load    chunk `at`, counted from the start of the planes
//   decode  elements 4g .. 4g + 3 of a chunk, as quant::decode gives them, up to the rounding of one multiply-add. Where
//           speed matters, loops are unrolled so that g % 4 is a constant: unrolled()
//   repack  brings unit `unit`, counted from the first row's, from the blocks of a file into the planes
// Quantized ones have their elements as integers too: struct Quantized of decode.cuh.

// Groups of four elements, of a chunk of `chunk` elements, that a kernel writes out one by one; the rest is a loop.
__host__ __device__ constexpr u32 unrolled(u32 chunk) { return chunk / 4 < 4 ? chunk / 4 : 4; }

// One row per type: X(name in entries, struct). All have the entries of the core operations.
#define WEIGHT_TYPES(X)                                                                                         \
    FUSED_TYPES(X) RARE_TYPES(X)

// Those that have the entries of the exact and the tiled fused operations too: the types of most files. Each costs 0.3 MB of PTX for
// each architecture; with the others, plans keep the core operations there.
#define FUSED_TYPES(X)                                                                                          \
    X(f32, F32) X(f16, F16) X(bf16, BF16) COMMON_TYPES(X)

// Quantized types, which have the entries of all operations on 1 to 8 rows.
#define QUANTIZED_TYPES(X)                                                                                      \
    COMMON_TYPES(X) RARE_TYPES(X)

#define COMMON_TYPES(X)                                                                                         \
    X(q4_0, Q4_0) X(q4_1, Q4_1) X(q5_0, Q5_0) X(q5_1, Q5_1) X(q8_0, Q8_0) X(q2_k, Q2_K) X(q3_k, Q3_K)            \
    X(q4_k, Q4_K) X(q5_k, Q5_K) X(q6_k, Q6_K) X(iq4_nl, IQ4_NL) X(iq4_xs, IQ4_XS)

#define RARE_TYPES(X)                                                                                           \
    X(mxfp4, MXFP4) X(nvfp4, NVFP4) X(tq1_0, TQ1_0) X(tq2_0, TQ2_0) X(iq1_s, IQ1_S) X(iq1_m, IQ1_M)              \
    X(iq2_xxs, IQ2_XXS) X(iq2_xs, IQ2_XS) X(iq2_s, IQ2_S) X(iq3_xxs, IQ3_XXS) X(iq3_s, IQ3_S)
