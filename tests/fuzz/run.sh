#!/usr/bin/env bash
# run.sh MINUTES [TARGET ...]: runs fuzz targets (by default all) and prints executions and findings. Findings are in
# .cache/fuzz/findings; the corpus grows in .cache/fuzz/corpus from run to run. Exit code 1 if there was a finding.
set -euo pipefail
cd "$(dirname "$0")/../.."
minutes=$1
shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(gguf split template tokenizer)
command -v cargo-fuzz > /dev/null || cargo install cargo-fuzz --locked

# Compiler flags that cargo-fuzz needs are not stable.
export RUSTC_BOOTSTRAP=1
work=$PWD/.cache/fuzz
mkdir -p "$work/findings"
# Mutants of the test models, half a minute: read, tokenized with and run.
PRONK_MUTANTS=20000 cargo test --test it mutation:: -- --nocapture
PRONK_SEEDS=$work/seeds cargo test -q --test it hostile::seeds_are_written > /dev/null

# More memory than 2 GiB, or one input that takes more than 30 s, is a finding.
limits="-rss_limit_mb=2048 -timeout=30 -max_len=16384 -max_total_time=$((minutes * 60)) -print_final_stats=1"
failed=0
summary=""
for target in "${targets[@]}"; do
    corpus=("$work/corpus/$target" "$work/seeds/$target")
    mkdir -p "${corpus[0]}"
    options=""
    if [ "$target" = template ]; then
        corpus+=(tests/data/templates)
        # A rendering that takes too long is abandoned on its thread, with its memory.
        options="-dict=tests/fuzz/template.dict -detect_leaks=0"
    fi
    log=$work/$target.log
    # shellcheck disable=SC2086 # the limits are words
    if cargo fuzz run --fuzz-dir tests/fuzz --target-dir target/fuzz "$target" "${corpus[@]}" -- \
        $limits $options -artifact_prefix="$work/findings/$target-" 2>&1 | tee "$log"; then
        outcome="no finding"
    else
        outcome="FINDING: $(grep -ao "$work/findings/$target-[a-z0-9-]*" "$log" | head -1)"
        failed=1
    fi
    executions=$(grep -ao 'stat::number_of_executed_units: *[0-9]*' "$log" | tail -1 | grep -o '[0-9]*$' || echo unknown)
    summary+="$(printf '%-10s %12s executions in %s minutes, %s' "$target" "$executions" "$minutes" "$outcome")"$'\n'
done
printf '\n%s' "$summary"
exit $failed
