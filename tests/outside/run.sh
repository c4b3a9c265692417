#!/usr/bin/env bash
# run.sh MODEL: builds the program of this folder with the versions of the workspace's dependencies and compares SmolLM2's answer.
set -euo pipefail
cd "$(dirname "$0")/../.."
cp Cargo.lock tests/outside/Cargo.lock # Cargo drops the entries that the program does not need
answer=$(cargo run -q --offline --manifest-path tests/outside/Cargo.toml --target-dir target -- "$1" "What is the capital of France?")
expected="The capital of France is Paris."
if [ "$answer" != "$expected" ]; then
    echo "outside: expected \"$expected\", got \"$answer\"" >&2
    exit 1
fi
echo "outside: $answer"
