#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Answers in a form: every way to ask for one, what of it is an error row, the same answers on any number of ranks.
set -euo pipefail
source "$(dirname "$0")/expect.sh"

cat >job.yaml <<YAML
model: {path: "$model"}
data: {input: rows.jsonl}
generate:
  max_new_tokens: 40
  structured: {close: true}
output: {path: out.h5, overwrite: true}
YAML
cat >rows.jsonl <<'ROWS'
{"id": "schema", "prompt": "A person: ", "guided_json": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 0, "maximum": 120}}, "required": ["name", "age"], "additionalProperties": false}}
{"id": "choice", "prompt": "Yes or no? ", "guided_choice": ["yes", "no"]}
{"id": "regex", "prompt": "A number ", "structured_outputs": {"regex": "[0-9]{3}-[0-9]{4}"}}
{"id": "grammar", "prompt": "A sum: ", "guided_grammar": "root ::= [0-9] (\"+\" [0-9]){2}"}
{"id": "object", "prompt": "Anything ", "response_format": {"type": "json_object"}}
{"id": "refused", "prompt": "Anything ", "guided_json": {"properties": {"a": {"not": {}}}}}
{"id": "free", "prompt": "Anything "}
{"id": "short", "prompt": "Anything ", "guided_json": {"type": "array", "items": {"type": "integer"}, "minItems": 5}, "max_tokens": 3}
{"id": "cut", "prompt": "Anything ", "structured": {"json_schema": {"type": "string", "minLength": 90, "maxLength": 100}, "close": false}, "max_tokens": 100, "temperature": 2}
ROWS

# line ID: the exported result.
line() { grep "^{\"id\":\"$1\"" out; }
# expect_line ID REGEX: the result's line matches.
expect_line() { line "$1" | grep -qE -- "$2" || fail "$1: $(line "$1")"; }

run_program run --quiet job.yaml --set data.row_parameters=true
[ "$status" -eq 0 ] || fail "run: exit status $status"
run_program export out.h5
cp out first
expect_line schema '"text":"\{\\"name\\":\\".*\\",\\"age\\":(0|[1-9][0-9]?|1[01][0-9]|120)\}","valid":true,"finish_reason":"stop"'
expect_line choice '"text":"(yes|no)","valid":true'
expect_line regex '"text":"[0-9]{3}-[0-9]{4}","valid":true'
expect_line grammar '"text":"[0-9]\+[0-9]\+[0-9]","valid":true'
expect_line object '"text":"\{.*\}","valid":true'
expect_line refused '"error":"line 6: json_schema: #/properties/a/not: not supported'
expect_line short '"error":"line 8: max_tokens: 3; the shortest answer of this form takes'
line free | grep -q '"valid"' && fail "valid, though no form was asked for"

# The same results when they are computed by others.
OMP_NUM_THREADS=1 mpirun --oversubscribe -n 2 "$SLUICE" run --quiet job.yaml --set output.path=two.h5 --set engine.max_sequences=1 2>err || fail "two ranks"
run_program export two.h5
cmp -s <(sed 's/,"seconds.*//' first) <(sed 's/,"seconds.*//' out) || fail "two ranks answer otherwise"

# What a check says is what a run does.
run_program check job.yaml
grep -q 'line 6: json_schema: #/properties/a/not: not supported' out || fail "check: nothing of line 6"
grep -q 'line 8: max_tokens: 3; the shortest answer' out || fail "check: nothing of line 8"

# The job's own form holds for rows that ask for none, and is what makes it another job.
cat >rows.jsonl <<'ROWS'
{"id": "job", "prompt": "Yes or no? "}
{"id": "text", "prompt": "Yes or no? ", "response_format": {"type": "text"}}
ROWS
run_program run --quiet job.yaml --set 'generate.structured={choice: ["yes", "no"], close: true}'
run_program export out.h5
expect_line job '"text":"(yes|no)","valid":true'
line text | grep -qE '"text":"(yes|no)"' && fail "a row that asks for text got the job's form"

# A column of texts.
printf 'id,prompt,guided_json,guided_regex\nj,One ,"{""const"": 7}",\nr,Two ,,[ab]\n' >rows.csv
run_program run --quiet job.yaml --set data.input=rows.csv
run_program export out.h5
expect_line j '"text":"7","valid":true'
expect_line r '"text":"[ab]","valid":true'

# Tools in the form that the job names, since the template has none.
cat >rows.jsonl <<'ROWS'
{"id": "any", "messages": [{"role": "user", "content": "Weather?"}], "tools": [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"day": {"enum": ["today", "tomorrow"]}}, "required": ["day"], "additionalProperties": false}}}, {"type": "function", "function": {"name": "no_arguments"}}], "tool_choice": "required"}
{"id": "named", "messages": [{"role": "user", "content": "Weather?"}], "tools": [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"day": {"enum": ["today", "tomorrow"]}}, "required": ["day"], "additionalProperties": false}}}, {"type": "function", "function": {"name": "no_arguments"}}], "tool_choice": {"type": "function", "function": {"name": "get_weather"}}}
ROWS
for form in hermes llama3_json mistral mistral_args granite phi4 deepseek; do
    run_program run --quiet job.yaml --set model.tool_calls=$form --set generate.max_new_tokens=160
    run_program export out.h5
    expect_line any '"text":"","tool_calls":\[\{"name":"(get_weather|no_arguments)","arguments":"\{.*\}"\}.*\],"valid":true'
    expect_line named '"text":"","tool_calls":\[\{"name":"get_weather","arguments":"\{\\"day\\":\\"(today|tomorrow)\\"\}"\}\],"valid":true'
    run_program export --format openai out.h5
    grep -q '"content":null,"tool_calls":\[{"id":"call_1_0_0","type":"function","function":{"name":"get_weather"' out || fail "$form: $(tail -n 1 out)"
    grep -q '"finish_reason":"tool_calls"' out || fail "$form: no finish reason of calls"
done
# A marker that the vocabulary has as a special token is this token, and no other ones spell it.
mkdir marked
cp "$model"/* marked/
sed -i 's/<|im_start|>/[TOOL_CALLS]/g' marked/tokenizer.json marked/tokenizer_config.json
for form in mistral mistral_args; do
    run_program run --quiet job.yaml --set model.path=marked --set model.tool_calls=$form --set generate.max_new_tokens=160 --set output.include_token_ids=true
    [ "$status" -eq 0 ] || fail "$form: $(cat err)"
    run_program export out.h5
    expect_line named '"text":"","tool_calls":\[\{"name":"get_weather","arguments":"\{\\"day\\":\\"(today|tomorrow)\\"\}"\}\],"valid":true'
    expect_line named '"token_ids":\[1(,([02-9]|[0-9]{2,}))+\]'
done
run_program run --quiet job.yaml
run_program export out.h5
expect_line any '"error":"line 1: tool_call: the chat template calls tools in no form that is known; name one as model.tool_calls"'

[ "$failures" -eq 0 ]
