#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Jobs on GPUs, on as many as there are: scores of the small model in every type; the same bits (ids, texts, token ids, log-probabilities)
# on different layouts and batch sizes; a killed rank, and with SLUICE_STUCK=1 (a minute and a half) one that only stops.
# Exit status 77 where no GPU is there.   (SLUICE: the program; SLUICE_SOURCE_DIR: the repository; SLUICE_GPUS: use no more;
# SLUICE_MODEL, SLUICE_ROWS: another model and its rows, whose answers have no score and whose ranks live on; SLUICE_TYPES: its types)
set -uo pipefail
: "${SLUICE:?the program to test}" "${SLUICE_SOURCE_DIR:?the repository}"
model=${SLUICE_MODEL:-$SLUICE_SOURCE_DIR/data/small-model}
rows=${SLUICE_ROWS:-$SLUICE_SOURCE_DIR/data/tasks.jsonl}
types=${SLUICE_TYPES:-bfloat16 fp8}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/job.yaml" <<YAML
model: {path: "$model"}
data: {input: "$rows"}
generate: {max_new_tokens: 24, temperature: 0, logprobs: 1}
engine: {device: cuda}
output: {path: "$work/unset.h5", include_token_ids: true}
YAML

if ! "$SLUICE" check "$work/job.yaml" --set data.limit=1 >"$work/check.txt" 2>"$work/check.err"; then
    if grep -q 'engine.device' "$work/check.err"; then
        echo "skipped: $(cat "$work/check.err")"
        exit 77
    fi
    cat "$work/check.txt" "$work/check.err"
    exit 1
fi
cat "$work/check.txt"
if [ -n "${CUDA_VISIBLE_DEVICES:-}" ]; then
    gpus=$(tr , '\n' <<<"$CUDA_VISIBLE_DEVICES" | grep -c .)
else
    gpus=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU')
fi
[ "$gpus" -gt 0 ] || gpus=1
if [ -n "${SLUICE_GPUS:-}" ] && [ "$gpus" -gt "$SLUICE_GPUS" ]; then gpus=$SLUICE_GPUS; fi
echo "$gpus GPUs"

export OMP_NUM_THREADS=1 OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
root=()
[ "$(id -u)" -eq 0 ] && root=(--allow-run-as-root)
failures=0

fail() {
    failures=$((failures + 1))
    echo "FAILED: $*"
}

# run NAME RANKS SETTINGS…: a job; its rows in NAME.jsonl.
run() {
    local name=$1 ranks=$2 setting arguments=()
    shift 2
    for setting in "$@"; do arguments+=(--set "$setting"); done
    if ! timeout 300 mpirun "${root[@]}" -n "$ranks" "$SLUICE" run "$work/job.yaml" \
        --set "output.path=$work/$name.h5" "${arguments[@]}" 2>"$work/$name.err" </dev/null; then
        fail "$name ($ranks ranks, $*):"
        grep -v 'rows done\|^$' "$work/$name.err" | head -n 12
        return 1
    fi
    "$SLUICE" export "$work/$name.h5" >"$work/$name.jsonl"
}

# over NAME WHAT: whether the job's ranks communicated over that.
over() {
    [ -s "$work/$1.jsonl" ] || return
    grep -q "over $2" "$work/$1.err" || fail "$1: not over $2: $(grep ' over ' "$work/$1.err" | head -n 1)"
}

# same NAME REFERENCE: whether both jobs' rows are the same bytes.
same() {
    [ -s "$work/$1.jsonl" ] && [ -s "$work/$2.jsonl" ] || return
    if cmp -s "$work/$1.jsonl" "$work/$2.jsonl"; then
        echo "same bits: $1 and $2 ($(wc -l <"$work/$1.jsonl") rows)"
        return
    fi
    fail "$1 differs from $2 in $(diff "$work/$2.jsonl" "$work/$1.jsonl" | grep -c '^>') of $(wc -l <"$work/$2.jsonl") rows, first:"
    diff "$work/$2.jsonl" "$work/$1.jsonl" | head -n 4 | cut -c 1-500
}

# The share of right answers in percent, with two digits.
score() {
    "$SLUICE" inspect "$work/$1.h5" --score expected --json |
        sed -n 's/.*"score":{"total":{"right":\([0-9]*\),"answers":\([0-9]*\)}.*/\1 \2/p' | awk '{ printf "%.2f", 100 * $1 / $2 }'
}

