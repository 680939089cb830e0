#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Someone who comes from `vllm run-batch` with docs/from-vllm.md: the batch file as it is, a job file by `sluice init`, the page's three
# commands, and answers in OpenAI's form, a line a request, under its custom_id, with errors where run-batch has them.
set -euo pipefail
source "$(dirname "$0")/paths.sh"
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1

line() { printf '{"custom_id": "%s", "method": "POST", "url": "%s", "body": {"model": "meta-llama/Llama-3.1-8B-Instruct", %s}}\n' "$@"; }
{
    for i in $(seq 20); do line "request-$i" /v1/chat/completions "\"messages\": [{\"role\": \"user\", \"content\": \"What is $i + 4?\"}], \"max_tokens\": 8, \"temperature\": 0"; done
    line text /v1/completions '"prompt": "apple", "max_completion_tokens": 4, "n": 2, "seed": 1'
    line probabilities /v1/chat/completions '"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3, "logprobs": true, "top_logprobs": 2'
    line refused /v1/chat/completions '"messages": [{"role": "user", "content": "Hi"}], "temperature": -1'
    echo 'no JSON at all'
} >requests.jsonl
mkdir models
ln -s "$SLUICE_SOURCE_DIR/data/small-model" models/Llama-3.1-8B-Instruct

# The page's commands, with fewer ranks than it has GPUs, and this model's context.
sed -n '/^is here$/,/^The input/{ /^    /p }' docs/from-vllm.md | sed 's/ *#.*//; s/-n 8/-n 2/; s/max_model_len=8192/max_model_len=1024/' >"$work/commands.sh"
[ "$(grep -c sluice "$work/commands.sh")" -eq 3 ] || fail "the page's commands: $(cat "$work/commands.sh")"
bash -e "$work/commands.sh" >"$work/out" 2>"$work/err" </dev/null || fail "the page's commands"
grep -q 'rows are OpenAI requests' job.yaml || fail "init does not see what the file is: $(cat job.yaml)"
! grep -q 'name another model' "$work/err" || fail "the folder's name is not taken for the model's"
[ "$(wc -l <answers.jsonl)" -eq 24 ] || fail "$(wc -l <answers.jsonl) answers"
sed -n 1p answers.jsonl | grep -q '"custom_id":"request-1","response":{"status_code":200,' || fail "the first: $(head -n 1 answers.jsonl)"
grep -q '"custom_id":"refused","response":{"status_code":400' answers.jsonl || fail "a refused request: $(grep refused answers.jsonl)"
if command -v python3 >/dev/null; then
    python3 - <<'PYTHON' || fail "the answers"
import json
asked = [line for line in open("requests.jsonl")]
answers = [json.loads(line) for line in open("answers.jsonl")]
for line, answer in zip(asked[:-1], answers):
    request = json.loads(line)
    assert answer["custom_id"] == request["custom_id"]
    assert {"id", "custom_id", "response", "error"} <= answer.keys(), answer
    body = answer["response"]["body"]
    if answer["response"]["status_code"] == 200:
        assert body["object"] == ("chat.completion" if "chat" in request["url"] else "text_completion"), body
        assert len(body["choices"]) == request["body"].get("n", 1)
        assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + body["usage"]["completion_tokens"]
chat = answers[21]["response"]["body"]["choices"][0]
assert len(chat["logprobs"]["content"]) >= 1 and len(chat["logprobs"]["content"][0]["top_logprobs"]) == 2
PYTHON
fi
sluice inspect out/requests.h5 --errors >"$work/out" || fail "inspect --errors"
[ "$(grep -c '^1 row' "$work/out")" -eq 2 ] || fail "two kinds of errors: $(cat "$work/out")"
cd "$work" && finish
