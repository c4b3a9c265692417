#!/usr/bin/env bash
# Type-checks the library with its WGSL kernels for browsers. WITHOUT_WASM=1 skips the check if Rust's target is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
target=wasm32-unknown-unknown
libraries=$(rustc --print target-libdir --target "$target")
if ! ls "$libraries"/libcore-*.rlib >/dev/null 2>&1; then
    missing="wasm: the Rust target $target is not installed (rustup target add $target)"
    if [ "${WITHOUT_WASM:-}" = 1 ]; then
        echo "$missing: skipped, as WITHOUT_WASM=1 asks" >&2
        exit 0
    fi
    echo "$missing; WITHOUT_WASM=1 skips this check" >&2
    exit 1
fi
# Random numbers of the browser: getrandom 0.3 needs this in addition to its feature.
export RUSTFLAGS="${RUSTFLAGS:-} --cfg getrandom_backend=\"wasm_js\""
exec cargo clippy --lib --target "$target" --no-default-features --features wgpu -- -D warnings