echo "== types on one GPU"
scored_types="float32 bfloat16 float16 fp8"
[ -z "${SLUICE_MODEL:-}" ] || scored_types=
for type in $scored_types; do
    run "$type" 1 model.dtype=$type || continue
    scored=$(score $type)
    # Log-probabilities differ between types; texts mostly do not.
    "$SLUICE" inspect "$work/$type.h5" --rows 1000000 | sed -n '/^-- /,$p' >"$work/$type.rows"
    echo "$type: score $scored%, $(diff "$work/float32.rows" "$work/$type.rows" | grep -c '^>') answers differ from float32's"
    awk -v a="$(score float32)" -v b="$scored" 'BEGIN { exit !(b != "" && a - b <= 1.0 && b - a <= 1.0) }' ||
        fail "$type: the score, $scored%, is more than a point from float32's"
done
if [ -n "$scored_types" ]; then
    run kv_fp8 1 model.dtype=fp8 model.kv_dtype=fp8 && echo "fp8 with fp8 KV cache: score $(score kv_fp8)%"
    "$SLUICE" inspect --ranks "$work/bfloat16.h5"
fi

for type in $types; do
    echo "== $type: batches and layouts"
    common=(model.dtype=$type data.limit=200)
    run ${type}_one 1 "${common[@]}" || continue
    run ${type}_seven 1 "${common[@]}" engine.max_sequences=7 engine.max_batch_tokens=16 engine.prefix_cache=false
    same ${type}_seven ${type}_one
    run ${type}_alone 1 "${common[@]}" data.limit=24 engine.max_sequences=1
    head -n "$(wc -l <"$work/${type}_alone.jsonl")" "$work/${type}_one.jsonl" >"$work/${type}_first.jsonl"
    same ${type}_alone ${type}_first
    # Two ranks on one GPU: through host memory.
    CUDA_VISIBLE_DEVICES=${CUDA_VISIBLE_DEVICES:-0} run ${type}_shared_tp2 2 "${common[@]}" layout.tp=2
    same ${type}_shared_tp2 ${type}_one
    over ${type}_shared_tp2 "MPI in host memory"
    if [ "$gpus" -ge 2 ]; then
        run ${type}_tp2 2 "${common[@]}" layout.tp=2 && same ${type}_tp2 ${type}_one
        over ${type}_tp2 NCCL
        run ${type}_pp2 2 "${common[@]}" layout.pp=2 && same ${type}_pp2 ${type}_one
        over ${type}_pp2 NCCL
        run ${type}_pp2_small 2 "${common[@]}" layout.pp=2 engine.max_sequences=9 engine.max_batch_tokens=24 && same ${type}_pp2_small ${type}_one
        run ${type}_replicas2 2 "${common[@]}" engine.max_sequences=9 && same ${type}_replicas2 ${type}_one
    fi
    if [ "$gpus" -ge 4 ]; then
        run ${type}_tp2_pp2 4 "${common[@]}" layout.tp=2 layout.pp=2 && same ${type}_tp2_pp2 ${type}_one
        run ${type}_tp2_replicas2 4 "${common[@]}" layout.tp=2 && same ${type}_tp2_replicas2 ${type}_one
        run ${type}_pp4 4 "${common[@]}" layout.pp=4 && same ${type}_pp4 ${type}_one
        run ${type}_replicas4 4 "${common[@]}" && same ${type}_replicas4 ${type}_one
        run ${type}_slices4 1 "${common[@]}" layout.tp_slices=4
        run ${type}_tp4 4 "${common[@]}" layout.tp=4 && same ${type}_tp4 ${type}_slices4
        run ${type}_tp4_seven 4 "${common[@]}" layout.tp=4 engine.max_sequences=7 && same ${type}_tp4_seven ${type}_slices4
    fi
    if [ "$gpus" -ge 8 ]; then
        run ${type}_replicas8 8 "${common[@]}" && same ${type}_replicas8 ${type}_one
        run ${type}_slices8 1 "${common[@]}" layout.tp_slices=8
        run ${type}_tp8 8 "${common[@]}" layout.tp=8 && same ${type}_tp8 ${type}_slices8
        run ${type}_tp8_seven 8 "${common[@]}" layout.tp=8 engine.max_sequences=7 && same ${type}_tp8_seven ${type}_slices8
    fi
