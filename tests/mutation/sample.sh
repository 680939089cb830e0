#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A sample of planted faults in a sanitized build that is there, each tried with the unit tests of its room: as information. What the
# sample says fails nothing, and it ends in time.
# Usage: tests/mutation/sample.sh [BUILD [SECONDS]]      (build/asan, 240)
set -uo pipefail
cd "$(dirname "$0")/../.."
build=${1:-build/asan} seconds=${2:-240}
[ -f "$build/build.ninja" ] || { echo "skipped: no build in $build"; exit 0; }
python=python3
if ! python3 -c 'import tree_sitter, tree_sitter_c' 2>/dev/null; then
    python=build/mutation/python/bin/python3
    python3 -m venv build/mutation/python >/dev/null 2>&1 && timeout 60 "$python" -m pip install -q tree-sitter tree-sitter-c >/dev/null 2>&1 ||
        { echo "skipped: Python has no tree-sitter, and it cannot be installed"; exit 0; }
fi
seed=$(git rev-parse --short HEAD 2>/dev/null || date +%F)
timeout "$seconds" nice "$python" tests/mutation/mutate.py run --build "$build" --seed "$seed" --count 4 --budget 20 --seconds $((seconds - 60)) \
    --folders engine,data,run,job,text,model,comm,backend || {
    echo "stopped after $seconds s; so far:"
    "$python" tests/mutation/mutate.py table --seed "$seed" || true
}
