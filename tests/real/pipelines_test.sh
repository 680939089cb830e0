#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tools/datatrove_sluice.py and tools/distilabel_sluice.py with the real packages. SLUICE_PIPELINES names a Python that has both; without it
# they are installed into the cache. Skipped (exit status 77) where they cannot be.
set -euo pipefail
: "${SLUICE:?the program to test}" "${SLUICE_SOURCE_DIR:?the root of the repository}"
cache=${SLUICE_CACHE:-$SLUICE_SOURCE_DIR/.cache/sluice}
python=${SLUICE_PIPELINES:-$cache/pipelines/bin/python3}
if [ -z "${SLUICE_PIPELINES:-}" ] && [ ! -e "$cache/pipelines/complete" ]; then
    echo "Installing datatrove and distilabel into $cache/pipelines"
    rm -rf "$cache/pipelines"
    { python3 -m venv "$cache/pipelines" && "$python" -m pip install -q --disable-pip-version-check --retries 1 --timeout 20 datatrove orjson regex distilabel requests &&
        touch "$cache/pipelines/complete"; } || { echo "skipped: no datatrove and distilabel"; exit 77; }
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 HF_HOME=$work/home HOME=$work/home
mkdir home
tools=$SLUICE_SOURCE_DIR/tools
check=$SLUICE_SOURCE_DIR/tests/real/pipelines_check.py
failures=0
job() { # INPUT OUTPUT SETTINGS
    cat >job.yaml <<YAML
model: {path: "$SLUICE_SOURCE_DIR/data/small-model"}
data: {input: "$1"}
generate: {$3}
output: {path: "$2"}
YAML
    "$SLUICE" run --quiet job.yaml
}

"$python" "$check" write
job documents.jsonl scores.h5 "mode: score"
mkdir scored
"$SLUICE" export scores.h5 -o scored/scores.jsonl.gz --quiet
most=$("$python" "$check" middle scored/scores.jsonl.gz)
"$python" "$tools/datatrove_sluice.py" scored kept --most "$most" --dropped dropped >log 2>&1 || { cat log; failures=$((failures + 1)); }
"$python" "$check" documents scored/scores.jsonl.gz "$most" || failures=$((failures + 1))

for task in TextGeneration ComplexityScorer; do
    "$python" "$tools/distilabel_sluice.py" requests --task $task inputs.jsonl $task.jsonl >log 2>&1 || { cat log; failures=$((failures + 1)); }
    job $task.jsonl $task.h5 "temperature: 0, max_new_tokens: 24"
    SLUICE=$SLUICE "$python" "$tools/distilabel_sluice.py" results --task $task inputs.jsonl $task.h5 $task.done >log 2>&1 || { cat log; failures=$((failures + 1)); }
    "$SLUICE" export $task.h5 >$task.answers
done
"$python" "$check" tasks || failures=$((failures + 1))
echo "$failures failures"
[ "$failures" -eq 0 ]
