#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What makes a job another one, and what does not: defaults, another arithmetic, an earlier generation. On a machine whose processors have
# fused multiply-add the kernels without it are the other arithmetic.
set -euo pipefail
source "$(dirname "$0")/expect.sh"
need h5dump

cat >job.yaml <<YAML
model: {path: "$model"}
data: {input: "$SLUICE_SOURCE_DIR/data/tasks.jsonl", limit: 120}
generate: {max_new_tokens: 48, n: 3, ignore_eos: true, seed: 3}
engine: {max_sequences: 4}
output: {path: out.h5}
YAML
identity_of() {
    h5dump -a identity "$1" | sed -n 's/^ *(0): "//p; s/^           \([a-z].*\)/\1/p'
}
# A start that is stopped with some rows kept: rows are committed once a second, and the job takes ten times as long.
start_and_stop() {
    ASAN_OPTIONS=detect_leaks=0 "$SLUICE" run --quiet job.yaml >out 2>err &
    local program=$!
    for _ in $(seq 600); do
        [ "$(stat -c %s out.h5.sluice/journal 2>/dev/null || echo 0)" -le 1500 ] || break
        sleep 0.02
    done
    kill -TERM "$program"
    status=0
    wait "$program" || status=$?
    [ "$status" -eq 75 ] || fail "stopped: exit status $status instead of 75"
}

# Keys at their default are no part of it, also when the job file writes them down.
expect_quiet run --quiet job.yaml --set data.limit=2 --set output.path=plain.h5
identity_of plain.h5 >identity
grep -q 'arithmetic: 2, processors with' identity || fail "no arithmetic in the identity"
grep -q 'generate.seed: 3' identity || fail "a key that was set is missing"
! grep -q 'top_p\|skip_bad_rows\|engine\|overwrite' identity || fail "defaults, or keys that decide nothing, are in the identity"
run_program run job.yaml --set data.limit=2 --set output.path=plain.h5 --set generate.top_p=1.0 --set engine.max_sequences=3
[ "$status" -eq 0 ] && grep -q 'plain.h5 is complete' err || fail "a default that is written down makes another job"
expect_error 1 'generate.top_p: 0.9' run --quiet job.yaml --set data.limit=2 --set output.path=plain.h5 --set generate.top_p=0.9

# Another arithmetic: a finished output stays finished, with one line that says so.
other() { SLUICE_CPU_KERNELS=baseline run_program "$@"; }
if grep -q 'with fused' identity; then
    other run --quiet job.yaml --set data.limit=2 --set output.path=plain.h5
    [ "$status" -eq 0 ] && [ "$(wc -l <err)" -eq 1 ] && grep -q 'was written with another arithmetic (2, processors with fused' err ||
        fail "a finished output of another arithmetic"
    # Rows that are kept are not continued by it, unless asked for.
    start_and_stop
    other run --quiet job.yaml
    [ "$status" -eq 1 ] && [ "$(wc -l <err)" -eq 1 ] && grep -q 'with another arithmetic: .*keep both: --keep-mixed' err ||
        fail "rows of another arithmetic are continued"
    other check job.yaml
    [ "$status" -eq 1 ] && grep -q 'with another arithmetic' err out || fail "check does not foretell it"
    other check --keep-mixed job.yaml
    [ "$status" -eq 0 ] || fail "check --keep-mixed: exit status $status"
    other run --quiet --keep-mixed job.yaml
    [ "$status" -eq 0 ] || fail "--keep-mixed: exit status $status"
    # Nor do replicas of two kinds run side by side.
    mpirun -n 1 env SLUICE_CPU_KERNELS=baseline "$SLUICE" run --quiet job.yaml --set output.path=two.h5 --set data.limit=6 : -n 1 "$SLUICE" run --quiet job.yaml \
        --set output.path=two.h5 --set data.limit=6 >out 2>err && fail "replicas of two kinds run"
    grep -q '^sluice: rank 1 on .* computes with "processors with fused .*--keep-mixed$' err || fail "two kinds: another message"
    mpirun -n 1 env SLUICE_CPU_KERNELS=baseline "$SLUICE" run --quiet --keep-mixed job.yaml --set output.path=two.h5 --set data.limit=6 : -n 1 "$SLUICE" run \
        --quiet --keep-mixed job.yaml --set output.path=two.h5 --set data.limit=6 >out 2>err || fail "replicas of two kinds with --keep-mixed"
    # Each row says what computed it; the rows of the first start, which did not know, what that was.
    "$SLUICE" export two.h5 | grep -o '"arithmetic":"2, processors with[a-z]* fused[^"]*"' | wc -l | grep -qx 18 || fail "rows do not say what computed them"
    "$SLUICE" export out.h5 | grep -o '"arithmetic":"[^"]*"' | sort | uniq -c >kinds
    [ "$(wc -l <kinds)" -eq 2 ] || fail "the continued job's rows are of $(wc -l <kinds) kinds"
    # ... and never in one replica.
    mpirun -n 1 env SLUICE_CPU_KERNELS=baseline "$SLUICE" run --quiet --keep-mixed job.yaml --set layout.tp=2 --set output.path=three.h5 --set data.limit=6 : \
        -n 1 "$SLUICE" run --quiet --keep-mixed job.yaml --set layout.tp=2 --set output.path=three.h5 --set data.limit=6 >out 2>err &&
        fail "a replica of two kinds runs"
    grep -q "a replica's ranks need devices of one kind" err || fail "a replica of two kinds: another message"
fi

# Rows that share id and prompt share their random numbers: one warning; not where nothing is drawn, nor with seeds of their own.
printf '%s\n' '{"id": "a", "prompt": "one"}' '{"id": "a", "prompt": "two"}' '{"id": "a", "prompt": "one"}' '{"id": "b", "prompt": "one"}' \
    '{"id": "a", "prompt": "one", "temperature": 0}' >twins.jsonl
printf 'model: {path: "%s"}\ndata: {input: twins.jsonl}\ngenerate: {max_new_tokens: 6}\noutput: {path: twins.h5}\n' "$model" >twins.yaml
run_program check twins.yaml
[ "$status" -eq 0 ] && grep -q "random numbers and answers: 1;" err || fail "check does not find the twins"
run_program run --quiet twins.yaml
[ "$status" -eq 0 ] && grep -q "^sluice: warning: rows that have the id and the prompt of another row, and so its random numbers and answers: 1;" err ||
    fail "twins are not said"
"$SLUICE" export twins.h5 | sed -n '1p;3p' | grep -o '"text":"[^"]*"' | uniq | wc -l | grep -qx 1 || fail "twins have two answers"
finish
