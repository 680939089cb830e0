#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What status, inspect, compare, check, init, export and report say of outputs in every state: not there, running, stopped, complete with errors,
# of no rows, another program's HDF5 file, damaged. Each time a table that fits 80 columns, or one line that says what is the matter; the same
# in a pipe and with NO_COLOR; with --json one object or nothing.
set -euo pipefail
source "$(dirname "$0")/expect.sh"
export NO_COLOR=1

head -n 30 "$SLUICE_SOURCE_DIR/data/tasks.jsonl" >rows.jsonl
printf '%s\n' '{"no": "prompt", "text": null}' 'not JSON' >>rows.jsonl
long_name=$(printf 'a-name-%.0s' $(seq 12))
mkdir "$long_name"
cp rows.jsonl "$long_name/rows.jsonl"
cat >job.yaml <<YAML
model: {path: "$model"}
data: {input: $long_name/rows.jsonl}
generate: {max_new_tokens: 4, temperature: 0}
output: {path: done.h5}
YAML
# A word that does not fit, such as a path or a hash, may be longer than a line.
fits() {
    ! LC_ALL=C.UTF-8 awk '{ n = split($0, words, " "); longest = 0; for (i = 1; i <= n; i++) if (length(words[i]) > longest) longest = length(words[i]) }
        longest < 56 { gsub(/…/, "."); if (length($0) > 80) exit 1 }' out || return 0
    [ "$(LC_ALL=C.UTF-8 wc -L <out)" -le 80 ] || fail "$*: a line of $(LC_ALL=C.UTF-8 wc -L <out) columns"
}
# is_table ARGUMENTS…: success, a table within 80 columns, without escapes.
is_table() {
    run_program "$@"
    [ "$status" -eq 0 ] && [ ! -s err ] && [ -s out ] || fail "$*: exit status $status"
    fits "$@"
    ! grep -q $'\033' out || fail "$*: an escape in a pipe"
}
is_json() {
    run_program "$@"
    [ "$status" -eq 0 ] && [ ! -s err ] && [ "$(wc -l <out)" -eq 1 ] && grep -q '^{.*}$' out || fail "$*: is no JSON object: $(cat out)"
    if command -v python3 >/dev/null; then python3 -c 'import json; json.load(open("out"))' || fail "$*: is no JSON"; fi
}

run_program run --quiet job.yaml
[ "$status" -eq 0 ] || fail "run: exit status $status"
run_program run --quiet job.yaml --set output.path=other.h5 --set generate.max_new_tokens=3
[ "$status" -eq 0 ] || fail "run: exit status $status"

# ---- Complete, with errors ----

for option in '' --ranks --errors --job '--rows 2'; do
    read -ra words <<<"$option"
    is_table inspect "${words[@]}" done.h5
done
is_table status done.h5
is_json status --json done.h5
is_json inspect --json done.h5
is_table check job.yaml --set output.path=new.h5
grep -q '^line 32: ' out || fail "check: the second bad row"
is_table check job.yaml
run_program compare done.h5 other.h5
[ "$status" -eq 1 ] && [ ! -s err ] || fail "compare: exit status $status"
fits compare
run_program compare --json done.h5 other.h5
[ "$status" -eq 1 ] && [ "$(wc -l <out)" -eq 1 ] || fail "compare --json: exit status $status"
is_table compare done.h5 done.h5
is_table init "$model" rows.jsonl

# ---- No rows at all; no row with an answer ----

: >nothing.jsonl
expect_error 1 'nothing.jsonl: holds no rows' run --quiet job.yaml --set data.input=nothing.jsonl --set output.path=nothing.h5
run_program check job.yaml --set data.input=nothing.jsonl --set output.path=nothing.h5
[ "$status" -eq 1 ] && [ "$(wc -l <err)" -eq 1 ] && ! grep -q '^journal' out || fail "check of no rows: $(cat out)"
is_table status nothing.h5
grep -q '^  no rows are done yet$\|^  rows     0' out || fail "status of no rows: $(cat out)"
expect_error 1 'nothing.h5: is not there yet: its job was stopped' inspect nothing.h5
run_program init "$model" nothing.jsonl
[ "$status" -eq 0 ] && grep -q 'warning: nothing.jsonl: holds no rows' err || fail "init with no rows"
echo '{"x": 1}' >bad.jsonl
run_program run --quiet job.yaml --set data.input=bad.jsonl --set output.path=bad.h5
[ "$status" -eq 1 ] || fail "no row has an answer: exit status $status"
for command in status inspect 'inspect --errors' 'inspect --ranks' 'compare bad.h5'; do
    read -ra words <<<"$command"
    is_table "${words[@]}" bad.h5
