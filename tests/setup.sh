#!/usr/bin/env bash
# Installs what the build and the tests need besides a Rust toolchain: a Vulkan driver in software (Mesa lavapipe), Python's pip and venv
# for the pinned CUDA compiler and the test model, and Rust's target for browsers.
# On Debian and Ubuntu it installs them; elsewhere it lists what is missing.
set -euo pipefail

# `make wasm` needs this target, and fails with a message if it is missing.
if command -v rustup >/dev/null && ! rustup target list --installed | grep -qx wasm32-unknown-unknown; then
    rustup target add wasm32-unknown-unknown || true
fi

missing=()
command -v cargo >/dev/null || { echo "setup: cargo not found: install a Rust toolchain (https://rustup.rs)" >&2; exit 1; }
command -v cc >/dev/null || missing+=(gcc)
python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
python3 -c 'import ensurepip' >/dev/null 2>&1 || missing+=(python3-venv)
ls /usr/share/vulkan/icd.d/lvp_icd*.json >/dev/null 2>&1 || missing+=(mesa-vulkan-drivers)
ldconfig -p 2>/dev/null | grep -q 'libvulkan\.so\.1' || missing+=(libvulkan1)
[ ${#missing[@]} -eq 0 ] && exit 0

root=()
[ "$(id -u)" -eq 0 ] || root=(sudo)
if ! command -v apt-get >/dev/null || { [ ${#root[@]} -gt 0 ] && ! command -v sudo >/dev/null; }; then
    echo "setup: missing, by their Debian names: ${missing[*]}. Install them with your system's package manager." >&2
    exit 1
fi
echo "setup: installing ${missing[*]}" >&2
"${root[@]}" apt-get update -qq
"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
