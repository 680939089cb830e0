#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Rows of a context with several continuations, as lm-evaluation-harness asks: each is scored by
# itself, whatever stands beside it, and what it comes to in bits a byte is there.
set -euo pipefail
source "$(dirname "$0")/expect.sh"

cat >rows.jsonl <<'ROWS'
{"context": "Which is larger, 811", "continuations": [" or 60?", " or 7?", " or 60?"], "prompt": "a column", "label": 1}
{"context": "Which is larger, 811 \t", "continuations": ["or 60?"]}
{"context": "Which is larger, 811", "continuations": [" or 60?", 5]}
{"context": "Which is larger, 811", "continuations": []}
{"text": "Which is larger, 811 or 60?"}
{"prompt_token_ids": [1, 2, 3], "completion": [4, 5]}
{"context": "Which is larger, 811", "text": "a text with a column that is called context"}
ROWS
cat >alone.jsonl <<'ROWS'
{"prompt": "Which is larger, 811", "completion": " or 60?"}
{"prompt": "Which is larger, 811", "completion": " \tor 60?"}
ROWS
cat >job.yaml <<YAML
model: {path: "$model"}
data: {input: rows.jsonl}
generate: {mode: score}
output: {path: out.h5, overwrite: true}
YAML

# field LINE NAME: a value of an exported line.
field() { sed -n "$1s/.*\"$2\":\(\[[^]]*\]\|\"[^\"]*\"\|[^,}]*\).*/\1/p" out; }
same() { [ "$1" = "$2" ] || fail "$3: $1 is not $2"; }

expect_quiet run --quiet job.yaml
run_program export out.h5
cp out all
same "$(wc -l <out)" 10 "results"
same "$(field 1 text),$(field 2 text),$(field 3 text)" '" or 60?"," or 7?"," or 60?"' "continuations"
same "$(field 1 sample)$(field 2 sample)$(field 3 sample)$(field 4 sample)" 0120 "their numbers"
same "$(field 1 logprobs)" "$(field 3 logprobs)" "the same continuation twice"
grep -q '"input_prompt":"a column"' out || fail "a column beside a context is gone"
same "$(field 1 label)" 1 "a column"
same "$(field 1 bytes),$(field 2 bytes),$(field 4 bytes)" 7,6,6 "bytes"
for line in 1 2 4 8; do
    awk -v sum="$(field $line logprob_sum)" -v bytes="$(field $line bytes)" -v bits="$(field $line bits_per_byte)" \
        'BEGIN { d = bits + sum / log(2) / bytes; exit !(d < 1e-9 && d > -1e-9 && bits > 0) }' || fail "bits a byte of line $line"
done
grep -qF 'continuations[1]: expected a text' out || fail "a continuation that is no text is no error"
grep -qF 'continuations: empty: nothing to score' out || fail "an empty list is no error"
same "$(field 5 logprobs)" "$(field 1 logprobs)" "a continuation beside a bad one"
# Of token ids there is no text, and so no bytes.
same "$(field 9 bytes)$(field 9 bits_per_byte)" "" "bytes of token ids"
same "$(field 10 text)" '"a text with a column that is called context"' "a context without continuations is a column"

# Alone, after the same context, and with the spaces that a context ends with before it.
expect_quiet run --quiet job.yaml --set data.input=alone.jsonl --set output.path=alone.h5
run_program export alone.h5
same "$(field 1 logprobs)" "$(sed -n '1s/.*"logprobs":\(\[[^]]*\]\).*/\1/p' all)" "alone"
same "$(field 2 token_ids)" "$(sed -n '4s/.*"token_ids":\(\[[^]]*\]\).*/\1/p' all)" "spaces at the context's end"
same "$(field 2 logprobs)" "$(sed -n '4s/.*"logprobs":\(\[[^]]*\]\).*/\1/p' all)" "spaces at the context's end"

# Greedy is what the likeliest token at each place says, and what a greedy answer is.
expect_quiet run --quiet job.yaml --set generate.logprobs=1 --set output.path=top.h5
run_program export top.h5
for line in 1 2 4 8 9; do
    best=$(sed -n "${line}s/.*\"top_logprob_ids\":\[\(\[[^\"]*\]\)\].*/\1/p" out | tr -d '[]')
    wanted=false
    [ "$best" != "$(field $line token_ids | tr -d '[]')" ] || wanted=true
    same "$(field $line is_greedy)" $wanted "is_greedy of line $line"
done
echo '{"prompt_token_ids": [5, 6, 7, 8]}' >asked.jsonl
expect_quiet run --quiet job.yaml --set data.input=asked.jsonl --set output.path=answer.h5 --set generate.mode=generate \
    --set generate.max_new_tokens=5 --set generate.temperature=0 --set generate.ignore_eos=true --set output.include_token_ids=true
run_program export answer.h5
answer=$(field 1 token_ids)
printf '{"prompt_token_ids": [5, 6, 7, 8], "completion": %s}\n' "$answer" "${answer%,*},9]" >greedy.jsonl
expect_quiet run --quiet job.yaml --set data.input=greedy.jsonl --set output.path=greedy.h5
run_program export greedy.h5
same "$(field 1 is_greedy),$(field 2 is_greedy)" true,false "a greedy answer, and one with another end"

# A context is computed once and gives the same bits as without the prefix cache, and one token a step.
expect_quiet run --quiet job.yaml --set engine.prefix_cache=false --set engine.max_sequences=1 --set engine.max_batch_tokens=1
run_program export out.h5
cmp -s out all || fail "other scores without the prefix cache"
finish
