#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Prompts of 4,000 tokens through chunked prefill: peak memory must follow the chunk, not the prompt.
# Usage: bench/long_prompts.sh MODEL [BUILD_FOLDER]      (a model of at least 4,100 positions, e.g. the demo's GGUF file)
# The floor is weights + KV cache; activations are max_batch_tokens (512) rows whatever the prompt's length.
set -euo pipefail
model=$1
build=${2:-build/release}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf '%14s %10s %14s %16s\n' 'prompt tokens' seconds 'tokens/s' 'peak memory MiB'
for length in 250 1000 4000; do
    awk -v n="$length" -v rows=$((16000 / length)) 'BEGIN { for (r = 0; r < rows; r++) {
        printf "{\"prompt_token_ids\":[%d", 100 + r; for (i = 1; i < n; i++) printf ",%d", 100 + (i * 7919 + r * 104729) % 40000; print "]}" } }' >"$work/data.jsonl"
    cat >"$work/job.yaml" <<YAML
model: {path: "$model", max_model_len: 4096}
data: {input: "$work/data.jsonl"}
generate: {max_new_tokens: 8, ignore_eos: true, temperature: 0}
engine: {device: cpu, max_sequences: 8, max_batch_tokens: 512, kv_memory: 768MiB}
output: {path: "$work/out.h5", overwrite: true}
YAML
    "$build/sluice" run "$work/job.yaml" --quiet
    "$build/sluice" inspect "$work/out.h5" --json | python3 -c '
import json, sys
rank = json.load(sys.stdin)["ranks"][0]
seconds = rank["seconds_prefill"] + rank["seconds_decode"]
print("%14s %10.1f %14.0f %16.1f" % (sys.argv[1], seconds, rank["prompt_tokens"] / seconds, rank["peak_memory_bytes"] / 2**20))' "$length"
done
