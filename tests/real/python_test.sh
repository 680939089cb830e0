#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The snippets of docs/python.md, and Parquet exports read back by pyarrow, polars and DuckDB. SLUICE_PYTHON names a Python that has the
# packages, or some of them; without it they are installed into the cache. Skipped (exit status 77) where they cannot be.
set -euo pipefail
: "${SLUICE:?the program to test}" "${SLUICE_SOURCE_DIR:?the root of the repository}"
cache=${SLUICE_CACHE:-$SLUICE_SOURCE_DIR/.cache/sluice}
python=${SLUICE_PYTHON:-$cache/python/bin/python3}
if [ -z "${SLUICE_PYTHON:-}" ] && [ ! -e "$cache/python/complete" ]; then
    echo "Installing packages of Python into $cache/python"
    rm -rf "$cache/python"
    { python3 -m venv "$cache/python" && "$python" -m pip install -q --disable-pip-version-check --retries 1 --timeout 20 \
        h5py pandas polars pyarrow duckdb datasets && touch "$cache/python/complete"; } || { echo "skipped: no packages of Python"; exit 77; }
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin" && ln -s "$(realpath "$SLUICE")" "$work/bin/sluice"
export PATH=$work/bin:$PATH HF_HUB_OFFLINE=1 HF_HOME=$work/home
cd "$work"
failures=0

# check NAME SETTINGS…: a job over rows.jsonl, and the page beside it.
check() {
    local name=$1
    shift
    sluice run --quiet job.yaml "$@" 2>err || { cat err; failures=$((failures + 1)); return; }
    sluice export out.h5 >lines.jsonl
    sluice export out.h5 -o answers.parquet --overwrite --quiet
    rm -rf cache
    "$python" "$SLUICE_SOURCE_DIR/tests/real/python_page.py" "$SLUICE_SOURCE_DIR/docs/python.md" || { echo "FAILED: $name"; failures=$((failures + 1)); }
}

cat >rows.jsonl <<'ROWS'
{"id": "first", "prompt": "apple pie", "label": 1, "ratio": 1.5, "good": true, "tags": ["p", "q"], "mixed": 1, "text": "mine"}
{"id": "second", "prompt": "apple é \"jam\"\n", "label": -9007199254740993, "ratio": 2, "good": false, "mixed": "one"}
{"id": "bad", "label": null, "big": 123456789012345678901234567890}

{"id": "asks", "prompt": "apple tea", "logprobs": 2, "n": 2, "good": null}
{"id": "ids", "prompt": "apple", "logprobs": 0}
{"id": "empty", "prompt": "a", "max_tokens": 1}
ROWS
cat >job.yaml <<YAML
model: {path: "$SLUICE_SOURCE_DIR/data/small-model"}
data: {input: rows.jsonl}
generate: {max_new_tokens: 6, temperature: 0}
output: {path: out.h5, overwrite: true}
YAML
check plain
check ids --set output.include_token_ids=true --set output.include_prompt=true
: >rows.jsonl # more pages than one, and rows of very different sizes
for i in $(seq 3000); do printf '{"prompt": "a", "max_tokens": 1, "n": %d, "pad": "%0*d"}\n' $((i % 3 + 1)) $((i % 7 * 300 + 1)) "$i"; done >rows.jsonl
check many
"$python" - <<'PYTHON' || { echo "FAILED: the pages of a large file"; failures=$((failures + 1)); }
import sys
try:
    import pyarrow.parquet
except ImportError:
    sys.exit(0)
facts = pyarrow.parquet.ParquetFile("answers.parquet").metadata
pad = next(facts.row_group(0).column(i) for i in range(facts.num_columns) if facts.row_group(0).column(i).path_in_schema == "pad")
assert pad.total_uncompressed_size > 3 << 20, "the test's rows are too few for several pages"
assert facts.num_rows == 6000, facts.num_rows
PYTHON
printf 'task: embed\nmodel: {path: "%s"}\ndata: {input: rows.jsonl}\noutput: {path: out.h5, overwrite: true}\n' "$SLUICE_SOURCE_DIR/tests/data/encoders/bert" >job.yaml
printf '{"text": "a red house"}\n{"text": "a blue one", "label": 2}\n' >rows.jsonl
check embeddings
echo "$failures failures"
[ "$failures" -eq 0 ]
