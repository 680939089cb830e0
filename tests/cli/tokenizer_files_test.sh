#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Models without tokenizer.json: what is read in its place, and what a job does where nothing can be.
set -euo pipefail
source "$(dirname "$0")/expect.sh"

mkdir bare words
for file in config.json generation_config.json model.safetensors; do
    ln -s "$model/$file" bare/
done
printf '%s\n' '[PAD]' '[UNK]' '[CLS]' '[SEP]' hello '##s' >words/vocab.txt
echo '{"tokenizer_class": "BertTokenizer"}' >words/tokenizer_config.json

job() {
    cat >"$1.yaml" <<YAML
model: {path: bare}
data: {input: $1.jsonl}
generate: {max_new_tokens: 3, temperature: 0}
output: {path: $1.h5}
YAML
}
echo '{"prompt": "pear tart"}' >texts.jsonl
echo '{"messages": [{"role": "user", "content": "pear tart"}]}' >chats.jsonl
echo '{"id": "n", "prompt_token_ids": [300, 301, 5]}' >ids.jsonl
cat texts.jsonl ids.jsonl chats.jsonl >mixed.jsonl
for name in texts chats ids mixed; do
    job $name
done

# What is there is read.
echo '{"text": "Hellos, hello"}' >lines
run_program tokenize --model words --special <lines
[ "$(cat out)" = '{"ids":[2,4,5,1,4,3]}' ] || fail "vocab.txt: $(cat out)"

mkdir broken
printf 'no model' >broken/tokenizer.model
expect_error 1 "broken/tokenizer.model: neither a SentencePiece model nor tiktoken's ranks" tokenize --model broken

# A job none of whose rows can run is refused, and named is what is there.
refused() {
    for command in run check; do
        expect_error 2 "$1" $command texts.yaml
        expect_error 2 "$2" $command chats.yaml
    done
    [ ! -e texts.h5 ] && [ ! -e texts.h5.sluice ] || fail "$1: something is left of a refused job"
}
refused "bare: no tokenizer.json, nor another file that a tokenizer is read from (tokenizer.model, " "rows of text need a tokenizer.json"
printf 'version https://git-lfs.github.com/spec/v1\n' >bare/tokenizer.model
refused "bare/tokenizer.model: a pointer of git-lfs in the file's place: git lfs pull fetches the file itself" "rows of text need a tokenizer.json"
printf '\x0a\x0e\x0a\x05<unk>\x15\0\0\0\0\x18\x02' >bare/tokenizer.model
refused "bare/tokenizer.model: not a SentencePiece model: " "rows of text need a tokenizer.json"
rm bare/tokenizer.model
echo '{"a": 0, "b": 1, "ab": 2}' >bare/vocab.json
refused "bare/vocab.json: " "model_type \"llama\" of config.json"
printf '#version: 0.2\na b\n' >bare/merges.txt
refused "bare/vocab.json and merges.txt: " "rows of text need a tokenizer.json"
rm bare/vocab.json bare/merges.txt
echo x >bare/source.spm
refused "bare/source.spm: not a file that tokenizers are read from" "rows of text need a tokenizer.json"

# Rows of token ids run, and their answers are token ids.
expect_quiet run --quiet ids.yaml
run_program export ids.h5
grep -qE '"token_ids":\[[0-9]+,[0-9]+,[0-9]+\]' out || fail "no token ids: $(cat out)"
run_program run --quiet mixed.yaml
[ "$status" -eq 0 ] || fail "rows of both kinds: exit status $status"
run_program export mixed.h5
[ "$(grep -c '"token_ids"' out)" -ge 1 ] && [ "$(grep -c 'bare/source.spm' out)" -eq 2 ] || fail "rows of both kinds: $(cat out)"

finish
