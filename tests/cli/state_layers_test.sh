#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Models whose layers keep something else than keys and values, states of sequences or latents of positions: rows, bits and order are one whatever the schedule - one sequence or 32 at once, chunks of 5, 64 or
# whole prompts, preemptions, ranks, a kill in the middle; what check says of the states; scoring.
# Usage: state_layers_test.sh [MODEL…]   (of tests/data/models; the default is one of each kind)
set -euo pipefail
source "$(dirname "$0")/expect.sh"
export OMP_NUM_THREADS=1 OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
export ASAN_OPTIONS=detect_leaks=0
root=()
[ "$(id -u)" -eq 0 ] && root=(--allow-run-as-root)
models=("$@")
[ $# -gt 0 ] || models=(lfm2 qwen3_5 granite_hybrid falcon_h1 nemotron_h qwen3_next deepseek_v2 deepseek_v3)
data=$SLUICE_SOURCE_DIR/tests/data/models

# Prompts of 1 to 150 tokens, groups of them that begin alike, drawn and greedy, some of two samples.
awk 'BEGIN { srand(1); for (i = 0; i < 40; i++) {
    count = i % 7 == 0 ? 1 : i % 5 == 2 ? 64 + 13 * (i % 7) : 3 + i; ids = ""
    for (j = 0; j < count; j++) ids = ids (j > 0 ? "," : "") (i % 4 == 1 && j < 40 ? 5 + j : 3 + int(69 * rand()))
    more = i % 3 == 1 ? ", \"temperature\": 1, \"seed\": " i : i % 8 == 6 ? ", \"n\": 2, \"temperature\": 1" : ""
    printf "{\"id\": \"r%d\", \"prompt_token_ids\": [%s]%s}\n", i, ids, more } }' >rows.jsonl
cat >job.yaml <<YAML
model: {path: unset, max_model_len: 240}
data: {input: rows.jsonl}
generate: {max_new_tokens: 40, temperature: 0, ignore_eos: true, logprobs: 1}
engine: {max_sequences: 32, max_batch_tokens: 256}
output: {path: unset.h5, include_token_ids: true, include_prompt: true}
YAML

# run_job NAME RANKS SETTING…: leaves NAME.jsonl, the bits of plain.jsonl, and how many sequences were preempted in NAME.preempted.
run_job() {
    local name=$1 ranks=$2
    shift 2
    mpirun "${root[@]}" -n "$ranks" "$SLUICE" run job.yaml --quiet --set "model.path=$data/$family" --set "output.path=$name.h5" \
        --set output.overwrite=true "${@/#/--set=}" 2>err || fail "$family, $name: $(cat err)"
    "$SLUICE" export "$name.h5" >"$name.jsonl"
    "$SLUICE" inspect --json "$name.h5" | grep -o '"preemptions":[0-9]*' | awk -F: '{ n += $2 } END { print n + 0 }' >"$name.preempted"
    [ "$name" = plain ] || cmp -s plain.jsonl "$name.jsonl" || fail "$family, $name: $(diff plain.jsonl "$name.jsonl" | head -2)"
}

for family in "${models[@]}"; do
    rm -rf ./*.h5 ./*.h5.sluice
    run_job plain 1 engine.max_sequences=1 data.order=file
    [ "$(wc -l <plain.jsonl)" -eq 44 ] || fail "$family: $(wc -l <plain.jsonl) results"
    run_job many 1
    run_job cached 1 engine.prefix_cache=true
    run_job uncached 1 engine.prefix_cache=false
    run_job chunks_of_5 1 engine.max_batch_tokens=5 engine.max_sequences=5
    run_job chunks_of_64 1 engine.max_batch_tokens=64
    run_job whole 1 engine.max_batch_tokens=2048
    block=$("$SLUICE" check job.yaml --set "model.path=$data/$family" --set output.path=x.h5 --set engine.kv_memory=1MiB |
        sed -n 's/^KV cache   *[0-9]* tokens in \([0-9]*\) blocks.*/\1/p')
    run_job crowded 1 engine.admission=room "engine.kv_memory=$((1048576 / block * 40))"
    [ "$(cat crowded.preempted)" -gt 0 ] || fail "$family: nothing was preempted"
    run_job tp2 2 layout.tp=2
    run_job tp2_small 2 layout.tp=2 engine.max_batch_tokens=16 engine.max_sequences=3
    run_job pp3 3 layout.pp=3
    run_job replicas 4 layout.tp=2

    # Killed as soon as the journal holds some rows, and continued.
    "$SLUICE" run job.yaml --quiet --set "model.path=$data/$family" --set output.path=killed.h5 --set engine.max_sequences=2 2>err &
    program=$!
    for _ in $(seq 1200); do
        if [ -e killed.h5 ] || [ "$(stat -c %s killed.h5.sluice/journal 2>/dev/null || echo 0)" -gt 4000 ]; then break; fi
        sleep 0.02
    done
    kill -KILL "$program" 2>/dev/null || true
    wait "$program" 2>/dev/null || true
    run_job killed 1

    run_program check job.yaml --set "model.path=$data/$family" --set output.path=x.h5
    if [[ $family == deepseek* ]]; then # entries of positions, and no states: 26 float32 in rows of 32, 3 layers, blocks of 16
        [ "$status" -eq 0 ] && ! grep -q '^states' out || fail "$family: check says something of states: $(cat err)"
        [ "$block" = 170 ] || fail "$family: $block blocks of 6144 bytes in 1 MiB"
        continue
    fi
    [ "$status" -eq 0 ] && grep -q 'for 32 at once and 8 kept for the prefix cache' out || fail "$family: check says nothing of kept states"
    # Prompts that begin alike share a state: four copies of one of 64 tokens and four that part from it in the middle.
    awk 'BEGIN { for (i = 0; i < 8; i++) { ids = ""
        for (j = 0; j < 90; j++) ids = ids (j > 0 ? "," : "") (j < 40 ? 5 + j % 60 : 3 + (j * 7 + (i < 4 ? 0 : i)) % 69)
        printf "{\"id\": \"s%d\", \"prompt_token_ids\": [%s]}\n", i, ids } }' >shared.jsonl
    for cache in true false; do
        "$SLUICE" run job.yaml --quiet --set "model.path=$data/$family" --set data.input=shared.jsonl --set output.path=shared.h5 \
            --set output.overwrite=true --set engine.prefix_cache=$cache --set engine.copy_equal_rows=false 2>err || fail "$family, shared: $(cat err)"
        "$SLUICE" export shared.h5 >shared.$cache
        "$SLUICE" inspect --json shared.h5 | grep -o '"kv_peak_use":[0-9.]*' | head -1 | cut -d: -f2 >peak.$cache
    done
    cmp -s shared.true shared.false || fail "$family: other bits with shared beginnings"
    awk -v shared="$(cat peak.true)" -v alone="$(cat peak.false)" 'BEGIN { exit !(shared > 0 && shared < 0.8 * alone) }' ||
        fail "$family: the cache was $(cat peak.true) full with shared beginnings, $(cat peak.false) without"
    grep -Eq '^states  *[0-9.]+ (bytes|[kM]?B) a sequence, for 32' out || fail "$family: check says nothing of the states: $(grep states out)"
    grep -Eq '^  states  *[0-9.]+ ' out || fail "$family: the plan does not count the states"
done
finish
