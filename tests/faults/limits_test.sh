#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Limits of the shell and of batch systems (size of files, CPU time), a terminal that is closed, messages that nobody reads any more: each has an
# answer, and what is stopped by one continues.
set -euo pipefail
source "$(dirname "$0")/../cli/expect.sh"
export ASAN_OPTIONS=detect_leaks=0 OMP_NUM_THREADS=1

blob=$(head -c 60000 /dev/zero | tr '\0' x)
for ((i = 0; i < 300; i++)); do printf '{"prompt": "%d + %d =", "blob": "%s"}\n' "$i" $((i % 7)) "$blob"; done >large.jsonl
cat >job.yaml <<YAML
model: {path: "$model"}
data: {input: "$SLUICE_SOURCE_DIR/data/tasks.jsonl", limit: 700}
generate: {max_new_tokens: 32, n: 3, seed: 7, ignore_eos: true}
engine: {max_sequences: 16}
output: {path: unset.h5}
YAML

# 8 MiB a file: the journal of 17 MB cannot be written.
large=(run job.yaml --quiet --set data.input=large.jsonl --set generate.n=1 --set generate.max_new_tokens=4 --set output.path=limited.h5)
limit=$(ulimit -f)
ulimit -S -f 8192
expect_error 1 "limited.h5.sluice/journal: offset 8388608: File too large" "${large[@]}"
ulimit -S -f "$limit"
run_program "${large[@]}"
[ "$status" -eq 0 ] || fail "continued without the limit: exit status $status"
[ "$("$SLUICE" export limited.h5 | wc -l)" -eq 300 ] || fail "continued without the limit: not every row is there"

has_rows() { [ "$(stat -c %s "$name.h5.sluice/journal" 2>/dev/null || echo 0)" -gt 20000 ]; }
# start NAME COMMAND…: a job in the background that has begun to write rows.
start() {
    name=$1
    shift
    "$@" "$SLUICE" run job.yaml --quiet --set "output.path=$name.h5" 2>err &
    program=$!
    for _ in $(seq 1200); do
        if has_rows; then return 0; fi
        sleep 0.05
    done
    fail "$name: no rows"
}
end() {
    status=0
    wait "$program" || status=$?
}

for signal in HUP XCPU; do
    start "$signal" env --default-signal # the test itself may run under nohup
    kill -"$signal" "$program"
    [ "$signal" = HUP ] || kill -"$signal" "$program" # comes again every second
    end
    [ "$status" -eq 75 ] || fail "$signal: exit status $status"
    [ "$(grep -c '^sluice: stopped: [1-9][0-9]* rows are kept; the same command continues$' err)" -eq 1 ] || fail "$signal: no message"
    run_program run job.yaml --quiet --set "output.path=$signal.h5"
    [ "$status" -eq 0 ] || fail "$signal: continued: exit status $status"
done
cmp -s <("$SLUICE" export HUP.h5) <("$SLUICE" export XCPU.h5) || fail "the two continued jobs' rows differ"

# A script's background job has SIGINT ignored from its start, and stops all the same.
start background env
kill -INT "$program"
end
[ "$status" -eq 75 ] || fail "SIGINT to a background job: exit status $status"

start nohup nohup
kill -HUP "$program"
end
[ "$status" -eq 0 ] || fail "nohup: exit status $status"
cmp -s <("$SLUICE" export HUP.h5) <("$SLUICE" export nohup.h5) || fail "nohup: other rows"

# A reader of the messages that is gone before the first one.
status=0
{ "$SLUICE" run job.yaml --set output.path=unread.h5 || echo "$?" >status; } 2>&1 | true
[ ! -e status ] || fail "messages that nobody reads: exit status $(cat status)"
cmp -s <("$SLUICE" export HUP.h5) <("$SLUICE" export unread.h5) || fail "messages that nobody reads: other rows"
finish
