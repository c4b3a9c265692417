# All targets install what they need: a Rust toolchain and the internet are enough.
MODEL := .cache/SmolLM2-135M-Instruct.Q4_1.gguf
# Without a Wayland session, Mesa prints a warning on stderr unless this is set.
export NODEVICE_SELECT := 1
MINUTES := 10

.PHONY: demo test libcuda widths soak lint features wasm outside deny advisories cargo-deny ptx model setup gpu-report bench fuzz clean

## Asks a real model a question, on this machine.
demo: setup model
	cargo build --release
	target/release/pronk chat -m $(MODEL) --precise --temp 0 -p "What is the capital of France?"

## Format, lints, the library with parts of its features, the checked-in PTX against its sources, and all tests: on the CPU, a software
## Vulkan device and the CUDA simulator.
test: setup model lint features wasm outside
	python3 kernels/build.py check
	REQUIRE_BACKENDS=wgpu cargo test --workspace

## The simulator as a CUDA driver: `LD_LIBRARY_PATH=target/libcuda PROGRAM` runs a program of the driver API on it.
libcuda:
	cargo build --release --package ptx-sim-cuda
	mkdir -p target/libcuda
	ln -sf ../release/libptx_sim_cuda.so target/libcuda/libcuda.so.1
	ln -sf ../release/libptx_sim_cuda.so target/libcuda/libcuda.so

## Decode products on the CUDA simulator at every width up to 4096 columns, and at some beyond.
widths: setup
	cargo test --test it -- --ignored every_width

## A conversation of 2,000 turns whose context shifts: its memory, and its last reply against that of a fresh program.
soak: setup
	cargo test --release --test it -- --ignored --nocapture soak_of_2000_turns

## Format and lints only.
lint:
	cargo fmt --all --check
	cargo fmt --manifest-path tests/fuzz/Cargo.toml --check
	cargo fmt --manifest-path tests/outside/Cargo.toml --check
	cargo clippy --workspace --all-targets -- -D warnings

## Checks licenses, sources and duplicates of the dependencies; installs cargo-deny if it is missing.
deny: cargo-deny
	cargo deny --all-features check --hide-inclusion-graph licenses bans sources

## Checks the dependencies for known vulnerabilities in the RustSec database; needs the internet.
advisories: cargo-deny
	cargo deny --all-features check advisories

cargo-deny:
	command -v cargo-deny >/dev/null || cargo install cargo-deny --locked

## Checks that the library without the program and with some of the backends has no warnings.
features:
	cargo clippy --lib --no-default-features -- -D warnings
	cargo clippy --lib --no-default-features --features cuda -- -D warnings
	cargo clippy --lib --no-default-features --features wgpu -- -D warnings

## Type-checks the library for browsers.
wasm: setup
	tests/wasm.sh

## Runs a program outside of this workspace, which uses the library by its path and without features.
outside: model
	tests/outside/run.sh $(MODEL)

## Compiles the CUDA kernels to the PTX that is checked in.
ptx: setup
	python3 kernels/build.py build

model:
	tests/fetch_model.sh $(MODEL)

setup:
	tests/setup.sh

## Checks and measures an NVIDIA GPU into the folder OUT, with the program that is built already.
gpu-report:
	target/release/pronk gpu-report --out $(OUT)

bench: setup
	cargo bench

## Runs every fuzz target for MINUTES minutes; installs cargo-fuzz if it is missing.
fuzz:
	tests/fuzz/run.sh $(MINUTES)

clean:
	cargo clean
