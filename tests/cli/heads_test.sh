#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Models that end in labels or in vectors, against what transformers computes (tools/make_head_models.py), and the same bits however rows are
# batched and on whichever ranks.
set -euo pipefail
source "$(dirname "$0")/expect.sh"
heads=$SLUICE_SOURCE_DIR/tests/data/heads
. "$SLUICE_SOURCE_DIR/tests/cli/embeddings.sh"
[ "$(id -u)" -eq 0 ] && root=(--allow-run-as-root) || root=()

# job NAME TASK: a job for that model's rows.
job() {
    cat >job.yaml <<YAML
task: $2
model: {path: "$heads/$1", max_model_len: 100}
data: {input: "$heads/$1/rows.jsonl"}
engine: {device: cpu}
output: {path: out.h5, overwrite: true}
YAML
}

# golden NAME TASK MEMBER TOLERANCE SETTINGS…
golden() {
    local name=$1 task=$2 member=$3 tolerance=$4
    shift 4
    job "$name" "$task"
    expect_quiet run --quiet job.yaml "${@/#/--set=}"
    run_program export out.h5
    compare_vectors "$member" out "$heads/$name/expected.txt" "$tolerance" || fail "$name: other numbers"
}

# same_bits NAME TASK RANKS SETTINGS…: as the run before.
same_bits() {
    local name=$1 task=$2 ranks=$3
    shift 3
    mpirun "${root[@]}" --oversubscribe -n "$ranks" "$SLUICE" run job.yaml --quiet --set output.path=other.h5 "${@/#/--set=}" 2>err || fail "$name $*"
    run_program compare out.h5 other.h5
    [ "$status" -eq 0 ] || fail "$name $*: other bits"
}

for name in llama_cls qwen3_embedding; do
    task=$([ $name = llama_cls ] && echo classify || echo embed)
    member=$([ $name = llama_cls ] && echo scores || echo embedding)
    golden $name $task $member 1e-4
    same_bits $name $task 2 layout.tp=2
    same_bits $name $task 3 layout.pp=3 engine.max_sequences=2
    same_bits $name $task 1 engine.max_sequences=1 engine.max_batch_tokens=5
    same_bits $name $task 1 engine.prefix_cache=false engine.max_batch_tokens=64
done

# Encoders, by both forms of their configurations; a head of one label without its function.
for name in bert_cls modernbert_cls distilbert mpnet nomic_bert modernbert; do
    rm -rf model
    cp -r "$heads/$name" model
    member=embedding
    [[ $name != *_cls ]] || member=scores
    for form in config config_hub; do
        sed 's/"model_type"/"problem_type": "regression", "model_type"/' "$heads/$name/$form.json" >model/config.json
        golden $name auto $member 3e-4 model.path=model
    done
    same_bits $name auto 2 model.path=model layout.tp=2
    same_bits $name auto 3 model.path=model layout.pp=3 engine.max_sequences=2
    same_bits $name auto 1 model.path=model engine.max_sequences=1
done
# Token types are zeros, then ones.
cat >rows.jsonl <<'ROWS'
{"prompt_token_ids": [5, 6, 7], "token_type_ids": [0, 1, 0]}
{"prompt_token_ids": [5, 6, 7], "token_type_ids": [0, 1]}
{"prompt_token_ids": [5, 6, 7], "token_type_ids": [1, 1, 1]}
{"prompt_token_ids": [5, 6, 7], "token_type_ids": [0, 1, 1]}
{"prompt_token_ids": [5, 6, 7], "token_type_ids": [0, 0, 0]}
{"prompt_token_ids": [5, 6, 7]}
ROWS
job bert_cls classify
run_program run --quiet job.yaml --set data.input=rows.jsonl
run_program export out.h5 --columns score,error
[ "$(grep -c 'token_type_ids: expected a 0 for each token of the first text' out)" -eq 3 ] || fail "wrong types: $(cat out)"
[ "$(sed -n 5p out)" = "$(sed -n 6p out)" ] && [ "$(sed -n 4p out)" != "$(sed -n 5p out)" ] || fail "types change nothing: $(cat out)"

# What a classifier's job is without being said, its columns, and their exports.
job llama_cls auto
expect_quiet run --quiet job.yaml
expect_output '"label":"good","score":0.' export out.h5
expect_output '"scores":[' export out.h5
run_program export out.h5 --format csv --columns id,label,score
grep -q '^1,good,0\.' out || fail "CSV: $(head -n 2 out)"
run_program inspect out.h5
[ "$status" -eq 0 ] || fail "inspect: exit status $status"
expect_error 1 "task: generate: LlamaForSequenceClassification has no logits of tokens; what it can do: classify, embed" \
    run --quiet job.yaml --set task=generate
expect_error 1 "task: LlamaForSequenceClassification has no head with one label, which reward needs" run --quiet job.yaml --set task=reward
expect_output "6 rows" check job.yaml

# A value is what the head says, whatever its labels would make of it.
cp -r "$heads/bert_cls" plain
head -n 3 "$heads/bert_cls/rows.jsonl" >rows.jsonl
cat >job.yaml <<YAML
task: reward
model: {path: plain}
data: {input: rows.jsonl}
engine: {device: cpu}
output: {path: out.h5, overwrite: true}
YAML
expect_quiet run --quiet job.yaml
run_program export out.h5
sed -n 's/.*"prompt_tokens":\([0-9]*\).*"score":\([-0-9.e]*\).*/"prompt_tokens":\1,"scores":[\2]/p' out >values
head -n 3 plain/expected.txt >wanted
compare_vectors scores values wanted 1e-4 || fail "bert_cls: other values"
sed -i 's/"model_type"/"problem_type": "regression", "model_type"/' plain/config.json
expect_quiet run --quiet job.yaml --set task=classify
run_program export out.h5
compare_vectors scores out wanted 1e-4 || fail "bert_cls as a regression: other values"
sed -i 's/regression/guessing/' plain/config.json
expect_error 1 "problem_type: expected regression, multi_label_classification or single_label_classification" run --quiet job.yaml
finish
