#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Jobs that are wrong, and what check and run say of them.
set -euo pipefail
source "$(dirname "$0")/expect.sh"

head -n 12 "$SLUICE_SOURCE_DIR/data/tasks.jsonl" >tasks.jsonl
cat >job.yaml <<YAML
model: {path: "$model"}
data: {input: tasks.jsonl}
generate: {max_new_tokens: 8, temperature: 0}
output: {path: out.h5}
YAML

# both STATUS_CHECK STATUS_RUN TEXT ARGUMENTS…: check and run say the same.
both() {
    local check=$1 run=$2 text=$3
    shift 3
    expect_error "$check" "$text" check "$@"
    expect_error "$run" "$text" run --quiet "$@"
}

both 2 2 "no-such.yaml: No such file" no-such.yaml
both 2 2 "--set generate.tempersture=1: generate.tempersture: unknown key; did you mean temperature?" \
    job.yaml --set generate.tempersture=1
both 2 2 "generate.temperature: expected" job.yaml --set generate.temperature=hot
both 2 2 "expected section.key=value" job.yaml --set temperature=1
both 2 2 "layout.tp: expected auto, 1, 2, 4 or 8, not 3" job.yaml --set layout.tp=3

write() { printf '%s\n' "$@" >bad.yaml; }
write 'model: {path: m}' 'data: {input: d}' 'output: {path: o}' 'engine: {max_sequence: 4}'
both 2 2 "bad.yaml: line 4: engine.max_sequence: unknown key; did you mean max_sequences?" bad.yaml
write 'model: {path: m}' 'data: {input: d}'
both 2 2 "bad.yaml: output.path is missing" bad.yaml
write 'model: {path: m' 'data: {input: d}'
both 2 2 "bad.yaml: line 2: not YAML" bad.yaml
write '- a list'
both 2 2 "bad.yaml: line 1: expected sections" bad.yaml
: >bad.yaml
both 2 2 "bad.yaml: the file is empty" bad.yaml
both 2 2 ".: a directory, not a file" .

# Quantised in a way that is not read: what, and what to use instead.
fp8=$SLUICE_SOURCE_DIR/tests/data/models_fp8/mistral_activation
cp -r "$fp8" quantised
sed 's/"quant_method": "fp8"/"quant_method": "hqq"/' "$fp8/config.json" >quantised/config.json
both 1 1 'quantised/config.json: quantization_config: weights quantised by "hqq" are not supported; use the model'"'"'s checkpoint in 16 bits, as GGUF, or quantised' \
    job.yaml --set model.path=quantised
sed 's/"quantization_config"/"comment"/' "$fp8/config.json" >quantised/config.json
echo '{"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "W4A8_AWQ", "kv_cache_quant_algo": "FP8"}}' >quantised/hf_quant_config.json
both 1 1 'quantised/hf_quant_config.json: quantization: weights quantised by "modelopt W4A8_AWQ" are not supported' job.yaml --set model.path=quantised

# A pipe that nobody writes into, in place of any file: refused, not waited for.
for name in $(cd "$model" && ls) chat_template.jinja special_tokens_map.json model.safetensors.index.json hf_quant_config.json; do
    [ "$name" != training.json ] || continue
    rm -rf piped
    mkdir piped
    for file in "$model"/*; do [ "${file##*/}" = "$name" ] || ln -s "$file" piped/; done
    mkfifo "piped/$name"
    both 1 1 "piped/$name: not a regular file" job.yaml --set model.path=piped
done
mkfifo pipe.jsonl pipe.h5 pipe.gguf
both 1 1 "pipe.jsonl: not a regular file" job.yaml --set data.input=pipe.jsonl
both 1 1 "pipe.h5: not a regular file" job.yaml --set data.input=pipe.h5
both 1 1 "pipe.gguf: not a regular file" job.yaml --set model.path=pipe.gguf

both 1 1 "no-such-model" job.yaml --set model.path=no-such-model
both 1 1 "no-such.jsonl" job.yaml --set data.input=no-such.jsonl
both 1 1 "model.max_model_len: 5000; the model has 1024 positions" job.yaml --set model.max_model_len=5000
both 1 1 "1 rank cannot be divided into replicas of tp 2 x pp 1 = 2 ranks" job.yaml --set layout.tp=2
both 1 1 "engine.max_batch_tokens: 8 is less than engine.max_sequences, 16" job.yaml \
    --set engine.max_batch_tokens=8 --set engine.max_sequences=16
both 1 1 "engine.kv_memory" job.yaml --set engine.kv_memory=4KiB
both 1 1 "of weights and activations a rank" job.yaml --set engine.kv_memory=900TiB
both 1 1 "model.dtype" job.yaml --set model.dtype=fp8
: >exists.h5
both 1 1 "exists.h5 exists; set output.overwrite=true" job.yaml --set output.path=exists.h5
ln -s nowhere.h5 dangling.h5
both 1 1 "dangling.h5 is a link to what is not there" job.yaml --set output.path=dangling.h5
mkfifo fifo.h5
both 1 1 "fifo.h5 is no file but a device, pipe or socket" job.yaml --set output.path=fifo.h5 --set output.overwrite=true

expect_output "12 rows, 0 bad" check job.yaml
expect_output "4 = dp 1 x tp 2 x pp 2" check job.yaml --ranks 4 --set layout.tp=2 --set layout.pp=2
expect_output "12 rows, 0 bad" check job.yaml --set output.path=exists.h5 --set output.overwrite=true
expect_error 1 "exists.h5 is not a folder" check job.yaml --set output.path=exists.h5/out.h5
expect_error 1 "is a folder" check job.yaml --set output.path=.

# Bad rows: a warning, or a problem where the job says so; the first ten are named.
{
    cat tasks.jsonl
    echo 'not json'
    echo '{"prompt": 5}'
    for _ in $(seq 10); do echo '{"prompt": ["x", 5]}'; done
    printf '{"prompt_token_ids": [%s]}\n' "$(seq -s, 1 1024 | sed 's/[0-9]*/1/g')"
} >bad.jsonl
expect_output "25 rows, 13 bad" check job.yaml --set data.input=bad.jsonl
grep -q '^line 13: ' out || fail "check does not name line 13"
[ "$(grep -c '^line ' out)" -eq 10 ] || fail "check names $(grep -c '^line ' out) bad rows"
expect_error 1 "bad.jsonl: 13 bad rows, and data.skip_bad_rows is false" check job.yaml \
    --set data.input=bad.jsonl --set data.skip_bad_rows=false
expect_error 1 "line 13" run --quiet job.yaml --set data.input=bad.jsonl --set data.skip_bad_rows=false
: >empty.jsonl
expect_error 1 "empty.jsonl: holds no rows" check job.yaml --set data.input=empty.jsonl --set output.path=empty.h5
finish
