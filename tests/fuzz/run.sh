#!/usr/bin/env bash
# Fuzzes every parser for SECONDS each (default 60). Each starts from tests/fuzz/corpus/NAME where there is one; what was once found stays in
# tests/fuzz/regressions/NAME and is run first. Usage: tests/fuzz/run.sh [SECONDS] [TARGET…]
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-60}
shift || true
[ -f build/fuzz/build.ninja ] || cmake --preset fuzz >/dev/null
cmake --build --preset fuzz | tail -n 1
[ $# -gt 0 ] || set -- $(cd build/fuzz/tests && ls -- *_fuzz)
for target in "$@"; do
    work=build/fuzz/corpus/$target
    mkdir -p "$work"
    seeds=()
    for folder in "tests/fuzz/regressions/$target" "tests/fuzz/corpus/$target"; do
        [ -d "$folder" ] && seeds+=("$folder")
    done
    if ! "build/fuzz/tests/$target" -max_total_time="$seconds" -rss_limit_mb=4096 -timeout=10 -print_final_stats=1 \
        -artifact_prefix="$work-" "$work" "${seeds[@]}" >"$work.log" 2>&1; then
        echo "$target: a finding"
        tail -n 40 "$work.log"
        exit 1
    fi
    echo "$target: $(grep -o 'number_of_executed_units: *[0-9]*' "$work.log" | grep -o '[0-9]*$') executions, coverage $(grep -o 'cov: [0-9]*' "$work.log" | tail -n 1 | grep -o '[0-9]*')"
done
