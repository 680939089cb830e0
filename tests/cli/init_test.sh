#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A job file made for what is there is one that `check` takes, and the table that `check` prints fits a terminal.
set -euo pipefail
source "$(dirname "$0")/expect.sh"

expect_error 1 "no model here; name it: sluice init MODEL DATA" init
mkdir -p models data
ln -s "$model" models/one
ln -s "$model" models/two
expect_error 1 "no data set here; name it" init
printf '%s\n' '{"id": 1, "prompt": "apple"}' >data/a.jsonl
printf '%s\n' '{"messages": [{"role": "user", "content": "apple"}]}' >data/b.jsonl
expect_output "job.yaml is written; now: sluice check job.yaml" init -o job.yaml
for line in '# llama, 6 layers, contexts of 1024 tokens; has a chat template$' 'path: "models/one"$' '# max_model_len: 512 ' '# also here: models/two$' 'input: "data/a.jsonl" *# rows have texts$' \
    '# also here: data/b.jsonl$' 'chat: always *#' '# columns: id, prompt$' 'max_new_tokens: 512 ' 'path: "out/a.h5" '; do
    grep -Eq "^  $line" job.yaml || fail "nothing of $line: $(cat job.yaml)"
done
[ "$(LC_ALL=C.UTF-8 wc -L <job.yaml)" -le 80 ] || fail "a job file of $(wc -L <job.yaml) columns"
cp job.yaml before.yaml
expect_error 1 "job.yaml exists; --force replaces it" init -o job.yaml
cmp -s job.yaml before.yaml || fail "the file that was there is not left alone"
expect_output "written" init models/two data/b.jsonl -o job.yaml --force
grep -q 'input: "data/b.jsonl" *# rows are conversations$' job.yaml && ! grep -q '^  chat:' job.yaml || fail "conversations: $(cat job.yaml)"
expect_output "1 rows, 0 bad" check job.yaml --set output.path=x.h5
[ "$(wc -L <out)" -le 80 ] || fail "a table of $(wc -L <out) columns"
expect_error 2 "one argument too many" init a b c
expect_error 1 "nowhere" init nowhere data/a.jsonl

# shape TEXT ROW: what is said of a data set with this row, in a job that can be run.
shape() {
    printf '%s\n' "$2" >row.jsonl
    expect_output "written" init models/one row.jsonl -o shape.yaml --force
    grep -qF -- "$1" shape.yaml || fail "$2: nothing of $1: $(cat shape.yaml)"
    expect_output "1 rows, 0 bad" check shape.yaml --set output.path=x.h5
}
shape '# rows are token ids' '{"prompt_token_ids": [1, 2]}'
shape '# rows are OpenAI requests' '{"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": {"prompt": "x", "max_tokens": 4}}'
shape 'prompt_template: "{question}"' '{"number": 3, "question": "Why?", "answer": "So."}'
shape '# columns: one two, prompt' '{"one\ntwo": 3, "prompt": "x"}'
expect_output "an encoder: the rows are embedded" init "$SLUICE_SOURCE_DIR/tests/data/encoders/bert" row.jsonl
! grep -q '^generate:\|^  chat:' out || fail "an encoder's job generates"
printf 'a,b\n1,2\n' >row.csv
expect_output 'prompt_template: "{a}"' init models/one row.csv
expect_output "written" init models/one row.csv -o shape.yaml --force
expect_output "1 rows, 0 bad" check shape.yaml --set output.path=x.h5

# ---- The table of check ----

for i in 1 100; do echo "{\"prompt\": \"$(printf 'apple %.0s' $(seq "$i"))\"}"; done >long.jsonl
long=$(printf 'long-%.0s' $(seq 12))
mkdir "$long"
cat >table.yaml <<YAML
model: {path: "models/one"}
data: {input: long.jsonl}
generate: {max_new_tokens: 1000}
engine: {kv_memory: 64MiB}
output: {path: $long/out.h5}
YAML
expect_output "memory     of " check table.yaml
[ "$(wc -L <out)" -le 80 ] || fail "a table of $(wc -L <out) columns"
grep -Eq '^  weights +[0-9.]+ MB +[0-9.]+%' out && grep -Eq '^  KV cache +67\.0 MB +[0-9.]+%' out && grep -Eq '^  left +[0-9.]+ GB +[0-9.]+%  #+$' out ||
    fail "memory a rank: $(cat out)"
grep -q '^KV cache   [0-9]* tokens in [0-9]* blocks of 16: [0-9.]* contexts of 1024$' out || fail "the cache"
grep -q '^chat       2 rows are texts and go in as they are; the model has a chat$' out || fail "that texts are no conversations"
grep -q '^           1 rows have less room than their max_new_tokens$' out || fail "answers that are cut: $(cat out)"
expect_output "answers" check table.yaml --set data.chat=always
! grep -q '^chat ' out || fail "chat where it is always"
finish
