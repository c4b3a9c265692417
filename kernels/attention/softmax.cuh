// What the two attention loops share: scores count in base-2 logarithms, and each row keeps the largest so far (online softmax;
// Milakov and Gimelshein, 2018).
#pragma once
#include "shared/common.cuh"

constexpr float LOG2_E = 1.4426950408889634f;
constexpr float LOWEST = -3.0e38f;  // maximum of no scores: below all of them, and its difference with itself is a number
