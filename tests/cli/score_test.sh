#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# generate.mode: score as a job runs it, against the logits of the same tokens.
set -euo pipefail
source "$(dirname "$0")/expect.sh"

cat >rows.jsonl <<'ROWS'
{"prompt_token_ids": [1, 2, 3, 4, 5, 6], "completion": [7, 8, 9]}
{"prompt_token_ids": [1, 2, 3, 4, 5, 6, 7, 8, 9]}
{"prompt": "Which is larger, 811 ", "completion": "or 60?", "label": 5}
{"text": "Which is larger, 811 or 60?"}
{"prompt": "a", "completion": ""}
{"prompt_token_ids": [5]}
{"custom_id": "two", "body": {"text": "two words", "n": 2}}
ROWS
cat >job.yaml <<YAML
model: {path: "$model"}
data: {input: rows.jsonl}
generate: {mode: score}
output: {path: out.h5, overwrite: true}
YAML

# field ROW NAME: a number or list of an exported line.
field() { sed -n "$1s/.*\"$2\":\(\[[^]]*\]\|[^,}]*\).*/\1/p" out | tr -d '[]'; }
near() { awk -v a="$1" -v b="$2" 'BEGIN { d = a > b ? a - b : b - a; exit !(d < 1e-4) }' || fail "$3: $1 is not $2"; }

expect_output "7 rows, 3 bad" check job.yaml
expect_quiet run --quiet job.yaml
run_program export out.h5
cp out all

# log-softmax of the logits of the same tokens, of which row i says what follows token i
run_program logits --model "$model" --ids 1,2,3,4,5,6,7,8,9 -o logits.h5
if command -v h5dump >/dev/null; then
    h5dump -m %.9g -y -w 0 -d logits -o logits.txt logits.h5 >/dev/null
    tr -d ' \n' <logits.txt | tr , '\n' >values
    vocabulary=$(($(wc -l <values) / 9 + ($(wc -l <values) % 9 > 0)))
    awk -v n="$vocabulary" '
        { row = int((NR - 1) / n); id = (NR - 1) % n; if (id == row + 2) wanted[row] = $1; sum[row] += exp($1) }
        END { for (row = 0; row < 8; row++) printf "%s%.7g", row ? "," : "", wanted[row] - log(sum[row]); print "" }' values >expected
    cp all out
    for i in 1 2 3 4 5 6 7 8; do
        near "$(field 2 logprobs | cut -d, -f $i)" "$(cut -d, -f $i expected)" "token $i of the whole text"
    done
fi
cp all out
[ "$(field 1 token_ids)" = 7,8,9 ] || fail "the completion's tokens are $(field 1 token_ids)"
[ "$(field 1 logprobs)" = "$(field 2 logprobs | cut -d, -f 6-8)" ] || fail "the same tokens after the same prompt have other scores"
[ "$(field 1 prompt_tokens),$(field 1 completion_tokens)" = 6,3 ] || fail "tokens are counted otherwise"
[ "$(field 2 prompt_tokens),$(field 2 completion_tokens)" = 1,8 ] || fail "tokens of a whole text are counted otherwise"
near "$(field 1 logprob_sum)" "$(field 1 logprobs | awk -F, '{ print $1 + $2 + $3 }')" "sum"
near "$(field 1 logprob_mean)" "$(field 1 logprobs | awk -F, '{ print ($1 + $2 + $3) / 3 }')" "mean"
# A text and its end scored after its beginning: the end's tokens are the text's last ones.
text=$(field 4 logprobs) end=$(field 3 logprobs)
[ "${text: -${#end}}" = "$end" ] || fail "an end of a text has other scores than in the text"
grep -q '"text":"or 60?".*"label":5' out || fail "the scored text or the row's other fields are missing"
for message in "line 5: completion: empty: nothing to score" "line 6: nothing to score: 1 tokens" "line 7: n: 2; a text is scored once"; do
    grep -qF "$message" out || fail "nothing of \"$message\""
done

# One token a step, and the same bits.
expect_quiet run --quiet job.yaml --set engine.max_sequences=1 --set engine.max_batch_tokens=1
run_program export out.h5
cmp -s out all || fail "other scores one token at a time"
expect_error 2 "generate.mode: expected generate or score, not guess" run --quiet job.yaml --set generate.mode=guess
finish
