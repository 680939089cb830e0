#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Peak memory of rank 0 against the number of rows: it must not grow with the data set.
# Usage: bench/coordinator_memory.sh [BUILD_FOLDER] [ROWS…]     (default: build/release 20000 200000)
# The floor is what the program holds anyway (model, KV cache, libraries) plus 16 bytes a row for the journal's index.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${1:-build/release}
shift || true
[ $# -gt 0 ] || set -- 20000 200000
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=()
[ "$(id -u)" -eq 0 ] && root=(--allow-run-as-root)

printf '%10s %10s %10s %16s %16s\n' rows seconds rows/s 'rank 0 peak MiB' 'rank 1 peak MiB'
for rows in "$@"; do
    # Short prompts of token ids (the tiny model has no tokenizer), a passthrough field of some length, two tokens out.
    awk -v n="$rows" 'BEGIN { for (i = 0; i < n; i++)
        printf "{\"id\":\"row-%d\",\"prompt_token_ids\":[%d,%d,%d,7],\"note\":\"%064d\"}\n", i, 3 + i % 300, 3 + int(i / 300) % 300, 3 + (i * 7) % 300, i }' >"$work/data.jsonl"
    cat >"$work/job.yaml" <<YAML
model: {path: tests/data/models/llama}
data: {input: "$work/data.jsonl"}
generate: {max_new_tokens: 2, ignore_eos: true}
engine: {device: cpu, kv_memory: 16MiB}
output: {path: "$work/out.h5", overwrite: true}
YAML
    start=$(date +%s.%N)
    OMP_NUM_THREADS=1 mpirun "${root[@]}" --oversubscribe --bind-to none -n 2 "$build/sluice" run "$work/job.yaml" --quiet
    end=$(date +%s.%N)
    "$build/sluice" inspect "$work/out.h5" --json | python3 -c '
import json, sys
ranks = json.load(sys.stdin)["ranks"]
rows, seconds = int(sys.argv[1]), float(sys.argv[3]) - float(sys.argv[2])
peaks = [rank["peak_memory_bytes"] / 2**20 for rank in ranks]
print("%10d %10.1f %10.0f %16.1f %16.1f" % (rows, seconds, rows / seconds, peaks[0], peaks[1]))
' "$rows" "$start" "$end"
done
