#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# How a job stands, asked from outside: before it, while it runs, stopped, continued, complete.
set -euo pipefail
source "$(dirname "$0")/expect.sh"

cp "$SLUICE_SOURCE_DIR/data/tasks.jsonl" rows.jsonl
sed -i '2s/.*/{"no": "prompt"}/' rows.jsonl
cat >job.yaml <<YAML
model: {path: "$model"}
data: {input: rows.jsonl, limit: 120}
generate: {max_new_tokens: 48, n: 3, ignore_eos: true, seed: 3}
engine: {max_sequences: 4}
output: {path: out.h5}
YAML
expect_error 1 'out.h5: there is neither this output nor a job' status out.h5
expect_error 2 'the output file' status

# field NAME: of the JSON object in out.
field() { sed -n "s/.*\"$1\":\"\{0,1\}\([^,\"}]*\).*/\1/p" out; }

ASAN_OPTIONS=detect_leaks=0 "$SLUICE" run job.yaml >/dev/null 2>run.err &
job=$!
for _ in $(seq 600); do
    run_program status --json out.h5
    done=$(field rows_done)
    [ "${done:-0}" -le 4 ] || break
    sleep 0.1
done
[ "$(field state)" = running ] || fail "running: state $(field state)"
[ "$(field rows)" = 120 ] || fail "running: $(field rows) rows of all"
[ "$(field rows_done)" -gt 4 ] && [ "$(field rows_done)" -lt 120 ] || fail "running: $(field rows_done) rows done"
[ "$(field process)" = "$job" ] && [ "$(field ranks)" = 1 ] || fail "running: process $(field process)"
[ "$(field error_rows)" = 1 ] || fail "running: $(field error_rows) rows with errors"
[ "$(field rows_kept)" = 0 ] || fail "running: $(field rows_kept) rows kept"
run_program status out.h5
grep -q "^out.h5: running$" out || fail "running is not said"
grep -q "process $job on .*; 1 rank (dp 1 x tp 1 x pp 1)$" out || fail "running: where"
grep -Eq '^  rows     [0-9]+ of 120 \([0-9.]+%\), 1 with errors$' out || fail "running: rows"
grep -q '^  errors   line 2: ' out || fail "running: the last error"
[ ! -s err ] || fail "status says something on standard error"
"$SLUICE" status --watch out.h5 >watched 2>&1 &
watcher=$!
sleep 1
kill -TERM "$job"
code=0
wait "$job" || code=$?
[ "$code" -eq 75 ] || fail "stopped: exit status $code"
wait "$watcher" || fail "the watcher's exit status"
[ "$(grep -c '^out.h5: running$' watched)" -ge 1 ] || fail "the watcher saw nothing run"
tail -n 6 watched | grep -q '^out.h5: stopped; ' || fail "the watcher did not see the end"

kept=$(sed -n 's/.*stopped: \([0-9]*\) rows are kept.*/\1/p' run.err)
run_program status --json out.h5
[ "$(field state)" = stopped ] && [ "$(field rows_done)" = "$kept" ] || fail "stopped: $(cat out) and $kept are kept"
# A killed start has said nothing: the lock tells.
ASAN_OPTIONS=detect_leaks=0 "$SLUICE" run --quiet job.yaml >/dev/null 2>&1 &
job=$!
for _ in $(seq 600); do
    run_program status --json out.h5
    done=$(field rows_done)
    [ "$(field process)" != "$job" ] || [ "${done:-0}" -le "$kept" ] || break
    sleep 0.1
done
[ "$(field rows_kept)" = "$kept" ] || fail "continued: $(field rows_kept) rows kept, not $kept"
kill -KILL "$job"
wait "$job" 2>/dev/null || true
run_program status out.h5
grep -q '^out.h5: stopped; ' out || fail "killed: $(cat out)"
# A progress file that is none.
for text in '' 'no JSON' '[1]' '{"rows": "many", "host": 7, "last_error": null, "seconds": {}}'; do
    printf '%s' "$text" >out.h5.sluice/progress
    run_program status out.h5
    [ "$status" -eq 0 ] && grep -q '^out.h5: stopped; ' out || fail "progress of \"$text\": $(cat out)"
done
rm out.h5.sluice/progress

run_program run --quiet job.yaml
[ "$status" -eq 0 ] || fail "continued: exit status $status"
[ ! -e out.h5.sluice ] || fail "the journal's folder is left"
run_program status --json out.h5
[ "$(field state)" = complete ] && [ "$(field rows)" = 120 ] && [ "$(field rows_done)" = 120 ] || fail "complete: $(cat out)"
[ "$(field error_rows)" = 1 ] || fail "complete: $(field error_rows) rows with errors"
[ "$(field rows_kept)" -ge "$kept" ] || fail "complete: $(field rows_kept) rows kept"
expect_output 'out.h5: complete' status out.h5
grep -q '^  rows     120, [0-9]* kept from earlier starts, 1 with errors$' out || fail "complete: rows"
echo "no HDF5" >other.h5
expect_error 1 'other.h5' status other.h5
finish
