#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Encoders on a GPU: embeddings beside those computed apart in float64 (tools/make_encoder_models.py) and those of the CPU, and a row's same bits
# alone, in another order and on two ranks. Ends with 77 (skipped) where no GPU is.
# SLUICE: the program; SLUICE_SOURCE_DIR: the repository; SLUICE_DEVICE: cuda, or another device to try the test itself on.
set -euo pipefail
: "${SLUICE:?the program to test}" "${SLUICE_SOURCE_DIR:?the repository}"
device=${SLUICE_DEVICE:-cuda}
encoders=$SLUICE_SOURCE_DIR/tests/data/encoders
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=()
[ "$(id -u)" -eq 0 ] && root=(--allow-run-as-root)

# The texts, and again with their words in threes, so that one step has many sequences of many lengths.
cp "$encoders/texts.jsonl" "$work/texts.jsonl"
for i in 1 2 3 4 5 6 7 8; do
    sed "s/\"text\": \"/&$i the dog /" "$encoders/texts.jsonl"
done >"$work/more.jsonl"
cat "$encoders/texts.jsonl" "$work/more.jsonl" >"$work/all.jsonl"
tac "$work/all.jsonl" >"$work/tac.jsonl"
cat >"$work/job.yaml" <<YAML
task: embed
model: {path: "$encoders/bert"}
data: {input: "$work/all.jsonl"}
engine: {device: $device}
output: {path: "$work/unset.h5", overwrite: true, include_prompt: true}
YAML

if ! "$SLUICE" check "$work/job.yaml" >"$work/check.out" 2>"$work/check.err"; then
    if grep -q "this host has 0\|no backend \"cuda\"\|no GPU" "$work/check.err"; then
        echo "no GPU: skipped"
        exit 77
    fi
    cat "$work/check.err"
    exit 1
fi

failures=0
fail() {
    failures=$((failures + 1))
    echo "WRONG: $*"
}

# run NAME RANKS SETTING…: $work/NAME.jsonl (rows as they come) and NAME.sorted (without what the row's place decides).
run() {
    local name=$1 ranks=$2 setting arguments=()
    shift 2
    for setting in "$@"; do arguments+=(--set "$setting"); done
    mpirun "${root[@]}" -n "$ranks" "$SLUICE" run "$work/job.yaml" --quiet --set "output.path=$work/$name.h5" "${arguments[@]}" \
        </dev/null 2>"$work/$name.err" || {
        fail "$name did not run:"
        cat "$work/$name.err"
        return 0
    }
    "$SLUICE" export "$work/$name.h5" >"$work/$name.jsonl"
    sed 's/"row":[0-9]*,//; s/"id":"[^"]*",//' "$work/$name.jsonl" | sort >"$work/$name.sorted"
}

# vectors FILE: "tokens value value…", one line a row.
vectors() { sed -n 's/.*"prompt_tokens":\([0-9]*\).*"embedding":\[\([^]]*\)\].*/\1 \2/p' "$1" | tr , ' '; }

# distance WHAT IS EXPECTED MOST ROWS: the worst row's ‖is − expected‖ / ‖expected‖.
distance() {
    paste -d '|' <(head -n "$5" "$2") <(head -n "$5" "$3") | awk -F '|' -v what="$1" -v most="$4" -v rows="$5" '
        {
            count = split($1, is, " ")
            if (count < 2 || split($2, expected, " ") != count || is[1] != expected[1]) {
                printf "  row %d: %d values, %s tokens; expected %s tokens: %.60s | %.60s\n", NR, count - 1, is[1], expected[1], $1, $2
                bad = 1
                next
            }
            difference = norm = 0
            for (i = 2; i <= count; i++) {
                difference += (is[i] - expected[i]) ^ 2
                norm += expected[i] ^ 2
            }
            relative = sqrt(difference / norm)
            if (NR == 1 || !(relative <= worst)) { worst = relative; at = NR; one = is[2]; other = expected[2] }
        }
        END {
            printf "%s: worst of %d rows %.2e (row %d: %s…, expected %s…), at most %.0e\n", what, NR, worst, at, one, other, most
            exit bad || NR != rows || !(worst <= most)
        }' || fail "$1"
}

# compare NAME BASE: the same rows, to the bit.
compare() {
    local other
    other=$(comm -13 "$work/$2.sorted" "$work/$1.sorted" | wc -l)
    if [ "$other" -ne 0 ] || [ ! -s "$work/$1.sorted" ]; then
        fail "$1: $other of $(wc -l <"$work/$1.sorted") rows have other bits than $2, first:"
        diff "$work/$2.sorted" "$work/$1.sorted" | grep '^[<>]' | sed -n '1,2p' | cut -c 1-400 || true
    fi
}

texts=$(wc -l <"$encoders/texts.jsonl") rows=$(wc -l <"$work/all.jsonl")
for name in bert roberta; do
    common=("model.path=$encoders/$name")
    run cpu 1 "${common[@]}" engine.device=cpu
    vectors "$work/cpu.jsonl" >"$work/cpu.vectors"
    #   type      relative distance at most
    while read -r type most; do
        case $device-$type in cpu-float16 | cpu-fp8) continue ;; esac
        settings=("${common[@]}" "model.dtype=$type")
        run base 1 "${settings[@]}"
        vectors "$work/base.jsonl" >"$work/base.vectors"
        distance "$name $type from what was computed apart" "$work/base.vectors" "$encoders/$name/expected.txt" "$most" "$texts"
        distance "$name $type from the CPU in float32" "$work/base.vectors" "$work/cpu.vectors" "$most" "$rows"
        run alone 1 "${settings[@]}" engine.max_sequences=1
        run three 1 "${settings[@]}" engine.max_sequences=3
        run backwards 1 "${settings[@]}" "data.input=$work/tac.jsonl"
        run pipeline 2 "${settings[@]}" layout.pp=2
        for way in alone three backwards pipeline; do compare "$way" base; done
    done <<'TYPES'
float32 1e-5
float16 5e-3
bfloat16 3e-2
fp8 4e-1
TYPES
    run automatic 1 "${common[@]}"
    "$SLUICE" inspect "$work/automatic.h5" --json | tr ',' '\n' | grep '"device"\|dtype"' || fail "$name: no device in the output"
done
echo "$failures failures"
[ "$failures" -eq 0 ]
