#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Rows that ask the same are computed once, and the answers are those of a job that computes each.
set -euo pipefail
source "$(dirname "$0")/expect.sh"

cat >job.yaml <<YAML
model: {path: "$model"}
data: {input: rows.jsonl}
generate: {max_new_tokens: 6, temperature: 0}
output: {path: out.h5, overwrite: true, include_prompt: true}
YAML

# Every second row asks what others ask; some of these want more of the answer, or draw it.
awk 'BEGIN { for (i = 0; i < 60; i++) {
    prompt = i % 2 ? "Weather: rain" : "Weather: " i
    more = i % 10 == 9 ? ", \"max_tokens\": 3" : i % 10 == 7 ? ", \"temperature\": 1" : i % 10 == 5 ? ", \"temperature\": 1, \"seed\": 5" : ""
    printf "{\"id\": \"r%d\", \"prompt\": \"%s\", \"note\": %d%s}\n", i, prompt, i, more } }' >rows.jsonl

# run_job NAME SETTING…
run_job() {
    local name=$1
    shift
    run_program run job.yaml "${@/#/--set=}"
    [ "$status" -eq 0 ] || fail "$name: exit status $status"
    grep -q '60 rows (0 with errors)' err || fail "$name: other totals"
    "$SLUICE" export out.h5 >"$name.jsonl"
    "$SLUICE" inspect --ranks out.h5 | awk '$1 == "0" { print $7; exit }' >"$name.computed"
    cp out.h5 "$name.h5"
}
run_job each engine.copy_equal_rows=false
run_job once
run_job few engine.max_sequences=2 engine.prefix_cache=false data.order=file engine.admission=room
cmp -s each.jsonl once.jsonl || fail "copies are not what is computed: $(diff each.jsonl once.jsonl | head -2)"
cmp -s each.jsonl few.jsonl || fail "order, admission or copies change an answer"
[ "$(cat once.computed)" -lt "$(cat each.computed)" ] || fail "nothing was saved: $(cat once.computed) of $(cat each.computed)"
need h5dump
h5dump -d /results/copied_from once.h5 >copied 2>/dev/null || fail "no column copied_from"
grep -q -- ' -1' copied || fail "rows that were computed"
grep -qE '[ :][0-9]+(,|$)' copied || fail "no row was copied"
! h5dump -d /results/copied_from each.h5 >/dev/null 2>&1 || fail "copied_from where nothing was copied"
finish
