# Everything sets itself up: a Rust toolchain and the internet are enough.
MODEL := .cache/SmolLM2-135M-Instruct.Q4_1.gguf
# Without it a layer of Mesa complains on stderr where there is no Wayland session.
export NODEVICE_SELECT := 1

.PHONY: demo test check model setup bench clean

## A real model answers, on this machine.
demo: setup model
	cargo build --release
	target/release/pronk chat -m $(MODEL) --temp 0 -p "What is the capital of France?"

## Format, lints, all tests, on the CPU and on a software Vulkan device.
test: setup model
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	REQUIRE_BACKENDS=wgpu cargo test --workspace

## The quick part of the tests, for work in progress.
check:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

model:
	tests/fetch_model.sh $(MODEL)

setup:
	tests/setup.sh

bench: setup
	cargo bench

clean:
	cargo clean
