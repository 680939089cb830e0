#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Answers of a real model in 20 JSON schemas, at temperature 1: with `close` every one is valid by Python's jsonschema, without it every
# one that ends by itself; the same answers and log-probabilities on every layout, and through two kills.
#   forms_test.sh [MODEL]     MODEL: a path; without it SmolLM2-135M-Instruct is downloaded
#   ROWS=60 LAYOUT_ROWS=20         so many rows for each of the two jobs, and of these for each layout (1,000 and 100 take an hour)
#   TP=2                           ranks of a tensor-parallel group, as the model's heads allow
#   KEEP=FOLDER                    keeps rows and answers there
#   SLUICE_PYTHON=PROGRAM          a Python that has jsonschema; without it jsonschema is installed into the cache
# Skipped (exit status 77) where the model or jsonschema cannot be had.
set -euo pipefail
: "${SLUICE:?the program to test}" "${SLUICE_SOURCE_DIR:?the root of the repository}"
export SLUICE_CACHE=${SLUICE_CACHE:-$SLUICE_SOURCE_DIR/.cache/sluice}
rows=${ROWS:-60} layout_rows=${LAYOUT_ROWS:-20} tp=${TP:-2}
model=${1:-$("$SLUICE_SOURCE_DIR/scripts/fetch_model.sh" smollm2)} || exit 77
python=${SLUICE_PYTHON:-$SLUICE_CACHE/jsonschema/bin/python3}
if [ -z "${SLUICE_PYTHON:-}" ] && ! "$python" -c 'import jsonschema' 2>/dev/null; then
    rm -rf "$SLUICE_CACHE/jsonschema"
    { python3 -m venv "$SLUICE_CACHE/jsonschema" && "$python" -m pip install -q --disable-pip-version-check --retries 1 --timeout 20 jsonschema; } ||
        { echo "skipped: no jsonschema for Python"; exit 77; }
fi
work=${KEEP:-$(mktemp -d)}
[ -n "${KEEP:-}" ] && mkdir -p "$work" || trap 'rm -rf "$work"' EXIT
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
root=()
[ "$(id -u)" -eq 0 ] && root=(--allow-run-as-root)
here=$SLUICE_SOURCE_DIR/tests/real
failures=0

python3 "$SLUICE_SOURCE_DIR/tools/make_schemas.py" 150 >"$work/schemas.jsonl"
python3 "$here/forms_rows.py" write "$work/schemas.jsonl" "$rows" >"$work/rows.jsonl"
cat >"$work/job.yaml" <<YAML
model: {path: "$model", max_model_len: 256}
data: {input: "$work/rows.jsonl", row_parameters: true}
generate: {temperature: 1, logprobs: 0, structured: {close: true}}
output: {path: "$work/out.h5", overwrite: true}
YAML

# results NAME: the exported lines, without what a run may say of itself.
results() {
    "$SLUICE" export "$work/$1.h5" | sed -E 's/"(seconds|rank|replica|started|finished|time)":[^,}]*,?//g' >"$work/$1.jsonl"
}
# job NAME RANKS SETTINGS…
job() {
    local name=$1 ranks=$2 setting arguments=()
    shift 2
    for setting in "$@"; do arguments+=(--set "$setting"); done
    mpirun "${root[@]}" -n "$ranks" "$SLUICE" run --quiet "$work/job.yaml" --set output.path="$work/$name.h5" "${arguments[@]}" </dev/null 2>>"$work/log"
    results "$name"
}
# expect_valid NAME: what jsonschema says of the answers.
expect_valid() {
    echo "$(date +%T) $1: $("$python" "$here/forms_rows.py" check "$work/rows.jsonl" "$work/$1.jsonl" || echo FAILED)" | tee -a "$work/outcome"
    ! tail -n 1 "$work/outcome" | grep -q FAILED || failures=$((failures + 1))
}
# expect_same NAME: the first answers are those of the first job.
expect_same() {
    if cmp <(head -n "$layout_rows" "$work/closed.jsonl") "$work/$1.jsonl"; then
        echo "$(date +%T) $1: the same $layout_rows" | tee -a "$work/outcome"
    else
        failures=$((failures + 1))
    fi
}

job closed 1 engine.max_sequences=64
expect_valid closed
[ "$(wc -l <"$work/closed.jsonl")" -eq "$rows" ] || failures=$((failures + 1))
while read -r name ranks settings; do
    # shellcheck disable=SC2086
    job "$name" "$ranks" data.limit="$layout_rows" $settings
    expect_same "$name"
done <<LAYOUTS
one_at_once 1 engine.max_sequences=1
seven_at_once 1 engine.max_sequences=7
four_replicas 4 engine.max_sequences=7
tensor_parallel $tp layout.tp=$tp
two_stages 2 layout.pp=2
LAYOUTS

journal_size() { stat -c %s "$work/killed.h5.sluice/journal" 2>/dev/null || echo 0; }
# Killed twice, as soon as the journal has grown; then the job goes on.
killed() {
    local before
    rm -rf "$work"/killed.h5*
    for _ in 1 2; do
        before=$(journal_size)
        "$SLUICE" run --quiet "$work/job.yaml" --set output.path="$work/killed.h5" --set output.overwrite=false --set data.limit="$layout_rows" \
            --set engine.max_sequences=4 2>>"$work/log" &
        local process=$!
        while kill -0 "$process" 2>/dev/null; do
            [ "$(journal_size)" -le $((before + 1200)) ] || break
            sleep 0.2
        done
        kill -KILL "$process" 2>/dev/null && kills=$((kills + 1))
        wait "$process" 2>/dev/null || true
    done
    "$SLUICE" run --quiet "$work/job.yaml" --set output.path="$work/killed.h5" --set output.overwrite=false --set data.limit="$layout_rows" 2>>"$work/log"
    results killed
}
kills=0
killed
echo "$kills kills" | tee -a "$work/outcome"
[ "$kills" -gt 0 ] || failures=$((failures + 1))
expect_same killed

job open 1 engine.max_sequences=64 'generate.structured={close: false}'
expect_valid open
echo "$failures failures"
[ "$failures" -eq 0 ]
