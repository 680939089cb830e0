#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every example of docs/structured-output.md is run, and what it asks for comes out.
set -euo pipefail
source "$(dirname "$0")/expect.sh"
page=$SLUICE_SOURCE_DIR/docs/structured-output.md

job() {
    cat <<YAML
model: {path: "$model"}
data: {input: rows.jsonl}
output: {path: out.h5, overwrite: true}
YAML
}
# expect_forms COUNT: so many answers, and every one has its form.
expect_forms() {
    run_program export out.h5
    [ "$(grep -c '"valid":true' out)" -eq "$1" ] || fail "$2: $(cat out)"
}

# Jobs: each block that begins with `generate:`.
awk '/^    generate:/ { n++; on = 1 } !/^    / { on = 0 } on { print substr($0, 5) >("block" n ".yaml") }' "$page"
[ "$(ls block*.yaml | wc -l)" -eq 2 ] || fail "the page has other jobs: $(ls block*.yaml)"
printf '{"prompt": "Anything: "}\n' >rows.jsonl
for block in block*.yaml; do
    { job && cat "$block"; } >job.yaml
    run_program run --quiet job.yaml --set generate.structured.close=true --set generate.max_new_tokens=60
    [ "$status" -eq 0 ] || fail "$block: $(cat err)"
    expect_forms 1 "$block"
done

# Rows, and the command that stands below them.
grep -E '^    \{"prompt"' "$page" | sed 's/^    //' >rows.jsonl
rows=$(wc -l <rows.jsonl)
[ "$rows" -eq 9 ] || fail "the page has $rows rows"
job >job.yaml
run_program run --quiet job.yaml --set generate.structured.close=true --set generate.max_new_tokens=40
[ "$status" -eq 0 ] || fail "rows: $(cat err)"
expect_forms "$rows" rows
command=$(sed -n 's/^    sluice run JOB.yaml //p' "$page")
[ -n "$command" ] || fail "the page has no command"
printf '{"prompt": "Anything: "}\n' >rows.jsonl
# shellcheck disable=SC2086
run_program run --quiet job.yaml $command --set generate.structured.close=true --set generate.max_new_tokens=40
expect_forms 1 "$command"
grep -q '"text":"{' out || fail "$command: $(cat out)"

[ "$failures" -eq 0 ]