done

# The GPUs' memory in use, in MiB.
memory_in_use() {
    nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits | awk '{ sum += $1 } END { print sum + 0 }'
}

# harm SIGNAL NAME RANKS LIMIT SETTINGS…: sends the signal to the last rank of a long job once rows are there; all processes must be gone
# and the GPUs' memory free within LIMIT seconds, with an exit status other than 0.
harm() {
    local signal=$1 name=$2 ranks=$3 limit=$4 setting arguments=() tries
    shift 4
    for setting in "$@"; do arguments+=(--set "$setting"); done
    local idle
    idle=$(memory_in_use)
    mpirun "${root[@]}" -n "$ranks" "$SLUICE" run "$work/job.yaml" --quiet --set "output.path=$work/$name.h5" "${arguments[@]}" \
        2>"$work/$name.err" </dev/null &
    local launcher=$!
    for tries in $(seq 300); do
        [ "$(du -sb "$work/$name.h5.sluice" 2>/dev/null | cut -f 1)" -gt 20000 ] 2>/dev/null && break
        kill -0 $launcher 2>/dev/null || break
        sleep 0.1
    done
    local victims victim
    victims=$(pgrep -f "output.path=$work/$name.h5" | while read -r pid; do
        [ "$(ps -o comm= -p "$pid" 2>/dev/null)" = "$(basename "$SLUICE" | cut -c 1-15)" ] && echo "$pid"; done)
    victim=$(tail -n 1 <<<"$victims")
    if [ -z "$victim" ] || ! kill -"$signal" "$victim" 2>/dev/null; then
        fail "$name: no rank to send SIG$signal to after $tries looks"
        kill $launcher 2>/dev/null
        return
    fi
    local begin=$SECONDS busy
    busy=$(memory_in_use)
    ( sleep "$limit"; kill -9 $launcher ) 2>/dev/null &
    local timer=$!
    wait $launcher
    local status=$?
    kill $timer 2>/dev/null
    local took=$((SECONDS - begin))
    sleep 1
    local left
    left=$(for pid in $victims; do kill -0 "$pid" 2>/dev/null && ps -o stat= -p "$pid" | grep -v Z; done | wc -l)
    echo "$name: SIG$signal: exit status $status after $took s, $left processes left; messages:"
    grep '^sluice\|NCCL' "$work/$name.err" | head -n 5
    [ "$status" -ne 0 ] && [ "$took" -lt "$limit" ] || fail "$name: exit status $status after $took s"
    while [ "$(memory_in_use)" -gt $((idle + 64)) ] && [ $((SECONDS - begin)) -lt "$limit" ]; do sleep 0.5; done
    local used
    used=$(memory_in_use)
    echo "$name: GPU memory: $idle MiB before, $busy during, $used after $((SECONDS - begin)) s"
    [ "$used" -le $((idle + 64)) ] || fail "$name: $used MiB of GPU memory in use, $idle before"
    [ "$left" -eq 0 ] || { fail "$name: $left processes left"; kill -9 $victims 2>/dev/null; }
}

if [ "$gpus" -ge 2 ] && [ -n "$scored_types" ]; then
    echo "== a rank that goes"
    most=2
    if [ "$gpus" -ge 4 ]; then most=4; fi
    if [ "$gpus" -ge 8 ]; then most=8; fi
    long=(model.dtype=bfloat16 generate.max_new_tokens=200 generate.ignore_eos=true engine.max_sequences=16 layout.tp_slices=$most)
    run unharmed 1 "${long[@]}"
    harm KILL killed $most 30 "${long[@]}" layout.tp=$most
    if run killed $most "${long[@]}" layout.tp=$most; then same killed unharmed; fi
    if [ -n "${SLUICE_STUCK:-}" ]; then
        harm STOP stuck 2 110 "${long[@]}" layout.tp=2 generate.n=8 run.silence_limit=50
        [ "$(grep -c 'gone or stuck' "$work/stuck.err")" -eq 1 ] || fail "stuck: not one message"
    fi
fi

echo "$failures failures"
[ "$failures" -eq 0 ]
