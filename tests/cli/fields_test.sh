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
says 'response_format.type: A4; expected text, json_object or json_schema; or set data.row_parameters=false where it is data'
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

# ---- Prompts that are cut, texts that keep more ----

# tokens LINE WANTED…: of the answer in this line, how many tokens its prompt had, and a text in it.
expect_line() {
    local line
    line=$(sed -n "$1p" out)
    shift
    for wanted in "$@"; do
        grep -qF -- "$wanted" <<<"$line" || fail "nothing of $wanted in $line"
    done
}

# A tokenizer that puts a token before every text, and one behind it.
cp -r "$model" framed
begin='{"SpecialToken":{"id":"<|im_start|>","type_id":0}}' end='{"SpecialToken":{"id":"<|im_end|>","type_id":0}}'
tokens='{"<|im_start|>":{"id":"<|im_start|>","ids":[1],"tokens":["<|im_start|>"]},"<|im_end|>":{"id":"<|im_end|>","ids":[2],"tokens":["<|im_end|>"]}}'
frame="[$begin,{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},$end]"
sed -i "s#\"post_processor\": *null#\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":$frame,\"pair\":$frame,\"special_tokens\":$tokens}#" framed/tokenizer.json
cat >rows.jsonl <<'ROWS'
{"prompt": [5, 6, 7, 8], "truncate_prompt_tokens": 2}
{"prompt": [7, 8]}
{"custom_id": "c", "body": {"prompt": "apple pie", "truncate_prompt_tokens": 3}}
{"custom_id": "d", "body": {"prompt": "apple pie", "add_special_tokens": false, "truncate_prompt_tokens": 1}}
{"custom_id": "e", "body": {"prompt": "apple pie", "truncate_prompt_tokens": 3, "truncation_side": "right"}}
{"custom_id": "f", "body": {"prompt": "apple pie", "return_token_ids": true}}
{"custom_id": "g", "body": {"prompt": "apple pie", "dimensions": 8}}
ROWS
answers model.path=framed output.include_prompt=true
expect_line 1 '"prompt_tokens":2'
text=$(sed -n '2s/.*"text":\("[^"]*"\).*/\1/p' out)
expect_line 1 "\"text\":$text"
expect_line 3 '"prompt_tokens":3' '"prompt":"ie<|im_end|>"'
expect_line 4 '"prompt_tokens":1' '"prompt":"ie"'
expect_line 5 'truncation_side: only left is supported here'
expect_line 6 '"token_ids":['
expect_line 7 'dimensions: only embeddings have them'

for row in 1 2 3; do echo '{"prompt": "apple pie apple pie apple pie apple pie"}'; done >rows.jsonl
run_program run --quiet job.yaml --set model.max_model_len=8
[ "$status" -eq 1 ] || fail "prompts that are too long were taken"
answers model.max_model_len=8 generate.truncate_prompt=-1
expect_line 1 '"prompt_tokens":5' '"completion_tokens":3'
run_program run --quiet job.yaml --set model.max_model_len=8 --set generate.truncate_prompt=-1 --set generate.max_new_tokens=8
says 'truncate_prompt_tokens: -1 leaves nothing of the prompt: the context holds 8 tokens, and 8 are to follow'

# Scored texts: what is scored stays, the prompt before it loses its beginning.
cat >rows.jsonl <<'ROWS'
{"prompt": [5, 6, 7, 8], "completion": [9, 10], "truncate_prompt": 2}
{"prompt": [7, 8], "completion": [9, 10]}
ROWS
answers generate.mode=score
expect_line 1 '"prompt_tokens":2' '"completion_tokens":2'
[ "$(sed -n '1s/.*"logprobs"//p' out)" = "$(sed -n '2s/.*"logprobs"//p' out)" ] || fail "a cut prompt scores otherwise"

