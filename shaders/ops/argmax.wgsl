// Greedy choice:  out[t] = argmax_i x[t, i], the lowest index among equals; NOT_FINITE if an element is NaN or infinity, or all are
//   -infinity
//
// Grid     y: one workgroup per row
// Layout   rows of x padded to 32 elements; out one token id per row, its rows 32 words apart
// Traffic  reads x once
struct Params {
    n_cols: u32,  // elements of a row that count
    stride: u32,  // elements per row, padding included
}

@group(0) @binding(1) var<uniform>             p: Params;
@group(0) @binding(2) var<storage, read_write> out: array<u32>;  // (rows, 32)
@group(0) @binding(3) var<storage, read>       x: array<u32>;    // (rows, stride): the bits of floats

const THREADS: u32 = 256;  // a vocabulary of 128256 takes 501 rounds

var<workgroup> best_keys: array<u32, THREADS>;
var<workgroup> best_cols: array<u32, THREADS>;

const NOT_FINITE: u32 = 0xffffffffu;
const MINUS_INFINITY: u32 = 0x007fffffu;  // key of -infinity

// An integer that orders as the floats do; comparing integers keeps compilers from assuming that NaN does not occur.
// NaN and infinity are the highest, -0 equals 0.
fn key(bits: u32) -> u32 {
    if (bits & 0x7fffffffu) > 0x7f800000u || bits == 0x7f800000u { return 0xffffffffu; }
    if bits >= 0x80000000u { return ~bits + u32(bits == 0x80000000u); }
    return bits | 0x80000000u;
}

@compute @workgroup_size(THREADS)
fn argmax(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    var best = 0u;
    var best_col = min(thread, p.n_cols - 1u);
    for (var i = thread; i < p.n_cols; i += THREADS) {
        let k = key(x[group.y * p.stride + i]);
        if k > best {
            best = k;
            best_col = i;
        }
    }
    best_keys[thread] = best;
    best_cols[thread] = best_col;
    workgroupBarrier();  // best_*: each writes its own, the first invocation reads all
    if thread == 0u {
        for (var i = 1u; i < THREADS; i++) {
            if best_keys[i] > best || (best_keys[i] == best && best_cols[i] < best_col) {
                best = best_keys[i];
                best_col = best_cols[i];
            }
        }
        let finite = best > MINUS_INFINITY && best < 0xff800000u;
        out[group.y * 32u] = select(NOT_FINITE, best_col, finite);
    }
}
