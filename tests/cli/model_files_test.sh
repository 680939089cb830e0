#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Models as they lie on people's disks: by name in the Hub's cache, in parts, without an index, half downloaded; and what a model brings of
# its own: sampling values and end tokens.
set -euo pipefail
source "$(dirname "$0")/expect.sh"
unset HF_HOME HF_HUB_CACHE HUGGINGFACE_HUB_CACHE XDG_CACHE_HOME

printf '{"id": "a", "prompt_token_ids": [5, 17, 9]}\n' >ids.jsonl
cat >job.yaml <<YAML
model: {path: model}
data: {input: ids.jsonl}
generate: {max_new_tokens: 4, temperature: 0, ignore_eos: true}
output: {path: out.h5, overwrite: true, include_token_ids: true}
YAML
# answer PATH: the token ids that the model there answers with.
answer() {
    run_program run --quiet --fresh job.yaml --set model.path="$1"
    [ "$status" -eq 0 ] || fail "$1: exit status $status"
    "$SLUICE" export out.h5 | grep -o '"token_ids":\[[0-9,]*\]'
}
expected=$(answer "$model")
[ -n "$expected" ] || fail "no answer to compare with"
same_answer() { [ "$(answer "$1")" = "$expected" ] || fail "$1: another answer"; }

# By name, from the cache.
hub=cache/hub/models--an-org--a.model_1
mkdir -p "$hub/snapshots" "$hub/refs"
ln -s "$model" "$hub/snapshots/0123abcd"
export HF_HOME=$work/cache
same_answer an-org/a.model_1 # the only snapshot
ln -s /nowhere "$hub/snapshots/ffff"
expect_error 1 'hf download an-org/a.model_1' run --quiet job.yaml --set model.path=an-org/a.model_1
printf 0123abcd >"$hub/refs/main"
same_answer an-org/a.model_1
expect_error 1 "not in the cache of the Hugging Face Hub ($work/cache/hub)" run --quiet job.yaml --set model.path=an-org/other
expect_error 1 'no/such/folder: No such file' run --quiet job.yaml --set model.path=no/such/folder

printf ffff >"$hub/refs/main"
expect_error 1 'an-org/a.model_1: the cache of the Hugging Face Hub has it in part' run --quiet job.yaml --set model.path=an-org/a.model_1
mkdir -p cache/hub/models--gpt9/snapshots
ln -s "$model" cache/hub/models--gpt9/snapshots/0123abcd
same_answer gpt9 # an older name, without an organisation
expect_error 1 'no/model.gguf: No such file' run --quiet job.yaml --set model.path=no/model.gguf
mkdir home
ln -s "$work/cache" home/hf
expected_here=$expected
for home in '~/hf' '~/hf/'; do
    [ "$(HOME=$work/home HF_HOME=$home answer gpt9)" = "$expected_here" ] || fail "HF_HOME=$home"
done
ln -s "$model" home/model
printf '{"text": "a"}\n' | HOME=$work/home "$SLUICE" tokenize '--model=~/model' | grep -q '"ids"' || fail "~ in --model"

