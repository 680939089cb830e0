#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Whatever the schedule - admission, order, copies, prefix cache, sizes of steps, measured costs, ranks, preemptions - rows, bits and order are one.
set -euo pipefail
source "$(dirname "$0")/expect.sh"
export OMP_NUM_THREADS=1 OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
export ASAN_OPTIONS=detect_leaks=0
XDG_CACHE_HOME=$(pwd)/cache
export XDG_CACHE_HOME
mkdir -p cache
root=()
[ "$(id -u)" -eq 0 ] && root=(--allow-run-as-root)

# Groups that begin alike, equal rows, drawn ones, some samples, some long ones, one that is bad.
awk 'BEGIN { for (i = 0; i < 72; i++) {
    head = sprintf("In group %d the weather of the whole long summer was like this, day after day: ", i % 6)
    more = i % 9 == 4 ? ", \"temperature\": 1, \"seed\": " i : i % 9 == 7 ? ", \"n\": 2, \"temperature\": 1" : i % 12 == 5 ? ", \"max_tokens\": 48" : ""
    printf "{\"id\": \"r%d\", \"prompt\": \"%s%s\"%s}\n", i, head, i % 4 == 0 ? "rain" : i, more }
    print "{\"prompt\": 5}" }' >rows.jsonl
cat >job.yaml <<YAML
model: {path: "$model", max_model_len: 160}
data: {input: rows.jsonl}
generate: {max_new_tokens: 20, temperature: 0, ignore_eos: true, logprobs: 1}
engine: {max_sequences: 16, max_batch_tokens: 64, kv_memory: 1500KiB}
output: {path: unset.h5, include_token_ids: true, include_prompt: true}
YAML

# run_job NAME RANKS SETTING…: leaves NAME.jsonl, and how many sequences were preempted in NAME.preempted.
run_job() {
    local name=$1 ranks=$2
    shift 2
    mpirun "${root[@]}" -n "$ranks" "$SLUICE" run job.yaml --quiet --set "output.path=$name.h5" "${@/#/--set=}" 2>err || fail "$name: $(cat err)"
    "$SLUICE" export "$name.h5" >"$name.jsonl"
    "$SLUICE" inspect --json "$name.h5" | grep -o '"preemptions":[0-9]*' | awk -F: '{ n += $2 } END { print n + 0 }' >"$name.preempted"
    [ "$name" = plain ] || cmp -s plain.jsonl "$name.jsonl" || fail "$name: $(diff plain.jsonl "$name.jsonl" | head -2)"
}
off=(engine.admission=room data.order=file engine.copy_equal_rows=false engine.prefix_cache=false)
run_job plain 1 "${off[@]}" engine.max_sequences=1 engine.kv_memory=64MiB
[ "$(wc -l <plain.jsonl)" -eq 81 ] || fail "$(wc -l <plain.jsonl) results"
run_job on 1
for i in 0 1 2 3; do
    run_job "one_off_$i" 1 "${off[$i]}"
done
run_job off 1 "${off[@]}"
run_job small_steps 1 engine.max_batch_tokens=16
run_job crowded 1 engine.admission=room engine.kv_memory=1MiB
[ "$(cat crowded.preempted)" -gt 0 ] && [ "$(cat off.preempted)" -gt 0 ] || fail "nothing was preempted"
run_job ranks 4
run_job ranks_off 4 "${off[@]}" engine.kv_memory=1MiB

# Costs by which prompts are gathered, in place of those that were measured.
[ -s cache/sluice/steps ] || fail "no costs were measured"
awk '{ print $1, $2, $3, $4, $5, "1:1 16:16 64:20" }' cache/sluice/steps >costs
cp costs cache/sluice/steps
run_job gathered 1
cp costs cache/sluice/steps
run_job gathered_ranks 4 engine.kv_memory=1MiB
finish
