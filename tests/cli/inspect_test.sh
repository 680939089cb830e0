#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# An output file on one screen, and its parts: what they count is what the exports say.
set -euo pipefail
source "$(dirname "$0")/expect.sh"

for i in $(seq 40); do echo "{\"id\": \"q$i\", \"prompt\": \"apple$(printf ' river%.0s' $(seq $((i % 7))))\"}"; done >rows.jsonl
printf '%s\n' '{"question": 1}' '{"prompt": 7}' '{"question": 2}' '{"prompt": "x", "stop": 4}' '{"prompt": "x", "seed": "\u001b[31m"}' \
    '{"prompt": "x", "logit_bias": 3}' >>rows.jsonl
cat >job.yaml <<YAML
model: {path: "$model"}
data: {input: rows.jsonl}
generate: {max_new_tokens: 20, temperature: 2, n: 2}
output: {path: out.h5}
YAML
ASAN_OPTIONS=detect_leaks=0 mpirun --oversubscribe --allow-run-as-root -n 2 "$SLUICE" run --quiet job.yaml >/dev/null 2>err || fail "run"

# fits: the screen in `out` has no more than 24 lines of 80 columns, and nothing that drives a terminal.
fits() {
    [ "$(wc -l <out)" -le 24 ] || fail "$(wc -l <out) lines"
    [ "$(LC_ALL=C.UTF-8 wc -L <out)" -le 80 ] || fail "a line of $(LC_ALL=C.UTF-8 wc -L <out) columns"
    ! grep -q $'\033' out || fail "an escape from the data set"
}
expect_output 'rows       46, 6 with errors, 0 kept from earlier starts; ' inspect out.h5
fits
grep -Eq '^errors     2 rows, first: line 41: no prompt: ' out || fail "the commonest error"
grep -q '^           \.\.\. and other kinds; --errors lists all$' out || fail "that there are more errors"
grep -q '^ranks      2; at most ' out || fail "ranks"
grep -Eq "^slowest    rank [01]: [0-9.]+ tokens/s, [0-9]+% below the others' [0-9.]+ \(" out || fail "the slowest rank"
cp out screen
expect_output '"summary":{"finish_reasons":{"stop":' inspect --json out.h5
cp out summary.json
python=$(command -v python3 || true)
if [ -n "$python" ]; then
    "$SLUICE" export out.h5 >rows.out
    "$python" - <<'PY' || fail "the summary is not what the exports say"
import collections, json, math
rows = [json.loads(line) for line in open("rows.out")]
told = json.load(open("summary.json"))
summary = told["summary"]
reasons = collections.Counter(row["finish_reason"] for row in rows)
assert summary["finish_reasons"] == {name: reasons[name] for name in ("stop", "length", "error")}
good = [row for row in rows if row["finish_reason"] != "error"]
def spread(values):
    values = sorted(values)
    at = lambda share: values[math.ceil(share * len(values)) - 1]
    return {"least": values[0], "p10": at(.1), "p50": at(.5), "p90": at(.9), "p99": at(.99), "most": values[-1]}
assert summary["prompt_tokens"] == spread([row["prompt_tokens"] for row in good if row["sample"] == 0])
assert summary["answer_tokens"] == spread([row["completion_tokens"] for row in good])
assert 0 < summary["seconds"]["p10"] <= summary["seconds"]["p90"] <= summary["seconds"]["most"]
errors = summary["errors"]
assert sum(error["rows"] for error in errors) == 6 and [error["rows"] for error in errors] == [2, 1, 1, 1, 1]
assert errors[0]["first"] == "line 41" and len(told["ranks"]) == 2 and told["results"] == len(rows)
lines = {line.split("  ")[0]: line.split() for line in open("screen")}
for name, key in (("prompt tokens", "prompt_tokens"), ("answer tokens", "answer_tokens")):
    assert [int(value) for value in lines[name][2:]] == list(summary[key].values()), name
finished = next(line for line in open("screen") if line.startswith("finished"))
assert f"stop {reasons['stop']} (" in finished and f"length {reasons['length']} (" in finished
PY
fi

# Parts stand in the screen's place; answers and scores come behind it.
expect_output '2 rows, first: line 41' inspect --errors out.h5
[ "$(grep -c '^[0-9]' out)" -eq 5 ] && ! grep -q '^rows ' out || fail "--errors: not five kinds alone"
! grep -q $'\033' out || fail "--errors: an escape from the data set"
expect_output 'rank  dp  tp  pp' inspect --ranks out.h5
[ "$(wc -l <out)" -eq 7 ] && fits || fail "--ranks: not two tables of two ranks, or too wide"
expect_output 'data_sha256            ' inspect --job out.h5
grep -q '^      path: "out.h5"$' out && ! grep -q '^rank ' out || fail "--job: not the job alone"
expect_output 'finished   ' inspect --rows 2 out.h5
[ "$(grep -c '^-- ' out)" -eq 2 ] || fail "--rows: not two answers"

# One rank has none that is slower; without errors there is no word of them; without answers none of lengths.
run_program run --quiet job.yaml --set output.path=good.h5 --set data.limit=3
expect_output 'finished   ' inspect good.h5
fits
! grep -Eq '^(errors|slowest)' out || fail "errors or a slowest rank that are not there"
expect_output 'no errors' inspect --errors good.h5
tail -n 1 rows.jsonl >bad.jsonl
run_program run --quiet job.yaml --set output.path=bad.h5 --set data.input=bad.jsonl
expect_output 'error 1 (100.0%)' inspect bad.h5
! grep -q '^prompt tokens' out || fail "lengths of no answers"
expect_output '"prompt_tokens":null' inspect --json bad.h5
# Nothing of a data set drives a terminal, and answers and prompts keep their lines.
mkdir $'in\033[31m'
printf '%s\n' '{"id": "\u001b]0;a\u0007b\u009b", "prompt": "one\ntwo\t\u001b[2J", "kind": "\u001b[1m"}' >$'in\033[31m/rows.jsonl'
cat >job.yaml <<YAML
model: {path: "$model"}
data: {input: "in\\e[31m/rows.jsonl"}
generate: {max_new_tokens: 2}
output: {path: control.h5, include_prompt: true}
YAML
run_program run job.yaml
[ "$status" -eq 0 ] && ! grep -q $'\033' err || fail "an escape in the log"
for option in --rows=1 --job "--score=kind --by=kind" --ranks --errors; do
    read -ra words <<<"$option"
    run_program inspect "${words[@]}" control.h5
    [ "$status" -eq 0 ] && ! grep -qP '[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]' out || fail "inspect $option: a control character"
done
expect_output $'-- ' inspect --rows 1 control.h5
grep -q -- '^--  ]0;a b $' out && grep -q '^one$' out && grep -q $'^two\t \\[2J' out || fail "inspect --rows: $(cat -v out)"
expect_output 'in [31m/rows.jsonl' inspect --job control.h5
finish