cat >rows.jsonl <<'ROWS'
{"prompt": "apple", "stop": ["I"], "include_stop_str_in_output": true}
{"messages": [{"role": "user", "content": "What is 3 + 4?"}], "ignore_eos": true, "skip_special_tokens": false}
{"messages": [{"role": "user", "content": "What is 3 + 4?"}], "include_stop_str_in_output": true, "skip_special_tokens": false}
{"messages": [{"role": "user", "content": "What is 3 + 4?"}], "skip_special_tokens": false}
{"messages": [{"role": "user", "content": "What is 3 + 4?"}], "include_stop_str_in_output": true}
ROWS
answers
expect_line 1 '"text":" MI"' '"finish_reason":"stop"'
expect_line 2 '"text":"7<|im_end|><|im_end|>"'
expect_line 3 '"text":"7<|im_end|>"' '"finish_reason":"stop"'
expect_line 4 '"text":"7"'
expect_line 5 '"text":"7"'

# ---- What is done to logits before a token is drawn ----

cat >rows.jsonl <<'ROWS'
{"messages": [{"role": "user", "content": "What is 3 + 4?"}]}
{"messages": [{"role": "user", "content": "What is 3 + 4?"}], "min_tokens": 3}
{"messages": [{"role": "user", "content": "What is 3 + 4?"}], "allowed_token_ids": [9, 11], "max_tokens": 4}
{"messages": [{"role": "user", "content": "What is 3 + 4?"}], "logit_bias": {"9": 100}, "max_tokens": 2}
{"prompt": "apple", "allowed_token_ids": [1000000]}
{"prompt": "apple", "logit_bias": {"1000000": 1}}
{"prompt": "apple", "min_tokens": 9, "max_tokens": 8}
{"prompt": "apple", "allowed_token_ids": [9], "stop_token_ids": [9], "min_tokens": 1}
ROWS
answers output.include_token_ids=true generate.logprobs=true
expect_line 1 '"text":"7"' '"completion_tokens":2' '"finish_reason":"stop"'
expect_line 2 '"completion_tokens":3'
sed -n 3p out | grep -qE '"token_ids":\[(9|11),(9|11),(9|11),(9|11)\]' || fail "a token that is not allowed was drawn: $(sed -n 3p out)"
expect_line 4 '"token_ids":[9,9]'
expect_line 5 'allowed_token_ids: token 1000000; the vocabulary has'
expect_line 6 'logit_bias: token 1000000; the vocabulary has'
expect_line 7 'min_tokens: 9 is more than max_new_tokens, 8'
expect_line 8 'min_tokens: all of allowed_token_ids would end the answer'
cp out whole
answers output.include_token_ids=true generate.logprobs=true engine.max_sequences=1 engine.prefix_cache=false
cmp -s out whole || fail "logits are processed otherwise in other batches"
sed -i 's/, "allowed_token_ids": .9, 11.//' rows.jsonl
answers output.include_token_ids=true generate.logprobs=true 'generate.logit_bias={9: 100}' generate.max_new_tokens=2
expect_line 1 '"token_ids":[9,9]'

# ---- extra_body, as people who write the lines themselves leave it ----

cat >rows.jsonl <<'ROWS'
{"custom_id": "a", "body": {"prompt": "apple pie", "temperature": 1, "extra_body": {"top_k": 1, "note": 5}}}
{"custom_id": "b", "body": {"prompt": "apple pie", "temperature": 1, "extra_body": {"temperature": 0.5}}}
{"custom_id": "c", "body": {"temperature": 1, "extra_body": {"prompt": "apple pie", "temperature": 1}}}
{"custom_id": "d", "body": {"prompt": "apple pie", "extra_body": {"best_of": 5}}}
{"custom_id": "e", "body": {"prompt": "apple pie", "extra_body": [1]}}
{"id": "f", "prompt": "apple pie", "extra_body": {"temperature": "a column"}}
ROWS
answers
expect_line 1 '"text":" pachach"' '"body":{"note":5}'
expect_line 2 'body.extra_body.temperature: another value than body.temperature has'
expect_line 3 '"finish_reason":"length"'
expect_line 4 'body.best_of: not supported'
expect_line 5 'body.extra_body: expected an object, not an array'
expect_line 6 '"extra_body":{"temperature":"a column"}'

finish
