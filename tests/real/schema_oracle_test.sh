#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Random schemas against Python's jsonschema: what is valid is taken in its canonical form, nothing else is, and what walks under the masks
# write is valid (schema_oracle.py). SEED and COUNT say which schemas and how many, TOKENIZER whose tokens (a tokenizer.json), SLUICE_PYTHON
# a Python that has jsonschema; without it jsonschema is installed into the cache. Skipped (exit status 77) where it cannot be.
set -euo pipefail
: "${SLUICE:?the program to test}" "${SLUICE_SOURCE_DIR:?the root of the repository}"
cache=${SLUICE_CACHE:-$SLUICE_SOURCE_DIR/.cache/sluice}
bench=$(dirname "$SLUICE")/bench/bench_grammar
[ -x "$bench" ] || { echo "skipped: $bench is not built"; exit 77; }
python=${SLUICE_PYTHON:-$cache/jsonschema/bin/python3}
if [ -z "${SLUICE_PYTHON:-}" ] && ! "$python" -c 'import jsonschema' 2>/dev/null; then
    rm -rf "$cache/jsonschema"
    { python3 -m venv "$cache/jsonschema" && "$python" -m pip install -q --disable-pip-version-check --retries 1 --timeout 20 jsonschema; } ||
        { echo "skipped: no jsonschema for Python"; exit 77; }
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
oracle=$SLUICE_SOURCE_DIR/tests/real/schema_oracle.py
tokenizer=${TOKENIZER:-$SLUICE_SOURCE_DIR/data/small-model/tokenizer.json}
# Expressions, grammars and schemas as they stand in the documentation of OpenAI, vLLM, outlines, llama.cpp and Lark.
strangers=$SLUICE_SOURCE_DIR/tests/real/strangers.jsonl
"$bench" "$tokenizer" "$strangers" "$work/outcomes.jsonl" >/dev/null
python3 "$oracle" expected "$strangers" "$work/outcomes.jsonl"
python3 "$oracle" write "${SEED:-1}" "${COUNT:-500}" >"$work/cases.jsonl"
"$bench" "$tokenizer" "$work/cases.jsonl" "$work/outcomes.jsonl"
"$python" "$oracle" check "$work/cases.jsonl" "$work/outcomes.jsonl"
