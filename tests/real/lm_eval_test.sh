#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tools/lm_eval_sluice.py with the real lm_eval, on two tasks of local files: what it reports is what comes out where requests, answers and
# scores are made by hand. SLUICE_LM_EVAL names a Python that has lm_eval; without it the package is installed into the cache. Skipped (exit
# status 77) where it cannot be.
set -euo pipefail
: "${SLUICE:?the program to test}" "${SLUICE_SOURCE_DIR:?the root of the repository}"
cache=${SLUICE_CACHE:-$SLUICE_SOURCE_DIR/.cache/sluice}
python=${SLUICE_LM_EVAL:-$cache/lm_eval/bin/python3}
if [ -z "${SLUICE_LM_EVAL:-}" ] && [ ! -e "$cache/lm_eval/complete" ]; then
    echo "Installing lm_eval into $cache/lm_eval"
    rm -rf "$cache/lm_eval"
    { python3 -m venv "$cache/lm_eval" && "$python" -m pip install -q --disable-pip-version-check --retries 1 --timeout 20 lm_eval &&
        touch "$cache/lm_eval/complete"; } || { echo "skipped: no lm_eval"; exit 77; }
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 HF_HOME=$work/home
tool="$SLUICE_SOURCE_DIR/tools/lm_eval_sluice.py"
check=$SLUICE_SOURCE_DIR/tests/real/lm_eval_check.py
failures=0

"$python" "$check" write "$SLUICE_SOURCE_DIR/data/tasks.jsonl"
job() { # MODE INPUT OUTPUT
    cat >job.yaml <<YAML
model: {path: "$SLUICE_SOURCE_DIR/data/small-model"}
data: {input: "$2"}
generate: {mode: $1}
output: {path: "$3"}
YAML
    "$SLUICE" run --quiet job.yaml
}
options=(--tasks small_choice,small_answer --include-path tasks --num-fewshot 1)
"$python" "$tool" requests "${options[@]}" asked >log 2>&1 || { cat log; exit 1; }
grep '^asked' log
job score asked/score.jsonl score.h5
job generate asked/generate.jsonl generate.h5
"$python" "$tool" results "${options[@]}" --bootstrap 100 --json score.h5 generate.h5 >results.json 2>log || { cat log; exit 1; }
job score by_hand_score.jsonl by_hand_score.h5
job generate by_hand_generate.jsonl by_hand_generate.h5
for name in score generate; do "$SLUICE" export by_hand_$name.h5 >by_hand_$name.out; done
"$python" "$check" compare results.json || failures=$((failures + 1))

# Answers to other requests are none.
if "$python" "$tool" results --tasks small_choice --include-path tasks score.h5 >log 2>&1; then
    echo "FAILED: answers to requests with an example in front were taken for those without"
    failures=$((failures + 1))
fi
grep -q 'the outputs have no answer to a request' log || { tail -n 3 log; failures=$((failures + 1)); }
echo "$failures failures"
[ "$failures" -eq 0 ]
