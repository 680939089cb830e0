#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The same job on different layouts and batch sizes gives the same bits: ids, texts, token ids, log-probabilities of every row.
# Usage: layouts_test.sh MODEL INPUT LABEL [--set key=value]…   (SLUICE: the program; SLUICE_LAYOUTS: which lines below, default all)
set -euo pipefail
: "${SLUICE:?the program to test}"
model=$1 input=$2 label=$3
shift 3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

export OMP_NUM_THREADS=1 OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
root=()
[ "$(id -u)" -eq 0 ] && root=(--allow-run-as-root)

cat >"$work/job.yaml" <<YAML
model: {path: "$model"}
data: {input: "$input"}
output: {path: "$work/unset.h5", include_token_ids: true}
YAML

# run NAME RANKS SETTINGS…
run() {
    local name=$1 ranks=$2
    shift 2
    mpirun "${root[@]}" -n "$ranks" "$SLUICE" run "$work/job.yaml" --quiet --set "output.path=$work/$name.h5" "$@" \
        2>"$work/$name.err" || { echo "$label: $name failed:"; cat "$work/$name.err"; exit 1; }
    "$SLUICE" export "$work/$name.h5" >"$work/$name.jsonl"
}

#   name                ranks  settings
layouts="
    one                 1      engine.max_sequences=64
    one_at_a_time       1      engine.max_sequences=1
    seven               1      engine.max_sequences=7 engine.max_batch_tokens=16 engine.prefix_cache=false
    replicas            4      engine.max_sequences=7
    tp2                 2      layout.tp=2
    tp2_pp2             4      layout.tp=2 layout.pp=2
    tp4                 4      layout.tp=4 engine.max_sequences=7
    tp8                 8      layout.tp=8
    pp3                 3      layout.pp=3 engine.max_batch_tokens=24 engine.max_sequences=7
    tp2_replicas        4      layout.tp=2 engine.max_sequences=1
"
failures=0 compared=0
while read -r name ranks settings; do
    [ -n "$name" ] || continue
    if [ -n "${SLUICE_LAYOUTS:-}" ] && [[ " one $SLUICE_LAYOUTS " != *" $name "* ]]; then continue; fi
    arguments=()
    for setting in $settings; do arguments+=(--set "$setting"); done
    run "$name" "$ranks" "${arguments[@]}" "$@" </dev/null
    if [ "$name" = one ]; then continue; fi
    compared=$((compared + 1))
    if ! cmp -s "$work/one.jsonl" "$work/$name.jsonl"; then
        failures=$((failures + 1))
        echo "$label: $name differs from one rank in $(diff "$work/one.jsonl" "$work/$name.jsonl" | grep -c '^>') of $(wc -l <"$work/one.jsonl") rows, first:"
        diff "$work/one.jsonl" "$work/$name.jsonl" | head -n 4 | cut -c 1-400
    fi
    # What the leaders noted in their rows comes to the same warnings.
    if ! cmp -s <(grep 'warning: [0-9]* rows\?:' "$work/one.err") <(grep 'warning: [0-9]* rows\?:' "$work/$name.err"); then
        failures=$((failures + 1))
        echo "$label: $name warns otherwise than one rank:"
        cat "$work/one.err" "$work/$name.err"
    fi
done <<<"$layouts"
grep "warning: " "$work/one.err" || true
rows=$(wc -l <"$work/one.jsonl")
[ "$rows" -gt 0 ] || { echo "$label: no rows"; exit 1; }
echo "$label: $rows rows, $compared layouts compared, $failures differ"
[ "$failures" -eq 0 ]
