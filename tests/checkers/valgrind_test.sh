#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The program under Valgrind: one rank from start to end on a tiny model, its output read; the text commands on the small one. No wrong
# access, nothing uninitialised, no leak of its own. Exit status 77: there is no Valgrind here.
set -euo pipefail
: "${SLUICE:?the program to test}" "${SLUICE_SOURCE_DIR:?the root of the repository}"
command -v valgrind >/dev/null || { echo "SKIPPED: valgrind is not installed"; exit 77; }
cd "$SLUICE_SOURCE_DIR"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMP_NUM_THREADS=1

# checked COMMAND…: standard input to standard output, under Valgrind.
checked() {
    local status=0
    valgrind --quiet --error-exitcode=99 --leak-check=full --show-leak-kinds=definite,indirect --fair-sched=yes \
        --errors-for-leak-kinds=definite,indirect --num-callers=40 --suppressions=tests/checkers/valgrind.supp \
        --log-file="$work/valgrind.log" "$SLUICE" "$@" 2>"$work/err" || status=$?
    if [ "$status" -ne 0 ]; then
        echo "FAILED: $*: exit status $status"
        cat "$work/err"
        head -n 100 "$work/valgrind.log"
        exit 1
    fi
}

cat >"$work/job.yaml" <<YAML
model: {path: tests/data/models/llama, max_model_len: 64}
data: {input: tests/data/sets/prompt_ids.jsonl, limit: 4}
generate: {max_new_tokens: 4, n: 2, seed: 3, temperature: 0.8, top_p: 0.9, min_p: 0.01, logprobs: 1, ignore_eos: true}
engine: {max_sequences: 4, max_batch_tokens: 16}
output: {path: "$work/out.h5", include_token_ids: true}
YAML
checked run --quiet "$work/job.yaml"
checked export "$work/out.h5" >"$work/rows.jsonl"
[ "$(wc -l <"$work/rows.jsonl")" -eq 8 ] || { echo "FAILED: $(wc -l <"$work/rows.jsonl") results instead of 8"; exit 1; }
checked inspect "$work/out.h5" >/dev/null
echo '{"text": "Grüße 😀 3 + 4"}' | checked tokenize --model data/small-model | grep -q '"ids"'
echo '{"messages": [{"role": "user", "content": "Hi"}]}' | checked render --model data/small-model | grep -q '"text"'
echo "Valgrind found nothing in $SECONDS s"
