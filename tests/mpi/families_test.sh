#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every golden model through `sluice run`: the reference's greedy tokens, on several layouts and batch sizes.
# Usage: families_test.sh FOLDER   (of models with rows.jsonl: prompt_token_ids, greedy, margin; SLUICE: the program)
set -euo pipefail
: "${SLUICE:?the program to test}"
models=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

export OMP_NUM_THREADS=1 OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
root=()
[ "$(id -u)" -eq 0 ] && root=(--allow-run-as-root)

cat >"$work/job.yaml" <<YAML
model: {path: unset}
data: {input: unset}
generate: {max_new_tokens: 32, temperature: 0, ignore_eos: true}
output: {path: "$work/out.h5", include_token_ids: true, overwrite: true}
YAML

# The tokens of each row, up to one that the reference chose by less than an arithmetic's error.
compare() {
    sed -n 's/.*"token_ids":\[\([^]]*\)\].*"greedy":\[\([^]]*\)\].*"margin":\[\([^]]*\)\].*/\1;\2;\3/p' "$1" |
        awk -F ';' '
            {
                count = split($1, token, ","); wanted = split($2, greedy, ","); split($3, margin, ",")
                if (count != wanted) { printf "row %d: %d tokens instead of %d\n", NR, count, wanted; bad = 1 }
                for (i = 1; i <= count && i <= wanted; i++) {
                    if (token[i] == greedy[i]) continue
                    if (margin[i] > 1e-4) { printf "row %d, token %d: %d, golden %d by %g\n", NR, i, token[i], greedy[i], margin[i]; bad = 1 }
                    break
                }
            }
            END { exit bad || NR != 6 }'
}

#   ranks  settings
layouts="
    1      engine.max_sequences=1
    1      engine.max_sequences=32
    2      layout.tp=2 engine.max_sequences=32
    4      layout.tp=4 engine.max_sequences=1
    3      layout.pp=3 engine.max_sequences=32
"
failures=0 runs=0
for folder in "$models"/*/; do
    family=$(basename "$folder")
    while read -r ranks settings; do
        [ -n "$ranks" ] || continue
        arguments=()
        for setting in $settings; do arguments+=(--set "$setting"); done
        runs=$((runs + 1))
        mpirun "${root[@]}" -n "$ranks" "$SLUICE" run "$work/job.yaml" --quiet --set "model.path=$folder" \
            --set "data.input=$folder/rows.jsonl" "${arguments[@]}" 2>"$work/err" </dev/null &&
            "$SLUICE" export "$work/out.h5" >"$work/out.jsonl" && compare "$work/out.jsonl" || {
            failures=$((failures + 1))
            echo "$family, $ranks ranks, $settings: FAILED"
            cat "$work/err"
        }
    done <<<"$layouts"
done
echo "$runs runs, $failures failures"
[ "$failures" -eq 0 ] && [ "$runs" -gt 0 ]
