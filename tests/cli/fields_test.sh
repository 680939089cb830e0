#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Fields of requests: what is taken for a parameter, what is refused, what a job says of it at its end.
set -euo pipefail
source "$(dirname "$0")/expect.sh"

cat >job.yaml <<YAML
model: {path: "$model"}
data: {input: rows.jsonl}
generate: {max_new_tokens: 3, temperature: 0}
output: {path: out.h5, overwrite: true}
YAML

# answers [SETTING…]: runs rows.jsonl; err has what the job said, out what it answered.
answers() {
    run_program run --quiet job.yaml "${@/#/--set=}"
    [ "$status" -eq 0 ] || fail "run: exit status $status"
    mv err said
    run_program export out.h5
    mv said err
}

# says TEXT and never_says TEXT, of the warnings.
says() { grep -qF -- "$1" err || fail "nothing of \"$1\" on standard error"; }
never_says() { ! grep -qF -- "$1" err || fail "\"$1\" on standard error"; }

# ---- Columns that are called like parameters ----

cat >rows.jsonl <<'ROWS'
{"id": "a", "prompt": "Weather: rain", "temperature": 12, "n": 3, "max_tokens": null}
{"id": "b", "prompt": "Weather: rain", "temperature": 9}
{"id": "c", "prompt": "Weather: rain"}
ROWS
answers
[ "$(wc -l <out)" -eq 5 ] || fail "n of a row was not honoured"
[ "$(wc -l <err)" -eq 1 ] || fail "one warning for all rows"
says 'sluice: warning: 2 rows: columns taken for parameters: temperature, n; where they are data, set data.row_parameters=false'
expect_check_warning() {
    run_program check job.yaml
    says "$1"
}
expect_check_warning '2 rows: columns taken for parameters: temperature, n;'
answers data.row_parameters=false
[ ! -s err ] || fail "a warning though the columns are data"
[ "$(wc -l <out)" -eq 3 ] || fail "a column n was taken for a parameter"
grep -q '"id":"a".*"temperature":12,"n":3' out || fail "columns did not travel on"

echo '{"prompt": "Weather: rain", "response_format": "A4"}' >rows.jsonl
run_program run --quiet job.yaml
says 'response_format: not supported; leave the field out, or set data.row_parameters=false where it is data'
answers data.row_parameters=false
grep -q '"response_format":"A4"' out || fail "a column did not travel on"

# Bodies are requests, whatever the key says.
cat >rows.jsonl <<'ROWS'
{"custom_id": "a", "body": {"model": "small-model", "prompt": "Weather: rain", "n": 2, "user": "me"}}
ROWS
answers data.row_parameters=false
[ ! -s err ] || fail "a warning for a request"
[ "$(wc -l <out)" -eq 2 ] || fail "a request's n was not honoured"

# ---- What a request may not have meant ----

cat >rows.jsonl <<'ROWS'
{"custom_id": "a", "body": {"model": "gpt-4o-mini", "prompt": "x", "temperture": 0.1}}
{"custom_id": "b", "body": {"model": "gpt-4o-mini", "prompt": "x"}}
{"custom_id": "c", "body": {"model": "org/Small-Model", "prompt": "x"}}
{"id": "d", "model": "gpt-4", "temperture": 1, "prompt": "x"}
ROWS
answers
[ "$(wc -l <err)" -eq 2 ] || fail "two kinds of warnings, a line each"
says '2 rows: requests name another model, and this job'"'"'s has answered them: gpt-4o-mini'
says '1 row: fields of the body that are not known and have no effect: temperture;'

# ---- NaN and infinities, as Python writes them ----

cat >rows.jsonl <<'ROWS'
{"id": "a", "prompt": "x", "score": NaN, "range": [-Infinity, Infinity]}
{"id": "b", "prompt": "x", "temperature": NaN}
{"id": "c", "prompt": "x", "score": nan}
ROWS
answers
grep -q '"id":"a".*"score":"NaN","range":\["-Infinity","Infinity"\]' out || fail "NaN did not travel on"
grep -q '"id":"b".*temperature: expected a number, not NaN' out || fail "NaN for a parameter"
grep -q 'line 3: byte .*: not JSON' out || fail "nan is no JSON of anybody's"

finish
