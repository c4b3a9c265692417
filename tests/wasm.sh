#!/usr/bin/env bash
# Type-checks the library with its WGSL kernels for browsers. WITHOUT_WASM=1 leaves the check out where Rust's target cannot be had.
set -euo pipefail
cd "$(dirname "$0")/.."
target=wasm32-unknown-unknown
libraries=$(rustc --print target-libdir --target "$target")
if ! ls "$libraries"/libcore-*.rlib >/dev/null 2>&1; then
    missing="wasm: the Rust target $target is not installed (rustup target add $target)"
    if [ "${WITHOUT_WASM:-}" = 1 ]; then
        echo "$missing: left out, as WITHOUT_WASM=1 asks" >&2
        exit 0
    fi
    echo "$missing; WITHOUT_WASM=1 leaves this check out" >&2
    exit 1
fi
# Randomness of browsers: getrandom 0.3 asks for this beside its feature.
export RUSTFLAGS="${RUSTFLAGS:-} --cfg getrandom_backend=\"wasm_js\""
exec cargo clippy --lib --target "$target" --no-default-features --features wgpu -- -D warnings
