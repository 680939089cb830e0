#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# SmolLM2-135M-Instruct: the greedy answers to 20 prompts are the recorded ones on every layout. smollm2_greedy.txt was computed by this
# program and agrees, token by token, with a float64 computation from the dequantised weights in numpy.
# Skipped (exit status 77) where the model cannot be downloaded.
set -euo pipefail
: "${SLUICE:?the program to test}" "${SLUICE_SOURCE_DIR:?the root of the repository}"
export SLUICE_CACHE=${SLUICE_CACHE:-$SLUICE_SOURCE_DIR/.cache/sluice}
model=$("$SLUICE_SOURCE_DIR/scripts/fetch_model.sh" smollm2) || exit 77
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMP_NUM_THREADS=1 OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
root=()
[ "$(id -u)" -eq 0 ] && root=(--allow-run-as-root)
cat >"$work/job.yaml" <<YAML
model: {path: "$model", max_model_len: 512}
data: {input: "$SLUICE_SOURCE_DIR/data/prompts.jsonl", limit: 20}
generate: {max_new_tokens: 12, temperature: 0}
output: {path: "$work/out.h5", include_token_ids: true, overwrite: true}
YAML
failures=0
while read -r ranks settings; do
    arguments=()
    for setting in $settings; do arguments+=(--set "$setting"); done
    mpirun "${root[@]}" -n "$ranks" "$SLUICE" run "$work/job.yaml" --quiet "${arguments[@]}" </dev/null
    "$SLUICE" export "$work/out.h5" | sed -n 's/.*"token_ids":\[\([^]]*\)\].*/\1/p' >"$work/tokens"
    if ! diff "$SLUICE_SOURCE_DIR/tests/real/smollm2_greedy.txt" "$work/tokens"; then
        failures=$((failures + 1))
        echo "$ranks ranks, $settings: other answers"
    fi
done <<'LAYOUTS'
1 engine.max_sequences=32
4 engine.max_sequences=1
4 layout.tp=2 layout.pp=2
4 layout.tp=4
3 layout.pp=3
LAYOUTS
echo "$failures failures"
[ "$failures" -eq 0 ]
