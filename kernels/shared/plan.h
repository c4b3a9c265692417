// Numbers that say what operations mean. runtime/plan owns them; tests/it/ptx.rs compares.
#pragma once

constexpr u32 NEXT_TOKEN = 0xffffffff;  // token of a row whose token the previous step's argmax chose
constexpr u32 NOT_FINITE = 0xffffffff;  // argmax of a row with logits that are not finite
constexpr u32 KV_BLOCK = 32;            // elements of a head that share a scale in a q8_0 cache
constexpr u32 MAX_HEAD_DIM = 256;       // elements of a head, at most
