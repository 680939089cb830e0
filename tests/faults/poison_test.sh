#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A row that kills the rank that gets it: set aside at the third start when the rank could say so, after five deaths when it
# could not; all other rows as if nothing had happened.
set -euo pipefail
source "$(dirname "$0")/../cli/expect.sh"
: "${FAULT_SHIM:?fault_shim.so}"
run_mpi=(mpirun --oversubscribe --bind-to none)
[ "$(id -u)" -eq 0 ] && run_mpi+=(--allow-run-as-root)

head -n 60 "$SLUICE_SOURCE_DIR/data/tasks.jsonl" | sed '18s/^{/{"note": "poison", /' >data.jsonl
cat >job.yaml <<YAML
model: {path: "$model"}
data: {input: data.jsonl}
generate: {max_new_tokens: 6, temperature: 0, ignore_eos: true}
engine: {max_sequences: 4}
output: {path: unset.h5}
YAML
export XDG_CACHE_HOME=$PWD/steps
run_program run job.yaml --quiet --set output.path=whole.h5
[ "$status" -eq 0 ] || fail "the undisturbed run: exit status $status"
"$SLUICE" export whole.h5 >whole.jsonl

# poisoned NAME RANKS SIGNAL DEATHS [--set key=value]…: the job dies so many times, and then it is done. $ahead: once more before, since
# its first start looks ahead at rows for a prediction, which it can where steps have been measured; later ones do not.
export XDG_CACHE_HOME=$PWD/no_steps
ahead=0
poisoned() {
    local name=$1 ranks=$2 signal=$3 deaths=$4 start
    shift 4
    rm -rf no_steps
    for ((start = 1 - ahead; start <= deaths + 1; start++)); do
        status=0
        "${run_mpi[@]}" -n "$ranks" env LD_PRELOAD="$FAULT_SHIM" FAULT_MARKER=poison FAULT_SIGNAL="$signal" \
            "$SLUICE" run job.yaml --set "output.path=$name.h5" "$@" >out 2>err || status=$?
        if [ "$start" -le "$deaths" ] && [ "$status" -eq 0 ]; then fail "$name: start $start lives" && return; fi
        if [ "$start" -gt "$deaths" ] && [ "$status" -ne 0 ]; then fail "$name: start $start: exit status $status" && return; fi
    done
    grep -q '^sluice: warning: line 18: set aside: ranks died' err || fail "$name: no warning"
    grep -q "60 rows (1 with errors), " err || fail "$name: another summary"
    grep -q "[1-9][0-9]* rows kept from an earlier start" err || fail "$name: nothing kept"
    "$SLUICE" export "$name.h5" >"$name.jsonl"
    cmp -s <(sed 18d whole.jsonl) <(sed 18d "$name.jsonl") || fail "$name: other rows are not what they were"
    sed -n 18p "$name.jsonl" | grep -q "line 18: set aside: ranks died $deaths times with this row under way" ||
        fail "$name: the row's error: $(sed -n 18p "$name.jsonl")"
    sed -n 18p "$name.jsonl" | grep -q '^{"id":"upper-0001",' || fail "$name: the row has lost its id"
    [ ! -e "$name.h5.sluice" ] || fail "$name: the journal is left"
}

poisoned segv_one_rank 1 11 2
poisoned segv_replicas 3 11 2
poisoned abort_pipeline 2 6 2 --set layout.pp=2
poisoned kill_one_rank 1 9 5
ahead=1
export XDG_CACHE_HOME=$PWD/steps
[ -n "$(find steps -type f)" ] || fail "no steps were measured"
poisoned read_ahead 1 9 5
ahead=0
export XDG_CACHE_HOME=$PWD/no_steps
# 51 rows under way are too many to run one at a time: half of them are the second to die, then the row alone.
# In order of the file they are all handed out at once.
poisoned segv_halves 1 11 3 --set engine.max_sequences=400 --set data.order=file

# Where bad rows end a job, this one does.
for start in 1 2 3; do
    status=0
    { env LD_PRELOAD="$FAULT_SHIM" FAULT_MARKER=poison FAULT_SIGNAL=11 "$SLUICE" run job.yaml --quiet \
        --set output.path=strict.h5 --set data.skip_bad_rows=false >out 2>err || status=$?; } 2>/dev/null
done
[ "$status" -eq 1 ] && grep -q '^sluice: data.jsonl: line 18: set aside: ranks died 2 times' err || fail "skip_bad_rows: exit status $status"
finish
