#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What comes out: columns that single rows ask for, ids as they were, the forms of OpenAI's endpoints, packed texts.
set -euo pipefail
source "$(dirname "$0")/expect.sh"

# job NAME KEYS: NAME.yaml reads NAME.jsonl and writes NAME.h5.
job() {
    printf 'model: {path: "%s"}\ndata: {input: %s.jsonl}\ngenerate: {max_new_tokens: 3, temperature: 0}\noutput: {path: %s.h5}\n%s\n' \
        "$model" "$1" "$1" "${2:-}" >"$1.yaml"
}
# line N PATTERN WHAT: line N of the output is like this; no_line N: it is not.
line() { sed -n "$1p" out | grep -qE -- "$2" || fail "$3: line $1 is $(sed -n "$1p" out)"; }
no_line() { ! sed -n "$1p" out | grep -qE -- "$2" || fail "$3: line $1 is $(sed -n "$1p" out)"; }

# ---- Columns that single rows ask for, each as wide as the widest ----

cat >rows.jsonl <<'ROWS'
{"id": "none", "prompt": "apple pie"}
{"id": "two", "prompt": "apple pie", "logprobs": 2}
{"id": "one", "prompt": "apple pie", "logprobs": true, "top_logprobs": 1}
{"id": "chosen", "prompt": "apple pie", "logprobs": 0}
ROWS
job rows
expect_warned "3 rows: columns taken for parameters: logprobs, top_logprobs;" run --quiet rows.yaml
run_program export rows.h5
no_line 1 'logprob|token_ids' "a row that did not ask"
line 2 '"token_ids":\[[0-9]+,[0-9]+,[0-9]+\],"logprobs":\[-[^]]*\],"top_logprob_ids":\[\[[0-9]+,[0-9]+\],' "a row that asked for two"
line 3 '"top_logprob_ids":\[\[[0-9]+\],\[[0-9]+\],\[[0-9]+\]\]' "a row that asked for one"
line 4 '"logprobs":\[-[^]]*\]' "a row that asked for the chosen token's"
no_line 4 'top_logprob_ids":\[\[[0-9]' "a row that asked for the chosen token's"
# Without any row that asks there are no columns.
head -n 1 rows.jsonl >plain.jsonl
job plain
expect_quiet run --quiet plain.yaml
run_program export plain.h5
no_line 1 'logprob|token_ids' "rows that did not ask"

# ---- Without a tokenizer the answer is its token ids ----