# Shards: header and data of two files, made of the one that is there. Names sorted, the first half goes into the first shard.
copy_model() {
    rm -rf "$1"
    cp -rL "$model" "$1"
}
le64() { local n=$1 i; for i in 1 2 3 4 5 6 7 8; do printf "\\x$(printf %02x $((n & 255)))"; n=$((n >> 8)); done; }
weights=$model/model.safetensors
header=$(od -An -tu8 -N8 "$weights" | tr -d ' ')
dd if="$weights" bs=1 skip=8 count="$header" of=header 2>/dev/null
# Both shards hold all data; each header lists its half of the tensors. sed puts each tensor on a line.
sed 's/},"/},\n"/g; s/^{//; s/}} *$/}/' header | grep -v __metadata__ | sed 's/,$//' >tensors
half=$(($(wc -l <tensors) / 2))
shard() { # shard OUT < lines
    local text
    text="{$(paste -sd, -)}"
    { le64 "${#text}"; printf %s "$text"; tail -c +$((9 + header)) "$weights"; } >"$1"
}
copy_model sharded
rm sharded/model.safetensors
head -n "$half" tensors | shard sharded/model-00001-of-00002.safetensors
tail -n +$((half + 1)) tensors | shard sharded/model-00002-of-00002.safetensors
same_answer sharded
mv sharded/model-00002-of-00002.safetensors second
expect_error 1 'sharded: model-00002-of-00002.safetensors is missing' run --quiet job.yaml --set model.path=sharded
mv second sharded/model-00002-of-00002.safetensors
cp "$weights" sharded/zzz.safetensors
expect_error 1 'and zzz.safetensors stands beside the parts' run --quiet job.yaml --set model.path=sharded
rm sharded/*.safetensors
cp "$weights" sharded/weights.safetensors # one file of another name
same_answer sharded
cp "$weights" sharded/more.safetensors
expect_error 1 'more.safetensors and weights.safetensors are there' run --quiet job.yaml --set model.path=sharded

# GGUF: a folder with one, or with several.
mkdir gguf
cp "$SLUICE_SOURCE_DIR/tests/data/gguf/llama.gguf" gguf/llama.gguf
expected=$(answer gguf/llama.gguf)
same_answer gguf
cp gguf/llama.gguf gguf/other.gguf
expect_error 1 'gguf: several GGUF files are there, llama.gguf and other.gguf among them' run --quiet job.yaml --set model.path=gguf

# GGUF in parts, of which a later one is named or the first is missing.
mkdir parts
cp gguf/llama.gguf parts/x-00002-of-00003.gguf
expect_error 1 'parts: x-00002-of-00003.gguf is there, a part of a split GGUF file, without the first part' \
    run --quiet job.yaml --set model.path=parts
# One key more, split.count 3 (uint16), before the others.
{
    head -c 16 gguf/llama.gguf
    le64 $(($(od -An -tu8 -j16 -N8 gguf/llama.gguf) + 1))
    le64 11
    printf 'split.count\x02\0\0\0\x03\0'
    tail -c +25 gguf/llama.gguf
    head -c 32 /dev/zero # the data may begin later
} >llama-00002-of-00003.gguf
expect_error 1 'part 2 of 3 of a split GGUF file; name the first part, llama-00001-of-00003.gguf' \
    run --quiet job.yaml --set model.path=llama-00002-of-00003.gguf
expect_error 1 'not a GGUF file; of other models name the directory' run --quiet job.yaml --set model.path="$weights"

# Files that are not what they seem, and weights in other forms.
refused() { # refused FILE CONTENT TEXT
    copy_model odd
    printf "$2" >"odd/$1"
    expect_error 1 "odd/$1: $3" run --quiet job.yaml --set model.path=odd
}
pointer='version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 5\n'
refused model.safetensors "$pointer" "a pointer of git-lfs in the file's place: git lfs pull"
refused tokenizer.json "$pointer" "a pointer of git-lfs in the file's place: git lfs pull"
refused config.json '\n<!doctype HTML>\n<html>' 'a page of HTML'
refused model.safetensors 'Entry not found' "the Hub's refusal"
refused model.safetensors 'PK\3\4 and so on, long enough' 'a ZIP archive'
refused generation_config.json "$pointer" 'a pointer of git-lfs'
refused config.json '' 'byte 0: not JSON: empty'
for name in chat_template.jinja additional_chat_templates/rag.jinja; do
    copy_model odd
    mkdir odd/additional_chat_templates
    printf "$pointer" >"odd/$name"
    expect_error 1 "odd: ${name##*/}: a pointer of git-lfs" run --quiet job.yaml --set model.path=odd
    run_program check job.yaml --set model.path=odd
    [ "$status" -eq 1 ] && grep -q "a pointer of git-lfs" out err || fail "check does not find the pointer in $name"