done
run_program export bad.h5 --where ok
[ "$status" -eq 0 ] && [ ! -s out ] && [ ! -s err ] || fail "an export of nothing"
for name in csv parquet txt jsonl.gz openai.jsonl; do expect_quiet export bad.h5 --where ok -o "nothing.$name"; done
[ "$(wc -l <nothing.csv)" -eq 1 ] || fail "CSV of nothing has no line of names"

# ---- While it runs, and killed ----

for k in 1 2 3 4 5 6 7 8 9; do sed "s/\"id\": \"/&$k-/" rows.jsonl; done >many.jsonl
long=(--set data.input=many.jsonl --set output.path=long.h5 --set generate.max_new_tokens=200 --set generate.n=4 --set generate.ignore_eos=true
    --set engine.max_sequences=4)
# wait_for_rows COUNT: until so many are done, for two minutes.
wait_for_rows() {
    for _ in $(seq 1200); do
        run_program status --json long.h5
        rows=$(sed -n 's/.*"rows_done":\([0-9]*\).*/\1/p' out)
        [ "${rows:-0}" -lt "$1" ] || return 0
        sleep 0.1
    done
    fail "not $1 rows are done: $(cat out)"
}
ASAN_OPTIONS=detect_leaks=0 "$SLUICE" run --quiet job.yaml "${long[@]}" >/dev/null 2>&1 &
job=$!
wait_for_rows 2
is_table status long.h5
is_json status --json long.h5
for command in inspect export report 'inspect --json'; do
    read -ra words <<<"$command"
    expect_error 1 'long.h5: is not there yet: its job is running, ' "${words[@]}" long.h5
    [ ! -s out ] || fail "$command: something on standard output"
done
grep -qE ' [0-9]+ of 288 rows are done; sluice status says more$' err || fail "rows of a job that runs: $(cat err)"
expect_error 2 'long.h5: is not there yet: its job is running' compare done.h5 long.h5
expect_error 2 'long.h5: is not there yet: its job is running' rerun long.h5 -o x.h5
expect_error 2 'long.h5: is not there yet: its job is running' append long.h5
run_program check job.yaml "${long[@]}"
[ "$status" -eq 1 ] && [ "$(wc -l <err)" -eq 1 ] && grep -q 'long.h5.sluice/lock: in use by process' err || fail "check beside a job: $(cat err)"
kill -KILL "$job"
wait "$job" 2>/dev/null || true
is_table status long.h5
grep -q '^long.h5: stopped; the command that started it continues it$' out || fail "killed: $(cat out)"
is_json status --json long.h5
expect_error 1 'long.h5: is not there yet: its job was stopped, ' inspect long.h5
expect_error 2 'long.h5: is not there yet: its job was stopped, ' compare long.h5 done.h5
is_table check job.yaml "${long[@]}"
grep -qE '^journal    [1-9][0-9]* rows kept' out || fail "check of a killed job: $(cat out)"

# ---- What is no output ----

head -c 3000 done.h5 >cut.h5
head -c 500 /dev/zero >noise.h5
: >zero.h5
mkdir folder.h5
names=(missing cut noise zero folder)
if command -v h5copy >/dev/null; then # another program's file, with datasets of its own
    h5copy -p -i done.h5 -o foreign.h5 -s /results/rank -d /rank
    names+=(foreign)
    expect_error 1 'foreign.h5: not an output file of this program' inspect foreign.h5
fi
for name in "${names[@]}"; do
    for command in status inspect export report 'status --json' 'inspect --json' 'inspect --ranks'; do
        read -ra words <<<"$command"
        expect_error 1 "$name.h5: " "${words[@]}" "$name.h5"
        [ ! -s out ] || fail "$command $name.h5: something on standard output"
    done
    expect_error 2 "$name.h5: " compare "$name.h5" done.h5
    expect_error 2 "$name.h5: " compare done.h5 "$name.h5"
    expect_error 2 "$name.h5: " rerun "$name.h5" -o x.h5
    expect_error 2 "$name.h5: " append "$name.h5"
    [ ! -e "$name.html" ] && [ ! -e x.h5 ] && [ ! -e x.h5.sluice ] || fail "$name: something is left"
done
run_program init "$model" cut.h5
[ "$status" -eq 0 ] && grep -q 'warning: cut.h5: ' err || fail "init with a damaged data set"
expect_error 1 'done.h5: ' init done.h5 rows.jsonl
finish
