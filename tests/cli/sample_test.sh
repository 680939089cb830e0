#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# check --sample: totals scaled from the first rows, and a time once the model has run.
set -euo pipefail
source "$(dirname "$0")/expect.sh"
XDG_CACHE_HOME=$(pwd)/cache
export XDG_CACHE_HOME
mkdir -p cache

awk 'BEGIN { for (i = 0; i < 600; i++) printf "{\"prompt\": \"Weather: %d\"}\n", i; print "{\"prompt\": 5}" }' >rows.jsonl
cat >job.yaml <<YAML
model: {path: "$model"}
data: {input: rows.jsonl}
generate: {max_new_tokens: 10, ignore_eos: true, temperature: 0}
engine: {max_sequences: 16}
output: {path: out.h5, overwrite: true}
YAML
run_program check job.yaml --sample 100
[ "$status" -eq 0 ] || fail "check: exit status $status"
grep -q '^data .* 601 rows, 0 bad$' out || fail "rows behind the sample were looked at: $(grep '^data' out)"
grep -q '^answers *601, at most 6010 tokens$' out || fail "totals: $(grep '^answers' out)"
grep -q '^time *not known: this model has not run' out || fail "a time from nothing: $(grep '^time' out)"
run_program run --quiet job.yaml
[ "$status" -eq 0 ] || fail "run: exit status $status"
[ "$(wc -l <cache/sluice/steps)" -eq 1 ] || fail "the cost of steps was not kept"
run_program check job.yaml --sample 400 --fresh --set output.path=other.h5
grep -qE '^time .* s, if every answer runs to its limit$' out || fail "no time: $(grep '^time' out)"
grep -q 'sequences a step; [0-9]*% of the cache in use; 1.00 tokens computed' out || fail "no batch"
# The job itself says what was expected beside what came, and so do its readers.
run_program run job.yaml
grep -qE '^sluice: predicted: .* s with every answer at its limit, [0-9]+ output tokens/s \([0-9]+% by tokens, [0-9]+% by reading the cache, [0-9]+% by the number of steps\); the rows took .* s, [0-9]+ output tokens/s \([0-9]+% by tokens' err ||
    fail "no prediction beside the job's time: $(cat err)"
run_program inspect out.h5
grep -qE '^predicted .* s at most, [0-9.]+ tokens/s; [0-9]+% by (tokens|reading the cache|the number of steps)$' out || fail "inspect: $(cat out)"
grep -qE '^took .* s of rows, [0-9.]+ tokens/s; [0-9]+% by (tokens|reading the cache|the number of steps)$' out || fail "inspect: $(cat out)"
run_program report out.h5 -o out.html
grep -q '<h2>Predicted and actual</h2>' out.html && grep -qE '<tr><th class="t">bounded</th><td class="t">[0-9]+% by tokens' out.html || fail "report: no prediction"
XDG_CACHE_HOME=$(pwd)/none run_program run job.yaml
! grep -q 'predicted' err || fail "a prediction from nothing: $(cat err)"
run_program check job.yaml --fresh --set output.path=other.h5
! grep -q '^time' out || fail "a time that nobody asked for"
grep -q '^data .* 601 rows, 1 bad$' out || fail "without a sample all rows are looked at"

# Rows that wait in order: what memory does not hold of them is on disk, 10 MB of 26.8.
awk 'BEGIN { for (i = 0; i < 180; i++) text = text "rain "; for (i = 0; i < 28900; i++) printf "{\"prompt\": \"Weather: %s%d\"}\n", text, i }' >long.jsonl
most() { # SETTING…
    "$SLUICE" check job.yaml --fresh --sample 2 --set data.input=long.jsonl --set output.path=long.h5 "${@/#/--set=}" 2>err |
        awk '$1 == "disk" { print ($6 == "MB," ? $5 : 0) }'
}
[ "$(awk -v a="$(most)" -v b="$(most data.order=file)" 'BEGIN { print (a - b > 9.5 && a - b < 10.5) }')" = 1 ] ||
    fail "disk: $(most), in the order of the file $(most data.order=file)"
finish
