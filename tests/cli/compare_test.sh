#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Two outputs side by side: equal, other texts, an error in one, rows in one only, files that are no outputs.
set -euo pipefail
source "$(dirname "$0")/expect.sh"

# Prompts that the small model has no one answer to.
for i in $(seq 12); do echo "{\"id\": \"q$i\", \"prompt\": \"apple $i é river\"}"; done >rows.jsonl
cat >job.yaml <<YAML
model: {path: "$model"}
data: {input: rows.jsonl}
generate: {max_new_tokens: 24, temperature: 2, n: 2, seed: 1}
output: {path: a.h5, include_token_ids: true}
YAML
job() {
    run_program run --quiet job.yaml "$@"
    [ "$status" -eq 0 ] || fail "run $*: exit status $status"
}
# expect_differences TEXT ARGUMENTS…: the exit status of a difference, and a line that matches.
expect_differences() {
    local text=$1
    shift
    run_program compare "$@"
    [ "$status" -eq 1 ] || fail "compare $*: exit status $status instead of 1"
    [ ! -s err ] || fail "compare $*: standard error is not empty"
    grep -qE -- "$text" out || fail "compare $*: nothing like \"$text\" in $(cat out)"
    awk 'length > 80 {exit 1}' out || [[ "$*" == *--json* ]] || fail "compare $*: a line of more than 80 columns"
}

job
job --set output.path=again.h5 --set engine.max_sequences=3
expect_output 'equal: 24 results' compare a.h5 again.h5
grep -q '^rows  *12  *same$' out || fail "totals are not side by side"
grep -Eq '^tokens/s  *[0-9.]+ ' out || fail "rates are not side by side"
expect_output 'equal: 24 results' compare --by id a.h5 again.h5
expect_output '"equal":true,"compared":24,"differ":0,' compare --json a.h5 again.h5

# Another seed: the first token that differs is the one that the exports say.
job --set output.path=seed.h5 --set generate.seed=2
expect_differences '^[0-9]+ of 24 results differ: answer [0-9]+' a.h5 seed.h5
grep -Eq '^  answer  *token [0-9]+: ' out && grep -Eq '^  *character [0-9]+: ".* \| ".*"$' out || fail "where answers differ"
count=$(sed -n 's/ of 24 results differ.*//p' out)
expect_differences "^$count of 24 results differ" --by id --rows 0 a.h5 seed.h5
! grep -q '^row ' out || fail "--rows 0 lists rows"
grep -q "^... and $count more; " out || fail "what is not listed is not counted"
expect_differences '"differs":\["answer"' --json --rows 100 a.h5 seed.h5
cp out seed.json
python=$(command -v python3 || true)
if [ -n "$python" ]; then
    "$SLUICE" export a.h5 >a.jsonl
    "$SLUICE" export seed.h5 >seed.jsonl
    "$python" - "$count" <<'PY' || fail "compare --json is not what the exports say"
import json, sys
a, b = ([json.loads(line) for line in open(name)] for name in ("a.jsonl", "seed.jsonl"))
told = json.load(open("seed.json"))
differing = [i for i in range(24) if a[i]["text"] != b[i]["text"] or a[i]["token_ids"] != b[i]["token_ids"]]
listed = [d for d in told["differences"] if "answer" in d["differs"]]
assert told["differ"] == int(sys.argv[1]) == len(told["differences"]) and told["equal"] is False
assert [2 * d["row"] + d["sample"] for d in listed] == differing and told["kinds"]["answer"] == len(differing)
for i, d in zip(differing, listed):
    for name, key in (("token", "token_ids"), ("character", "text")):
        x, y = a[i][key], b[i][key]
        if x == y:
            assert name not in d
            continue
        at = next((k for k in range(min(len(x), len(y))) if x[k] != y[k]), min(len(x), len(y)))
        assert d[name]["index"] == at, (d, x, y)
        if name == "token":
            assert d[name]["a"] == (x[at] if at < len(x) else None)
