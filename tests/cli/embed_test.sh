#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Encoders as a job runs them, against embeddings computed apart (tools/make_encoder_models.py); and what encoders refuse.
set -euo pipefail
source "$(dirname "$0")/expect.sh"
encoders=$SLUICE_SOURCE_DIR/tests/data/encoders
. "$SLUICE_SOURCE_DIR/tests/cli/embeddings.sh"

cat >job.yaml <<YAML
task: embed
model: {path: "$encoders/bert"}
data: {input: "$encoders/texts.jsonl"}
engine: {device: cpu}
output: {path: out.h5, overwrite: true}
YAML

for name in bert roberta; do
    expect_quiet run --quiet job.yaml --set "model.path=$encoders/$name"
    run_program export out.h5
    compare_embeddings out "$encoders/$name/expected.txt" 1e-5 || fail "$name: other embeddings"
done
# The kind of task follows from the model; what was the prompt is a column as for any job.
expect_quiet run --quiet job.yaml --set task=auto --set output.include_prompt=true --set engine.max_sequences=1
expect_output '"prompt":"jumps over the lazy dog"' export out.h5
compare_embeddings out "$encoders/bert/expected.txt" 1e-5 || fail "another number of sequences: other embeddings"

# Rows in other forms; bad ones have no embedding.
cat >rows.jsonl <<'ROWS'
{"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {"input": "the quick brown fox.", "model": "m"}}
{"prompt_token_ids": [2, 36, 37, 3]}
{"input": "the quick brown fox."}
{"messages": [{"role": "user", "content": "the dog"}]}
{"prompt_token_ids": [2, 100000]}
{"text": "the dog", "n": 2}
ROWS
run_program run --quiet job.yaml --set data.input=rows.jsonl
[ "$status" -eq 0 ] || fail "rows in other forms: exit status $status"
[ "$(grep -c '^sluice: warning: 1 row: ' err)" -eq 2 ] || fail "not two warnings: a column taken for a parameter, another model's name"
run_program export out.h5
[ "$(grep -c '"embedding":\[' out)" -eq 3 ] || fail "not 3 of 6 rows have an embedding"
sed -n 's/.*\("embedding":\[[^]]*\]\).*/\1/p' out >vectors
cmp -s <(sed -n 1p vectors) <(sed -n 3p vectors) || fail "the same text has two embeddings"
grep -q 'line 4: messages: an encoder embeds plain texts' out || fail "messages are not refused"
grep -q 'line 5: prompt token 1 is 100000' out || fail "a wrong token id is not refused"
grep -q 'line 6: n: 2; a text is embedded once' out || fail "n is not refused"
run_program check job.yaml --set data.input=rows.jsonl
[ "$status" -eq 0 ] || fail "check: exit status $status"
grep -q '6 rows, 3 bad' out || fail "check does not count the bad rows"
expect_output '"object":"embedding"' export out.h5 --format openai

expect_error 1 "task: BertModel is an encoder" run --quiet job.yaml --set task=generate
expect_error 1 "generate.mode: score: BertModel is an encoder" run --quiet job.yaml --set generate.mode=score
expect_error 1 "engine.max_batch_tokens: 8; an encoder takes whole rows, of up to 24 tokens" run --quiet job.yaml \
    --set engine.max_batch_tokens=8 --set engine.max_sequences=1
expect_error 2 'task: expected auto, generate, classify, rerank, reward or embed, not "embedding"' run --quiet job.yaml --set task=embedding
expect_error 1 "BertModel is an encoder: it has no logits" logits --model "$encoders/bert" --ids 2,3 -o logits.h5

expect_error 1 "BertModel is an encoder: it generates nothing" bench --model "$encoders/bert" --prompt-tokens 8 --new-tokens 4

# What lies beside the model is checked.
cp -r "$encoders/bert" odd
echo '[{"path": "", "type": "sentence_transformers.models.Transformer"}, {"path": "2_CNN", "type": "sentence_transformers.models.CNN"}]' \
    >odd/modules.json
expect_error 1 'odd/modules.json: module "sentence_transformers.models.CNN" is not supported' run --quiet job.yaml --set model.path=odd
echo '[{"path": "../../x", "type": "sentence_transformers.models.Pooling"}]' >odd/modules.json
expect_error 1 "odd/modules.json: expected modules with type and path" run --quiet job.yaml --set model.path=odd
echo '[{"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]' >odd/modules.json
echo '{"pooling_mode_weightedmean_tokens": true}' >odd/1_Pooling/config.json
expect_error 1 "odd/1_Pooling/config.json: pooling_mode_weightedmean_tokens is not supported" run --quiet job.yaml --set model.path=odd
echo '{"pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": true}' >odd/1_Pooling/config.json
expect_error 1 "odd/1_Pooling/config.json: 2 pooling modes are true; one is supported" run --quiet job.yaml --set model.path=odd
rm odd/modules.json
echo '{"max_seq_length": "long"}' >odd/sentence_bert_config.json
expect_error 1 "odd/sentence_bert_config.json: max_seq_length: expected a positive integer, not \"long\"" run --quiet job.yaml --set model.path=odd
finish
