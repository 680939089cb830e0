#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From a job to its answers, command by command, on the small model.
set -euo pipefail
source "$(dirname "$0")/expect.sh"

head -n 20 "$SLUICE_SOURCE_DIR/data/tasks.jsonl" >tasks.jsonl
echo '{"id": "bad", "messages": 5}' >>tasks.jsonl
cat >job.yaml <<YAML
model: {path: "$model"}
data: {input: tasks.jsonl}
generate: {max_new_tokens: 32, temperature: 0}
output: {path: results/out.h5}
YAML

run_program run job.yaml
[ "$status" -eq 0 ] || fail "run: exit status $status"
grep -q '^sluice: results/out.h5: 21 rows (1 with errors), ' err || fail "run: no summary"
[ ! -s out ] || fail "run: wrote on standard output"
[ ! -e results/out.h5.sluice ] || fail "run: left its journal"
# The same job again has nothing to do; another one is not to take its place.
expect_quiet run --quiet job.yaml
run_program run job.yaml
[ "$status" -eq 0 ] && grep -q '^sluice: results/out.h5 is complete: ' err || fail "run again: exit status $status"
expect_error 1 "exists" run --quiet job.yaml --set generate.seed=2
expect_error 1 "exists" run --quiet --fresh job.yaml

expect_output "error_rows             1" inspect results/out.h5 --job
expect_output "rank  dp  tp  pp" inspect results/out.h5 --ranks
expect_output "total " inspect results/out.h5 --score expected --by task
right=$(awk '/^total/ {print $2}' out)
[ "$right" -ge 15 ] || fail "the small model answers $right of 20 tasks rightly"
expect_error 1 'no row has a field "zzz"' inspect results/out.h5 --score zzz
expect_output '"error_rows":1,' inspect results/out.h5 --json
python=$(command -v python3 || true)
if [ -n "$python" ]; then
    "$python" -c 'import json; d = json.load(open("out")); assert d["results"] == 21 and d["ranks"][0]["rows"] == 21' ||
        fail "inspect --json"
fi

expect_output '"text":' export results/out.h5
[ "$(wc -l <out)" -eq 21 ] || fail "export: $(wc -l <out) lines"
expect_output '"custom_id":' export results/out.h5 --format openai
[ "$(wc -l <out)" -eq 21 ] || fail "export: $(wc -l <out) lines"

# The stored job is a job: running it again gives the same rows.
"$SLUICE" export results/out.h5 >first.jsonl
"$SLUICE" inspect --job results/out.h5 | sed -n '/^job$/,/^$/p' | sed -n 's/^    //p' >stored.yaml
run_program run --quiet stored.yaml --set output.path=again.h5 --set engine.max_sequences=3
[ "$status" -eq 0 ] || fail "the stored job: exit status $status"
[ ! -s err ] || fail "run --quiet is not quiet"
"$SLUICE" export again.h5 | cmp -s - first.jsonl || fail "the stored job gives other rows"

# Pieces.
printf '%s\n' '{"text": "Which is larger, 811 or 60?"}' '' '{"text": "\u0000é😀"}' >texts
run_program tokenize --model "$model" <texts
[ "$status" -eq 0 ] && [ "$(wc -l <out)" -eq 2 ] || fail "tokenize"
cp out ids
run_program tokenize --model "$model" --decode <ids
head -n 1 out | grep -qxF '{"text":"Which is larger, 811 or 60?"}' || fail "tokenize --decode: $(head -n 1 out)"
printf '%s\n' '{"text": "a"}' '{"txt": "a"}' 'x' '{"text": "b"}' >texts
run_program tokenize --model "$model" <texts
[ "$status" -eq 1 ] || fail "tokenize with bad lines: exit status $status"
[ "$(grep -c '^{"error":' out)" -eq 2 ] && [ "$(grep -c '^{"ids":' out)" -eq 2 ] || fail "tokenize with bad lines"
run_program render --model "$model" <<<'{"messages": [{"role": "user", "content": "hi"}]}'
[ "$status" -eq 0 ] && grep -q 'hi' out || fail "render"
cp out with_prompt
run_program render --model "$model" --no-generation-prompt <<<'{"messages": [{"role": "user", "content": "hi"}]}'
[ "$(wc -c <out)" -lt "$(wc -c <with_prompt)" ] || fail "render --no-generation-prompt"
run_program render --model "$model" <<<'{"messages": "hi"}'
[ "$status" -eq 1 ] && grep -q '^{"error":' out || fail "render of a bad line"

seq -s, 1 100 >ids.txt
expect_quiet logits --model "$model" --ids-file ids.txt -o logits.h5
[ "$(stat -c %s logits.h5)" -ge $((100 * 1024 * 4)) ] || fail "logits: the file is too small"
[ ! -e logits.h5.partial ] || fail "logits: left its temporary file"
cp -r "$model" own
expect_error 1 "-o: own/tokenizer.json would replace" logits --model own --ids 1 -o own/tokenizer.json
expect_error 1 "-o: ids.txt would replace the input" logits --model "$model" --ids-file ids.txt -o ids.txt
cmp -s "$model/tokenizer.json" own/tokenizer.json || fail "logits has replaced a file of the model"
expect_error 1 "token id 1024 is outside of the vocabulary" logits --model "$model" --ids 1,1024 -o l.h5
[ ! -e l.h5 ] && [ ! -e l.h5.partial ] || fail "logits: a file in spite of an error"
expect_quiet logits --model "$model" --ids-file ids.txt --dtype bfloat16 --kv-dtype bfloat16 -o reduced.h5
cmp -s logits.h5 reduced.h5 && fail "logits: --kv-dtype bfloat16 changes nothing"
expect_error 2 "--dtype: expected one of auto, float32, bfloat16, float16, fp8" logits --model "$model" --ids 1 --dtype half -o l.h5
expect_error 2 "--device: expected one of auto, cpu, cuda" logits --model "$model" --ids 1 --device gpu -o l.h5

finish