assert told["a"]["results"] == 24 and told["a"]["rows"] == 12 and told["b"]["tokens_per_second"] > 0
PY
fi

# Shorter answers end for another reason; without token ids the texts tell.
job --set output.path=short.h5 --set generate.max_new_tokens=2 --set output.include_token_ids=false
expect_differences '^  finish_reason  stop \| length$' a.h5 short.h5
grep -Eq '^  answer  *character [0-9]+: ".*" \| \(end\)$' out || fail "a text that ends early: $(cat out)"
# An error in one, other limits.
sed '3s/.*/{"id": "bad", "prompt": 5}/' rows.jsonl >bad.jsonl
job --set output.path=bad.h5 --set data.input=bad.jsonl
expect_differences '^  error          \(answered\) \| "' a.h5 bad.h5
grep -q '^errors in the first alone: 0, in the second alone: ' out || fail "errors in one alone"
grep -Eq '^  id  *".*" \| "bad"$' out || fail "another id is not said"
expect_differences '^only in the first: 2, only in the second: 1$' --by id a.h5 bad.h5
expect_differences '"error":\{"a":null,"b":"' --json a.h5 bad.h5
job --set output.path=limit.h5 --set data.limit=9
expect_differences '^only in the first: 6, only in the second: 0$' a.h5 limit.h5
grep -q '^0 of 18 results differ$' out || fail "the rows of both are not equal"
expect_differences '"only_in":"b"' --json limit.h5 a.h5
expect_differences '^only in the first: 0, only in the second: 6$' --by id limit.h5 a.h5

# By id, in another order: rows with ids draw the same random numbers wherever they stand.
tac rows.jsonl >reversed.jsonl
job --set output.path=reversed.h5 --set data.input=reversed.jsonl
expect_output 'equal: 24 results' compare --by id a.h5 reversed.h5
expect_differences ' results differ: id 2[0-9]' a.h5 reversed.h5
expect_differences "^$count of 24 results differ" --by id seed.h5 reversed.h5

# More results than are in memory at a time, the other way round: those that differ are looked up from end to end.
for i in $(seq 3000); do echo "{\"id\": \"e$i\", \"prompt\": $i}"; done >many.jsonl
tac many.jsonl | sed 's/\(e[0-9]*7"\), "prompt": [0-9]*/\1, "prompt": false/' >other.jsonl
for name in many other; do run_program run --quiet job.yaml --set data.input=$name.jsonl --set output.path=$name.h5; done
expect_differences '^300 of [0-9]+ results differ: error 300$' --by id --rows 300 many.h5 other.h5
[ "$(grep -c '^row [0-9]*6, id "e[0-9]*7"$' out)" -eq 300 ] || fail "not the 300 rows that differ"
[ "$(grep -c 'error  *".*number" | ".*boolean"$' out)" -eq 300 ] || fail "errors of other rows: $(head -n 30 out)"
run_program run --quiet job.yaml --set data.input=many.jsonl --set data.limit=1500 --set output.path=part.h5
expect_differences '^only in the first: 1500, only in the second: 0$' many.h5 part.h5
expect_differences '^only in the first: 0, only in the second: 1500$' --by id part.h5 many.h5

# Bits of log-probabilities, of two types.
job --set output.path=full.h5 --set generate.temperature=0 --set generate.logprobs=true
job --set output.path=half.h5 --set generate.temperature=0 --set generate.logprobs=true --set model.kv_dtype=bfloat16
expect_differences '^  numbers        logprobs\[[0-9]+\]: -?[0-9.e-]+ \| -?[0-9.e-]+$' --rows 100 full.h5 half.h5

expect_error 2 'the second output file is missing' compare a.h5
expect_error 2 'one argument too many' compare a.h5 again.h5 seed.h5
expect_error 2 '--by: expected row or id' compare a.h5 again.h5 --by text
expect_error 2 'no-such.h5' compare a.h5 no-such.h5
expect_error 2 'rows.jsonl' compare rows.jsonl a.h5
finish
