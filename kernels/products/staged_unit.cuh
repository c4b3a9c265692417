// A unit of up to 8 rows of x as stage_i8x2 leaves it for mat_rows.cuh: operands b of mma (shared/mma.cuh), and scales.
#pragma once
#include "products/activations.cuh"

struct StagedUnit {
    u32 words[ROWS_TOKENS][4][2][2];  // of row t: elements 4j .. 4j + 3 and 16 further ([t][j][plane][0 or 1]; plane 0 is high)
    float2 scales[ROWS_TOKENS];       // d and sum
    float2 halves[ROWS_TOKENS];       // sums of halves
};
static_assert(sizeof(StagedUnit) == STAGED_UNIT, "the host makes room for them");
