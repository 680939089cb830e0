#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What a job says of itself while it runs: one live line on a terminal, a block and lines in a log, JSON, a snapshot, metrics; the total of a
# compressed data set; a rank that is not heard of.
set -euo pipefail
source "$(dirname "$0")/expect.sh"

gzip -c "$SLUICE_SOURCE_DIR/data/tasks.jsonl" >rows.jsonl.gz
total=$(wc -l <"$SLUICE_SOURCE_DIR/data/tasks.jsonl")
cat >job.yaml <<YAML
model: {path: "$model"}
data: {input: rows.jsonl.gz, limit: 12}
generate: {max_new_tokens: 12, ignore_eos: true}
output: {path: out.h5, overwrite: true, metrics: out.prom}
YAML
export ASAN_OPTIONS=detect_leaks=0
: >err

# on_terminal VARIABLE=VALUE… -- OPTION…: what a terminal of 80 columns gets is in `typescript`.
on_terminal() {
    local settings=()
    while [ "$1" != -- ]; do settings+=("$1"); shift; done
    shift
    env "${settings[@]}" script -qec "stty cols 80; '$SLUICE' run --fresh job.yaml $*" typescript >/dev/null </dev/null || fail "on a terminal: $*"
}
if command -v script >/dev/null; then
    on_terminal TERM=xterm NO_COLOR= --
    tr '\r' '\n' <typescript | grep -aqE '^\[ *\] 0/12 0\.0% .* tok/s \([0-9.]+\).* [0-9]+ run\+[0-9]+ KV [0-9]+%'$'\033\\[K' || fail "no live line: $(cat -v typescript)"
    tr '\r' '\n' <typescript | grep -a tok/s | sed $'s/\033\\[[0-9;]*[mK]//g' | awk 'length > 79 { exit 1 }' || fail "a live line is too long"
    ! grep -aq 'rows done' typescript || fail "lines of a log on a terminal"
    tr '\r' '\n' <typescript | grep -aE 'sluice: out.h5: 12 rows' >/dev/null || fail "no final line on a terminal"
    on_terminal TERM=xterm NO_COLOR=1 --
    ! grep -aq $'\033\\[[0-9;]*m' typescript || fail "colours where none are wanted"
    on_terminal TERM=dumb --
    ! grep -aq 'tok/s (' typescript || fail "a live line on a dumb terminal"
    on_terminal TERM=xterm -- --quiet
    ! grep -aq 'tok/s (' typescript || fail "a live line of a quiet job"
    on_terminal TERM=xterm SLUICE_LOG=warning --
    ! grep -aq 'tok/s (' typescript || fail "a live line where only warnings are wanted"
fi

# A log, and metrics of a job that is over.
run_program run --fresh job.yaml
[ "$status" -eq 0 ] && ! grep -q $'\033\|\r' err || fail "in a log: something for a terminal"
grep -q '^sluice_job_running{output="out.h5"} 0$' out.prom || fail "the metrics of a job that is over"
grep -q '^sluice_rows_done_total{output="out.h5"} 12$' out.prom || fail "the rows of a job that is over"
[ ! -e out.prom.next ] || fail "metrics leave their next file"
if command -v promtool >/dev/null; then promtool check metrics <out.prom || fail "promtool"; fi
run_program run --fresh job.yaml --set output.metrics=no/such.prom
[ "$status" -eq 0 ] && [ "$(grep -c 'warning: output.metrics: no/such.prom.next: No such file' err)" -eq 1 ] || fail "metrics that cannot be written"
expect_error 2 'output.metrics: out.h5 would replace the output' run job.yaml --set output.metrics=out.h5
expect_error 2 'output.metrics: rows.jsonl.gz would replace the data set' run job.yaml --set output.metrics=rows.jsonl.gz
expect_error 2 'expected one of text, json, not "xml"' run job.yaml --log-format xml

# JSON, all of it, errors too.
run_program run --fresh job.yaml --log-format json
[ "$status" -eq 0 ] || fail "JSON: exit status $status"
grep -q '^{"time":"20[^"]*Z","level":"info","message":"out.h5: 12 rows (0 with errors), .*","rows":12,"error_rows":0,' err || fail "JSON: no final line"
cp err lines
run_program run job.yaml --log-format json --set output.overwrite=false --set generate.seed=77
[ "$status" -eq 1 ] && grep -q '"level":"error","message":".*exists' err || fail "JSON: an error"
cat err >>lines
if command -v python3 >/dev/null; then
    python3 -c 'import json; [json.loads(line)["message"] for line in open("lines")]' || fail "JSON: $(cat lines)"
else
    ! grep -vq '^{.*}$' lines || fail "JSON: other lines"
fi

# ---- While it runs ----

field() { sed -n "s/.*\"$1\":\"\{0,1\}\([^,\"}]*\).*/\1/p" out; }
# wait_for COMMAND…: until it succeeds, for two minutes.
wait_for() {
    for _ in $(seq 1200); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.1
    done
    fail "nothing of \"$*\""
}
long=(--set data.limit=all --set generate.max_new_tokens=60 --set generate.n=3 --set engine.max_sequences=8)
"$SLUICE" run --fresh job.yaml "${long[@]}" 2>err &
job=$!
wait_for grep -q "^sluice_rows{output=\"out.h5\"} $total\$" out.prom
grep -q '^sluice_job_running{output="out.h5"} 1$' out.prom || fail "the metrics of a job that runs"
kill -USR2 "$job"
wait_for grep -qE 'info: 20[0-9-]*T[0-9:]*Z: [0-9]+ of '"$total"' rows done \([0-9.]+%\), [0-9]+ handed out, ' err
wait_for grep -qE 'info: [0-9]+ sequences running, [0-9]+ waiting, KV cache [0-9.]+% full, [0-9.]+ tokens/s$' err
wait_for grep -qE 'info: rank 0 on [^ ]+: [0-9.]+ tokens/s; [0-9]+ running, [0-9]+ waiting$' err
is_running() { # the file is written every so often
    run_program status --json out.h5
    [ "$(field running)" -ge 1 ]
}
wait_for is_running
[ "$(field rows)" = "$total" ] && [ "$(field state)" = running ] && [ "$(field running)" -ge 1 ] || fail "the total of a compressed data set: $(cat out)"
kill -TERM "$job"
code=0
wait "$job" || code=$?
[ "$code" -eq 75 ] || fail "after a snapshot: exit status $code"

# A rank that does not move is named in the log and by `status`.
run_mpi=(mpirun --oversubscribe --bind-to none -n 2)
[ "$(id -u)" -ne 0 ] || run_mpi+=(--allow-run-as-root)
"${run_mpi[@]}" "$SLUICE" run job.yaml --fresh "${long[@]}" --set output.path=two.h5 2>err &
job=$!
wait_for test -s two.h5.sluice/progress
mapfile -t pids < <(pgrep -P "$job" -x sluice | sort -n)
sleep 3
kill -STOP "${pids[1]}"
wait_for grep -qE 'warning: slow: rank 1( on [^ ]+)?: not heard of for [0-9.]+ s$' err
wait_for sh -c "'$SLUICE' status two.h5 | grep -q '^  slow     rank 1'"
kill -CONT "${pids[1]}"
kill -TERM "${pids[0]}"
code=0
wait "$job" || code=$?
[ "$code" -eq 75 ] || fail "after a silence: exit status $code"
finish
