//! The codebooks of the IQ formats in the CUDA kernels are those of `quant::grids`.

use pronk::quant::grids::{self, Grid};
use std::fmt::Write;

const HEADER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/kernels/formats/grids.cuh");

/// Columns of a line.
const WIDTH: usize = 130;

/// The digits of each entry as nibbles, the first one lowest.
fn codes(grid: &Grid) -> Vec<u32> {
    let entries = grid.words.iter().flat_map(|word| [word & 0xffff, word >> 16]);
    let digits = 16 / grid.bits;
    let code = |entry| (0..digits).map(|i| (entry >> (i * grid.bits) & ((1 << grid.bits) - 1)) << (4 * i)).sum();
    entries.map(code).collect()
}

fn function(grid: &Grid) -> String {
    let (name, codes, code_bits) = (grid.ty.name().to_lowercase(), codes(grid), 4 * 16 / grid.bits);
    let mut text = format!("\n// Codes stand for {:?}.\n", grid.values);
    writeln!(text, "__device__ __forceinline__ u{code_bits} grid_{name}(u32 entry) {{").unwrap();
    writeln!(text, "    static __device__ const u{code_bits} ENTRIES[{}] = {{", codes.len()).unwrap();
    let digits = code_bits as usize / 4;
    for line in codes.chunks((WIDTH - 8) / (digits + 4)) {
        let numbers: Vec<String> = line.iter().map(|code| format!("0x{code:0digits$x},")).collect();
        writeln!(text, "        {}", numbers.join(" ")).unwrap();
    }
    text + "    };\n    return ENTRIES[entry];\n}\n"
}

fn header() -> String {
    let about = "\
// The codebooks of the IQ types, as runtime/quant/grids.rs has them. Written by `PRONK_WRITE=1 cargo test --test it grids`.
//
// Code i of an entry is bits 4 i and up: eight codes in the codebooks of IQ2 and IQ1, four in those of IQ3. IQ1_M points into the
// codebook of IQ1_S. Functions have the arrays, so that only PTX that reads a codebook has it: together they take 60 kB.
#pragma once
#include \"shared/common.cuh\"
";
    about.to_string() + &grids::ALL.iter().map(function).collect::<String>()
}

#[test]
fn the_header_has_the_same_numbers() {
    let expected = header();
    if std::env::var_os("PRONK_WRITE").is_some() {
        std::fs::write(HEADER, &expected).unwrap();
    }
    let found = std::fs::read_to_string(HEADER).unwrap_or_else(|e| panic!("{HEADER}: {e}"));
    assert!(found == expected, "{HEADER} differs from quant::grids; PRONK_WRITE=1 writes it again");
}
