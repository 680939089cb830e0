#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What comes out: columns that single rows ask for, in the file and its exports.
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
expect_quiet run --quiet rows.yaml
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

finish
