#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A weight that is no number: the rows that meet it are error rows which say so, all others are as they were.
set -euo pipefail
source "$(dirname "$0")/../cli/expect.sh"

whole=$SLUICE_SOURCE_DIR/tests/data/models/llama
cat >job.yaml <<YAML
model: {path: "$whole"}
data: {input: data.jsonl}
generate: {max_new_tokens: 6, ignore_eos: true, temperature: 0}
engine: {max_sequences: 16, kv_memory: 1MiB}
output: {path: broken.h5, include_token_ids: true}
YAML
# 6 of 40 rows have a token that the model itself does not come to.
for token in $(seq 50 80); do
    for i in $(seq 40); do
        printf '{"id": "r%d", "prompt_token_ids": [%d, 7, %d], "n": 2}\n' "$i" "$((i + 100))" "$([ $((i % 7)) -eq 3 ] && echo "$token" || echo 9)"
    done >data.jsonl
    run_program run job.yaml --quiet --set output.path="whole$token.h5"
    [ "$status" -eq 0 ] || fail "the whole model: exit status $status"
    "$SLUICE" export "whole$token.h5" >whole.jsonl
    if ! grep -q "\"token_ids\":\[[^]]*\b$token\b" whole.jsonl; then break; fi
done

cp -r "$whole" broken
weights=broken/model.safetensors
# safetensors: 8 bytes of length, a JSON header, then the tensors; a token's row is 64 float32.
header=$(od -An -tu8 -N8 "$weights" | tr -d ' ')
start=$(head -c $((header + 8)) "$weights" | grep -ao '"model.embed_tokens.weight":{[^}]*' | grep -o '"data_offsets":\[[0-9]*' | grep -o '[0-9]*$')
printf '\x00\x00\xc0\x7f' | dd of="$weights" bs=1 seek=$((8 + header + start + token * 64 * 4)) conv=notrunc status=none
run_program run job.yaml --set model.path=broken
[ "$status" -eq 0 ] || fail "exit status $status"
grep -q "40 rows (6 with errors)" err || fail "another summary"
grep -q "errors: 6 rows: a NaN or an infinity" err || fail "the summary does not say which errors"
"$SLUICE" export broken.h5 >broken.jsonl
errors=$(grep -c '"finish_reason":"error"' broken.jsonl || true)
[ "$errors" -eq 12 ] || fail "$errors error results"
for row in 3 10 17 24 31 38; do
    for sample in 0 1; do
        grep -q "\"id\":\"r$row\",.*\"error\":\"row $((row - 1)), sample $sample: a NaN or an infinity among the logits" broken.jsonl ||
            fail "row $row, sample $sample: $(grep "\"id\":\"r$row\"," broken.jsonl)"
    done
done
codes=$("$SLUICE" export --format openai broken.h5 | grep -c '"status_code":500,.*"type":"InternalServerError"' || true)
[ "$codes" -eq 6 ] || fail "$codes rows with a status code of 500"
others='"id":"r\(3\|10\|17\|24\|31\|38\)"'
cmp -s <(grep -v "$others" broken.jsonl) <(grep -v "$others" whole.jsonl) || fail "other rows have changed"
finish