mkdir ids && cp "$model"/*.safetensors "$model"/config.json ids
echo '{"prompt_token_ids": [300, 301, 5]}' >bare.jsonl
job bare
expect_quiet run --quiet --set model.path=ids bare.yaml
run_program export bare.h5
line 1 '"text":"",.*"token_ids":\[[0-9]+,[0-9]+,[0-9]+\]' "a model without tokenizer"

# ---- Each row in the form of its endpoint, and with its id as it was ----

cat >batch.jsonl <<'ROWS'
{"custom_id": "t", "method": "POST", "url": "/v1/completions", "body": {"model": "small", "prompt": "apple pie", "logprobs": 2}}
{"custom_id": "c", "method": "POST", "url": "/v1/chat/completions", "body": {"messages": [{"role": "user", "content": "What is 3 + 4?"}], "logprobs": true, "top_logprobs": 1}}
{"custom_id": "bad", "method": "POST", "url": "/v1/completions", "body": {"prompt": "x", "top_p": 7}}
{"id": 12.50, "prompt": "apple pie", "n": 2}
{"id": "12", "messages": [{"role": "user", "content": "What is 3 + 4?"}]}
{"custom_id": "ids", "method": "POST", "url": "/v1/completions", "body": {"prompt": "apple pie", "return_token_ids": true}}
ROWS
job batch
expect_warned "1 row: columns taken for parameters: n;" run --quiet batch.yaml
run_program export --format openai batch.h5
cp out openai
line 1 '"custom_id":"t","response":\{"status_code":200,.*"id":"cmpl-0","object":"text_completion","created":[0-9]+,"model":"small"' "a completion"
line 1 '"text":" pachach","logprobs":\{"text_offset":\[0,2,5\],"token_logprobs":\[-[^]]*\],"tokens":\[" p","ach","ach"\],"top_logprobs":\[\{" p":-[0-9.]+," a":-[0-9.]+\},' "its log-probabilities"
line 2 '"object":"chat.completion".*"message":\{"role":"assistant","content":"7"\},"logprobs":\{"content":\[\{"token":"7","logprob":-[0-9.e-]+,"bytes":\[55\],"top_logprobs":\[\{"token":"7",' "a chat"
line 2 '"finish_reason":"stop","token_ids":\[[0-9,]+\]\}\],"usage":\{"prompt_tokens":16,"completion_tokens":2,"total_tokens":18\}' "a chat's usage"
line 3 '"custom_id":"bad","response":\{"status_code":400,"request_id":"row-2","body":\{"error":\{"message":"line 3: body.top_p: 7 .*"code":400\}\}\},"error":\{"message":"line 3: body.top_p' "a bad row"
line 4 '"custom_id":12.50,.*"text_completion".*\{"index":0,"text":.*\{"index":1,"text":' "a plain text"
line 5 '"custom_id":"12",.*"chat.completion"' "plain messages"
line 6 '"text":" pachach","logprobs":null,"finish_reason":"length","token_ids":\[[0-9]+,[0-9]+,[0-9]+\]\}' "return_token_ids"
no_line 5 'token_ids' "a request that did not ask for token ids"
run_program export batch.h5
cp out lines
line 4 '^\{"id":12.50,' "an id that was a number"
line 6 '^\{"id":"12",' "an id that was a text"

# ---- The same where texts are packed: storage, and not part of what the job is ----

expect_warned "1 row: columns taken for parameters: n;" run --quiet --set output.strings=packed --set output.path=packed.h5 batch.yaml
for form in jsonl openai; do
    run_program export --format $form packed.h5
    sed 's/"created":[0-9]*//' out >packed.$form
done
cmp -s packed.jsonl lines || fail "packed texts are exported otherwise"
sed 's/"created":[0-9]*//' openai | cmp -s packed.openai - || fail "packed texts are exported otherwise to OpenAI's form"
run_program inspect --rows 1 packed.h5
grep -q ' pachach' out || fail "inspect does not read packed texts"
run_program run --set output.strings=packed batch.yaml
grep -q 'complete' out err || fail "output.strings makes it another job"

# ---- Embeddings, as numbers or as base64 ----

cat >vectors.jsonl <<'ROWS'
{"custom_id": "n", "method": "POST", "url": "/v1/embeddings", "body": {"model": "e", "input": "a red house"}}
{"custom_id": "b", "method": "POST", "url": "/v1/embeddings", "body": {"model": "e", "input": "a red house", "encoding_format": "base64"}}
ROWS
printf 'model: {path: "%s/tests/data/encoders/bert"}\ndata: {input: vectors.jsonl}\noutput: {path: vectors.h5}\n' "$SLUICE_SOURCE_DIR" >vectors.yaml
expect_warned "2 rows: requests name another model, and this job's has answered them: e" run --quiet vectors.yaml
run_program export --format openai vectors.h5
line 1 '"id":"embd-0","object":"list",.*"data":\[\{"index":0,"object":"embedding","embedding":\[-?[0-9.]+,.*"usage":\{"prompt_tokens":([0-9]+),"total_tokens":\1\}' "an embedding"
line 2 '"embedding":"[A-Za-z0-9+/]{171}="' "an embedding as base64" # 32 numbers of 4 bytes
run_program export vectors.h5
line 2 '"embedding":"[A-Za-z0-9+/]{171}="' "an embedding as base64 in a line"

finish
