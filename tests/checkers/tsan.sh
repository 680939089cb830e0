#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The threaded parts under ThreadSanitizer: the CPU backend and sampling (OpenMP), reading ahead of weights, the watchdog of collectives, masks
# and tokens of a step; MPI is called by one thread. They run on clang's OpenMP, whose tool Archer tells ThreadSanitizer what OpenMP orders.
# Needs clang and libomp-dev.
#   tests/checkers/tsan.sh [TEST…]
set -euo pipefail
cd "$(dirname "$0")/../.."
archer=$(find "$(clang -print-resource-dir)/../../.." -maxdepth 2 -name libarcher.so 2>/dev/null | head -n 1)
[ -n "$archer" ] || { echo "libarcher.so is not there: install libomp-dev for $(clang --version | head -n 1)"; exit 1; }
[ $# -gt 0 ] || set -- backend_test cpu_product_test cpu_attention_test cpu_rows_test sample_test local_runner_test load_test forward_test \
    read_ahead_test watchdog_test template_bounds_test engine_grammar_test
. scripts/common.sh
build tsan --target "$@"

# Its allocator would hand out what the host does not have.
most=$(awk '/^MemTotal/ { print int($2 / 1024 * 9 / 10) }' /proc/meminfo)
export OMP_NUM_THREADS=4 OMP_TOOL_LIBRARIES=$archer
export TSAN_OPTIONS="ignore_noninstrumented_modules=1 exitcode=66 allocator_may_return_null=1 max_allocation_size_mb=$most"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
clang -g -O1 -fopenmp -fsanitize=thread tests/checkers/race.c -o "$work/race"
if "$work/race" >"$work/log" 2>&1 || ! grep -q 'data race' "$work/log"; then
    echo "FAILED: a race on purpose is not seen"
    exit 1
fi
failures=0
for test in "$@"; do
    if "build/tsan/tests/$test" >"$work/log" 2>&1; then
        echo "$test: no race"
    else
        failures=$((failures + 1))
        echo "$test: FAILED"
        head -n 80 "$work/log"
    fi
done
exit "$((failures > 0))"
