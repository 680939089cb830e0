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

# What the task has no use for is said, and no more than that; a quiet run has no warnings of what is used.
job llama_cls classify
for command in run check; do
    run_program $command job.yaml --set output.path=unused.h5 --set generate.temperature=0.5 --set generate.truncate_prompt=50 --set generate.seed=3
    [ "$status" -eq 0 ] || fail "$command with what a task has no use for"
    [ "$(grep -c 'has no use for' err)" -eq 1 ] || fail "$command: warned $(grep -c 'has no use for' err) times"
    grep -q 'task classify has no use for generate.temperature, generate.seed$' err || fail "$command: $(cat err)"
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

# A query with its documents is the pairs of their tokens, each answered by itself; a document that cannot be is an error by itself.
rm -rf model
cp -r "$heads/bert_cls" model
cp "$SLUICE_SOURCE_DIR/tests/data/encoders/bert/"{tokenizer.json,tokenizer_config.json} model
ids() {
    printf '{"text": "%s"}\n' "$1" | "$SLUICE" tokenize --model=model | sed 's/.*\[\(.*\)\].*/\1/'
}
query=$(ids "the quick fox") document=$(ids "seven wizards")
types=$(printf '0%s' "$(sed 's/[0-9]\+/0/g' <<<",$query,0")"; sed 's/[0-9]\+/1/g' <<<",$document,1")
cat >rows.jsonl <<'ROWS'
{"id": "q", "query": "the quick fox", "documents": ["a lazy dog", "seven wizards", "", "the quick fox"], "text": "more"}
{"id": "d", "query": "the quick fox", "document": "seven wizards"}
{"id": "n", "query": "the quick fox"}
ROWS
echo "{\"id\": \"i\", \"prompt_token_ids\": [2,$query,3,$document,3], \"token_type_ids\": [$types]}" >>rows.jsonl
cat >job.yaml <<YAML
task: rerank
model: {path: model}
data: {input: rows.jsonl}
engine: {device: cpu}
output: {path: out.h5, overwrite: true}
YAML
run_program run --quiet job.yaml
[ "$status" -eq 0 ] || fail "rerank: exit status $status"
run_program export out.h5 --columns id,sample,score,error
[ "$(wc -l <out)" -eq 7 ] || fail "rerank: $(wc -l <out) results of 7"
score_of() {
    sed -n 's/.*"score"/"score"/p' out | sed -n "$1p"
}
[ "$(score_of 2)" = "$(score_of 4)" ] && [ "$(score_of 2)" != "$(score_of 1)" ] || fail "one document, two scores: $(cat out)"
[ "$(score_of 2)" = "$(score_of 5)" ] || fail "a pair is not its tokens: $(cat out)"
grep -q '"id":"q","sample":2,"error":".*documents\[2\]: expected a text' out || fail "an empty document: $(cat out)"
grep -q '"id":"n","sample":0,"error":".*no document: expected a text' out || fail "no document: $(cat out)"
# A decoder is asked for a word: the share of "yes" is what scoring both words says of it.
mkdir words
cp "$SLUICE_SOURCE_DIR/tests/data/models/qwen3/"{config.json,model.safetensors} words
sed 's/"vocab": *{/&"yes": 88, "no": 89, /' model/tokenizer.json >words/tokenizer.json
head -n 1 rows.jsonl >query.jsonl
expect_quiet run --quiet job.yaml --set model.path=words --set data.input=query.jsonl --set output.path=words.h5 --set output.include_prompt=true
run_program export words.h5
sed -n 's/.*"score":\([0-9.e-]*\).*/\1/p' out >scores
sed -n 's/.*"prompt":\(".*"\),"text":"".*/{"text": \1}/p' out | "$SLUICE" tokenize --model=words | sed 's/.*\[\(.*\)\].*/\1/' >prompts
sed 's/.*/{"prompt_token_ids": [&], "completion": [88]}\n{"prompt_token_ids": [&], "completion": [89]}/' prompts >both.jsonl
run_program run --quiet job.yaml --set task=auto --set generate.mode=score --set model.path=words --set data.input=both.jsonl --set output.path=both.h5
"$SLUICE" export both.h5 | sed -n 's/.*"logprob_sum":\([-0-9.e]*\).*/\1/p' >logprobs
[ "$(wc -l <scores)" -eq 3 ] && [ "$(wc -l <logprobs)" -eq 6 ] || fail "words: $(cat out)"
awk 'NR == FNR { score[NR] = $1; next } { if (FNR % 2) yes = $1; else { d = score[FNR / 2] - 1 / (1 + exp($1 - yes)); if (d * d > 1e-10) bad = 1 } }
    END { exit bad }' scores logprobs || fail "words: $(paste scores logprobs)"

run_program check job.yaml
[ "$status" -eq 0 ] || fail "check of rerank: exit status $status"

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