done
copy_model odd
mv odd/model.safetensors odd/adapter_model.safetensors
printf '{}' >odd/adapter_config.json
expect_error 1 'odd: adapter_config.json is there: an adapter' run --quiet job.yaml --set model.path=odd
rm odd/config.json
expect_error 1 'odd: adapter_config.json is there: an adapter' run --quiet job.yaml --set model.path=odd
expect_error 1 'odd: adapter_config.json is there: an adapter' check job.yaml --set model.path=odd
copy_model odd
rm odd/config.json
expect_error 1 'odd: there is no config.json, so this is not a whole model; model.safetensors is there' run --quiet job.yaml --set model.path=odd
for name in pytorch_model.bin pytorch_model-00001-of-00002.bin model.onnx tf_model.h5 adapter_model.safetensors; do
    copy_model odd
    rm odd/model.safetensors
    : >"odd/$name"
    expect_error 1 "odd: there are no weights that can be read: $name is there" run --quiet job.yaml --set model.path=odd
    run_program check job.yaml --set model.path=odd
    [ "$status" -eq 1 ] && grep -q "$name is there" out err || fail "check does not find $name"
done
copy_model odd
rm odd/model.safetensors
expect_error 1 'there are no weights: no *.safetensors is there' run --quiet job.yaml --set model.path=odd

# Sampling values of the model: taken where neither job nor row sets them, said once, part of the identity.
copy_model own
cat >own/generation_config.json <<JSON
{"eos_token_id": [2, 0], "temperature": 0.0, "top_k": 7, "top_p": 1.5, "min_p": null, "repetition_penalty": "1.1", "max_new_tokens": 3, "do_sample": true}
JSON
printf 'model: {path: own}\ndata: {input: ids.jsonl}\noutput: {path: own.h5}\n' >own.yaml
run_program run own.yaml
[ "$status" -eq 0 ] || fail "own values: exit status $status"
grep -q 'sampling values of the model: temperature 0.0, top_k 7, max_new_tokens 3 (generate.defaults: none' err || fail "what was taken is not said"
grep -q 'warning: .*top_p: 1.5 is not in (0, 1]; not used' err || fail "a value out of range is not named"
grep -q 'warning: .*repetition_penalty: expected a number, not a string; not used' err || fail "a value of another type is not named"
need h5dump
h5dump -a identity own.h5 | grep -q 'model default top_k: 7' || fail "what was taken is no part of the identity"
h5dump -a job own.h5 | grep -q 'top_k: 7' || fail "the resolved job lacks what was taken"
"$SLUICE" export own.h5 | grep -q '"completion_tokens":3' || fail "max_new_tokens of the model is not obeyed"
# ... and nothing else of that file.
sed -i 's/"do_sample": true/"do_sample": false, "transformers_version": "9"/' own/generation_config.json
run_program run own.yaml
[ "$status" -eq 0 ] && grep -q 'own.h5 is complete' err || fail "a value that is not used makes another job"
sed -i 's/\[2, 0\]/[2, 5]/' own/generation_config.json
run_program run --quiet own.yaml
[ "$status" -eq 1 ] && grep -q 'rows of another job: "model tokenizer and template sha256' err || fail "other end tokens make no other job"
sed -i 's/\[2, 5\]/[2, 0]/' own/generation_config.json
run_program check own.yaml --set output.path=new.h5
grep -q '^sampling *temperature 0.0, top_k 7, max_new_tokens 3' out || fail "check does not say what is taken"
expect_error 1 'generate.defaults' run --quiet own.yaml --set generate.defaults=none
run_program run own.yaml --set output.path=set.h5 --set generate.max_new_tokens=2 --set generate.temperature=1
grep -q 'sampling values of the model: top_k 7 (' err || fail "a key of the job does not win"
"$SLUICE" export set.h5 | grep -q '"completion_tokens":2' || fail "max_new_tokens of the job is not obeyed"
finish
