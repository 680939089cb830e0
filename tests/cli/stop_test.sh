#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A job that is asked to stop keeps what it has, says so with status 75, and goes on where it stopped.
set -euo pipefail
source "$(dirname "$0")/expect.sh"

cat >job.yaml <<YAML
model: {path: "$model"}
data: {input: "$SLUICE_SOURCE_DIR/data/tasks.jsonl", limit: 300}
generate: {max_new_tokens: 32, n: 3, seed: 7, ignore_eos: true}
engine: {max_sequences: 16}
output: {path: stopped.h5}
YAML

ASAN_OPTIONS=detect_leaks=0 "$SLUICE" run job.yaml >out 2>err &
program=$!
for _ in $(seq 600); do
    if [ -e stopped.h5 ] || [ "$(stat -c %s stopped.h5.sluice/journal 2>/dev/null || echo 0)" -gt 20000 ]; then break; fi
    sleep 0.05
done
[ ! -e stopped.h5 ] || fail "the job was done before it could be stopped"
kill -TERM "$program"
status=0
wait "$program" || status=$?
[ "$status" -eq 75 ] || fail "stopped: exit status $status instead of 75"
grep -q '^sluice: stopped: [1-9][0-9]* rows are kept; the same command continues$' err || fail "stopped: another message"
[ ! -e stopped.h5 ] || fail "stopped: the output file is there"

expect_error 1 "generate.seed" run --quiet job.yaml --set generate.seed=8
run_program run job.yaml
[ "$status" -eq 0 ] || fail "continued: exit status $status"
grep -q '300 rows (0 with errors), ' err || fail "continued: another summary"
[ "$(grep -c '[1-9][0-9]* rows kept from an earlier start' err)" -eq 1 ] || fail "continued: kept rows are not said once"
[ ! -e stopped.h5.sluice ] || fail "continued: the journal is left"
"$SLUICE" export stopped.h5 >stopped.jsonl

run_program run --quiet job.yaml --set output.path=whole.h5
[ "$status" -eq 0 ] || fail "uninterrupted: exit status $status"
"$SLUICE" export whole.h5 | cmp -s - stopped.jsonl || fail "the interrupted job's rows differ from the uninterrupted one's"
finish
