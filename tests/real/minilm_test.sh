#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# all-MiniLM-L6-v2: embeddings of some texts against those that tools/make_encoder_models.py --embed computes in float64, and the same bits
# on other layouts. Skipped (exit status 77) where the model cannot be downloaded.
set -euo pipefail
: "${SLUICE:?the program to test}" "${SLUICE_SOURCE_DIR:?the root of the repository}"
export SLUICE_CACHE=${SLUICE_CACHE:-$SLUICE_SOURCE_DIR/.cache/sluice}
model=$("$SLUICE_SOURCE_DIR/scripts/fetch_model.sh" minilm) || exit 77
. "$SLUICE_SOURCE_DIR/tests/cli/embeddings.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMP_NUM_THREADS=1 OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
root=()
[ "$(id -u)" -eq 0 ] && root=(--allow-run-as-root)
here=$SLUICE_SOURCE_DIR/tests/real
cat >"$work/job.yaml" <<YAML
task: embed
model: {path: "$model"}
data: {input: "$here/minilm_texts.jsonl"}
engine: {device: cpu}
output: {path: "$work/out.h5", overwrite: true}
YAML
failures=0
while read -r ranks settings; do
    arguments=()
    for setting in $settings; do arguments+=(--set "$setting"); done
    mpirun "${root[@]}" -n "$ranks" "$SLUICE" run "$work/job.yaml" --quiet "${arguments[@]}" </dev/null
    "$SLUICE" export "$work/out.h5" >"$work/$ranks.jsonl"
    compare_embeddings "$work/$ranks.jsonl" "$here/minilm_expected.txt" 1e-5 || failures=$((failures + 1))
    cmp "$work/1.jsonl" "$work/$ranks.jsonl" || failures=$((failures + 1))
done <<'LAYOUTS'
1 engine.max_sequences=32
3 layout.pp=3
4 layout.tp=2 layout.pp=2
LAYOUTS
echo "$failures failures"
[ "$failures" -eq 0 ]
