#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# On a GPU a row has the same token ids and the same bits of log-probability alone, among few, among many, in another order, after
# preemption and after chunked prefill; greedy and sampled, in every type. Ends with 77 (skipped) where no GPU is.
# SLUICE: the program; SLUICE_SOURCE_DIR: the repository; SLUICE_ROWS: rows of data/tasks.jsonl (default 300).
set -euo pipefail
: "${SLUICE:?the program to test}" "${SLUICE_SOURCE_DIR:?the repository}"
rows=${SLUICE_ROWS:-300} few=24
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

head -n "$rows" "$SLUICE_SOURCE_DIR/data/tasks.jsonl" >"$work/rows.jsonl"
tac "$work/rows.jsonl" >"$work/backwards.jsonl"
cat >"$work/job.yaml" <<YAML
model: {path: "$SLUICE_SOURCE_DIR/data/small-model", max_model_len: 256}
data: {input: "$work/rows.jsonl"}
generate: {max_new_tokens: 24, logprobs: 1, ignore_eos: true}
engine: {device: cuda, max_sequences: 256, max_batch_tokens: 4096}
output: {path: "$work/unset.h5", include_token_ids: true}
YAML

if ! "$SLUICE" check "$work/job.yaml" >"$work/check.out" 2>"$work/check.err"; then
    if grep -q "this host has 0\|no backend \"cuda\"\|no GPU" "$work/check.err"; then
        echo "no GPU: skipped"
        exit 77
    fi
    cat "$work/check.err"
    exit 1
fi

failures=0 compared=0
fail() {
    failures=$((failures + 1))
    echo "$@"
}

# run NAME SETTINGS…: the rows' answers, one JSON line each, without what the row's place in the input decides.
run() {
    local name=$1
    shift
    "$SLUICE" run "$work/job.yaml" --quiet --set "output.path=$work/$name.h5" --set output.overwrite=true "$@" </dev/null 2>"$work/$name.err" ||
        { echo "$name failed:"; cat "$work/$name.err"; exit 1; }
    "$SLUICE" export "$work/$name.h5" | sed 's/"row":[0-9]*,//' | sort >"$work/$name.jsonl"
}

# compare TYPE NAME: every row of NAME is a row of the base run.
compare() {
    compared=$((compared + 1))
    local other
    other=$(comm -13 "$work/base.jsonl" "$work/$2.jsonl" | wc -l)
    [ "$other" -eq 0 ] || {
        fail "$1: $2: $other of $(wc -l <"$work/$2.jsonl") rows differ, first:"
        diff "$work/base.jsonl" "$work/$2.jsonl" | grep '^[<>]' | sort -k 1.2 | sed -n '1,2p' | cut -c 1-700
    }
}

#   name              settings
types="
    bfloat16          model.dtype=bfloat16
    fp8               model.dtype=fp8 model.kv_dtype=fp8
"
samplings="
    greedy            generate.temperature=0
    sampled           generate.temperature=1.3 generate.top_p=0.95 generate.top_k=40 generate.repetition_penalty=1.1
"
ways="
    alone             engine.max_sequences=1 data.limit=$few
    seven             engine.max_sequences=7
    chunked           engine.max_sequences=64 engine.max_batch_tokens=64 engine.prefix_cache=false
    preempted         engine.admission=room engine.max_sequences=128 engine.kv_memory=1MiB engine.prefix_cache=false
    reversed          engine.max_sequences=33 data.input=$work/backwards.jsonl
"
set_of() {
    arguments=()
    local setting
    for setting in "$@"; do arguments+=(--set "$setting"); done
}
while read -r type type_settings; do
    [ -n "$type" ] || continue
    while read -r sampling sampling_settings; do
        [ -n "$sampling" ] || continue
        # shellcheck disable=SC2086
        set_of $type_settings $sampling_settings
        common=("${arguments[@]}")
        run base "${common[@]}"
        [ "$(wc -l <"$work/base.jsonl")" -eq "$rows" ] || fail "$type $sampling: $(wc -l <"$work/base.jsonl") of $rows rows"
        grep -q '"logprobs":\[-' "$work/base.jsonl" || fail "$type $sampling: no log-probabilities to compare"
        while read -r way way_settings; do
            [ -n "$way" ] || continue
            # A row's random numbers are its place's: in another order only greedy answers are the same.
            if [ "$way" = reversed ] && [ "$sampling" != greedy ]; then continue; fi
            # shellcheck disable=SC2086
            set_of $way_settings
            run "$way" "${common[@]}" "${arguments[@]}"
            compare "$type $sampling" "$way"
            if [ "$way" = preempted ]; then
                "$SLUICE" inspect "$work/$way.h5" --json | tr ',' '\n' | grep '"preemptions"' | grep -qv '": *0' ||
                    fail "$type $sampling: nothing was preempted, so nothing was shown"
            fi
        done <<<"$ways"
    done <<<"$samplings"
done <<<"$types"
echo "$rows rows, $compared runs compared, $failures failures"
[ "$failures" -eq 0 ]
